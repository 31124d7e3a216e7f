src/core/schedule.o: src/core/schedule.cpp src/core/schedule.hpp \
 src/core/duration.hpp src/core/error.hpp
src/core/schedule.hpp:
src/core/duration.hpp:
src/core/error.hpp:
