# An image with nothing in it but the program, the certificates of public authorities, and a user who is not root.
# `make image` builds it; so does `docker build .`, for the machine's own architecture.
FROM docker.io/library/rust:1.95.0-slim-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates make musl-tools perl
WORKDIR /src
COPY . .
ARG REVISION=unknown
RUN PGTETHER_REVISION="$REVISION" tests/image/build.sh /out

FROM scratch
LABEL org.opencontainers.image.title="pgtether" \
      org.opencontainers.image.description="Keeps a live, proven line to every PostgreSQL database you name, and tells the truth about it" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out /
# OpenSSL is linked in and has no folder of its own to look into.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
EXPOSE 10432
ENTRYPOINT ["/pgtether"]
