src/http/redact.o: src/http/redact.cpp src/http/redact.hpp \
 src/http/sign.hpp src/core/transport.hpp src/http/url.hpp
src/http/redact.hpp:
src/http/sign.hpp:
src/core/transport.hpp:
src/http/url.hpp:
