src/destinations/registry.o: src/destinations/registry.cpp \
 src/destinations/registry.hpp src/core/client.hpp src/core/record.hpp \
 src/core/transport.hpp src/destinations/client_settings.hpp \
 src/destinations/definition.hpp src/destinations/auth.hpp \
 src/destinations/reader.hpp src/destinations/encode.hpp \
 src/destinations/mapper.hpp src/destinations/rules.hpp \
 src/destinations/template.hpp src/http/easy_request.hpp \
 src/http/address_filter.hpp src/core/error.hpp \
 src/destinations/declarative.hpp src/destinations/request_template.hpp \
 src/http/redact.hpp src/destinations/http.hpp
src/destinations/registry.hpp:
src/core/client.hpp:
src/core/record.hpp:
src/core/transport.hpp:
src/destinations/client_settings.hpp:
src/destinations/definition.hpp:
src/destinations/auth.hpp:
src/destinations/reader.hpp:
src/destinations/encode.hpp:
src/destinations/mapper.hpp:
src/destinations/rules.hpp:
src/destinations/template.hpp:
src/http/easy_request.hpp:
src/http/address_filter.hpp:
src/core/error.hpp:
src/destinations/declarative.hpp:
src/destinations/request_template.hpp:
src/http/redact.hpp:
src/destinations/http.hpp:
