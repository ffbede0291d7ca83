#!/usr/bin/env bash
# Builds the image, starts it once and asks it. Usage: tests/image/make.sh [TAG]
#
# With docker, podman or buildah, whatever is here first. WITHOUT_REGISTRY=1 pulls nothing: the program is built by this
# machine's Rust, and buildah puts it into the Dockerfile's last stage.
set -euo pipefail
cd "$(dirname "$0")/../.."

version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
tag="${1:-pgtether:$version}"
revision="$(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
work="$(mktemp -d)"
container=""
trap cleanup EXIT

cleanup() {
  if [ -n "$container" ]; then
    "$builder" rm --force "$container" >/dev/null 2>&1 || "$builder" rm "$container" >/dev/null
  fi
  rm -rf "$work"
}

find_builder() {
  local program
  for program in docker podman buildah; do
    # The client alone builds nothing.
    if command -v "$program" >/dev/null && "$program" info >/dev/null 2>&1; then
      echo "$program"
      return
    fi
  done
  echo "image: there is no docker, podman or buildah that works here" >&2
  return 1
}

build() {
  if [ -z "${WITHOUT_REGISTRY:-}" ]; then
    "$builder" build --build-arg "REVISION=$revision" --tag "$tag" .
    return
  fi
  PGTETHER_REVISION="$revision" tests/image/build.sh "$work/out"
  buildah build --isolation chroot --build-context "build=$work" --tag "$tag" .
}

# Runs the image to its end, without anything given.
run_bare() {
  if [ "$builder" = buildah ]; then
    timeout 60 buildah run --isolation chroot "$container" -- /pgtether
  else
    timeout 60 "$builder" run --rm --read-only --cap-drop ALL "$tag"
  fi
}

# Starts it in the background on $port of this machine, with a database that does not answer.
start() {
  local address="--web.listen-address=127.0.0.1:$port"
  local url=postgresql://app@127.0.0.1:9/app
  if [ "$builder" = buildah ]; then
    # Buildah has no background of its own; the program gets its end after a minute at the latest.
    timeout 60 buildah run --isolation chroot --env "DATABASE_URL=$url" "$container" -- /pgtether "$address" &
    started=$!
  else
    container=$("$builder" run --detach --network host --read-only --cap-drop ALL --env "DATABASE_URL=$url" "$tag" "$address")
  fi
}

# Without a configuration it names the two ways to go on, and exits with 64.
bare_start_explains_itself() {
  local code=0
  run_bare >"$work/log" 2>&1 || code=$?
  grep -q DATABASE_URL "$work/log" && [ "$code" = 64 ] && return
  cat "$work/log"
  echo "image: without a configuration it exits with $code, not 64" >&2
  return 1
}

# It lives, it is ready, and it says that the database is not.
started_it_answers() {
  local path codes
  for _ in $(seq 100); do
    codes=""
    for path in livez readyz health; do
      codes+=" $(curl --silent --output /dev/null --max-time 2 --write-out '%{http_code}' "http://127.0.0.1:$port/$path" || true)"
    done
    [ "$codes" = " 200 200 503" ] && return
    sleep 0.1
  done
  echo "image: /livez /readyz /health answer$codes, not 200 200 503" >&2
  return 1
}

stop() {
  [ -z "$started" ] || { kill "$started"; wait "$started" || true; }
}

if [ -n "${WITHOUT_REGISTRY:-}" ]; then builder=buildah; else builder=$(find_builder); fi
port=10439
started=""
build
[ "$builder" != buildah ] || container=$(buildah from "$tag")
bare_start_explains_itself
start
started_it_answers
stop
echo "image: $tag is built and answers; next: push it to your registry, or: kind load docker-image $tag"
