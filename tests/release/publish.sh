#!/usr/bin/env bash
# Publishes one kind of what `make dist-image` has made. Usage:
#   tests/release/publish.sh FOLDER image REPOSITORY    for example ghcr.io/OWNER/pgtether; prints digest=...
#   tests/release/publish.sh FOLDER sign IMAGE@DIGEST   signs that image and the checksums, without a key of ours
#   tests/release/publish.sh FOLDER chart REGISTRY      for example ghcr.io/OWNER/charts
#   tests/release/publish.sh FOLDER crate
#   tests/release/publish.sh FOLDER npm
#   tests/release/publish.sh FOLDER page TAG            the release's page on GitHub, with all files
# DRY_RUN=1 publishes nothing: registries of programs are asked only whether they would take it. INSECURE=1 speaks plain HTTP with
# the registry of images and charts.
set -euo pipefail
folder="$(realpath "$1")"
what="$2"
cd "$(dirname "$0")/../.."

version="$(tests/version.sh)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
dry=()
[ -z "${DRY_RUN:-}" ] || dry=(--dry-run)

image() { # repository
  local list="pgtether-release:$version" platform
  local buildah_flags=() tags=("$version")
  [ -z "${INSECURE:-}" ] || buildah_flags=(--tls-verify=false)
  # A version before a release is not the latest.
  [[ "$version" == *-* ]] || tags+=(latest)
  buildah manifest rm "$list" >/dev/null 2>&1 || true
  buildah manifest create "$list" >/dev/null
  for platform in amd64 arm64; do
    buildah manifest add --os linux --arch "$platform" "$list" \
      "docker-archive:$folder/pgtether-$version-image-$platform.tar" >/dev/null
  done
  for tag in "${tags[@]}"; do
    # The health check is not part of the standard format.
    buildah manifest push --quiet --all --format v2s2 "${buildah_flags[@]}" --digestfile "$work/digest" "$list" \
      "docker://$1:$tag" >&2
  done
  buildah manifest rm "$list" >/dev/null
  echo "digest=$(cat "$work/digest")" | tee -a "${GITHUB_OUTPUT:-/dev/null}"
}

sign() { # image with its digest
  cosign sign --yes --recursive "$1"
  cosign sign-blob --yes --bundle "$folder/SHA256SUMS.sigstore.json" "$folder/SHA256SUMS"
}

chart() { # registry
  local helm_flags=()
  [ -z "${INSECURE:-}" ] || helm_flags=(--plain-http)
  helm package charts/pgtether --destination "$work" >&2
  helm push "${helm_flags[@]}" "$work/pgtether-$version.tgz" "oci://$1"
}

crate() {
  cargo publish --locked "${dry[@]}"
}

# The one that picks comes last: it must not be there before what it picks from.
npm_packages() {
  local package
  for package in "$folder"/pgtether-linux-*-"$version".tgz "$folder/pgtether-$version.tgz"; do
    npm publish "${dry[@]}" --access public "$package"
  done
}

page() { # tag
  local before=()
  [[ "$version" != *-* ]] || before=(--prerelease)
  tests/release/notes.sh "$version" >"$work/notes.md"
  [ -n "${DRY_RUN:-}" ] || gh release create "$1" --verify-tag --title "$1" --notes-file "$work/notes.md" "${before[@]}" "$folder"/*
}

case "$what" in
  image | sign | chart | crate | page) "$what" "${@:3}" ;;
  npm) npm_packages ;;
  *) echo "release: nothing is published as $what" >&2; exit 64 ;;
esac
