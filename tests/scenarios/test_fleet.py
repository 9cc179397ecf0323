"""The program `fleet` on the output of kubectl, as in a pipeline."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.host_tree import run
from tests.scenarios.loaded_program import Completed
from tests.unit.cluster.fleet.sample_nodes import node, node_list

REQUIRED = ("--require", "compliant", "--max-age", "26h", "--expect", "2")


def recent(name: str, hours: float = 1) -> dict[str, Any]:
    """Return a compliant node that published so many hours ago."""
    found = node(name)
    text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - hours * 3600))
    found["metadata"]["annotations"]["k3s-harden.internal/assessed"] = text
    found["status"]["conditions"][1]["lastHeartbeatTime"] = found["metadata"]["managedFields"][1]["time"] = text
    return found


def piped(*nodes: dict[str, Any]) -> Completed:
    """Run the command of the how-to on these nodes."""
    return run("fleet", "-", *REQUIRED, stdin=None, input=node_list(*nodes).encode())


@pytest.mark.parametrize(
    ("names", "hours", "code"), [("ab", 1, 0), ("ab", 25, 0), ("ab", 27, 3), ("a", 1, 3), ("abc", 1, 3), ("", 1, 3)]
)
def test_a_pipeline_passes_only_if_all_is_as_required(names: str, hours: float, code: int) -> None:
    """Each node is recent and compliant, and there are two."""
    done = piped(*(recent(name, hours) for name in names))
    assert (done.code, done.stderr) == (code, "")
    assert done.stdout.splitlines()[-1].startswith(f"result {code}: ")


LARGEST = """\
import re, sys
from agent.cli import main
try:
    main()
finally:
    sys.stderr.write(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def test_20000_nodes_take_less_than_200_mib(tmp_path: Path) -> None:
    """The input is read in one pass, and equal texts are kept once."""
    arguments = [f"--kubelet-arg=argument-{at}=value-{at}" for at in range(4)]
    digests = json.dumps({f"/var/lib/rancher/k3s/server/file-{at}": "0123456789abcdef" for at in range(5)})
    item = node("NAME", arguments=arguments, file_digests=digests, machine="NAME", failed_controls="a,b", failed="2")
    text = json.dumps(item)
    with (tmp_path / "nodes").open("w") as file:
        file.write('{"apiVersion": "v1", "items": [')
        file.writelines(f"{',' * bool(at)}{text.replace('NAME', f'node-{at}')}" for at in range(20_000))
        file.write('], "kind": "List"}')
    with (tmp_path / "nodes").open("rb") as file:
        done = subprocess.run(
            (sys.executable, "-c", LARGEST, "fleet", "-"), stdin=file, capture_output=True, text=True, check=False
        )
    assert done.stdout.splitlines()[-1].startswith("result 0: 0 compliant, 0 failed, 20000 unknown")
    assert int(done.stderr.split()[-1]) < 200 << 10


def test_kubectl_is_run_with_the_environment_of_the_user(tmp_path: Path) -> None:
    """Its PATH, its kubeconfig and its current directory."""
    program = tmp_path / "kubectl"
    program.write_text('#!/bin/sh\necho "$KUBECONFIG $PWD" >&2\nexit 1\n')
    program.chmod(0o755)
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin", "KUBECONFIG": "mine", "LC_ALL": "C.UTF-8"}
    done = run("fleet", env=variables)
    assert done.code == 1
    assert "cannot read /api/v1/nodes: mine /" in done.stderr
