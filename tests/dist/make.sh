#!/usr/bin/env bash
# Builds static programs for Linux and packs them, into target/dist. Usage: tests/dist/make.sh [x86_64] [aarch64]
#
# Each archive has the program, LICENSE, the licenses of what is linked in, and README. The programs need nothing of the
# machine that they run on. The same commit in the same folder gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/../.."

version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
target_dir="${CARGO_TARGET_DIR:-target}"
out="$target_dir/dist"
# Absolute: cargo-zigbuild starts Zig from other folders.
mkdir -p "$target_dir/tools"
tools="$(realpath "$target_dir/tools")/dist"

[ "$#" -gt 0 ] || set -- x86_64 aarch64
# What would be the time of the build is the time of the commit.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"
export PGTETHER_REVISION="${PGTETHER_REVISION:-$(git rev-parse --short HEAD)}"
# Folders of this machine are nobody's business.
export RUSTFLAGS="${RUSTFLAGS---remap-path-prefix=$PWD=/pgtether --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo}"
export PATH="$tools/bin:$PATH" PYTHONPATH="$tools"

build() { # architecture
  local target="$1-unknown-linux-musl"
  rustup target add "$target"
  cargo zigbuild --locked --release --bin pgtether --features static-openssl --target "$target"
}

# What the archive must be: the program of this version and revision, for this architecture, without a dynamic linker.
check() { # architecture, program
  local machine said
  machine="$(readelf --file-header "$2" | sed -n 's/^ *Machine: *//p')"
  case "$1:$machine" in
    x86_64:*X86-64 | aarch64:AArch64) ;;
    *) echo "dist: $2 is for $machine" >&2; return 1 ;;
  esac
  if readelf --program-headers "$2" | grep -q INTERP; then
    echo "dist: $2 needs a dynamic linker" >&2
    return 1
  fi
  local run=("$2")
  if [ "$1" != "$(uname -m)" ]; then
    if ! command -v "qemu-$1-static" >/dev/null; then
      echo "dist: there is no qemu-$1-static here: the program for $1 was not started" >&2
      return
    fi
    run=("qemu-$1-static" "$2")
  fi
  said="$(env -i "${run[@]}" --version)"
  [[ "$said" == "pgtether, version $version"* ]] || { echo "dist: $2 said: $said" >&2; return 1; }
  # Nothing listens there: the check gets as far as the connection, and reports it as Nagios expects.
  local code=0
  said="$(env -i "${run[@]}" check 'postgresql://app@127.0.0.1:9/app')" || code=$?
  [ "$code" = 2 ] || { echo "dist: $2 check ended with $code: $said" >&2; return 1; }
}

pack() { # architecture, program
  local name="pgtether-$version-$1-linux" folder
  folder="$(mktemp -d)"
  mkdir "$folder/$name"
  install --mode=755 "$2" "$folder/$name/pgtether"
  install --mode=644 LICENSE README.md CHANGELOG.md "$folder/$name"
  python3 tests/dist/notices.py "$1-unknown-linux-musl" "$tools/ziglang" >"$folder/$name/NOTICES"
  chmod 644 "$folder/$name/NOTICES"
  # Neither times, nor owners, nor the order of the folder.
  tar --directory "$folder" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    --format=ustar --create "$name" | gzip --no-name --best >"$out/$name.tar.gz"
  rm -r "$folder"
}

rm -rf "$out"
mkdir -p "$out"
for architecture; do
  program="$target_dir/$architecture-unknown-linux-musl/release/pgtether"
  build "$architecture"
  check "$architecture" "$program"
  pack "$architecture" "$program"
done
(cd "$out" && sha256sum ./*.tar.gz | sed 's| \./| |' >SHA256SUMS)
cat "$out/SHA256SUMS"
