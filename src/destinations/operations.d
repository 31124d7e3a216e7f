src/destinations/operations.o: src/destinations/operations.cpp \
 src/destinations/operations.hpp src/core/client.hpp src/core/record.hpp \
 src/core/transport.hpp src/core/delivery.hpp
src/destinations/operations.hpp:
src/core/client.hpp:
src/core/record.hpp:
src/core/transport.hpp:
src/core/delivery.hpp:
