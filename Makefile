# pg_courier: PGXS builds the library and the extension script. `make quickstart` and `make test` are the two commands of the README.

EXTENSION = pg_courier
EXTVERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" pg_courier.control)

MODULE_big = pg_courier
SOURCES = $(sort $(wildcard src/core/*.cpp src/http/*.cpp src/destinations/*.cpp src/destinations/builtin/*.cpp src/pg/*.cpp))
OBJS = $(patsubst %.cpp,%.o,$(SOURCES) builtin_types.cpp)

# The upgrade from the release before: the step written by hand, then all that CREATE OR REPLACE can do (doc/operations.md, "Making a release").
STEPS = $(wildcard sql/upgrade/*--$(EXTVERSION).sql)
UPGRADES = $(patsubst sql/upgrade/%,pg_courier--%,$(STEPS))
DATA_built = pg_courier--$(EXTVERSION).sql $(UPGRADES)
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

EXTRA_CLEAN = $(OBJS:.o=.d) builtin_types.cpp $(DATA_built)

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifneq ($(PGXS),)
include $(PGXS)
endif
-include $(OBJS:.o=.d)

# Names and lines are enough of debug information for tests, and compile in three quarters of the time. Behind the -g of PGXS, whose last one counts.
ifdef FAULT_POINTS
override CXXFLAGS += -g1
endif

# It compares itself with the version of the extension in the database.
src/pg/run_queue.o: override CPPFLAGS += -DCOURIER_VERSION='"$(EXTVERSION)"'
src/pg/run_queue.o: pg_courier.control

pg_courier--$(EXTVERSION).sql: $(INSTALL_SQL) pg_courier.control
	cat $(INSTALL_SQL) > $@

$(UPGRADES): pg_courier--%: sql/upgrade/% sql/upgrade/replay $(INSTALL_SQL) pg_courier.control
	{ printf '%s\n' '\echo Use "ALTER EXTENSION pg_courier UPDATE" to load this file. \quit'; cat $<; perl sql/upgrade/replay $(INSTALL_SQL); } > $@.new
	mv $@.new $@

# The definitions of the built-in destinations. Made anew each time, so that a file that was added or taken away is seen, and
# put into place only if it is another one.
builtin_types.cpp: always
	@sh src/destinations/builtin/embed.sh > $@.new && if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

.PHONY: quickstart test sanitize fuzz bench bench-full always
quickstart:
	./quickstart.sh
test:
	test/run
# Unit tests and destinations with the address and undefined behaviour sanitizers; readers of others' text under libFuzzer (FUZZ_SECONDS for each).
sanitize:
	test/sanitize
fuzz:
	test/fuzz/run $(or $(FUZZ_SECONDS),10)
# bench: about ten minutes. bench-full: 20 and 50 million rows besides (30 GB of disk), and a million records; ARGUMENTS="--rows 10000000" for more.
bench:
	test/install_packages bench
	/usr/bin/python3 bench/run.py $(ARGUMENTS)
bench-full:
	test/install_packages bench
	/usr/bin/python3 bench/run.py --larger 4 10 --records 1000000 $(ARGUMENTS)
