src/http/easy_request.o: src/http/easy_request.cpp \
 src/http/easy_request.hpp src/core/transport.hpp \
 src/http/address_filter.hpp src/core/error.hpp src/http/url.hpp
src/http/easy_request.hpp:
src/core/transport.hpp:
src/http/address_filter.hpp:
src/core/error.hpp:
src/http/url.hpp:
