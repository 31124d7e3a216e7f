src/core/plan_rows.o: src/core/plan_rows.cpp src/core/plan_sql.hpp \
 src/core/plan.hpp
src/core/plan_sql.hpp:
src/core/plan.hpp:
