"""Upgrades, as Kubernetes will see them: from the last release to this chart, and to a later version of this chart.

tests/chart/released/VERSION holds values and the manifests that the chart of that release made of them.

Usage: upgrade.py FOLDER     with room for a copy of the chart; it gets FOLDER/from-VERSION with what replaces that release
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/pgtether"
RELEASED = ROOT / "tests/chart/released"
SELECT_PODS = ("Deployment", "Service", "PodDisruptionBudget", "PodMonitor")


def render(chart: Path, values: Path) -> str:
    command = ["helm", "template", "tether", chart, "--namespace", "databases", "--values", values,
               "--kube-version", os.environ["KUBERNETES"], "--api-versions", os.environ["CUSTOM"]]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if ran.returncode != 0:
        sys.exit(f"upgrade: {values} is not taken any more:\n{ran.stderr}")
    return ran.stdout


def documents(text: str) -> list[dict]:
    return [it for it in yaml.safe_load_all(text) if it]


def by_name(found: list[dict]) -> dict[str, dict]:
    return {f"{it['kind']} {it['metadata'].get('namespace', '')}/{it['metadata']['name']}": it for it in found}


def chosen(selector: dict, labels: dict) -> bool:
    return bool(selector) and selector.items() <= labels.items()


def from_release(old: list[dict], new: list[dict]) -> list[str]:
    """While the old pods end and the new ones start, each must be found by everything that looks for them."""
    problems = []
    was, now = by_name(old), by_name(new)
    pods = [it["spec"]["template"]["metadata"]["labels"] for it in (*old, *new) if it["kind"] == "Deployment"]
    for name, before in was.items():
        if name not in now:
            problems.append(f"{name} would be deleted")
            continue
        after = now[name]
        if before["kind"] == "Deployment":
            if before["spec"]["selector"] != after["spec"]["selector"]:
                problems.append(f"{name}: spec.selector changed, which Kubernetes refuses: {after['spec']['selector']}")
        if before["kind"] == "Service":
            ports = [{port["name"]: port["port"] for port in it["spec"]["ports"]} for it in (before, after)]
            if not ports[0].items() <= ports[1].items():
                problems.append(f"{name}: ports {ports[0]} became {ports[1]}, so clients are lost")
    for name, it in now.items():
        if it["kind"] in SELECT_PODS:
            selector = it["spec"]["selector"]
            selector = selector.get("matchLabels", selector)
            if not all(chosen(selector, labels) for labels in pods):
                problems.append(f"{name}: {selector} does not find the pods of both versions")
    return problems


def to_later_version(values: Path, chart: Path) -> list[str]:
    """A version of the chart alone, with nothing else new, leaves the pods as they are."""
    text = (chart / "Chart.yaml").read_text()
    found = []
    for version in ("1.2.3", "1.2.4"):
        (chart / "Chart.yaml").write_text(re.sub(r"(?m)^version: .*$", f"version: {version}", text))
        found.append([it["spec"]["template"] for it in documents(render(chart, values)) if it["kind"] == "Deployment"])
    if found[0] != found[1] or not found[0]:
        return ["another version of the chart changes the pods' template, which replaces every pod"]
    # What must be replaced then is the image, and nothing else.
    (chart / "Chart.yaml").write_text(re.sub(r"(?m)^appVersion: .*$", "appVersion: 9.8.7", text))
    [[template]] = [[it["spec"]["template"] for it in documents(render(chart, values)) if it["kind"] == "Deployment"]]
    for it in (template, found[0][0]):
        it["spec"]["containers"][0].pop("image")
    (chart / "Chart.yaml").write_text(text)
    return [] if template == found[0][0] else ["another appVersion changes more of the pods than their image"]


def main() -> None:
    chart = Path(sys.argv[1]) / "pgtether"
    shutil.copytree(CHART, chart)
    problems, compared = [], 0
    for release in RELEASED.iterdir():
        for values in release.glob("*-values.yaml"):
            rendered = render(CHART, values)
            name = values.name.replace("-values.yaml", ".yaml")
            into = chart.parent / f"from-{release.name}"
            into.mkdir(exist_ok=True)
            (into / name).write_text(rendered)
            found = from_release(documents((release / name).read_text()), documents(rendered))
            problems += [f"from {release.name}, {values.name}: {it}" for it in found]
            compared += 1
    for values in (CHART / "ci").glob("*-values.yaml"):
        problems += [f"{values.name}: {it}" for it in to_later_version(values, chart)]
        compared += 1
    for problem in problems:
        print(f"upgrade: {problem}")
    if problems or compared < 10:
        sys.exit(f"upgrade: {compared} compared, {len(problems)} problems")


if __name__ == "__main__":
    main()
