src/destinations/mapper.o: src/destinations/mapper.cpp \
 src/destinations/mapper.hpp src/destinations/rules.hpp \
 src/core/client.hpp src/core/record.hpp src/core/transport.hpp \
 src/destinations/reader.hpp src/core/json_text.hpp
src/destinations/mapper.hpp:
src/destinations/rules.hpp:
src/core/client.hpp:
src/core/record.hpp:
src/core/transport.hpp:
src/destinations/reader.hpp:
src/core/json_text.hpp:
