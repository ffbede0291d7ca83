#!/usr/bin/env bash
# Writes the checksums of all files of a folder into its SHA256SUMS. Usage: tests/dist/sums.sh FOLDER
set -euo pipefail
cd "$1"
rm -f SHA256SUMS
sums="$(sha256sum -- *)"
echo "$sums" >SHA256SUMS
