#!/usr/bin/env bash
# Prints what CHANGELOG.md says of a version: the notes of its release. Usage: tests/release/notes.sh VERSION
set -euo pipefail
cd "$(dirname "$0")/../.."

notes="$(awk -v heading="## [$1]" 'index($0, "## ") == 1 { of = index($0, heading) == 1; next } of' CHANGELOG.md)"
[ -n "${notes//[[:space:]]/}" ] || { echo "release: CHANGELOG.md says nothing of $1" >&2; exit 1; }
echo "$notes"
