#pragma once

// Messages of notifications: the sync's config `messages`, one Mustache template per kind of change, or one for the digest
// of a run. The text that comes out is {{ message }} in requests.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/record.hpp"
#include "destinations/mustache.hpp"
#include "destinations/reader.hpp"

namespace courier {

struct Definition;
struct Scope;

// The keys of a sync's config that are read here, whatever the destination.
inline constexpr std::string_view messages_key = "messages", digest_records_key = "digest_records";

struct MessageSpec {
	std::string place;                            // for messages: 'config of sync "x": messages'
	std::map<std::string, std::string> templates; // added, changed, removed, or digest
	std::size_t digest_records = 10;              // samples of each kind

	bool empty() const { return templates.empty(); }
	bool digest() const { return templates.contains("digest"); }
};

MessageSpec read_messages(const Reader &sync_config);

class Messages {
public:
	// Checks syntax, and names where the scope knows the fields.
	Messages(const MessageSpec &spec, const Scope &scope);

	bool digest() const { return digest_; }
	bool has(Change change) const { return digest_ || templates_.contains(std::string(to_text(change))); }
	// Of a digest, the record is the one that digest_fields() makes.
	std::string render(const Record &record) const;

private:
	std::map<std::string, Mustache> templates_;
	std::string run_id_, sync_, object_;
	bool digest_;
};

// What stands for all changes of a run: added, changed and removed are samples, each {"change", "key", "previous",
// "record"} as JSON text, in that order; counts are of all.
struct DigestContent {
	std::vector<std::string> samples[3];
	std::int64_t counts[3] = {0, 0, 0};
};
std::string digest_fields(const DigestContent &content);
const std::vector<std::string> &digest_names(); // the members of that

// The scope of the request that is keyed so: that of a digest speaks of a whole run.
Scope request_scope(std::string_view key, Scope scope);

// Whether the requests can send these messages, and send them all. `definition` has them already; sync_type is resolved.
void check_messages(const Definition &definition, const std::string &object, const std::string &sync_type, Scope scope);

} // namespace courier
