#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

struct sockaddr;

namespace courier::http {

// Which addresses requests may go to. Public addresses always; anything that can lead into the machine or its network
// (loopback, private, link-local with the cloud's metadata service, ...) only when a superuser listed it.
//
// It judges addresses, never names: it is asked at connect time about the very address the socket will use. A name that
// was checked earlier could resolve to something else by then.
class AddressFilter {
public:
	AddressFilter() = default; // public addresses only
	// "127.0.0.0/8, ::1/128, 10.1.0.0/16": separated by commas or blanks; an address alone is that one address.
	// Error 22023 names `what` when the text is not such a list.
	explicit AddressFilter(std::string_view list, std::string_view what = "pg_courier.allow_addresses");

	bool allows(const sockaddr *address) const noexcept; // false for all that is neither IPv4 nor IPv6 (unix sockets)

private:
	using Bytes = std::array<std::uint8_t, 16>;
	struct Network {
		bool v6 = false;
		unsigned bits = 0;
		Bytes prefix {};
	};

	bool listed(bool v6, const Bytes &address) const noexcept;
	bool allows_v4(const std::uint8_t *address) const noexcept;
	bool allows_v6(const std::uint8_t *address) const noexcept;

	std::vector<Network> networks_;
};

} // namespace courier::http
