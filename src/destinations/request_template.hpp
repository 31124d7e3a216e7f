#pragma once

// One entry of `requests`, compiled: from a batch of records to method, path, query, headers and body.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/client.hpp"
#include "destinations/encode.hpp"
#include "destinations/template.hpp"

namespace courier {

struct RequestSpec;

class RequestTemplate {
public:
	// `scope.where` is filled in here from the spec's place.
	RequestTemplate(const RequestSpec &spec, Scope scope);

	bool idempotent() const { return idempotent_; }
	// Whether one request can carry several records.
	bool batches() const;
	bool uses(Source source) const; // anywhere in it

	// Records that cannot be rendered are left out and named. `as_array`: a body that is not given is an array of records.
	// The url is what follows base_url; headers begin with the content type.
	Rendered render(Operation operation, std::span<const Record> batch, std::string_view idempotency_key,
	                bool as_array) const;

private:
	enum class Body { none, record, template_json, template_text };

	void append_body(std::string &out, const RenderInput &input) const;
	void append_body_of_record(std::string &out, const RenderInput &input) const;

	std::string method_, content_type_;
	TextTemplate path_;
	std::vector<std::pair<std::string, TextTemplate>> query_, headers_;
	Encoding encoding_ = Encoding::json;
	Body body_ = Body::none;
	JsonTemplate json_;
	TextTemplate text_;
	bool idempotent_ = false;
	bool per_record_outside_ = false; // path, query or headers speak of one record
	bool uses_records_ = false;       // the body has {{ records }}
};

} // namespace courier
