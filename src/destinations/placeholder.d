src/destinations/placeholder.o: src/destinations/placeholder.cpp \
 src/destinations/placeholder.hpp src/destinations/template.hpp \
 src/core/record.hpp src/core/error.hpp src/core/json_text.hpp \
 src/http/sign.hpp src/core/transport.hpp src/http/url.hpp
src/destinations/placeholder.hpp:
src/destinations/template.hpp:
src/core/record.hpp:
src/core/error.hpp:
src/core/json_text.hpp:
src/http/sign.hpp:
src/core/transport.hpp:
src/http/url.hpp:
