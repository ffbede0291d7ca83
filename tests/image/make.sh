#!/usr/bin/env bash
# Builds the image from the Dockerfile with docker, podman or buildah, whatever works here first, starts it once and asks it.
# Usage: tests/image/make.sh [TAG]
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/image/common.sh

tag="${1:-pgtether:$version}"

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

builder=$(find_builder)
labels
format=()
# The standard format has no health check.
[ "$builder" = docker ] || format=(--format docker)
"$builder" build "${format[@]}" "${labels[@]}" --build-arg "REVISION=$revision" --tag "$tag" .
test_image "$tag"
echo "image: $tag is built and answers; next: push it to your registry, or: kind load docker-image $tag"
