src/http/sign.o: src/http/sign.cpp src/http/sign.hpp \
 src/core/transport.hpp src/core/error.hpp
src/http/sign.hpp:
src/core/transport.hpp:
src/core/error.hpp:
