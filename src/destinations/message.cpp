#include "destinations/message.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"
#include "core/json_text.hpp"
#include "destinations/definition.hpp"
#include "destinations/request_template.hpp"

namespace courier {

namespace {

constexpr std::array<Change, 3> kinds {Change::added, Change::changed, Change::removed};
const std::vector<std::string> digest_lists {"added", "changed", "removed"};

// The names that stand for a record, its own fields behind those that always exist.
NameTree record_names(const Scope &scope) {
	NameTree out;
	auto add_fields = [&](NameTree &tree) {
		for (auto &field : *scope.fields)
			tree.at(field).open = true; // a json field has members that are not known here
	};
	add_fields(out);
	add_fields(out.members["record"]);
	add_fields(out.members["previous"]);
	out.members["change"] = {};
	NameTree key;
	key.open = !scope.key;
	if (scope.key)
		for (auto &column : *scope.key)
			key.members[column].open = true;
	out.members["key"] = key;
	return out;
}

void add_constants(NameTree &tree) {
	for (const char *name : {"sync", "run_id", "object"})
		tree.members[name] = {};
}

void append_member(std::string &out, std::string_view name, std::string_view json) {
	out += out.size() > 1 ? "," : "";
	json_append_string(out, name);
	(out += ':') += json;
}

} // namespace

MessageSpec read_messages(const Reader &sync_config) {
	MessageSpec spec;
	std::string key(messages_key), records(digest_records_key);
	if (sync_config.has(key)) {
		Reader reader = sync_config.at(key);
		reader.only_keys({"added", "changed", "removed", "digest"});
		spec.place = reader.place();
		for (const char *name : {"added", "changed", "removed", "digest"})
			if (reader.has(name))
				spec.templates.emplace(name, reader.at(name).text());
		if (spec.empty())
			reader.fail("is empty", "Allowed: added, changed, removed, or digest alone.");
		if (spec.digest() && spec.templates.size() > 1)
			reader.fail("has \"digest\" beside templates of single changes",
			            "A digest is one message for all changes of a run; added, changed and removed are a message each.",
			            "Use either digest, or any of added, changed and removed.");
	}
	if (sync_config.has(records)) {
		if (!spec.digest())
			sync_config.at(records).fail("has no effect without messages.digest");
		spec.digest_records = static_cast<std::size_t>(sync_config.at(records).integer(1, 20));
	}
	return spec;
}

Messages::Messages(const MessageSpec &spec, const Scope &scope)
    : run_id_(scope.run_id), sync_(scope.sync), object_(scope.object), digest_(spec.digest()) {
	NameTree names;
	if (scope.fields) {
		names = record_names(scope);
		if (digest_) {
			NameTree whole;
			for (auto &name : digest_names())
				whole.members[name] = {};
			for (auto &name : digest_lists)
				whole.members[name] = names;
			names = whole;
		}
		add_constants(names);
	}
	for (auto &[name, text] : spec.templates)
		templates_.try_emplace(name, text, scope.fields ? &names : nullptr, spec.place + "." + name);
}

std::string Messages::render(const Record &record) const {
	std::string frame = "{";
	append_member(frame, "sync", json_string(sync_));
	append_member(frame, "run_id", run_id_.empty() ? "null" : run_id_);
	if (!object_.empty())
		append_member(frame, "object", json_string(object_));
	if (!digest_) {
		append_member(frame, "change", json_string(to_text(record.change)));
		append_member(frame, "key", record.key_json);
		append_member(frame, "previous", record.previous.empty() ? "null" : record.previous);
	}
	append_member(frame, "record", record.fields);
	frame += '}';
	auto found = templates_.find(digest_ ? "digest" : std::string(to_text(record.change)));
	if (found == templates_.end())
		return {};
	return digest_ ? found->second.render(frame, digest_lists) : found->second.render(frame);
}

const std::vector<std::string> &digest_names() {
	static const std::vector<std::string> names {
	    "added",         "changed",       "removed", "added_count", "changed_count", "removed_count",
	    "added_more",    "changed_more",  "removed_more", "count",   "more"};
	return names;
}

std::string digest_fields(const DigestContent &content) {
	std::string out = "{";
	std::int64_t count = 0, more = 0;
	for (int kind = 0; kind < 3; kind++) {
		auto &samples = content.samples[kind];
		std::string list = "[";
		for (auto &sample : samples)
			(list += list.size() > 1 ? "," : "") += sample;
		append_member(out, digest_lists[static_cast<std::size_t>(kind)], list + "]");
	}
	for (int kind = 0; kind < 3; kind++) {
		auto &name = digest_lists[static_cast<std::size_t>(kind)];
		auto rest = content.counts[kind] - static_cast<std::int64_t>(content.samples[kind].size());
		append_member(out, name + "_count", std::to_string(content.counts[kind]));
		append_member(out, name + "_more", std::to_string(rest));
		count += content.counts[kind];
		more += rest;
	}
	append_member(out, "count", std::to_string(count));
	append_member(out, "more", std::to_string(more));
	return out + "}";
}

Scope request_scope(std::string_view key, Scope scope) {
	if (key != "message" || !scope.messages || !scope.messages->digest())
		return scope;
	scope.digest = true;
	if (scope.fields)
		scope.fields = digest_names();
	return scope;
}

void check_messages(const Definition &definition, const std::string &object, const std::string &sync_type, Scope scope) {
	const MessageSpec &spec = definition.messages;
	if (spec.empty())
		return;
	if (sync_type != "notifications")
		throw Error("22023", spec.place + " is for sync type notifications, and this sync's type is " + sync_type, {},
		            "sync_type => 'notifications'");
	Requests requests = requests_for(definition, object);
	bool any = std::any_of(requests.begin(), requests.end(),
	                       [](auto &entry) { return entry.first.starts_with("message"); });
	if (!any && definition.posts_by_default)
		return; // {"text": "{{ message }}"} is posted
	auto check = [&](const std::string &name, const std::string &key) {
		auto found = requests.find(key);
		if (found == requests.end())
			throw Error("22023", spec.place + "." + name + ": the destination has no request to send it with",
			            spec.digest() ? "A digest uses the request \"message\"."
			                          : "It uses the request \"message." + name + "\", or \"message\".");
		if (!RequestTemplate(found->second, request_scope(key, scope)).uses(Source::message))
			throw Error("22023", spec.place + "." + name + " is not used: " + found->second.place + " has no {{ message }}",
			            {}, "For example \"body\": {\"text\": \"{{ message }}\"}.");
	};
	if (spec.digest()) {
		for (Change change : kinds)
			if (auto single = requests.find("message." + std::string(to_text(change)));
			    single != requests.end() && single->second.from_sync)
				throw Error("22023", single->second.place + " is not used by a digest",
				            "A digest is one message for all changes and uses the request \"message\".");
		check("digest", "message");
		return;
	}
	for (Change change : kinds)
		if (std::string name(to_text(change)); spec.templates.contains(name))
			check(name, serving_key(requests, Operation::message, change));
}

} // namespace courier
