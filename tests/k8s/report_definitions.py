"""The real definition of OpenReports' ClusterReports."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.k8s.binaries import go
from tests.k8s.node import Node
from tests.k8s.pins import MODULES


def define_reports(node: Node) -> None:
    """Install it on a running server."""
    command = (go(), "mod", "download", "-json", "github.com/openreports/reports-api")
    done = subprocess.run(command, cwd=MODULES / "openreports-0.2.1", capture_output=True, check=True)
    directory = Path(json.loads(done.stdout)["Dir"])
    text = (directory / "config/crd/openreports.io_clusterreports.yaml").read_text(encoding="utf-8")
    node.kubectl("create", "--filename=-", text=text)
    node.kubectl("wait", "--for=condition=Established", "crd/clusterreports.openreports.io")
