src/core/record.o: src/core/record.cpp src/core/record.hpp
src/core/record.hpp:
