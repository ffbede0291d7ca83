#!/usr/bin/env bash
# Prints the version of Cargo.toml, which names it for everything that is released.
sed -n 's/^version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml" | head -n 1
