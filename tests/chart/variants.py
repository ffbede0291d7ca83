"""Renders what users of many clusters set, one thing at a time, for those who judge manifests.

Usage: variants.py FOLDER     writes to FOLDER/restricted what meets that level of Pod Security, the rest to FOLDER/other
"""

import os
import subprocess
import sys
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parents[2] / "charts/pgtether"
POOLS = {"config": {"targets": [
    {"name": name, "urlFileFromSecret": {"name": "database", "key": name}, "pool": {"listen": listen, "tlsFromSecret": "pool-tls"}}
    for name, listen in (("one", "0.0.0.0:6432"), ("two", "[::]:6433"), ("three", "127.0.0.1:6434"), ("four", "[::1]:6434"))
]}}  # fmt: skip
BALANCER = {
    "type": "LoadBalancer",
    "externalTrafficPolicy": "Local",
    "loadBalancerClass": "example.com/internal",
    "loadBalancerIP": "192.0.2.7",
    "loadBalancerSourceRanges": ["198.51.100.0/24", "2001:db8::/32"],
    "ipFamilyPolicy": "PreferDualStack",
    "ipFamilies": ["IPv6", "IPv4"],
    "sessionAffinity": "ClientIP",
}
RESTRICTED = {
    "load-balancer": {**POOLS, "service": BALANCER, "poolService": BALANCER},
    "headless": {**POOLS, "service": {"clusterIP": "None"}, "poolService": {"clusterIP": "None"}},
    "node-port": {**POOLS, "service": {"type": "NodePort", "nodePort": 30432}, "poolService": {"type": "NodePort"}},
    "address": {"service": {"clusterIP": "10.96.0.40"}},
    "one-family": {**POOLS, "service": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}},
    "local-traffic": {"service": {"internalTrafficPolicy": "Local"}},
    "port-80": {"service": {"port": 80}, "web": {"port": 8080, "healthPort": 8081}},
    "no-replicas": {"replicas": None},
    "replicas-0": {"replicas": 0},
    "several": {"replicas": 3, "podDisruptionBudget": {"enabled": True, "maxUnavailable": "50%"}},
    "recreate": {"strategy": {"type": "Recreate"}},
    "openshift": {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}},
    "quantities": {"resources": {"requests": {"cpu": "0.25", "memory": "1024Mi"}, "limits": {"cpu": 1, "memory": "1Gi"}}},
    "no-tests-no-account": {"tests": {"enabled": False}, "serviceAccount": {"create": False}},
    "secret": {"configKind": "Secret", "restartOnConfigChange": True},
    "ingress": {"ingress": {"enabled": True, "hosts": ["a.example.com", "b.example.com"], "pathType": "Prefix"}},
    "policy": {**POOLS, "networkPolicy": {"enabled": True, "pools": {"from": [{"podSelector": {}}]}, "egress": {"databases": []}}},
    "registry": {"global": {"imageRegistry": "registry.example.com", "imagePullSecrets": ["a", {"name": "b"}, "a"]}},
    "probes": {"startupProbe": None, "livenessProbe": {"initialDelaySeconds": 5}, "readinessProbe": {"failureThreshold": None}},
    "environment": {"extraEnv": [{"name": "A", "value": "1"}], "config": {"targets": [{"name": "a", "urlFromSecret": {"name": "b", "key": "c"}}]}},
}
OTHER = {
    "host-network": {**POOLS, "hostNetwork": True},
    "no-security-context": {"podSecurityContext": None, "securityContext": None},
}
MINIMAL = {"config": {"targets": [{"name": "primary", "urlFileFromSecret": {"name": "database", "key": "url"}}]}}


def main() -> None:
    for folder, variants in (("restricted", RESTRICTED), ("other", OTHER)):
        into = Path(sys.argv[1]) / folder
        into.mkdir(parents=True)
        for name, values in variants.items():
            command = ["helm", "template", "tether", CHART, "--namespace", "databases", "--kube-version", os.environ["KUBERNETES"],
                       "--values", "-"]  # fmt: skip
            text = yaml.safe_dump({**MINIMAL, **values})
            ran = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
            if ran.returncode != 0:
                sys.exit(f"variants: {name}: {ran.stderr}")
            (into / f"{name}.yaml").write_text(ran.stdout)


if __name__ == "__main__":
    main()
