# The image contains only the program, its licenses, the certificates of public authorities, and a user that is not root.
# `make image` and `docker build .` build it, for the architecture of the machine. `make dist-image` builds it of the programs of
# `make dist`, for two.
FROM docker.io/library/rust:1.95.0-slim-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates make musl-tools perl python3
WORKDIR /src
COPY . .
ARG REVISION=unknown
RUN PGTETHER_REVISION="$REVISION" tests/image/build.sh /out

FROM scratch
LABEL org.opencontainers.image.title="pgtether" \
      org.opencontainers.image.description="Keeps a tested connection to each of your PostgreSQL databases, pools connections, and reports their health" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out /
# OpenSSL is linked in and has no default directory for certificates.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
EXPOSE 10432
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["/pgtether", "healthcheck"]
ENTRYPOINT ["/pgtether"]
