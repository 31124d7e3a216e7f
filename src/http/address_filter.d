src/http/address_filter.o: src/http/address_filter.cpp \
 src/http/address_filter.hpp src/core/error.hpp
src/http/address_filter.hpp:
src/core/error.hpp:
