# pg_courier: PGXS builds the library and the extension script. `make quickstart` and `make test` are the two commands of the README.

EXTENSION = pg_courier
EXTVERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" pg_courier.control)

MODULE_big = pg_courier
SOURCES = $(sort $(wildcard src/core/*.cpp src/http/*.cpp src/destinations/*.cpp src/destinations/builtin/*.cpp src/pg/*.cpp))
OBJS = $(patsubst %.cpp,%.o,$(SOURCES) builtin_types.cpp)

DATA_built = pg_courier--$(EXTVERSION).sql
DATA = $(wildcard sql/upgrade/*.sql)
INSTALL_SQL = $(sort $(wildcard sql/install/*.sql))

# Debian compiles bitcode with clang and other flags; it brings nothing here. It must be off before PGXS is read.
override with_llvm = no

# Our symbols stay ours: a second extension with a function of the same name must not meet it. The map does it for templates
# of the standard library too, which the visibility flags do not reach. -O2 comes from PGXS.
PG_CXXFLAGS = -std=c++20 -Wall -Wextra -Werror -Wno-register -Wno-missing-field-initializers -fvisibility=hidden -fvisibility-inlines-hidden -MMD -MP
PG_CPPFLAGS = -Isrc
SHLIB_LINK = -lcurl -lssl -lcrypto -lz -lstdc++ -Wl,--version-script=src/pg/exports.map

# Test builds can be told to die at named steps of a run (test/t). Never in a release.
ifdef FAULT_POINTS
PG_CXXFLAGS += -DCOURIER_FAULT_POINTS
endif

EXTRA_CLEAN = $(OBJS:.o=.d) builtin_types.cpp pg_courier--$(EXTVERSION).sql

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifneq ($(PGXS),)
include $(PGXS)
endif
-include $(OBJS:.o=.d)

pg_courier--$(EXTVERSION).sql: $(INSTALL_SQL) pg_courier.control
	cat $(INSTALL_SQL) > $@

# The definitions of the built-in destinations. Made anew each time, so that a file that was added or taken away is seen, and
# put into place only if it is another one.
builtin_types.cpp: always
	@sh src/destinations/builtin/embed.sh > $@.new && if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

.PHONY: quickstart test bench bench-full always
quickstart:
	./quickstart.sh
test:
	test/run
# bench: about ten minutes. bench-full: 20 million rows besides; ARGUMENTS="--rows 10000000" for more.
bench:
	test/install_packages bench
	/usr/bin/python3 bench/run.py $(ARGUMENTS)
bench-full:
	test/install_packages bench
	/usr/bin/python3 bench/run.py --larger 4 --records 1000000 $(ARGUMENTS)
