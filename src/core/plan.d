src/core/plan.o: src/core/plan.cpp src/core/plan.hpp \
 src/core/plan_sql.hpp
src/core/plan.hpp:
src/core/plan_sql.hpp:
