#!/usr/bin/env bash
# The chart on a real API server, with what tests/tools.sh cluster installs. Usage: tests/chart/cluster.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

tools="$(realpath "${CARGO_TARGET_DIR:-target}/tools")"
export PATH="$tools/bin:$PATH" PYTHONDONTWRITEBYTECODE=1
export PGTETHER="${PGTETHER:-${CARGO_TARGET_DIR:-target}/debug/pgtether}"
exec python3 tests/chart/cluster.py
