src/http/sign_aws.o: src/http/sign_aws.cpp src/http/sign.hpp \
 src/core/transport.hpp src/http/url.hpp
src/http/sign.hpp:
src/core/transport.hpp:
src/http/url.hpp:
