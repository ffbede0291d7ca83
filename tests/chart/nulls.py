"""Sets every key of the values to null, one at a time: the chart renders, or refuses with a sentence.

Helm takes such a key away, so that templates which count on it fail with an error of Go's.

Usage: nulls.py FOLDER     writes what was rendered to FOLDER, for those who judge manifests
"""

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parents[2] / "charts/pgtether"
# How Helm begins its report of what a template refuses by `fail`, and of what the schema refuses.
REFUSALS = ("execution error at (pgtether/", "values don't meet the specifications of the schema(s)")
# What Go writes where a template wanted a value.
HOLES = ("<no value>", "<nil>", "%!")


def read(name: str) -> dict:
    return yaml.safe_load((CHART / name).read_text())


def merged(*layers: dict) -> dict:
    """As Helm does it: a later layer wins, mappings are merged, lists are not."""
    out: dict = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(out.get(key), dict)
            out[key] = merged(out[key], value) if both else copy.deepcopy(value)
    return out


def bases() -> dict[str, tuple[dict, tuple[str, ...]]]:
    """Values that use as many keys as go together, and under which keys they are varied."""
    everything, production, pool = (read(f"ci/{name}-values.yaml") for name in ("everything", "production", "pool"))
    on = {"podMonitor": {"enabled": False}, "tests": {"enabled": True}, "web": {"existingConfig": {"secret": ""}}}
    everything["config"]["targets"] += pool["config"]["targets"][:1]
    all_at_once = merged(everything, production, pool, read("ci/dashboards-values.yaml"), on, {"config": everything["config"]})
    other_monitor = {"podMonitor": {**all_at_once["serviceMonitor"], "enabled": True}, "serviceMonitor": {"enabled": False}}
    del other_monitor["podMonitor"]["targetLabels"]
    yours = {"config": {"targets": []}, "existingConfig": {"secret": "mine"}, "strategy": {"type": "RollingUpdate"}}
    existing = merged(all_at_once, {"web": {"config": None, "tlsSecret": None}}, yours, {"web": {"existingConfig": {"secret": "mine"}}})
    return {
        "all": (all_at_once, ("",)),
        "podMonitor": (merged(all_at_once, other_monitor), ("podMonitor",)),
        "existing": (existing, ("existingConfig", "web", "strategy", "config")),
    }


def places(node: object, path: tuple = ()) -> Iterator[tuple]:
    """Every key of every mapping, also of those in lists."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key)
            yield from places(value, (*path, key))
    elif isinstance(node, list):
        for number, item in enumerate(node):
            yield from places(item, (*path, number))


def nulled(values: dict, path: tuple) -> dict:
    values = copy.deepcopy(values)
    node = values
    for step, following in zip(path, path[1:]):
        if isinstance(node, dict) and not isinstance(node.get(step), dict if isinstance(following, str) else list):
            node[step] = {}
        node = node[step]
    node[path[-1]] = None
    return values


def trial(folder: Path, base: str, values: dict, path: tuple) -> str | None:
    """What is wrong."""
    name = f"{base}: {'.'.join(map(str, path))}"
    ran = subprocess.run(
        ["helm", "template", "tether", CHART, "--namespace", "databases", "--kube-version", os.environ["KUBERNETES"],
         "--api-versions", os.environ["CUSTOM"], "--values", "-"],
        input=yaml.safe_dump(nulled(values, path)), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if ran.returncode == 0:
        (folder / (name.replace(": ", "-").replace("/", "_") + ".yaml")).write_text(ran.stdout)
        holes = [hole for hole in HOLES if hole in ran.stdout]
        return f"{name}: null leaves {', '.join(holes)} in the manifests" if holes else None
    said = "\n".join(line for line in ran.stderr.splitlines() if not line.startswith("level="))
    if os.environ.get("SAY"):
        print(f"{name}: {said}")
    holes = [hole for hole in HOLES if hole in said]
    return None if not holes and any(refusal in said for refusal in REFUSALS) else f"{name}: {said}"


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    defaults = read("values.yaml")
    trials = []
    for base, (values, below) in bases().items():
        # What is in users' own lists and mappings is Kubernetes', except for the targets.
        targets = places(values["config"]["targets"], ("config", "targets"))
        paths = [it for it in (*places(defaults), *targets) if it[0] in below or below == ("",)]
        trials += [(folder, base, values, path) for path in paths if reachable(merged(defaults, values), path)]
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        problems = [it for it in workers.map(lambda args: trial(*args), trials) if it]
    for problem in problems:
        print(f"nulls: {problem}")
    print(f"nulls: {len(trials)} tried, {len(problems)} failed")
    if problems or len(trials) < 200:
        sys.exit(1)


def reachable(node: object, path: tuple) -> bool:
    for step in path:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True


if __name__ == "__main__":
    main()
