#include "pg/secrets.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "pg/settings.hpp"
#include "pg/spi.hpp"

// Secrets are read when a run starts, by the worker, and live in its memory alone. Files are looked at anew each time, so a
// rotated token is used by the next run.

namespace courier::pg {

namespace {

constexpr std::size_t largest_secret = 64 << 10;

std::string from_file(const std::string &destination, const std::string &secret, const std::string &name) {
	namespace fs = std::filesystem;
	std::string where = "secret \"" + secret + "\" of destination \"" + destination + "\"";
	std::string directory = settings::secrets_directory ? settings::secrets_directory : "";
	if (directory.empty())
		throw Error("55000", where + " is in a file, and pg_courier.secrets_directory is not set", {},
		            "A superuser sets pg_courier.secrets_directory to the directory that holds secret files.");
	std::error_code failed;
	fs::path base = fs::canonical(directory, failed);
	if (failed)
		throw Error("58P01", "pg_courier.secrets_directory \"" + directory + "\" cannot be read: " + failed.message());
	fs::path path = fs::canonical(base / name, failed);
	if (failed)
		throw Error("58P01", where + ": file \"" + name + "\" cannot be read: " + failed.message(), {},
		            "It must be below pg_courier.secrets_directory and readable by the server.");
	// Symbolic links may lead anywhere inside the directory, and nowhere else.
	auto inside = std::mismatch(base.begin(), base.end(), path.begin(), path.end());
	if (inside.first != base.end() || !fs::is_regular_file(path, failed))
		throw Error("42501", where + ": \"" + name + "\" is not a file below pg_courier.secrets_directory");
	std::ifstream file(path, std::ios::binary);
	std::string value(largest_secret + 1, '\0');
	file.read(value.data(), static_cast<std::streamsize>(value.size()));
	value.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
	if (value.size() > largest_secret)
		throw Error("54000", where + ": file \"" + name + "\" is larger than 64 kB");
	while (!value.empty() && (value.back() == '\n' || value.back() == '\r'))
		value.pop_back();
	if (value.empty())
		throw Error("22023", where + ": file \"" + name + "\" is empty");
	return value;
}

bool is_allowed_name(const std::string &name) {
	std::string list = settings::secret_env ? settings::secret_env : "";
	std::replace(list.begin(), list.end(), ',', ' ');
	std::istringstream names(list);
	for (std::string allowed; names >> allowed;)
		if (allowed == name)
			return true;
	return false;
}

std::string from_environment(const std::string &destination, const std::string &secret, const std::string &name) {
	std::string where = "secret \"" + secret + "\" of destination \"" + destination + "\"";
	if (!is_allowed_name(name))
		throw Error("42501", where + ": environment variable \"" + name + "\" is not allowed", {},
		            "A superuser lists it in pg_courier.secret_env.");
	const char *value = std::getenv(name.c_str());
	if (!value || !*value)
		throw Error("58P01", where + ": environment variable \"" + name + "\" is not set in the server's environment");
	return value;
}

} // namespace

std::map<std::string, std::string> resolve_secrets(int destination_id, const std::string &destination,
                                                   const nlohmann::json &references) {
	std::map<std::string, std::string> out;
	for (auto &[name, reference] : references.items()) {
		if (reference.contains("file")) {
			out[name] = from_file(destination, name, reference["file"].get<std::string>());
		} else if (reference.contains("env")) {
			out[name] = from_environment(destination, name, reference["env"].get<std::string>());
		} else {
			Rows rows = spi_execute("SELECT value FROM courier_internal.secret WHERE destination_id = $1 AND name = $2",
			                        destination_id, name);
			if (rows.empty())
				throw Error("55000", "secret \"" + name + "\" of destination \"" + destination + "\" has no value here",
				            "Secrets that were given as text are not part of a dump.",
				            "Give it again with courier.alter_destination(..., secrets => ...).");
			out[name] = rows.get<std::string>(0, 0);
		}
	}
	return out;
}

} // namespace courier::pg
