src/core/delivery_answers.o: src/core/delivery_answers.cpp \
 src/core/delivery_state.hpp src/core/batcher.hpp src/core/record.hpp \
 src/core/breaker.hpp src/core/client.hpp src/core/transport.hpp \
 src/core/delivery.hpp src/core/exchange_log.hpp src/core/retry.hpp
src/core/delivery_state.hpp:
src/core/batcher.hpp:
src/core/record.hpp:
src/core/breaker.hpp:
src/core/client.hpp:
src/core/transport.hpp:
src/core/delivery.hpp:
src/core/exchange_log.hpp:
src/core/retry.hpp:
