src/destinations/encode.o: src/destinations/encode.cpp \
 src/destinations/encode.hpp src/core/error.hpp src/core/json_text.hpp \
 src/http/url.hpp src/core/transport.hpp
src/destinations/encode.hpp:
src/core/error.hpp:
src/core/json_text.hpp:
src/http/url.hpp:
src/core/transport.hpp:
