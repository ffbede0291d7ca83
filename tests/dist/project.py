"""What Cargo.toml says of the project, and how the package managers call versions and machines."""

import json
import re
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """One architecture, by everybody's name for it."""

    rust: str
    debian: str
    node: str
    oci: str


MACHINES = {
    "x86_64": Machine("x86_64", "amd64", "x64", "amd64"),
    "aarch64": Machine("aarch64", "arm64", "arm64", "arm64"),
}


def project() -> dict:
    """The package in Cargo.toml: name, version, description, license, keywords, repository."""
    command = ["cargo", "metadata", "--locked", "--no-deps", "--format-version=1"]
    return json.loads(subprocess.check_output(command))["packages"][0]


def python_version(version: str) -> str:
    """0.2.0-rc.1 is 0.2.0rc1 on PyPI."""
    release, _, before = version.partition("-")
    match = re.fullmatch(r"(alpha|beta|rc)\.?(\d+)", before)
    if before and not match:
        raise SystemExit(f"dist: PyPI has no word for the version {version}; use -alpha.N, -beta.N or -rc.N")
    return release + ({"alpha": "a", "beta": "b", "rc": "rc"}[match[1]] + match[2] if match else "")


def debian_version(version: str) -> str:
    """0.2.0-rc.1 comes before 0.2.0, which Debian writes with a tilde."""
    return version.replace("-", "~", 1)
