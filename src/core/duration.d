src/core/duration.o: src/core/duration.cpp src/core/duration.hpp \
 src/core/error.hpp
src/core/duration.hpp:
src/core/error.hpp:
