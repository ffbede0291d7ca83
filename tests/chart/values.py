"""Demands that every value is documented, and that values.yaml and its schema know the same keys.

A key is documented by a comment right above it. What the schema knows and values.yaml leaves out, users can't find.
"""

import json
import re
import sys
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parents[2] / "charts/pgtether"
# Mappings whose keys are not the chart's own: Kubernetes' types, and pgtether's configuration, which config.yaml documents.
FOREIGN = {"podSecurityContext", "securityContext", "web.config", "config.fleet", "config.defaults", "config.targets"}
# Kept out of values.yaml: what has no default.
OPTIONAL = {
    "enabled",
    "resources.limits.cpu",
    *(f"{probe}Probe.initialDelaySeconds" for probe in ("startup", "liveness", "readiness")),
    *(f"{monitor}.basicAuth.{key}" for monitor in ("serviceMonitor", "podMonitor") for key in ("username", "password")),
}


def undocumented(text: str) -> list[str]:
    """Lines that set a key without a comment above."""
    lines, found = text.splitlines(), []
    for number, line in enumerate(lines):
        if not re.match(r"\s*(- )?[A-Za-z][\w.-]*:", line):
            continue
        above = next((before for before in reversed(lines[:number]) if before.strip()), "")
        if not re.match(r"\s*(- )?#", above):
            found.append(f"values.yaml:{number + 1}: {line.strip()} has no comment above it")
    return found


def missing(values: dict, schema: dict, path: str = "") -> list[str]:
    """Keys that only one of the two knows."""
    known = schema.get("properties", {})
    found = []
    for key in sorted(set(values) | set(known)):
        where = f"{path}.{key}".lstrip(".")
        if key not in known:
            found.append(f"{where} is in values.yaml, but not in values.schema.json")
        elif key not in values:
            if where not in OPTIONAL:
                found.append(f"{where} is in values.schema.json, but not in values.yaml")
        elif isinstance(values[key], dict) and where not in FOREIGN and "properties" in known[key]:
            found += missing(values[key], known[key], where)
    return found


def open_ends(schema: object, path: str = "") -> list[str]:
    """Mappings with named keys that take others too."""
    found = []
    if isinstance(schema, dict):
        # Other charts of a release read the one; a template checks the others against pgtether's own schema.
        shared = path == ".properties.global" or path.startswith(".properties.config.properties.targets.")
        if "properties" in schema and isinstance(schema["properties"], dict) and not shared:
            if schema.get("additionalProperties") is not False:
                found.append(f"values.schema.json: {path or 'the root'} takes keys that it does not name")
        for key, value in schema.items():
            found += open_ends(value, f"{path}.{key}")
    elif isinstance(schema, list):
        for item in schema:
            found += open_ends(item, path)
    return found


def main() -> None:
    text = (CHART / "values.yaml").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())
    problems = undocumented(text) + missing(yaml.safe_load(text), schema) + open_ends(schema)
    for problem in problems:
        print(f"values: {problem}")
    if problems:
        sys.exit(1)


if __name__ == "__main__":
    main()
