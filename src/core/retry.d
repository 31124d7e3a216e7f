src/core/retry.o: src/core/retry.cpp src/core/retry.hpp \
 src/core/transport.hpp
src/core/retry.hpp:
src/core/transport.hpp:
