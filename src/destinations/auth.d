src/destinations/auth.o: src/destinations/auth.cpp \
 src/destinations/auth.hpp src/core/transport.hpp \
 src/destinations/reader.hpp src/core/error.hpp \
 src/destinations/mapper.hpp src/destinations/rules.hpp \
 src/core/client.hpp src/core/record.hpp src/http/sign.hpp \
 src/http/url.hpp
src/destinations/auth.hpp:
src/core/transport.hpp:
src/destinations/reader.hpp:
src/core/error.hpp:
src/destinations/mapper.hpp:
src/destinations/rules.hpp:
src/core/client.hpp:
src/core/record.hpp:
src/http/sign.hpp:
src/http/url.hpp:
