src/http/url.o: src/http/url.cpp src/http/url.hpp src/core/transport.hpp \
 src/core/error.hpp
src/http/url.hpp:
src/core/transport.hpp:
src/core/error.hpp:
