#!/usr/bin/env bash
# Checks that Cargo.toml, the chart, the documentation and the changelog name one version. Usage: tests/release/agree.sh [TAG]
# With the tag of a release, it must be that version, and the changelog must have its notes.
set -euo pipefail
cd "$(dirname "$0")/../.."

problems=0
problem() { echo "release: $*" >&2; problems=$((problems + 1)); }

version="$(tests/version.sh)"
locked="$(sed -n '/^name = "pgtether"$/{n;s/^version = "\(.*\)"/\1/p}' Cargo.lock)"
[ "$locked" = "$version" ] || problem "Cargo.lock has $locked, Cargo.toml $version: run cargo update --workspace --offline"
for key in version appVersion; do
  found="$(sed -n "s/^$key: //p" charts/pgtether/Chart.yaml | tr -d '"')"
  [ "$found" = "$version" ] || problem "charts/pgtether/Chart.yaml has $key $found, Cargo.toml $version"
done
# Names of images and packages in what users read: pgtether:0.1.0, pgtether-0.1.0, pgtether_0.1.0, pgtether-linux-x64-0.1.0.
while IFS=: read -r file line name; do
  [ "${name##*[:_-]}" = "$version" ] || problem "$file:$line names $name, Cargo.toml has $version"
done < <(grep -rnoE 'pgtether(-linux-[a-z0-9]+)?[:_-][0-9]+\.[0-9]+\.[0-9]+' README.md docs --include='*.md')
newest="$(sed -n 's/^## \[\([0-9][^]]*\)\].*/\1/p' CHANGELOG.md | head -n 1)"
[ -z "$newest" ] || [ "$newest" = "$version" ] || problem "the newest version of CHANGELOG.md is $newest, Cargo.toml has $version"
if [ "$#" -gt 0 ]; then
  [ "$1" = "v$version" ] || problem "the tag is $1, Cargo.toml has $version"
  tests/release/notes.sh "$version" >/dev/null || problems=$((problems + 1))
fi
[ "$problems" = 0 ]
