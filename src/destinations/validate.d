src/destinations/validate.o: src/destinations/validate.cpp \
 src/destinations/validate.hpp src/core/error.hpp src/core/options.hpp \
 src/destinations/declarative.hpp src/core/client.hpp src/core/record.hpp \
 src/core/transport.hpp src/destinations/client_settings.hpp \
 src/destinations/definition.hpp src/destinations/auth.hpp \
 src/destinations/reader.hpp src/destinations/encode.hpp \
 src/destinations/mapper.hpp src/destinations/rules.hpp \
 src/destinations/template.hpp src/destinations/request_template.hpp \
 src/http/redact.hpp src/destinations/http.hpp \
 src/destinations/registry.hpp src/http/easy_request.hpp \
 src/http/address_filter.hpp src/http/url.hpp
src/destinations/validate.hpp:
src/core/error.hpp:
src/core/options.hpp:
src/destinations/declarative.hpp:
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
src/destinations/request_template.hpp:
src/http/redact.hpp:
src/destinations/http.hpp:
src/destinations/registry.hpp:
src/http/easy_request.hpp:
src/http/address_filter.hpp:
src/http/url.hpp:
