"""What the chart judges of pgtether's configuration, it judges as pgtether ($PGTETHER) does: nothing is refused by one alone.

Two addresses of pools, and connection strings whose password a ConfigMap would show.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from manifests import make_certificate

CHART = Path(__file__).resolve().parents[2] / "charts/pgtether"

ADDRESSES = [
    "127.0.0.1:6432", "127.9.9.9:6432", "localhost:6432", "[::1]:6432", "[0:0:0:0:0:0:0:1]:6432", "[::ffff:127.0.0.1]:6432",
    "[::ffff:7f00:1]:6432", "0.0.0.0:6432", "[::]:6432", "10.0.0.7:6432", "[fd00::1]:6432", "[fd00::127.0.0.1]:6432",
    "[::1:1]:6432", "[::ffff:10.0.0.1]:6432", "  0.0.0.0:6432 ", "0.0.0.0:1", "0.0.0.0:65535", "unix:/run/pgtether/.s.PGSQL.6432",
    "0.0.0.0:0", "0.0.0.0:65536", "0.0.0.0", ":6432", "*:6432", "6432", "db.example.com:6432", "Localhost:6432", "/run/x", "unix:x",
]  # fmt: skip
PAIRS = [
    ("0.0.0.0:6432", "0.0.0.0:6433"), ("0.0.0.0:6432", "0.0.0.0:6432"), ("0.0.0.0:6432", "127.0.0.1:6432"),
    ("[::]:6432", "127.0.0.1:6432"), ("127.0.0.1:6432", "localhost:6432"), ("127.0.0.1:6432", "[::1]:6432"),
    ("127.0.0.1:6432", "127.0.0.2:6432"), ("0.0.0.0:6432", "[::1]:6432"), ("[::]:6432", "[::1]:6432"),
]  # fmt: skip
URLS = [
    "postgresql://app@db.example.com/app", "postgresql://app:hunter2@db.example.com/app", "postgresql://app:@db.example.com/app",
    "postgresql://app:$ecret@db.example.com/app", "postgresql://app:$@db.example.com/app", "postgresql://app:$${PW}@db.example.com/app",
    "postgresql://app:${PW}@db.example.com/app", "postgresql://app:x${PW}@db.example.com/app", "postgresql://app:${PW}$1@db.example.com/app",
    "postgresql://app:${PW:-hunter2}@db.example.com/app", "postgresql://app:${PW:-}@db.example.com/app", "${ALL:-postgresql://app:a@b.example.com/app}",
    "postgresql://app:a?b#c@db.example.com/app", "postgresql://db.example.com/app?user=app&password=$x", "postgresql://db.example.com:5432/app",
    "postgresql://db.example.com/app?password=${PW}&user=app", "postgresql://${USER_OF_DB:-app}:${PW}@[::1]:5432/app",
    "host=db user=app password=$x", "host=db user=app password = '$x'", "host=db user=app password='${PW}'", "host=db user=app password=''",
    "user=app password='' host=db", "user=app host=db password=${PW}", "host=db user=app password='${PW} x'", "host=db user=password",
]  # fmt: skip


def pooled(name: str, listen: str, tls: dict) -> dict:
    # A password and a certificate: what else pgtether demands of a pool.
    pool = {"listen": listen, **({"tls": tls} if tls else {})}
    return {"name": name, "url": "postgresql://app@db.example.com/app", "password_file": __file__, "pool": pool}


def chart(targets: list[dict]) -> tuple[str, list[dict]]:
    """What the chart says, and what it makes."""
    command = ["helm", "template", "tether", CHART, "--values", "-"]
    text = yaml.safe_dump({"config": {"targets": targets}})
    ran = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    said = "\n".join(line for line in ran.stderr.splitlines() if not line.startswith("level="))
    return ("" if ran.returncode == 0 else said), [it for it in yaml.safe_load_all(ran.stdout) if it]


def program(targets: list[dict]) -> tuple[str, str]:
    """What pgtether says, and what it shows; each variable is there, and empty."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"targets": targets}, file)
        file.flush()
        command = [os.environ["PGTETHER"], "config", "show", f"--config.file={file.name}"]
        environment = {"PW": "", "ALL": "", "USER_OF_DB": ""}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return ("" if ran.returncode == 0 else ran.stderr or "refused"), ran.stdout


def main() -> None:
    problems = []
    def agree(what: object, chart_does: bool, program_does: bool, does: str, said: str) -> None:
        if chart_does != program_does:
            who = ("the chart", "pgtether")[program_does]
            problems.append(f"{what}: {who} alone {does}: {said.strip()}")

    with tempfile.TemporaryDirectory() as folder:
        make_certificate(Path(folder))
        tls = {"cert_file": f"{folder}/tls.crt", "key_file": f"{folder}/tls.key"}
        for address in ADDRESSES:
            said, made = chart([pooled("one", address, tls)])
            refused, _ = program([pooled("one", address, tls)])
            agree(address, bool(said), bool(refused), "refuses it", said + refused)
            if not said and not refused:
                beyond, _ = program([pooled("one", address, {})])
                service = any(it["metadata"]["name"].endswith("-pool") for it in made)
                agree(address, service, "from beyond this machine" in beyond, "takes it for reachable", beyond)
        for pair in PAIRS:
            targets = [pooled(name, address, tls) for name, address in zip(("one", "two"), pair)]
            said, refused = chart(targets)[0], program(targets)[0]
            agree(pair, bool(said), bool(refused), "refuses both together", said + refused)
    for url in URLS:
        said, _ = chart([{"name": "one", "url": url}])
        refused, shown = program([{"name": "one", "url": url}])
        if refused:
            problems.append(f"{url}: pgtether does not take it: {refused}")
        agree(url, "holds a password" in said, "# without its password" in shown, "sees a password", said)
    for problem in problems:
        print(f"agrees: {problem}")
    if problems:
        sys.exit(1)


if __name__ == "__main__":
    main()
