"""Lays out Kubernetes' JSON schemas, which come with the PyPI package kubernetes-validate, as kubeconform wants them.

The strict ones: a field that Kubernetes does not know is an error. Their addresses point into the web; without them
they point beside themselves.

Usage: schemas.py FOLDER_OF_THE_PACKAGE FOLDER_TO_WRITE VERSION...
"""

import json
import re
import shutil
import sys
from pathlib import Path

WANTED = re.compile(
    r"_definitions|(configmap|secret|service|serviceaccount|pod)-v1|deployment-apps-v1"
    r"|(ingress|networkpolicy)-networking-v1|poddisruptionbudget-policy-v1"
)


def beside(node: object) -> object:
    """The same schema, with references to the file beside it."""
    if isinstance(node, str):
        return node.replace("/api/_definitions.json#", "_definitions.json#")
    if isinstance(node, list):
        return [beside(item) for item in node]
    if not isinstance(node, dict):
        return node
    # A property may be named so too; that one is a mapping.
    return {key: beside(value) for key, value in node.items() if not (key == "$id" and isinstance(value, str))}


def main() -> None:
    package, target, *versions = sys.argv[1:]
    for version in versions:
        source = Path(package) / f"kubernetes-json-schema/v{version}-local-strict"
        folder = Path(target) / f"v{version}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path in source.iterdir():
            if WANTED.fullmatch(path.stem):
                (folder / path.name).write_text(json.dumps(beside(json.loads(path.read_text()))))


if __name__ == "__main__":
    main()
