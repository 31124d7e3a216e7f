src/core/batcher.o: src/core/batcher.cpp src/core/batcher.hpp \
 src/core/record.hpp
src/core/batcher.hpp:
src/core/record.hpp:
