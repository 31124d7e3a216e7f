src/destinations/request_template.o: \
 src/destinations/request_template.cpp \
 src/destinations/request_template.hpp src/core/client.hpp \
 src/core/record.hpp src/core/transport.hpp src/destinations/encode.hpp \
 src/destinations/template.hpp src/core/error.hpp src/core/json_text.hpp \
 src/destinations/definition.hpp src/destinations/auth.hpp \
 src/destinations/reader.hpp src/destinations/mapper.hpp \
 src/destinations/rules.hpp src/http/url.hpp
src/destinations/request_template.hpp:
src/core/client.hpp:
src/core/record.hpp:
src/core/transport.hpp:
src/destinations/encode.hpp:
src/destinations/template.hpp:
src/core/error.hpp:
src/core/json_text.hpp:
src/destinations/definition.hpp:
src/destinations/auth.hpp:
src/destinations/reader.hpp:
src/destinations/mapper.hpp:
src/destinations/rules.hpp:
src/http/url.hpp:
