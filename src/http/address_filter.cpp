#include "http/address_filter.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <cstring>
#include <netinet/in.h>
#include <optional>
#include <string>
#include <sys/socket.h>

#include "core/error.hpp"

namespace courier::http {

namespace {

bool matches(const std::uint8_t *address, const std::uint8_t *prefix, unsigned bits) noexcept {
	unsigned whole = bits / 8, rest = bits % 8;
	if (std::memcmp(address, prefix, whole) != 0)
		return false;
	if (rest == 0)
		return true;
	auto mask = static_cast<std::uint8_t>(0xff << (8 - rest));
	return (address[whole] & mask) == (prefix[whole] & mask);
}

struct Block4 {
	std::uint8_t prefix[4];
	unsigned bits;
};

// The special-purpose registry of IANA, as far as it is not ordinary public address space.
constexpr Block4 not_public_v4[] = {
    {{0, 0, 0, 0}, 8},       // unspecified, "this network"
    {{10, 0, 0, 0}, 8},      // private
    {{100, 64, 0, 0}, 10},   // carrier-grade NAT
    {{127, 0, 0, 0}, 8},     // loopback
    {{169, 254, 0, 0}, 16},  // link-local; 169.254.169.254 hands out credentials in most clouds
    {{172, 16, 0, 0}, 12},   // private
    {{192, 0, 0, 0}, 24},    // protocol assignments
    {{192, 0, 2, 0}, 24},    // documentation
    {{192, 88, 99, 0}, 24},  // 6to4 relays
    {{192, 168, 0, 0}, 16},  // private
    {{198, 18, 0, 0}, 15},   // benchmarks
    {{198, 51, 100, 0}, 24}, // documentation
    {{203, 0, 113, 0}, 24},  // documentation
    {{224, 0, 0, 0}, 4},     // multicast
    {{240, 0, 0, 0}, 4},     // reserved, broadcast
};

struct Block6 {
	std::uint8_t prefix[6];
	unsigned bits;
};

// Inside 2000::/3. Everything outside of it is refused without a table, except what embeds an IPv4 address.
constexpr Block6 not_public_v6[] = {
    {{0x20, 0x01, 0x00, 0x00}, 23}, // protocol assignments, Teredo
    {{0x20, 0x01, 0x0d, 0xb8}, 32}, // documentation
    {{0x3f, 0xff, 0x00, 0x00}, 20}, // documentation
};

constexpr std::uint8_t zeros[12] = {};
constexpr std::uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};     // ::ffff:a.b.c.d
constexpr std::uint8_t translated[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0}; // ::ffff:0:a.b.c.d
constexpr std::uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};                        // 64:ff9b::a.b.c.d
constexpr std::uint8_t sixtofour[2] = {0x20, 0x02};                                 // 2002:ab:cd::

// Where an IPv6 address carries an IPv4 address that a router or the kernel would go to.
const std::uint8_t *embedded_v4(const std::uint8_t *address) noexcept {
	if (matches(address, sixtofour, 16))
		return address + 2;
	for (auto prefix : {zeros, mapped, translated, nat64})
		if (matches(address, prefix, 96))
			return address + 12;
	return nullptr;
}

[[noreturn]] void refuse(std::string_view what, std::string_view item, std::string_view why) {
	throw Error("22023", std::string(what) + ": \"" + std::string(item) + "\" is not a network: " + std::string(why),
	            "Allowed is a list of IPv4 and IPv6 networks or single addresses, separated by commas.",
	            "For example \"10.1.0.0/16, 127.0.0.1, fd00::/8\".");
}

} // namespace

AddressFilter::AddressFilter(std::string_view list, std::string_view what) {
	constexpr std::string_view separators = ", \t\r\n";
	for (std::size_t at = list.find_first_not_of(separators); at != std::string_view::npos;) {
		std::size_t end = std::min(list.find_first_of(separators, at), list.size());
		std::string_view item = list.substr(at, end - at);
		at = list.find_first_not_of(separators, end);

		Network network;
		auto slash = item.find('/');
		std::string address(item.substr(0, slash));
		network.v6 = address.find(':') != std::string::npos;
		if (inet_pton(network.v6 ? AF_INET6 : AF_INET, address.c_str(), network.prefix.data()) != 1)
			refuse(what, item, "the address is not valid");
		unsigned most = network.v6 ? 128 : 32;
		network.bits = most;
		if (slash != std::string_view::npos) {
			auto text = item.substr(slash + 1);
			auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), network.bits);
			if (error != std::errc() || stop != text.data() + text.size() || network.bits > most)
				refuse(what, item, "the length must be from 0 to " + std::to_string(most));
		}
		// 10.1.2.3/8 opens 16 million addresses where perhaps one was meant.
		Bytes only_prefix {};
		for (unsigned bit = 0; bit < network.bits; ++bit)
			only_prefix[bit / 8] |= static_cast<std::uint8_t>(network.prefix[bit / 8] & (0x80 >> (bit % 8)));
		if (only_prefix != network.prefix)
			refuse(what, item, "there are bits set to the right of the length");
		networks_.push_back(network);
	}
}

bool AddressFilter::listed(bool v6, const Bytes &address) const noexcept {
	return std::any_of(networks_.begin(), networks_.end(), [&](const Network &network) {
		return network.v6 == v6 && matches(address.data(), network.prefix.data(), network.bits);
	});
}

bool AddressFilter::allows_v4(const std::uint8_t *address) const noexcept {
	bool is_public = std::none_of(std::begin(not_public_v4), std::end(not_public_v4),
	                              [&](const Block4 &block) { return matches(address, block.prefix, block.bits); });
	if (is_public)
		return true;
	Bytes bytes {};
	std::copy_n(address, 4, bytes.begin());
	return listed(false, bytes);
}

bool AddressFilter::allows_v6(const std::uint8_t *address) const noexcept {
	Bytes bytes {};
	std::copy_n(address, 16, bytes.begin());
	if (listed(true, bytes))
		return true;
	// :: and ::1 look like 0.0.0.0 and 0.0.0.1 in an IPv4-compatible address. They are neither: listing 0.0.0.0/8 must
	// not open the loopback interface.
	if (matches(address, zeros, 96) && address[12] == 0 && address[13] == 0 && address[14] == 0 && address[15] <= 1)
		return false;
	if (auto v4 = embedded_v4(address))
		return allows_v4(v4);
	if ((address[0] & 0xe0) != 0x20)
		return false;
	return std::none_of(std::begin(not_public_v6), std::end(not_public_v6),
	                    [&](const Block6 &block) { return matches(address, block.prefix, block.bits); });
}

bool AddressFilter::allows(const sockaddr *address) const noexcept {
	if (!address)
		return false;
	if (address->sa_family == AF_INET) {
		sockaddr_in v4;
		std::memcpy(&v4, address, sizeof v4);
		return allows_v4(reinterpret_cast<const std::uint8_t *>(&v4.sin_addr));
	}
	if (address->sa_family == AF_INET6) {
		sockaddr_in6 v6;
		std::memcpy(&v6, address, sizeof v6);
		return allows_v6(v6.sin6_addr.s6_addr);
	}
	return false;
}

} // namespace courier::http
