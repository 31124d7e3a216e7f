src/core/breaker.o: src/core/breaker.cpp src/core/breaker.hpp \
 src/core/client.hpp src/core/record.hpp src/core/transport.hpp
src/core/breaker.hpp:
src/core/client.hpp:
src/core/record.hpp:
src/core/transport.hpp:
