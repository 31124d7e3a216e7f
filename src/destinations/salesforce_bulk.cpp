#include <algorithm>
#include <unordered_map>

#include "core/json_text.hpp"
#include "destinations/salesforce.hpp"
#include "destinations/csv_text.hpp"
#include "http/url.hpp"

// An ingest job of Bulk API 2.0:
//
//   create -> upload -> close -> poll ... -> succeeded -> unprocessed -> failed
//
// The job's id is kept before anything is uploaded (a job that nobody remembers is empty), and `close` before the job
// is closed, which hands its records over. After a crash in either the job is looked at (`check`): while it is open it
// is ended (`abort`), because its records may be out of date by now; once it was closed its result is waited for.
//
// Rows of results are told apart by the columns that name a record: the external id (upsert), the record id (update,
// delete), the match fields (insert). What no result mentions is not known.

namespace courier {

namespace {

using Json = nlohmann::json;

constexpr std::string_view none = "#N/A"; // an empty cell leaves a field as it is

std::string_view to_bulk(Operation operation) {
	return operation == Operation::insert   ? "insert"
	       : operation == Operation::del    ? "delete"
	       : operation == Operation::upsert ? "upsert"
	                                        : "update";
}

// Nested members are relationship fields, Account.External_Id__c.
void flatten(std::vector<std::pair<std::string, std::string>> &cells, const std::string &prefix,
             std::string_view object) {
	for (auto &[name, value] : json_members(object)) {
		const auto kind = json_kind(value);
		if (kind == JsonKind::object) {
			flatten(cells, prefix + name + ".", value);
			continue;
		}
		std::string text = kind == JsonKind::array ? "" : json_plain(value);
		if (kind == JsonKind::array)
			for (auto element : json_elements(value))
				(text += text.empty() ? "" : ";") += json_plain(element); // a multi-select picklist
		cells.emplace_back(prefix + name, text.empty() ? std::string(none) : text);
	}
}

Move to(Json state, std::string_view step) {
	state["step"] = step;
	Move move;
	move.state = state.dump();
	return move;
}

} // namespace

std::vector<std::string> SalesforceClient::row_columns(Operation operation) const {
	if (operation == Operation::upsert)
		return {match_field()};
	if (needs_id(operation))
		return {"Id"};
	return settings_.match_fields;
}

std::string SalesforceClient::row_name(Operation operation, const Record &record) const {
	if (needs_id(operation))
		return id_of(record) + '\n';
	std::string name;
	for (auto &field : row_columns(operation))
		(name += field_text(record, field)) += '\n';
	return name;
}

std::string SalesforceClient::csv(Operation operation, std::span<const Record> batch) const {
	std::vector<std::string> columns;
	std::unordered_map<std::string, std::size_t> places;
	std::vector<std::vector<std::pair<std::string, std::string>>> rows;
	for (auto &record : batch) {
		std::vector<std::pair<std::string, std::string>> cells;
		if (needs_id(operation)) {
			if (id_of(record).empty())
				continue; // it is missing there
			cells.emplace_back("Id", id_of(record));
		}
		if (operation != Operation::del)
			flatten(cells, "", record.fields);
		for (auto &[name, text] : cells)
			if (places.try_emplace(name, columns.size()).second)
				columns.push_back(name);
		rows.push_back(std::move(cells));
	}
	std::string out;
	const auto write = [&](const std::vector<std::string_view> &cells) {
		for (std::size_t i = 0; i < cells.size(); ++i) {
			out += i ? "," : "";
			append_csv_cell(out, cells[i]);
		}
		out += '\n';
	};
	write({columns.begin(), columns.end()});
	for (auto &row : rows) {
		std::vector<std::string_view> cells(columns.size());
		for (auto &[name, text] : row)
			cells[places.at(name)] = text;
		write(cells);
	}
	return out;
}

Request SalesforceClient::bulk_step(Operation operation, std::span<const Record> batch, const Json &state,
                                    Time now) const {
	const std::string step = state.at("step");
	if (step == "create") {
		nlohmann::ordered_json job {{"object", settings_.object}, {"operation", to_bulk(operation)}};
		if (operation == Operation::upsert)
			job["externalIdFieldName"] = match_field();
		job["contentType"] = "CSV";
		job["lineEnding"] = "LF";
		job["columnDelimiter"] = "COMMA";
		auto out = request("POST", path("/jobs/ingest"), job.dump(), "application/json", now);
		out.idempotent = true; // one more empty job does no harm
		return out;
	}
	const auto job = path("/jobs/ingest/" + http::percent_encode(state.at("job").get<std::string>()));
	if (step == "upload")
		return request("PUT", job + "/batches", csv(operation, batch), "text/csv", now);
	if (step == "close" || step == "abort")
		return request("PATCH", job, step == "close" ? R"({"state":"UploadComplete"})" : R"({"state":"Aborted"})",
		               "application/json", now);
	if (step == "succeeded")
		return request("GET", job + "/successfulResults", "", "", now);
	if (step == "unprocessed")
		return request("GET", job + "/unprocessedrecords", "", "", now);
	if (step == "failed")
		return request("GET", job + "/failedResults", "", "", now);
	return request("GET", job, "", "", now); // poll, check
}

Move SalesforceClient::bulk_next(Operation operation, std::span<Record> batch, Json state, const Answer &answer) const {
	const std::string step = state.at("step");
	const auto verdict = trouble(answer);
	if (verdict && verdict->verdict != Verdict::rejected && verdict->verdict != Verdict::split)
		return move_for(*verdict, batch.size());
	if (step == "create") {
		auto id = json_find(answer.body, {"id"});
		if (verdict || !id)
			return move_for(verdict.value_or(unreadable("the answer has no job id")), batch.size());
		auto move = to({{"job", json_plain(*id)}}, "upload");
		move.keep = true;
		return move;
	}
	if (step == "upload") {
		if (verdict) {
			// It refuses the file, not the records one by one.
			Move move;
			move.verdicts = all(batch.size(), *verdict);
			return move;
		}
		auto move = to(state, "close");
		move.keep = true;
		move.handed_over = true; // from the next request on we may not hear that it is closed
		return move;
	}
	if (verdict && answer.status == 404) {
		Move move;
		move.verdicts =
		    all(batch.size(), unreadable("Salesforce does not know job " + state.value("job", "") + " any more"));
		return move;
	}
	if (step == "close" || step == "abort") {
		// Refused: it was closed before, by a request whose answer we did not hear.
		if (step == "abort" && !verdict) {
			Move move;
			move.verdicts = all(batch.size(), {Verdict::retry});
			return move;
		}
		auto move = to(state, "poll");
		move.handed_over = move.poll = true;
		return move;
	}
	if (verdict) {
		auto again = *verdict;
		again.verdict = Verdict::retry; // no answer about records
		return move_for(again, batch.size());
	}
	if (step == "poll" || step == "check")
		return polled(batch, std::move(state), answer);
	return bulk_results(operation, batch, std::move(state), answer);
}

Move SalesforceClient::polled(std::span<Record> batch, Json state, const Answer &answer) const {
	const auto text = [&](const char *name) {
		auto found = json_find(answer.body, {name});
		return found ? json_plain(*found) : std::string();
	};
	const auto where = text("state");
	if (where == "Open" && state.at("step") == "check")
		return to(state, "abort");
	if (where == "Open") { // our request to close it was refused for another reason
		auto move = to(state, "close");
		move.poll = true;
		return move;
	}
	if (where == "JobComplete" || where == "Failed" || where == "Aborted") {
		state["end"] = where;
		if (auto message = text("errorMessage"); !message.empty())
			state["message"] = message;
		state["marks"] = std::string(batch.size(), '.');
		auto move = to(state, "succeeded");
		move.handed_over = true;
		return move;
	}
	auto move = to(state, "poll");
	move.handed_over = move.poll = true;
	return move;
}

Move SalesforceClient::bulk_results(Operation operation, std::span<Record> batch, Json state,
                                    const Answer &answer) const {
	const std::string step = state.at("step");
	const auto rows = read_csv(answer.body);
	Move move;
	if (!rows) {
		move.verdicts = all(batch.size(), unreadable("the results of job " + state.value("job", "") + " are no CSV"));
		return move;
	}
	const auto &header = rows->empty() ? std::vector<std::string> {} : rows->front();
	const auto column = [&](const std::string &name) {
		return static_cast<std::size_t>(std::find(header.begin(), header.end(), name) - header.begin());
	};
	std::vector<std::size_t> naming;
	for (auto &name : row_columns(operation))
		naming.push_back(column(name));
	std::unordered_map<std::string, std::size_t> places;
	for (std::size_t i = 0; i < batch.size(); ++i)
		places.emplace(row_name(operation, batch[i]), i);
	const auto id = column("sf__Id"), error = column("sf__Error");
	auto marks = state.at("marks").get<std::string>();
	std::unordered_map<std::size_t, std::string> errors;
	for (std::size_t row = 1; row < rows->size(); ++row) {
		const auto &cells = (*rows)[row];
		const auto cell = [&](std::size_t at) { return at < cells.size() ? cells[at] : std::string(); };
		std::string name;
		for (auto at : naming)
			(name += cell(at)) += '\n';
		const auto place = places.find(name);
		if (place == places.end())
			continue;
		marks[place->second] = step[0];
		if (step == "succeeded")
			batch[place->second].remote_id = cell(id);
		else if (step == "failed")
			errors[place->second] = cell(error);
	}
	state["marks"] = marks;
	if (step == "succeeded")
		return to(state, "unprocessed");
	if (step == "unprocessed")
		return to(state, "failed");

	const auto end = state.value("end", "");
	move.verdicts.emplace();
	for (std::size_t i = 0; i < batch.size(); ++i) {
		RecordVerdict verdict;
		if (marks[i] == 's') {
			verdict.remote_id = batch[i].remote_id;
		} else if (marks[i] == 'f') {
			const auto &said = errors[i]; // CODE:words:field --
			verdict = failure(operation, said.substr(0, said.find(':')), said);
		} else if (needs_id(operation) && id_of(batch[i]).empty()) {
			verdict.verdict = Verdict::missing;
		} else if (end == "Failed" && marks[i] != 's') {
			verdict.verdict = Verdict::rejected;
			verdict.code = "job_failed";
			verdict.message = state.value("message", "the job failed");
		} else if (marks[i] == 'u') {
			verdict.verdict = Verdict::retry;
			verdict.code = "unprocessed";
			verdict.message =
			    end == "Aborted" ? "the job was aborted at Salesforce" : "the job did not come to this record";
		} else {
			verdict = unreadable("no result of job " + state.value("job", "") + " mentions this record");
		}
		move.verdicts->push_back(std::move(verdict));
	}
	return move;
}

Move SalesforceClient::resume(Operation, std::span<Record> batch, const std::string &state) {
	const auto json = Json::parse(state, nullptr, false);
	if (!json.is_object() || !json.contains("job")) {
		Move move;
		move.verdicts = all(batch.size(), {Verdict::retry});
		return move;
	}
	auto move = to({{"job", json["job"]}}, "check");
	move.handed_over = true; // as long as nobody has said that it was not closed
	return move;
}

} // namespace courier
