#!/usr/bin/env bash
# Runs what the release workflow runs, as far as that is possible without publishing. Usage: tests/release/dry-run.sh FOLDER
# FOLDER has what `make dist-image` has made. The image and the chart go to a registry of its own on loopback.
set -euo pipefail
folder="$(realpath "$1")"
cd "$(dirname "$0")/../.."

target_dir="$(realpath "${CARGO_TARGET_DIR:-target}")"
export PATH="$target_dir/tools/bin:$PATH"
work="$(mktemp -d)"
registry=""
trap cleanup EXIT
cleanup() {
  [ -z "$registry" ] || kill "$registry"
  rm -rf "$work"
}

step() { echo "release-dry-run: $*" >&2; }

start_registry() {
  port=5439
  cat >"$work/registry.yml" <<YAML
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: 127.0.0.1:$port}
YAML
  docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
  registry=$!
  for _ in $(seq 100); do
    ! curl --silent --fail --output /dev/null "http://127.0.0.1:$port/v2/" || return 0
    sleep 0.1
  done
  cat "$work/registry.log" >&2
  return 1
}

ask_registry() { # path, type
  curl --silent --fail --header "Accept: $2" "http://127.0.0.1:$port/v2/pgtether/$1"
}

# The registry has an image for each platform, with its health check, by digest and by tag.
image_is_there() { # digest
  local docker=application/vnd.docker.distribution.manifest list platforms digest config
  list="$(ask_registry "manifests/$1" "$docker.list.v2+json")"
  [ "$list" = "$(ask_registry "manifests/$version" "$docker.list.v2+json")" ]
  platforms="$(jq --raw-output '[.manifests[].platform.architecture] | sort | join(" ")' <<<"$list")"
  [ "$platforms" = "amd64 arm64" ] || { echo "release: the image is for $platforms" >&2; return 1; }
  for digest in $(jq --raw-output '.manifests[].digest' <<<"$list"); do
    config="$(ask_registry "manifests/$digest" "$docker.v2+json" | jq --raw-output .config.digest)"
    ask_registry "blobs/$config" '*/*' | jq --exit-status '.config.Healthcheck.Test == ["CMD", "/pgtether", "healthcheck"]' >/dev/null ||
      { echo "release: the image $digest has lost its health check" >&2; return 1; }
  done
}

version="$(tests/version.sh)"
step "the workflows"
actionlint -shellcheck= .github/workflows/*.yml
step "the version"
tests/release/agree.sh
tests/release/notes.sh "$version" >"$work/notes.md" 2>/dev/null || {
  step "ATTENTION: CHANGELOG.md has no heading for $version yet; the notes are those of Unreleased"
  tests/release/notes.sh Unreleased >"$work/notes.md"
}
step "the wheels"
PYTHONPATH="$target_dir/tools/release" python3 -m twine check --strict "$folder"/*.whl
step "the image and the chart, to a registry on loopback"
start_registry
digest="$(INSECURE=1 tests/release/publish.sh "$folder" image "127.0.0.1:$port/pgtether")"
image_is_there "${digest#digest=}"
INSECURE=1 tests/release/publish.sh "$folder" chart "127.0.0.1:$port/charts"
helm show chart --plain-http "oci://127.0.0.1:$port/charts/pgtether" --version "$version" | grep -q "^appVersion: $version"
step "the crate"
DRY_RUN=1 tests/release/publish.sh "$folder" crate
step "the packages for npm"
DRY_RUN=1 tests/release/publish.sh "$folder" npm
step "ATTENTION: signatures, provenance, PyPI's upload and the page of the release need GitHub: they were NOT run"
