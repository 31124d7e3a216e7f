src/core/plan_sql.o: src/core/plan_sql.cpp src/core/plan_sql.hpp \
 src/core/plan.hpp
src/core/plan_sql.hpp:
src/core/plan.hpp:
