src/destinations/requests.o: src/destinations/requests.cpp \
 src/core/error.hpp src/destinations/definition.hpp src/core/record.hpp \
 src/destinations/auth.hpp src/core/transport.hpp \
 src/destinations/reader.hpp src/destinations/encode.hpp \
 src/destinations/mapper.hpp src/destinations/rules.hpp \
 src/core/client.hpp src/destinations/template.hpp
src/core/error.hpp:
src/destinations/definition.hpp:
src/core/record.hpp:
src/destinations/auth.hpp:
src/core/transport.hpp:
src/destinations/reader.hpp:
src/destinations/encode.hpp:
src/destinations/mapper.hpp:
src/destinations/rules.hpp:
src/core/client.hpp:
src/destinations/template.hpp:
