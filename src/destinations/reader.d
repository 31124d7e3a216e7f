src/destinations/reader.o: src/destinations/reader.cpp \
 src/destinations/reader.hpp src/core/error.hpp src/core/json_text.hpp
src/destinations/reader.hpp:
src/core/error.hpp:
src/core/json_text.hpp:
