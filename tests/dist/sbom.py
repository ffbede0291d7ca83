"""The list of everything that is linked into a program, as CycloneDX. NOTICES has the texts of the same licenses."""

import hashlib
import json
import re
import subprocess
import tomllib
import uuid
from datetime import datetime, timezone
from pathlib import Path

import notices


def text(target: str, zig: Path, program: bytes, epoch: int) -> str:
    data = notices.metadata(target)
    packages = notices.linked(data)
    root = next(package for package in data["packages"] if package["id"] == data["resolve"]["root"])
    hashes = {(of["name"], of["version"]): of.get("checksum") for of in lock()}
    known = {package["id"]: purl(package) for package in [root, *packages]}
    components = [crate(package, hashes) for package in packages] + [openssl(packages), *others(zig)]
    needs = {node["id"]: [dep["pkg"] for dep in node["deps"]] for node in data["resolve"]["nodes"]}
    graph = [
        {"ref": ref, "dependsOn": sorted({known[dep] for dep in needs[package] if dep in known} - {ref})}
        for package, ref in known.items()
    ]
    # Linked in without Cargo's knowledge.
    graph[0]["dependsOn"] += [component["bom-ref"] for component in components[len(packages):]]
    digest = hashlib.sha256(program).hexdigest()
    main = {"type": "application", **crate(root, {}), "hashes": [{"alg": "SHA-256", "content": digest}]}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        # The same program has the same number.
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, digest).urn,
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": main,
            "properties": [{"name": "target", "value": target}],
        },
        "components": components,
        "dependencies": graph,
    }
    return json.dumps(document, indent=2) + "\n"


def lock() -> list[dict]:
    return tomllib.loads(Path("Cargo.lock").read_text())["package"]


def purl(package: dict) -> str:
    return f"pkg:cargo/{package['name']}@{package['version'].replace('+', '%2B')}"


def crate(package: dict, hashes: dict) -> dict:
    found = hashes.get((package["name"], package["version"]))
    # Old crates write "MIT/Apache-2.0".
    license = re.sub(r"\s*/\s*", " OR ", package["license"])
    return {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        **({"description": package["description"].strip()} if package["description"] else {}),
        "licenses": [{"expression": license}],
        "purl": purl(package),
        **({"hashes": [{"alg": "SHA-256", "content": found}]} if found else {}),
    }


def openssl(packages: list[dict]) -> dict:
    """The crate of OpenSSL's sources has their version after its own: 300.5.0+3.5.0."""
    version = next(package["version"] for package in packages if package["name"] == "openssl-src").split("+")[1]
    return other("openssl", version, "Apache-2.0")


def others(zig: Path) -> list[dict]:
    rust = subprocess.check_output(["rustc", "--version"], text=True).split()[1]
    return [other("musl", musl_version(zig), "MIT"), other("rust-std", rust, "MIT OR Apache-2.0")]


def musl_version(zig: Path) -> str:
    return re.search(r'"(.+)"', (zig / "lib/libc/musl/src/internal/version.h").read_text())[1]


def other(name: str, version: str, license: str) -> dict:
    ref = f"pkg:generic/{name}@{version}"
    licenses = [{"expression": license}]
    return {"type": "library", "bom-ref": ref, "name": name, "version": version, "licenses": licenses, "purl": ref}
