"""Hands parts of rendered manifests to the programs that will read them.

Usage: manifests.py rules FILE...     prints the PrometheusRules as one rules file, for promtool
       manifests.py config FILE...    lets pgtether ($PGTETHER) check each configuration with each container's arguments
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml


def manifests(paths: list[str]) -> list[dict]:
    return [manifest for path in paths for manifest in yaml.safe_load_all(Path(path).read_text()) if manifest]


def rules(paths: list[str]) -> None:
    groups = [group for it in manifests(paths) if it["kind"] == "PrometheusRule" for group in it["spec"]["groups"]]
    if not groups:
        sys.exit(f"manifests: no PrometheusRule in {' '.join(paths)}")
    yaml.safe_dump({"groups": groups}, sys.stdout)


def config(paths: list[str]) -> None:
    """The pod's own command line, but that the file is checked and not used; secrets are made up."""
    checked = 0
    for path in paths:
        found = manifests([path])
        files = {
            it["metadata"]["name"]: it.get("data", it.get("stringData"))["config.yaml"]
            for it in found
            if it["kind"] in ("ConfigMap", "Secret") and "config.yaml" in it.get("data", it.get("stringData", {}))
        }
        for pod in (it["spec"]["template"]["spec"] for it in found if it["kind"] == "Deployment"):
            volume = next(volume for volume in pod["volumes"] if volume["name"] == "config")
            name = volume["configMap"]["name"] if "configMap" in volume else volume["secret"]["secretName"]
            # A configuration that users keep themselves is not ours to check.
            if name in files:
                check(path, pod["containers"][0], files[name], web_config(found))
                checked += 1
    if not checked:
        sys.exit(f"manifests: no configuration in {' '.join(paths)}")


def web_config(found: list[dict]) -> str | None:
    """The one that the chart makes; users' own is not ours to check."""
    return next((it["stringData"]["web-config.yaml"] for it in found if "web-config.yaml" in it.get("stringData", {})), None)


def make_certificate(folder: Path) -> None:
    """What cert-manager would put there."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
               "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]  # fmt: skip
    files = ["-keyout", folder / "tls.key", "-out", folder / "tls.crt"]
    subprocess.run([*command, *files], capture_output=True, timeout=60, check=True)


def check(path: str, container: dict, text: str, web: str | None) -> None:
    secrets = {it["name"]: "postgresql://app:secret@db.example.com/app" for it in container.get("env", [])}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        # What secrets are mounted for.
        secret = Path(folder) / "secret"
        secret.write_text("postgresql://app:secret@db.example.com/app")
        text = re.sub(r"(url_file|password_file|cert_file|key_file): \S+", rf"\1: {secret}", text)
        file.write_text(re.sub(r"sslrootcert=[^\s&]+", f"sslrootcert={secret}", text))
        args = [arg.replace("/etc/pgtether/config.yaml", str(file)) for arg in container["args"]]
        if web is None:
            args = [arg for arg in args if not arg.startswith("--web.config.file=")]
        else:
            (Path(folder) / "web-config.yaml").write_text(web)
            make_certificate(Path(folder))
            args = [arg.replace("/etc/pgtether-web", folder) for arg in args]
        command = [os.environ["PGTETHER"], *args, "--config.check"]
        ran = subprocess.run(command, env=secrets, capture_output=True, text=True, timeout=60, check=False)
    if ran.returncode != 0:
        sys.exit(f"manifests: {path}: pgtether refuses what the chart gives it:\n{ran.stderr}{text}")


if __name__ == "__main__":
    {"rules": rules, "config": config}[sys.argv[1]](sys.argv[2:])
