src/core/exchange_log.o: src/core/exchange_log.cpp \
 src/core/exchange_log.hpp src/core/client.hpp src/core/record.hpp \
 src/core/transport.hpp src/core/delivery.hpp src/core/json_text.hpp
src/core/exchange_log.hpp:
src/core/client.hpp:
src/core/record.hpp:
src/core/transport.hpp:
src/core/delivery.hpp:
src/core/json_text.hpp:
