#!/usr/bin/env bash
# Draws each dashboard as a picture, from the answers that a real Prometheus gave while tests/it/operators/chain.rs ran.
# Usage: tests/draw.sh [FOLDER]   The pictures go there; by default to target/pictures.
set -euo pipefail
cd "$(dirname "$0")/.."

target="${CARGO_TARGET_DIR:-target}"
answers="$target/tmp/pictures"
out="${1:-$target/pictures}"

die() { printf 'draw: %s\n' "$*" >&2; exit 1; }

compgen -G "$answers/*.json" >/dev/null || die "no answers in $answers; \`make pictures\` gets them"
command -v chromium >/dev/null || die "chromium is missing; \`tests/tools.sh pictures\` installs it"
mkdir -p "$out"
pages=$(mktemp -d)
trap 'rm -rf "$pages"' EXIT

for file in "$answers"/*.json; do
  name=$(basename "$file" .json)
  # "</" would end the script that the data stand in.
  { sed '/PICTURE/,$d' tests/draw/dashboard.html; printf 'const picture = '; sed 's|</|<\\/|g' "$file"; printf ';\n'
    sed '1,/PICTURE/d' tests/draw/dashboard.html; } >"$pages/$name.html"
  rows=$(grep -o '"gridPos":{[^}]*}' "$file" | sed -E 's/.*"h":([0-9]+).*"y":([0-9]+).*/\1 \2/' | awk '{ if ($1 + $2 > m) m = $1 + $2 } END { print m }')
  timeout 120 chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$pages/profile" \
    --window-size="1600,$((rows * 38 + 90))" --screenshot="$out/$name.png" "file://$pages/$name.html" >"$pages/log" 2>&1 ||
    die "chromium failed: $(tail -3 "$pages/log")"
  echo "$out/$name.png"
done
