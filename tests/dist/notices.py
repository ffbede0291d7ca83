"""Prints the licenses of everything that is linked into a program. Usage: notices.py TARGET MUSL-LICENSE

Each text is printed once, after the names that it belongs to. A crate without a license is an error. The C library's license is
in a file of whatever brings it.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

FEATURES = "static-openssl"
# OpenSSL's sources: a build dependency, whose result is linked in.
LINKED_BY_BUILD = {"openssl-src"}
TEXT = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE|UNLICENSE)", re.IGNORECASE)


def metadata(target: str) -> dict:
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--features={FEATURES}"]
    return json.loads(subprocess.check_output([*command, f"--filter-platform={target}"]))


def linked(data: dict) -> list[dict]:
    """The packages in the program, by name: what the root needs, without what only builds or tests."""
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    packages = {package["id"]: package for package in data["packages"]}
    root = data["resolve"]["root"]
    found, next_ids = set(), [root]
    while next_ids:
        for dep in nodes[next_ids.pop()]["deps"]:
            package = packages[dep["pkg"]]
            built = package["name"] in LINKED_BY_BUILD
            wanted = built or any(kind["kind"] is None for kind in dep["dep_kinds"])
            # What runs in the compiler alone is not in the program.
            if not wanted or dep["pkg"] in found or is_macro(package):
                continue
            found.add(dep["pkg"])
            if not built:
                next_ids.append(dep["pkg"])
    return sorted((packages[of] for of in found), key=lambda package: (package["name"], package["version"]))


def is_macro(package: dict) -> bool:
    return any("proc-macro" in target["kind"] for target in package["targets"])


def texts(package: dict) -> list[str]:
    folder = Path(package["manifest_path"]).parent
    files = sorted(file for file in folder.iterdir() if file.is_file() and TEXT.match(file.name))
    if package["name"] == "openssl-src":
        files += sorted(folder.glob("openssl/LICENSE*"))
    return [file.read_text(encoding="utf-8", errors="replace").strip() for file in files]


def text(target: str, musl_license: Path) -> str:
    packages = linked(metadata(target))
    by_text: dict[str, list[str]] = {}
    texts_by_words: dict[str, str] = {}
    # Their authors publish no file; the name of the license says it.
    without = []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        found = texts(package)
        if not found:
            without.append((name, package["license"]))
        for found_text in found:
            # Copies differ in their line breaks.
            known = texts_by_words.setdefault(" ".join(found_text.split()), found_text)
            by_text.setdefault(known, []).append(name)
    by_text.setdefault(musl_license.read_text().strip(), []).append("musl")
    lines = ["pgtether contains software of others. Its own license is in LICENSE.", ""]
    for package in packages:
        lines.append(f"{package['name']} {package['version']}: {package['license']}")
        if package.get("repository"):
            lines.append(f"    {package['repository']}")
    lines += ["musl, the C library: MIT", "The Rust standard library: MIT OR Apache-2.0"]
    for name, license in without:
        if not license:
            sys.exit(f"notices: {name} has no license")
        lines.append(f"\n{name} has no text of its license, which is {license}.")
    for license_text, names in sorted(by_text.items(), key=lambda pair: pair[1]):
        lines.append(f"\n{'-' * 80}\n{', '.join(names)}\n{'-' * 80}\n\n{license_text}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(text(sys.argv[1], Path(sys.argv[2])), end="")
