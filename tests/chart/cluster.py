"""The chart on a real API server: etcd and kube-apiserver on loopback, with helm itself.

For each of the values in charts/pgtether/ci: install, apply the same again, upgrade, roll back, test, uninstall; the pods that the
Deployment describes are admitted in a namespace that demands Pod Security's level restricted. And an upgrade from the last release.

There is no kubelet: the pod of `helm test` gets as its result that of its own command, run here against a real pgtether.

Usage: cluster.py     needs etcd, kube-apiserver and helm in the PATH, and $PGTETHER
"""

import base64
import copy
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import yaml

from manifests import make_certificate

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/pgtether"
RELEASED = ROOT / "tests/chart/released"
PATIENCE = 90  # seconds, for anything to start or to happen
TOKEN = "of-a-cluster-on-loopback-for-a-test"
# Where the values of ci put things; the last one is `namespaceOverride` of everything-values.yaml.
NAMESPACES = ("databases", "monitoring", "monitors")
# Definitions that the chart has resources of: their own code judges what is in these elsewhere.
KINDS = [
    ("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
    ("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
    ("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
    ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
    ("autoscaling.k8s.io", "v1", "VerticalPodAutoscaler", "verticalpodautoscalers"),
]


def free_port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def wait_for(what: str, happened) -> None:
    until = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > until:
            sys.exit(f"cluster: {what} did not happen within {PATIENCE} s")
        time.sleep(0.1)


@contextmanager
def running(log: Path, *command: str):
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Cluster:
    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        etcd, peers, port = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{port}"
        make_certificate(folder)
        (folder / "tokens.csv").write_text(f"{TOKEN},admin,admin,system:masters\n")
        stack.enter_context(running(
            folder / "etcd.log", "etcd", "--data-dir", f"{folder}/etcd", "--unsafe-no-fsync",
            "--listen-client-urls", f"http://127.0.0.1:{etcd}", "--advertise-client-urls", f"http://127.0.0.1:{etcd}",
            "--listen-peer-urls", f"http://127.0.0.1:{peers}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peers}",
            "--initial-cluster", f"default=http://127.0.0.1:{peers}",
        ))  # fmt: skip
        self.server = stack.enter_context(running(
            folder / "apiserver.log", "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{etcd}", f"--secure-port={port}",
            "--bind-address=127.0.0.1", f"--tls-cert-file={folder}/tls.crt", f"--tls-private-key-file={folder}/tls.key",
            f"--service-account-key-file={folder}/tls.key", f"--service-account-signing-key-file={folder}/tls.key",
            "--service-account-issuer=https://cluster.test", "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112",
            "--authorization-mode=RBAC", f"--token-auth-file={folder}/tokens.csv",
        ))  # fmt: skip
        self.context = ssl.create_default_context(cafile=folder / "tls.crt")
        self.config = folder / "kubeconfig"
        self.config.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "clusters": [{"name": "test", "cluster": {
                "server": self.url,
                "certificate-authority-data": base64.b64encode((folder / "tls.crt").read_bytes()).decode(),
            }}],
        }))  # fmt: skip

    def ready(self) -> bool:
        if self.server.poll() is not None:
            sys.exit(f"cluster: kube-apiserver ended:\n{(self.folder / 'apiserver.log').read_text()[-3000:]}")
        try:
            return self.ask("GET", "/readyz", raw=True) == "ok"
        except (URLError, ConnectionError):
            return False

    def ask(self, method: str, path: str, body: dict | None = None, kind: str = "application/json", raw: bool = False):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        with urlopen(Request(self.url + path, data, headers, method=method), context=self.context, timeout=30) as answer:
            text = answer.read().decode()
        return text if raw else json.loads(text)

    def create(self, path: str, body: dict) -> None:
        self.ask("POST", path, body)

    def prepare(self) -> None:
        for name in NAMESPACES:
            labels = {"pod-security.kubernetes.io/enforce": "restricted"}
            self.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
            # What the controller of accounts would make.
            self.create(f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
        self.create("/apis/node.k8s.io/v1/runtimeclasses", {"metadata": {"name": "gvisor"}, "handler": "runsc"})
        for group, version, kind, plural in KINDS:
            schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
            versions = [{"name": version, "served": True, "storage": True, "schema": schema}]
            names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
            self.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{plural}.{group}", "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}},
                "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": versions},
            })  # fmt: skip

        def served() -> bool:
            try:
                return all(self.ask("GET", f"/apis/{group}/{version}/{plural}") for group, version, _, plural in KINDS)
            except HTTPError:
                return False

        wait_for("serving the definitions", served)

    def objects(self) -> dict[str, dict]:
        """What a release made, by kind and name, without what every write changes."""
        found = {}
        paths = [f"/api/v1/{it}" for it in ("configmaps", "secrets", "services", "serviceaccounts")]
        paths += ["/apis/apps/v1/deployments", "/apis/networking.k8s.io/v1/ingresses", "/apis/networking.k8s.io/v1/networkpolicies"]
        paths += ["/apis/policy/v1/poddisruptionbudgets", *(f"/apis/{group}/{version}/{it}" for group, version, _, it in KINDS)]
        for path in paths:
            for it in self.ask("GET", path)["items"]:
                labels = it["metadata"].get("labels", {})
                if labels.get("app.kubernetes.io/managed-by") == "Helm":
                    it["metadata"].pop("managedFields", None)
                    found[f"{path} {it['metadata']['namespace']}/{it['metadata']['name']}"] = it
        return found


def without_version(found: dict[str, dict]) -> dict[str, dict]:
    found = copy.deepcopy(found)
    for it in found.values():
        it["metadata"].pop("resourceVersion")
        it["metadata"].pop("generation", None)
    return found


class Trial:
    def __init__(self, cluster: Cluster, asked: str) -> None:
        self.cluster, self.asked = cluster, asked
        self.done = 0

    def helm(self, *command: str) -> str:
        everything = ["helm", *command, "--namespace", "databases", "--kubeconfig", str(self.cluster.config)]
        ran = subprocess.run(everything, capture_output=True, text=True, timeout=PATIENCE * 2, check=False)
        if ran.returncode != 0:
            sys.exit(f"cluster: {' '.join(map(str, command))}:\n{ran.stdout[-2000:]}{ran.stderr[-3000:]}")
        self.done += 1
        return ran.stdout

    def same(self, what: str, one: dict, other: dict) -> None:
        if one != other:
            changed = [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]
            parts = [json.dumps(it.get(name), indent=1, sort_keys=True) for it in (one, other) for name in changed[:1]]
            sys.exit(f"cluster: {what}: {', '.join(changed)} changed:\n" + "\n--- became\n".join(parts))
        self.done += 1

    def admit_pods(self) -> None:
        """As the Deployment's controller would make them."""
        for it in self.cluster.ask("GET", "/apis/apps/v1/deployments")["items"]:
            template = it["spec"]["template"]
            metadata = {**template["metadata"], "name": f"{it['metadata']['name']}-x"}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"])}
            path = f"/api/v1/namespaces/{it['metadata']['namespace']}/pods?dryRun=All"
            try:
                self.cluster.create(path, pod)
            except HTTPError as refused:
                sys.exit(f"cluster: a pod is refused: {refused.read().decode()}")
            self.done += 1

    def test(self, release: str) -> None:
        """helm waits until the pod has succeeded; who runs its command is here."""
        ran = []
        ended = threading.Event()

        def kubelet() -> None:
            while not ended.wait(0.1):
                for it in self.cluster.ask("GET", "/api/v1/namespaces/databases/pods")["items"]:
                    if it["status"].get("phase") == "Pending" and it["metadata"]["name"] not in ran:
                        ran.append(it["metadata"]["name"])
                        container = it["spec"]["containers"][0]
                        [url] = [variable["value"] for variable in container["env"] if variable["name"] == "READYZ"]
                        path = "/" + url.split("/", 3)[3]
                        code = subprocess.run(container["command"], env={**os.environ, "READYZ": self.asked + path}, timeout=60, check=False,
                                              capture_output=True).returncode  # fmt: skip
                        phase = "Succeeded" if code == 0 else "Failed"
                        self.cluster.ask("PATCH", f"/api/v1/namespaces/databases/pods/{ran[-1]}/status", {"status": {"phase": phase}},
                                         "application/merge-patch+json")  # fmt: skip

        thread = threading.Thread(target=kubelet)
        thread.start()
        try:
            self.helm("test", release)
        finally:
            ended.set()
            thread.join()
        if not ran:
            sys.exit("cluster: helm test made no pod")

    def life(self, values: Path) -> None:
        """Of one release."""
        tests = yaml.safe_load(values.read_text()).get("tests", {}).get("enabled", True)
        given = ["--values", str(values)]
        self.helm("install", "tether", str(CHART), *given)
        installed = self.cluster.objects()
        self.admit_pods()
        self.helm("upgrade", "tether", str(CHART), *given)
        self.same(f"{values.name}, applied again", installed, self.cluster.objects())
        self.helm("upgrade", "tether", str(CHART), *given, "--set", "log.level=warn", "--set", "podLabels.colour=blue")
        if self.cluster.objects() == installed:
            sys.exit(f"cluster: {values.name}: an upgrade changed nothing")
        self.admit_pods()
        self.helm("rollback", "tether", "1")
        self.same(f"{values.name}, rolled back", without_version(installed), without_version(self.cluster.objects()))
        if tests:
            self.test("tether")
        self.helm("uninstall", "tether")
        self.same(f"{values.name}, uninstalled", self.cluster.objects(), {})

    def from_release(self, release: Path, values: Path, folder: Path) -> None:
        """A chart whose templates are what the release's chart rendered."""
        old = folder / "old"
        shutil.rmtree(old, ignore_errors=True)
        (old / "templates").mkdir(parents=True)
        (old / "Chart.yaml").write_text(f"apiVersion: v2\nname: pgtether\nversion: {release.name}\n")
        text = (release / values.name.replace("-values.yaml", ".yaml")).read_text()
        (old / "templates/all.yaml").write_text(text.replace("{{", '{{ "{{" }}'))
        self.helm("install", "tether", str(old))
        before = self.cluster.objects()
        self.helm("upgrade", "tether", str(CHART), "--values", str(values))
        after = self.cluster.objects()
        for name, it in before.items():
            if after.get(name, {}).get("metadata", {}).get("uid") != it["metadata"]["uid"]:
                sys.exit(f"cluster: from {release.name}, {values.name}: {name} was not kept")
        self.admit_pods()
        self.helm("rollback", "tether", "1")
        self.helm("uninstall", "tether")


@contextmanager
def pgtether(folder: Path):
    """For `helm test` to ask: its port."""
    port = free_port()
    (folder / "pgtether.yaml").write_text('targets: [{name: a, url: "postgresql://a@127.0.0.1:1/a"}]\n')
    command = [os.environ["PGTETHER"], f"--config.file={folder}/pgtether.yaml", f"--web.listen-address=127.0.0.1:{port}"]
    with running(folder / "pgtether.log", *command):
        yield f"http://127.0.0.1:{port}"


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = Cluster(folder, stack)
        wait_for("the start of kube-apiserver", cluster.ready)
        cluster.prepare()
        trial = Trial(cluster, stack.enter_context(pgtether(folder)))
        lives = sorted((CHART / "ci").glob("*-values.yaml"))
        for values in lives:
            trial.life(values)
            print(f"cluster: ok: {values.name}: installed, applied again, upgraded, rolled back, uninstalled", flush=True)
        for release in RELEASED.iterdir():
            for values in sorted(release.glob("*-values.yaml")):
                trial.from_release(release, values, folder)
                print(f"cluster: ok: {values.name}: upgraded from {release.name}", flush=True)
        print(f"cluster: {trial.done} steps passed, 0 failed")


if __name__ == "__main__":
    main()
