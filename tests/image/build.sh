#!/usr/bin/env bash
# Builds the static program and lays out the image's files: the Dockerfile's first stage. Usage: tests/image/build.sh FOLDER
# Needs what the Dockerfile installs before, and the license of the C library, which is there then: MUSL_LICENSE is another.
set -euo pipefail
cd "$(dirname "$0")/../.."

out="$1"
target="$(uname -m)-unknown-linux-musl"
program="${CARGO_TARGET_DIR:-target}/$target/release/pgtether"

rustup target add "$target"
cargo build --locked --release --bin pgtether --features static-openssl --target "$target"
if readelf --program-headers "$program" | grep -q INTERP; then
  echo "image: $program needs a dynamic linker, which the image does not have" >&2
  exit 1
fi
notices="$(mktemp)"
trap 'rm -f "$notices"' EXIT
python3 tests/dist/notices.py "$target" "${MUSL_LICENSE:-/usr/share/doc/musl-tools/copyright}" >"$notices"
tests/image/layout.sh "$out" "$program" LICENSE "$notices" /etc/ssl/certs/ca-certificates.crt
