"""The kube-bench binary on a node, with KUBE_BENCH=/path/to/kube-bench.

Its configuration is the directory `cfg` beside the binary or in its parent directory, or KUBE_BENCH_CFG. A stand-in for
journalctl prints K3s' log, from which kube-bench reads arguments.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.k8s.node import Node

PROFILE = "k3s-cis-1.9"
"""The profile that kube-bench uses for K3s v1.27 and newer."""

ON_NODE = "master,controlplane,etcd,node"
"""The targets whose checks do not ask the API server."""
CLUSTER = "policies"
NEEDED = "KUBE_BENCH=/path/to/kube-bench, and its directory cfg beside it or in KUBE_BENCH_CFG"
_LOG = "/run/k3s-of-the-test.log"
_KUBECTL = '#!/bin/sh\nexec /usr/local/bin/k3s kubectl "$@"\n'


def kube_bench(node: Node) -> dict[str, str]:
    """Return the status of each check by its number. Skips the test without the binary."""
    program = os.environ.get("KUBE_BENCH", "")
    if not program:
        pytest.skip(f"needs {NEEDED}")
    command = prepared(node, program, f"{ON_NODE},{CLUSTER}")
    done = node.run(*command, "--json", timeout=200, env={"KUBECONFIG": "/etc/rancher/k3s/k3s.yaml"}, check=True)
    parts = json.loads(done.stdout)["Controls"]
    results = [result for part in parts for group in part["tests"] for result in group["results"]]
    assert results, done.stderr
    return {result["test_number"]: result["status"] for result in results}


def prepared(node: Node, program: str, targets: str) -> tuple[str, ...]:
    """Return the command that runs kube-bench on a node, after creating what it needs there."""
    beside = (Path(program).parent / "cfg", Path(program).parents[1] / "cfg")
    given = os.environ.get("KUBE_BENCH_CFG", "")
    cfg = given or next((str(path) for path in beside if path.is_dir()), str(beside[0]))
    node.write(_LOG, node.log.read_bytes())
    node.write("/usr/local/bin/journalctl", f"#!/bin/sh\ncat {_LOG}\n", mode=0o755)
    node.write("/usr/local/bin/kubectl", _KUBECTL, mode=0o755)
    words = ("--config-dir", cfg, "--config", f"{cfg}/config.yaml", "--benchmark", PROFILE, "--targets", targets)
    return (program, "run", *words)
