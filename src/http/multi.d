src/http/multi.o: src/http/multi.cpp src/http/multi.hpp \
 src/core/transport.hpp src/http/easy_request.hpp \
 src/http/address_filter.hpp src/core/error.hpp
src/http/multi.hpp:
src/core/transport.hpp:
src/http/easy_request.hpp:
src/http/address_filter.hpp:
src/core/error.hpp:
