"""`fleet` and OpenReports on a real API server: many nodes, the least permissions, and reports that are replaced."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.reports.assessments.openreports import LARGEST
from tests.k8s.binaries import Binaries
from tests.k8s.namespaces import NAME
from tests.k8s.node import Node
from tests.k8s.report_definitions import define_reports
from tests.machine import CHECKOUT
from tests.unit.cluster.fleet import sample_nodes

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("fleet")]

MANY = 5000
MEMORY = 100 << 10
"""KiB."""
READER = "/root/reader.yaml"
# The largest memory of the process itself, and not that of its parent before exec, as getrusage(2) has it.
_MEASURED = """\
import atexit, re, sys
from agent.cli import main
atexit.register(lambda: sys.stderr.write(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]))
main()
"""


def published(name: str, **changes: Any) -> dict[str, Any]:
    """Return a node with the size of a real one, whose report is recent."""
    found = sample_nodes.node(name, **changes)
    annotations = found["metadata"]["annotations"]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    annotations["k3s-harden.internal/assessed"] = now
    for condition in found["status"]["conditions"]:
        condition["lastHeartbeatTime"] = condition["lastTransitionTime"] = now
    del found["metadata"]["managedFields"], found["metadata"]["uid"]
    names = [[f"docker.io/library/image-{at}@sha256:{'0' * 64}", f"docker.io/library/image-{at}:1"] for at in range(20)]
    found["status"]["images"] = [{"names": pair, "sizeBytes": 1} for pair in names]
    return {"apiVersion": "v1", **found}


@pytest.fixture(scope="module")
def api(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A server without a kubelet, and a kubeconfig of a user of the group in docs/examples/fleet."""
    with Node(tmp_path_factory.mktemp("server"), binaries) as node:
        assert node.harden("apply").returncode == 0
        node.start_server("--disable-agent")
        node.wait_for_api()
        config = yaml.safe_load(node.path("/etc/rancher/k3s/k3s.yaml").read_text())
        config["users"][0]["user"] |= {"as": "anna", "as-groups": ["fleet-readers"]}
        node.write(READER, yaml.safe_dump(config), mode=0o600)
        yield node


def fleet(node: Node, *words: str, kubeconfig: str = READER) -> subprocess.CompletedProcess[str]:
    environment = {"KUBECONFIG": kubeconfig, "PATH": f"{node.binaries.search_path}:/usr/bin:/bin", "HOME": "/root"}
    return node.run(sys.executable, "-c", _MEASURED, "fleet", *words, env=environment, timeout=120)


def test_it_needs_only_to_get_and_list_nodes(api: Node) -> None:
    """The example is enough, and without it the error of the API server is shown."""
    done = fleet(api)
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot read /api/v1/nodes: the API server answered with HTTP status 403" in done.stderr
    example = (CHECKOUT / "docs/examples/fleet/fleet-reader.yaml").read_text(encoding="utf-8")
    api.kubectl("apply", "--filename=-", text=example)
    api.until("the role is in effect", lambda: fleet(api).returncode == 3)
    assert fleet(api, "--require", "compliant").stdout.startswith("result 3: 0 compliant, 0 failed, 0 unknown; found 0")
    assert api.run(api.binaries.path("kubectl"), "get", "pods", env={"KUBECONFIG": READER}).returncode != 0


@pytest.fixture(scope="module")
def definitions(api: Node) -> Node:
    """The server with the real definition of ClusterReports."""
    define_reports(api)
    return api


def apply_reports(node: Node, text: str) -> None:
    """Apply reports as docs/howto/export-results.md does; the API server rejects unknown fields."""
    node.kubectl("apply", "--server-side", "--force-conflicts", "--validate=strict", "--filename=-", text=text)


def test_reports_of_nodes_are_replaced_and_deleted_with_their_nodes(definitions: Node) -> None:
    """There is one for each node, which is its owner."""
    api = definitions
    failed: dict[str, Any] = {"result": "failed", "passed": "34", "failed": "2", "failed_controls": "a,b"}
    items = [published("good"), published("bad", **failed), published("silent", published=None)]
    api.client.post_all(6444, "/api/v1/nodes?fieldManager=k3s-harden", items)
    for _ in range(2):
        apply_reports(api, fleet(api, "--format", "openreports").stdout)
    reports = {report["metadata"]["name"]: report for report in api.get("clusterreports")["items"]}
    assert reports.keys() == {"k3s-harden-good", "k3s-harden-bad", "k3s-harden-silent"}
    found = {name: (report["summary"], [row["rule"] for row in report["results"]]) for name, report in reports.items()}
    assert found["k3s-harden-good"] == ({"pass": 36, "fail": 0, "error": 0, "warn": 0, "skip": 0}, [])
    assert found["k3s-harden-bad"][0] == {"pass": 34, "fail": 2, "error": 0, "warn": 0, "skip": 0}
    assert found["k3s-harden-bad"][1] == ["published-report", "a", "b"]
    assert found["k3s-harden-silent"][0] == {"pass": 0, "fail": 0, "error": 1, "warn": 0, "skip": 0}
    assert found["k3s-harden-silent"][1] == ["published-report"]
    api.kubectl("delete", "node", "good", "bad", "silent")
    api.until("the reports are deleted", lambda: api.get("clusterreports")["items"] == [])


def test_the_complete_report_of_a_node_is_accepted(definitions: Node) -> None:
    """With --cluster the report is owned by the Node; without, a warning says that nothing owns it."""
    api = definitions
    alone = api.harden("assess", "--format", "openreports")
    assert "the report has no owner" in alone.stderr
    apply_reports(api, alone.stdout)
    api.client.post_all(6444, "/api/v1/nodes", [published(NAME)])
    owned = api.harden("assess", "--cluster", "--format", "openreports")
    assert "owner" not in owned.stderr
    assert len(owned.stdout) < LARGEST
    apply_reports(api, owned.stdout)
    (report,) = api.get("clusterreports")["items"]
    node = api.get("node", NAME)
    assert report["scope"] == {"apiVersion": "v1", "kind": "Node", "name": NAME, "uid": node["metadata"]["uid"]}
    statuses = json.loads(api.harden("assess", "--cluster", "--format", "json").stdout)["counts"]
    counts = {"fail": statuses["FAIL"], "error": statuses["UNKNOWN"], "warn": statuses["MANUAL"]}
    counts |= {"pass": statuses["PASS"], "skip": statuses["WAIVED"] + statuses["NOT_APPLICABLE"]}
    assert report["summary"] == counts
    assert len(report["results"]) == sum(counts.values()) - counts["pass"]
    api.kubectl("delete", "node", NAME)
    api.until("the report is deleted", lambda: api.get("clusterreports")["items"] == [])


_KUBECTL = """\
#!/bin/sh
# Each cluster is in namespaces of its own, so kubectl enters them.
case $1 in --context=*) cluster=${1#--context=} && shift ;; *) exec KUBECTL "$@" ;; esac
export KUBECONFIG=/etc/rancher/k3s/k3s.yaml
exec nsenter --target="$(cat "$PLACE/$cluster")" --mount --net KUBECTL "$@"
"""


def test_three_clusters_with_nodes_of_equal_names_are_told_apart(api: Node, tmp_path: Path) -> None:
    """Read by one command. A cluster that does not answer hides no other."""
    binaries = api.binaries
    failed: dict[str, Any] = {"result": "failed", "passed": "34", "failed": "2", "failed_controls": "a,b"}
    with Node(tmp_path / "two", binaries) as second, Node(tmp_path / "three", binaries) as third:
        for node in (second, third):
            node.start_server("--disable-agent")
            node.wait_for_api()
        clusters = {"a": api, "b": second, "c": third}
        for name, node in clusters.items():
            (tmp_path / name).write_text(str(node.number))
            items = [published("work-1", machine=name + "1", **(failed if name == "b" else {}))]
            items += [published(f"cp-{at}", role="server", machine=f"{name}{at}") for at in (0, 10, 9)]
            node.client.post_all(6444, "/api/v1/nodes?fieldManager=k3s-harden", items)
        contexts = [{"name": name, "context": {"cluster": name, "user": name}} for name in (*clusters, "down")]
        (tmp_path / "config").write_text(yaml.safe_dump({"kind": "Config", "apiVersion": "v1", "contexts": contexts}))
        program = tmp_path / "kubectl"
        program.write_text(_KUBECTL.replace("KUBECTL", str(binaries.path("kubectl"))))
        program.chmod(0o755)
        variables = {
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "PLACE": str(tmp_path),
            "KUBECONFIG": str(tmp_path / "config"),
        }
        done = subprocess.run(
            (sys.executable, "-m", "agent", "fleet", "--all-contexts"),
            env=variables, cwd=CHECKOUT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    rows = [line.split("\t")[:4] for line in done.stdout.splitlines() if "\t" in line]
    assert rows, done.stdout + done.stderr
    assert rows[0] == ["b", "work-1", "agent", "failed"]
    order = ["cp-0", "cp-9", "cp-10", "work-1"]
    others = [[name, node] for name in "abc" for node in order if name + node != "bwork-1"]
    assert [row[:2] for row in rows[1:]] == [["down", "-"], *others]
    assert {row[3] for row in rows[2:]} == {"compliant"}
    assert "a failed on 1: b/work-1" in done.stdout
    assert done.returncode == 3
    assert "down: cannot read /api/v1/nodes" in done.stdout
    api.kubectl("delete", "node", "work-1", "cp-0", "cp-9", "cp-10")


def test_many_nodes_are_read_in_pages_with_little_memory(api: Node) -> None:
    """Each is one line, and one of them makes the requirement fail."""
    items = (published(f"node-{at}", role="server" if at < 3 else "agent") for at in range(MANY))
    api.client.post_all(6444, "/api/v1/nodes?fieldManager=k3s-harden", items)
    required = ("--require", "compliant", "--expect", str(MANY))
    started = time.monotonic()
    done = fleet(api, *required)
    seconds = time.monotonic() - started
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"result 0: {MANY} compliant, 0 failed, 0 unknown")
    assert len(done.stdout.splitlines()) == MANY + 1
    assert int(done.stderr) < MEMORY
    sys.stderr.write(f"{MANY} nodes: {seconds:.1f} s, {int(done.stderr) >> 10} MiB\n")
    api.client.post_all(6444, "/api/v1/nodes?fieldManager=k3s-harden", [published("late", published=None)])
    done = fleet(api, *required)
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1].endswith(f"found {MANY + 1} nodes, expected {MANY}; not compliant: late")
