#!/usr/bin/env bash
# Builds the static program and lays out the image's files. Usage: tests/image/build.sh FOLDER
# Needs rustup, musl-tools, make, perl and ca-certificates: on Debian, or in the Dockerfile's first stage.
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

rm -rf "$out"
install -D --mode=755 "$program" "$out/pgtether"
install -D --mode=644 /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/ca-certificates.crt"
echo 'pgtether:x:65532:65532::/:/pgtether' >"$out/etc/passwd"
echo 'pgtether:x:65532:' >"$out/etc/group"
