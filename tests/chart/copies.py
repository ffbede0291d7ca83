"""Keeps what the chart has from elsewhere in the repository equal to where it comes from.

Helm packs only files below the chart's folder and follows no link out of it, so rules and dashboards are copied there;
and the values' schema takes pgtether's own for `config`, so that a misspelt key is refused before anything is installed.

Usage: copies.py [--write]
"""

import copy
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/pgtether"


def wanted() -> dict[Path, bytes]:
    """Each file of the chart that comes from elsewhere, with what has to stand in it."""
    files = {CHART / "values.schema.json": values_schema()}
    for folder, pattern, place in [
        (ROOT / "dashboards/rules", "*.rules.yaml", CHART / "files/rules"),
        (ROOT / "dashboards", "*.json", CHART / "files/dashboards"),
    ]:
        sources = sorted(folder.glob(pattern))
        if not sources:
            sys.exit(f"copies: no {pattern} in {folder.relative_to(ROOT)}")
        files |= {place / source.name: source.read_bytes() for source in sources}
    return files


def values_schema() -> bytes:
    schema = json.loads((CHART / "values.schema.json").read_text())
    schema["properties"]["config"] = config_schema()
    return (json.dumps(schema, indent=2) + "\n").encode()


def config_schema() -> dict:
    """pgtether's own schema, but that a target's secrets may come from Secrets, and `targets` may be left empty."""
    config = json.loads((ROOT / "docs/config.schema.json").read_text())
    del config["$schema"], config["title"]
    targets = config["properties"]["targets"]
    targets["type"] = "array"
    target = targets["items"]
    # The templates check this, and name the target.
    del target["oneOf"]
    properties = copy.deepcopy(target["properties"])
    # The name is part of a path, so it must be known here: no number, no variable.
    properties["name"] |= {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"}
    for key, what in {
        "urlFromSecret": "Connection string, through the environment.",
        "urlFileFromSecret": "Connection string, mounted, read again at every attempt.",
        "passwordFromSecret": "Password, mounted, read again at every attempt.",
    }.items():
        properties[key] = {"description": what, "allOf": [{"$ref": "#/$defs/secretKey"}]}
    target["properties"] = properties
    of_pool = {"description": "Certificate and key, from a Secret of type kubernetes.io/tls.", "type": "string", "minLength": 1}
    properties["pool"]["properties"]["tlsFromSecret"] = of_pool
    return config


def main() -> None:
    files = wanted()
    folders = [CHART / "files/rules", CHART / "files/dashboards"]
    strays = [file for folder in folders for file in folder.glob("*") if file not in files]
    stale = [path for path, text in files.items() if not path.exists() or path.read_bytes() != text]
    if "--write" in sys.argv[1:]:
        for path in strays:
            path.unlink()
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[path])
        return
    for path in strays + stale:
        print(f"copies: {path.relative_to(ROOT)} differs from its source")
    if strays or stale:
        sys.exit("copies: run `make chart-update` and look at what changes")


if __name__ == "__main__":
    main()
