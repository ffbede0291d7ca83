"""Writes an image's archive anew, without what differs from build to build. Usage: normalize.py FROM TO

Docker's format remembers the container that the image was made in, and its host name: random, and nobody's business.
"""

import hashlib
import io
import json
import sys
import tarfile


def main(source: str, to: str) -> None:
    with tarfile.open(source) as archive:
        [manifest] = json.load(archive.extractfile("manifest.json"))
        image = json.load(archive.extractfile(manifest["Config"]))
        layers = {name: archive.extractfile(name).read() for name in manifest["Layers"]}
    for name in ("container", "container_config"):
        image.pop(name, None)
    image["config"].pop("Hostname", None)
    config = json.dumps(image, separators=(",", ":")).encode()
    manifest["Config"] = f"{hashlib.sha256(config).hexdigest()}.json"
    with tarfile.open(to, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in [("manifest.json", json.dumps([manifest]).encode()), (manifest["Config"], config), *layers.items()]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


if __name__ == "__main__":
    main(*sys.argv[1:])
