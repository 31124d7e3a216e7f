#pragma once

#include "destinations/rest_client.hpp"

namespace courier {

// salesforce.cpp: sObject Collections, 200 records a request, for runs of few changes, and how records are found.
// salesforce_bulk.cpp: Bulk API 2.0 ingest jobs, for runs of many.
class SalesforceClient final : public RestClient {
public:
	explicit SalesforceClient(const ClientSettings &settings);

	void expect(std::uint64_t changes) override;
	Limits limits(Operation operation) const override;
	bool has(Operation operation) const override;
	std::optional<std::string> authorized(const Answer &answer, std::chrono::system_clock::time_point now) override;
	Rendered render(Operation operation, std::span<const Record> batch,
	                std::chrono::system_clock::time_point now) override;
	std::vector<RecordVerdict> classify(Operation operation, const Rendered &rendered, std::span<const Record> batch,
	                                    const Answer &answer) const override;
	Request step(Operation operation, std::span<const Record> batch, const std::string &state,
	             std::chrono::system_clock::time_point now) override;
	Move next(Operation operation, std::span<Record> batch, const std::string &state, const Answer &answer) override;
	Move resume(Operation operation, std::span<Record> batch, const std::string &state) override;
	bool repeatable(Operation operation) const override;
	Request test(std::chrono::system_clock::time_point now) override;

private:
	using Json = nlohmann::json;
	using Time = std::chrono::system_clock::time_point;

	std::optional<RecordVerdict> trouble(const Answer &answer) const override;
	std::string path(const std::string &rest) const { return "/services/data/" + version_ + rest; }
	bool needs_id(Operation operation) const;
	std::string id_of(const Record &record) const;
	std::string match_field() const { return settings_.match_fields.empty() ? "" : settings_.match_fields.front(); }

	Request collection(Operation operation, std::span<const Record> batch, std::span<const std::size_t> records,
	                   Time now) const;
	std::vector<RecordVerdict> results(Operation operation, std::size_t records, const Answer &answer) const;
	RecordVerdict failure(Operation operation, const std::string &code, std::string message) const;

	// Finding ids: which records one query asks for, from `at` on, and where the next one begins.
	struct Query {
		std::string text;
		std::size_t next = 0;
	};
	Query query(std::span<const Record> batch, std::size_t at) const;
	Move found(Operation operation, std::span<Record> batch, std::size_t at, const Answer &answer) const;
	std::vector<std::size_t> with_id(std::span<const Record> batch) const;

	// salesforce_bulk.cpp
	Request bulk_step(Operation operation, std::span<const Record> batch, const Json &state, Time now) const;
	Move bulk_next(Operation operation, std::span<Record> batch, Json state, const Answer &answer) const;
	Move polled(std::span<Record> batch, Json state, const Answer &answer) const;
	Move bulk_results(Operation operation, std::span<Record> batch, Json state, const Answer &answer) const;
	std::string csv(Operation operation, std::span<const Record> batch) const;
	std::string row_name(Operation operation, const Record &record) const;
	std::vector<std::string> row_columns(Operation operation) const;

	std::string version_, api_;
	std::uint64_t bulk_above_ = 2000;
	bool bulk_ = false;
};

} // namespace courier
