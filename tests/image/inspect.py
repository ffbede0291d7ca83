"""Looks into an image's archive: platform, user, labels, health check and files are as promised, and nothing else is in it.
Usage: inspect.py ARCHIVE PLATFORM VERSION REVISION"""

import io
import json
import sys
import tarfile

FILES = {
    "pgtether": 0o755,
    "licenses/LICENSE": 0o644,
    "licenses/NOTICES": 0o644,
    "etc/ssl/certs/ca-certificates.crt": 0o644,
    "etc/passwd": 0o644,
    "etc/group": 0o644,
}


def expect(what: str, found, wanted) -> None:
    if found != wanted:
        sys.exit(f"image: {what} is {found!r}, not {wanted!r}")


def main(path: str, platform: str, version: str, revision: str) -> None:
    with tarfile.open(path) as archive:
        read = lambda name: archive.extractfile(name).read()
        [manifest] = json.loads(read("manifest.json"))
        image = json.loads(read(manifest["Config"]))
        layers = [tarfile.open(fileobj=io.BytesIO(read(layer))) for layer in manifest["Layers"]]
    expect("the platform", f"{image['os']}/{image['architecture']}", f"linux/{platform}")
    config = image["config"]
    expect("the user", config["User"], "65532:65532")
    expect("the entrypoint", config["Entrypoint"], ["/pgtether"])
    expect("the health check", config["Healthcheck"]["Test"], ["CMD", "/pgtether", "healthcheck"])
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    expect("the title", labels["title"], "pgtether")
    expect("the license", labels["licenses"], "Apache-2.0")
    expect("the version", labels["version"], version)
    expect("the revision", labels["revision"], revision)
    expect("the time", image["created"].split(".")[0].rstrip("Z"), labels["created"].rstrip("Z"))
    files = {member.name: member.mode & 0o777 for layer in layers for member in layer if member.isfile()}
    expect("the set of files", files, FILES)


if __name__ == "__main__":
    main(*sys.argv[1:])
