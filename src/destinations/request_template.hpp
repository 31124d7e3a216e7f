#pragma once

// One entry of `requests`, compiled: from a batch of records to method, path, query, headers and body.
//
// There are three ways to the body. `{{ records }}` names the batch: every record becomes an element (its `each`, or the
// record itself), and the rest of the request is rendered once around them. Without it the body is a template of one
// record: encodings that can stand one after the other (lines, ndjson, csv, and a json array where no body is given) make a
// batch of several, the others carry one. A request may speak of one record outside of its elements only where all records
// of a batch agree on it: in what `group_by` names.

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
	struct Options {
		bool as_array = false;        // a body that is not given is an array of records
		std::size_t record_bytes = 0; // of a record's part in the body; 0: any
	};

	// `scope.where` is filled in here from the spec's place.
	RequestTemplate(const RequestSpec &spec, Scope scope);

	bool idempotent() const { return idempotent_; }
	bool gzip() const { return gzip_; }
	std::optional<double> rate() const { return rate_; }
	// Whether one request can carry several records.
	bool batches() const;
	bool names_remote_id() const; // in its path, query or body
	// Only records with the same text may share a batch.
	std::string group(Operation operation, const Record &record) const;
	bool groups() const { return group_by_.has_value(); }
	bool uses(Source source) const; // anywhere in it

	// Records that cannot be rendered are left out and named. The url is what follows base_url; headers begin with the
	// content type.
	Rendered render(Operation operation, std::span<const Record> batch, std::string_view idempotency_key,
	                const Options &options) const;

private:
	enum class Body { none, record, template_json, template_text };
	struct Part {
		std::string name;
		TextTemplate text;
		bool each = false; // once per record
	};

	void compile_body(const RequestSpec &spec, Scope &scope);
	void compile_each(const RequestSpec &spec, Scope &scope);
	void check_batch(const RequestSpec &spec);
	void visit(const PlaceholderVisitor &visitor) const;

	void append_body(std::string &out, const RenderInput &input) const;
	void append_body_of_record(std::string &out, const RenderInput &input) const;
	void append_outside(Request &request, RenderInput input) const;
	void render_batch(Rendered &out, RenderInput input, const Options &options) const;
	void render_one_by_one(Rendered &out, RenderInput input, const Options &options) const;

	std::string method_, content_type_;
	TextTemplate path_;
	std::vector<Part> query_;
	std::vector<std::pair<std::string, TextTemplate>> headers_;
	Encoding encoding_ = Encoding::json;
	Body body_ = Body::none;
	JsonTemplate json_;
	TextTemplate text_;
	std::optional<JsonTemplate> each_;
	bool each_is_value_ = false; // a scalar: nothing is no element
	std::optional<TextTemplate> each_key_, group_by_;
	std::vector<std::vector<std::string>> rest_lacks_;
	bool idempotent_ = false, gzip_ = false, dotted_ = false, csv_header_ = true;
	std::optional<double> rate_;
	bool one_record_outside_ = false; // path, query or headers speak of one record, beyond group_by
	bool uses_records_ = false;       // something has {{ records }}, or `each`
	bool uses_columns_ = false;       // something has {{ fields }} or {{ values }}
};

} // namespace courier
