src/core/options.o: src/core/options.cpp src/core/options.hpp \
 src/core/duration.hpp src/core/error.hpp
src/core/options.hpp:
src/core/duration.hpp:
src/core/error.hpp:
