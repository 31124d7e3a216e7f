src/core/delivery.o: src/core/delivery.cpp src/core/delivery.hpp \
 src/core/client.hpp src/core/record.hpp src/core/transport.hpp \
 src/core/delivery_state.hpp src/core/batcher.hpp src/core/breaker.hpp
src/core/delivery.hpp:
src/core/client.hpp:
src/core/record.hpp:
src/core/transport.hpp:
src/core/delivery_state.hpp:
src/core/batcher.hpp:
src/core/breaker.hpp:
