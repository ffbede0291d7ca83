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
    *(f"verticalPodAutoscaler.{bound}.{key}" for bound in ("minAllowed", "maxAllowed") for key in ("cpu", "memory")),
    *(f"{probe}Probe.initialDelaySeconds" for probe in ("startup", "liveness", "readiness")),
    *(f"{monitor}.basicAuth.{key}" for monitor in ("serviceMonitor", "podMonitor") for key in ("username", "password")),
}

# What the schema demands of a name that charts of others have.
SUGGESTION = re.compile(r"left out: did you mean ([\w.]+)\?")
MISSING = object()


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


def split(schema: dict) -> tuple[dict, dict]:
    """The keys of a mapping; and names that charts of others have, each with the key that is meant."""
    of_others = {key: SUGGESTION.fullmatch(it["const"]) for key, it in schema.get("properties", {}).items() if "const" in it}
    own = {key: it for key, it in schema.get("properties", {}).items() if key not in of_others}
    return own, {key: found and found[1] for key, found in of_others.items()}


def suggestions(values: dict, schema: dict, path: str = "") -> list[str]:
    """Names of others that lead to no key."""
    known, of_others = split(schema)
    found = []
    for key, meant in of_others.items():
        node = values
        for step in (meant or "?").split("."):
            node = node.get(step) if isinstance(node, dict) and step in node else MISSING
        if node is MISSING:
            found.append(f"values.schema.json: {path}{key} leads to {meant}, which is not in values.yaml")
    for key, below in known.items():
        found += suggestions(values, below, f"{path}{key}.")
    return found


def missing(values: dict, schema: dict, path: str = "") -> list[str]:
    """Keys that only one of the two knows."""
    known, _ = split(schema)
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
        # Other charts of a release read the one, the other is Kubernetes'; a template checks the rest against pgtether's schema.
        shared = path in (".properties.global", ".properties.podSecurityContext") or path.startswith(".properties.config.properties.targets.")
        if "properties" in schema and isinstance(schema["properties"], dict) and not shared:
            if schema.get("additionalProperties") is not False:
                found.append(f"values.schema.json: {path or 'the root'} takes keys that it does not name")
        for key, value in schema.items():
            found += open_ends(value, f"{path}.{key}")
    elif isinstance(schema, list):
        for item in schema:
            found += open_ends(item, path)
    return found


def misannotated() -> list[str]:
    """What Artifact Hub would not understand, or what is not so."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    notes = {key.removeprefix("artifacthub.io/"): value for key, value in chart["annotations"].items()}
    license = re.search(r'^license = "(.*)"$', (CHART.parents[1] / "Cargo.toml").read_text(), re.M)[1]
    found = [] if notes["license"] == license else [f"Chart.yaml: the license is {license}, not {notes['license']}"]
    kinds = {"added", "changed", "deprecated", "removed", "fixed", "security"}
    for it in yaml.safe_load(notes["changes"]):
        if set(it) != {"kind", "description"} or it["kind"] not in kinds or not isinstance(it["description"], str):
            found.append(f"Chart.yaml: a change that Artifact Hub does not know: {it}")
    return found


def main() -> None:
    text = (CHART / "values.yaml").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())
    problems = undocumented(text) + missing(yaml.safe_load(text), schema) + open_ends(schema)
    problems += misannotated() + suggestions(yaml.safe_load(text), schema)
    for problem in problems:
        print(f"values: {problem}")
    if problems:
        sys.exit(1)


if __name__ == "__main__":
    main()
