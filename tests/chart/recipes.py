"""Tests the recipes of the documentation against a real pgtether, with its database up and then down.

Usage: recipes.py extract FOLDER    writes the files that the documents contain
       recipes.py try FOLDER        tests these files; $PGTETHER is the program

Each block of a document that follows a line `<!-- file: NAME -->` is a file.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import yaml

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "tools"
PATIENCE = 60  # seconds, for anything to start or to notice
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def extract(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for document in (ROOT / "docs" / name for name in ("recipes.md", "deployment.md")):
        found = re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", document.read_text(), re.M | re.S)
        if not found:
            sys.exit(f"recipes: {document.name} contains no file")
        for name, text in found:
            (folder / name).write_text(text)


def get(url: str, method: str = "GET") -> tuple[int, str]:
    try:
        with urlopen(Request(url, method=method), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as answer:
        return answer.code, answer.read().decode()


def wait_for(what: str, holds) -> None:
    """Asks until it holds. A refused connection is a no: not everything has started."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"recipes: after {PATIENCE} s: {what}")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def running(*command: str, **more):
    """A process of ours, in a group of its own, which gets a SIGINT and 15 s at the end."""
    process = subprocess.Popen(command, start_new_session=True, **more)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Demo:
    """`pgtether demo`: a daemon, and a PostgreSQL that can be taken from it."""

    def __init__(self, process: subprocess.Popen, log: Path) -> None:
        self.process, self.log = process, log
        wait_for("the demo has not told where it is", lambda: "Ctrl-C" in log.read_text() or self.ended())
        told = log.read_text()
        self.url = re.search(r"page +(http://\S+?)/\s", told)[1]
        self.config = Path(re.search(r"config +(\S+)", told)[1])

    def ended(self) -> bool:
        if self.process.poll() is not None:
            sys.exit(f"recipes: the demo ended:\n{self.log.read_text()}")
        return False

    def status(self) -> str:
        return json.loads(get(f"{self.url}/health")[1])["status"]

    def stop_database(self) -> None:
        """An immediate shutdown, of the process that the server's own file names."""
        (file,) = self.config.parent.rglob("postmaster.pid")
        os.kill(int(file.read_text().split()[0]), signal.SIGQUIT)


def meets(condition: str, code: int, body: dict, took: float) -> bool:
    """A condition of Gatus, as its manual explains it: what these recipes use of it."""
    left, operator, right = re.fullmatch(r"(\S+) (==|<) (.+)", condition).groups()
    if left == "[STATUS]":
        value = code
    elif left == "[RESPONSE_TIME]":
        value = took * 1000
    else:
        value = body
        for key in left.removeprefix("[BODY].").split("."):
            name, index = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", key).groups()
            value = value[name] if index is None else value[name][int(index)]
    if operator == "<":
        return value < float(right)
    several = re.fullmatch(r"any\((.*)\)", right)
    text = "null" if value is None else str(value)
    return text in ([it.strip() for it in several[1].split(",")] if several else [right])


def try_gatus(files: Path, demo: Demo, up: bool) -> None:
    for endpoint in yaml.safe_load((files / "gatus.yaml").read_text())["endpoints"]:
        started = time.monotonic()
        # The only target of the demo has another name.
        code, body = get(endpoint["url"].replace("http://127.0.0.1:10432", demo.url).replace("/primary", "/demo"))
        took = time.monotonic() - started
        held = [meets(condition, code, json.loads(body), took) for condition in endpoint["conditions"]]
        expect(f"Gatus, {endpoint['name']}", all(held), up, f"{list(zip(endpoint['conditions'], held))}\n{body}")


def try_blackbox(files: Path, demo: Demo, blackbox: str, up: bool) -> None:
    for module in yaml.safe_load((files / "blackbox.yml").read_text())["modules"]:
        query = urlencode({"module": module, "target": f"{demo.url}/health"})
        _, metrics = get(f"{blackbox}/probe?{query}")
        expect(f"blackbox_exporter, {module}", "\nprobe_success 1\n" in metrics, up, metrics)


def try_kuma(files: Path, demo: Demo, up: bool) -> None:
    """By the query library that it uses itself."""
    _, body = get(f"{demo.url}/health")
    script = "const jsonata = require('jsonata'); jsonata(process.argv[1]).evaluate(JSON.parse(process.argv[2]))"
    for monitor in json.loads((files / "kuma.json").read_text()):
        ran = subprocess.run(
            ["node", "-e", script + ".then(it => console.log(String(it)))", monitor["query"], body],
            env={**os.environ, "NODE_PATH": str(TOOLS / "jsonata/node_modules")},
            capture_output=True, text=True, timeout=PATIENCE, check=True,
        )  # fmt: skip
        expect(f"Uptime Kuma, {monitor['query']}", ran.stdout.strip() == monitor["expected"], up, ran.stdout)


def try_words(demo: Demo, up: bool) -> None:
    """Monitors that know status codes and words only."""
    code, body = get(f"{demo.url}/health")
    expect("a status code monitor", 200 <= code <= 299, up, str(code))
    expect("a keyword monitor", "healthy" in body, up, body)
    expect("a keyword monitor with quotes", '"status":"healthy"' in body, up, body)
    expect("a monitor of the word failing", '"status":"failing"' not in body, up, body)
    expect("a HEAD-only monitor", get(f"{demo.url}/health", "HEAD") == (200, ""), up, "")


def expect(who: str, says_up: bool, up: bool, why: str) -> None:
    word = {True: "up", False: "down"}
    if says_up != up:
        sys.exit(f"recipes: {who} says {word[says_up]}, but the database is {word[up]}: {why}")
    print(f"recipes: {who}: {word[up]}")


def check_prometheus(files: Path) -> None:
    shutil.copy(ROOT / "dashboards/rules/pgtether.rules.yaml", files)
    subprocess.run(["promtool", "check", "config", files / "prometheus.yml"], check=True, timeout=PATIENCE)


def try_all(files: Path) -> None:
    check_prometheus(files)
    pgtether = Path(os.environ["PGTETHER"]).resolve()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = scratch / "demo.log"
        output = stack.enter_context(log.open("w"))
        process = stack.enter_context(running(str(pgtether), "demo", stdout=output, stderr=subprocess.STDOUT))
        demo = Demo(process, log)
        blackbox = stack.enter_context(blackbox_exporter(files))
        wait_for("the demo is not healthy", lambda: demo.status() == "healthy")
        for up in (True, False):
            if not up:
                demo.stop_database()
                wait_for("the demo does not notice that its database is gone", lambda: demo.status() == "failing")
            try_gatus(files, demo, up)
            try_blackbox(files, demo, blackbox, up)
            try_kuma(files, demo, up)
            try_words(demo, up)


@contextmanager
def blackbox_exporter(files: Path):
    """The real one, with the recipe's modules. Its address."""
    address = f"127.0.0.1:{free_port()}"
    flags = [f"--config.file={files / 'blackbox.yml'}", f"--web.listen-address={address}"]
    with running("prometheus-blackbox-exporter", *flags, **QUIET):
        wait_for("blackbox_exporter has not started", lambda: get(f"http://{address}/-/healthy")[0] == 200)
        yield f"http://{address}"


if __name__ == "__main__":
    {"extract": extract, "try": try_all}[sys.argv[1]](Path(sys.argv[2]))
