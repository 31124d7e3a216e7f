src/destinations/rules.o: src/destinations/rules.cpp \
 src/destinations/rules.hpp src/core/client.hpp src/core/record.hpp \
 src/core/transport.hpp src/destinations/reader.hpp src/core/error.hpp \
 src/core/json_text.hpp
src/destinations/rules.hpp:
src/core/client.hpp:
src/core/record.hpp:
src/core/transport.hpp:
src/destinations/reader.hpp:
src/core/error.hpp:
src/core/json_text.hpp:
