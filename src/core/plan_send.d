src/core/plan_send.o: src/core/plan_send.cpp src/core/plan_sql.hpp \
 src/core/plan.hpp
src/core/plan_sql.hpp:
src/core/plan.hpp:
