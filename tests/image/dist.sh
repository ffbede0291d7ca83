#!/usr/bin/env bash
# Makes images of the programs that `make dist` has built, with buildah, beside them: an archive for each platform, for
# `docker load` and tests/image/push.sh. Usage: tests/image/dist.sh FOLDER CERTIFICATES [x86_64] [aarch64]
#
# Nothing is compiled and nothing is pulled. The same programs give the same bytes: each image is built twice, and compared.
set -euo pipefail
folder="$(realpath "$1")"
certificates="$(realpath "$2")"
shift 2
cd "$(dirname "$0")/../.."
. tests/image/common.sh

builder=buildah
# A store of its own, which goes with the folder: each image is made to be compared, and only its archive stays.
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/images" "$work/run" >"$work/storage.conf"
export CONTAINERS_STORAGE_CONF="$work/storage.conf"
[ "$#" -gt 0 ] || set -- x86_64 aarch64

build() { # architecture, platform, archive
  local name="pgtether-$version-$1-linux" tag="pgtether-$2:$version"
  tar --directory "$work" --extract --file "$folder/$name.tar.gz"
  tests/image/layout.sh "$work/stage/out" "$work/$name/pgtether" "$work/$name/LICENSE" "$work/$name/NOTICES" "$certificates"
  # In place of the Dockerfile's first stage. The standard format has no health check.
  buildah build --quiet --no-cache --isolation chroot --format docker --platform "linux/$2" --timestamp "$epoch" \
    --build-context "build=$work/stage" "${labels[@]}" --tag "$tag" . >/dev/null
  rm -f "$work/raw.tar"
  buildah push --quiet "$tag" "docker-archive:$work/raw.tar:pgtether:$version"
  python3 tests/image/normalize.py "$work/raw.tar" "$3"
}

labels
for architecture; do
  case "$architecture" in
    x86_64) platform=amd64 ;;
    aarch64) platform=arm64 ;;
  esac
  image="$folder/pgtether-$version-image-$platform.tar"
  build "$architecture" "$platform" "$image"
  build "$architecture" "$platform" "$work/again.tar"
  cmp "$image" "$work/again.tar" || { echo "image: the same program gave another image for $platform" >&2; exit 1; }
  python3 tests/image/inspect.py "$image" "$platform" "$version" "$revision"
  if [ "$architecture" = "$(uname -m)" ]; then
    test_image "docker-archive:$image"
  else
    said="$("qemu-$architecture-static" "$work/stage/out/pgtether" --version)"
    [[ "$said" == "pgtether, version $version"* ]] || { echo "image: --version said $said" >&2; exit 1; }
  fi
  echo "image: ${image##*/} is built and answers; next: docker load -i $image"
done
tests/dist/sums.sh "$folder"
