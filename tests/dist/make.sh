#!/usr/bin/env bash
# Builds static programs for Linux, packs them into target/dist, installs each package and asks it.
# Usage: tests/dist/make.sh [--twice] [x86_64] [aarch64]
#
# The programs need nothing of the machine that they run on. The same commit in the same folder gives the same bytes: --twice
# builds everything once more, from nothing, and compares.
set -euo pipefail
cd "$(dirname "$0")/../.."

target_dir="${CARGO_TARGET_DIR:-target}"
out="$target_dir/dist"
# Absolute: cargo-zigbuild starts Zig from other folders.
mkdir -p "$target_dir/tools"
tools="$(realpath "$target_dir/tools")/dist"

twice=no
if [ "${1:-}" = --twice ]; then
  twice=yes
  shift
fi
[ "$#" -gt 0 ] || set -- x86_64 aarch64
# What would be the time of the build is the time of the commit.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"
export PGTETHER_REVISION="${PGTETHER_REVISION:-$(git describe --always --dirty --abbrev=12 --exclude='*')}"
# Folders of this machine are nobody's business.
export RUSTFLAGS="${RUSTFLAGS---remap-path-prefix=$PWD=/pgtether --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo}"
export PATH="$tools/bin:$PATH" PYTHONPATH="$tools"
export PIP_NO_INDEX=1 PIP_DISABLE_PIP_VERSION_CHECK=1
[ ! -d "$tools/debian" ] || export DEBIAN_ROOT="$tools/debian"

program() { echo "$target_dir/$1-unknown-linux-musl/release/pgtether"; }

build() { # architecture
  rustup target add "$1-unknown-linux-musl"
  cargo zigbuild --locked --release --bin pgtether --features static-openssl --target "$1-unknown-linux-musl"
}

# The program must be for this architecture, and need no dynamic linker.
check() { # architecture, program
  local machine
  machine="$(readelf --file-header "$2" | sed -n 's/^ *Machine: *//p')"
  case "$1:$machine" in
    x86_64:*X86-64 | aarch64:AArch64) ;;
    *) echo "dist: $2 is for $machine" >&2; return 1 ;;
  esac
  if readelf --program-headers "$2" | grep -q INTERP; then
    echo "dist: $2 needs a dynamic linker" >&2
    return 1
  fi
}

make_all() { # architecture...
  local architecture
  rm -rf "$out"
  mkdir -p "$out"
  for architecture; do
    build "$architecture"
    check "$architecture" "$(program "$architecture")"
    python3 tests/dist/pack.py "$architecture" "$(program "$architecture")" "$out" --zig "$tools/ziglang"
  done
  tests/dist/sums.sh "$out"
}

make_all "$@"
if [ "$twice" = yes ]; then
  first="$(mktemp)"
  trap 'rm -f "$first"' EXIT
  cp "$out/SHA256SUMS" "$first"
  for architecture; do rm -rf "$target_dir/$architecture-unknown-linux-musl"; done
  make_all "$@"
  diff "$first" "$out/SHA256SUMS" || { echo "dist: the same commit gave other bytes" >&2; exit 1; }
  echo "dist: built twice, with the same checksums"
fi
python3 tests/dist/valid.py "$out"/*.cdx.json
for architecture; do tests/dist/install.sh "$out" "$architecture"; done
cat "$out/SHA256SUMS"
