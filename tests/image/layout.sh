#!/usr/bin/env bash
# Lays out the image's files: all that it contains. Usage: tests/image/layout.sh FOLDER PROGRAM LICENSE NOTICES CERTIFICATES
set -euo pipefail

out="$1" program="$2" license="$3" notices="$4" certificates="$5"
rm -rf "$out"
install -D --mode=755 "$program" "$out/pgtether"
install -D --mode=644 "$license" "$out/licenses/LICENSE"
install -D --mode=644 "$notices" "$out/licenses/NOTICES"
install -D --mode=644 "$certificates" "$out/etc/ssl/certs/ca-certificates.crt"
echo 'pgtether:x:65532:65532::/:/pgtether' >"$out/etc/passwd"
echo 'pgtether:x:65532:' >"$out/etc/group"
# Whatever the umask of whoever builds it: the image's user is another.
chmod 644 "$out/etc/passwd" "$out/etc/group"
