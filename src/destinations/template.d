src/destinations/template.o: src/destinations/template.cpp \
 src/destinations/template.hpp src/core/record.hpp src/core/error.hpp \
 src/core/json_text.hpp src/destinations/placeholder.hpp src/http/url.hpp \
 src/core/transport.hpp
src/destinations/template.hpp:
src/core/record.hpp:
src/core/error.hpp:
src/core/json_text.hpp:
src/destinations/placeholder.hpp:
src/http/url.hpp:
src/core/transport.hpp:
