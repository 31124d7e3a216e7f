src/destinations/declarative.o: src/destinations/declarative.cpp \
 src/destinations/declarative.hpp src/core/client.hpp src/core/record.hpp \
 src/core/transport.hpp src/destinations/client_settings.hpp \
 src/destinations/definition.hpp src/destinations/auth.hpp \
 src/destinations/reader.hpp src/destinations/encode.hpp \
 src/destinations/mapper.hpp src/destinations/rules.hpp \
 src/destinations/template.hpp src/destinations/request_template.hpp \
 src/http/redact.hpp src/core/error.hpp src/core/json_text.hpp \
 src/core/retry.hpp src/destinations/http.hpp src/http/sign.hpp \
 src/http/url.hpp
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
src/core/error.hpp:
src/core/json_text.hpp:
src/core/retry.hpp:
src/destinations/http.hpp:
src/http/sign.hpp:
src/http/url.hpp:
