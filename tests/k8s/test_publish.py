"""The verb publish against a real API server: the rights of a node, lost conflicts, an API that hangs, rotation."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.cluster.node_status import CONDITION, PREFIX, Annotation
from agent.harden.changes.state import PUBLICATION
from tests.k8s.binaries import Binaries
from tests.k8s.namespaces import NAME
from tests.k8s.node import DATA_DIR, Node
from tests.k8s.pods import pod
from tests.machine import CHECKOUT

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("publish")]

AGENT = f"{DATA_DIR}/agent"
OTHER, OTHER_DIR = "node-2", "/var/lib/rancher/other"
FLEET = ("fleet", "-", "--format", "json")
FORGED = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME, "annotations": {str(Annotation.FAILED): "0"}}}


@pytest.fixture(scope="module")
def node(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A hardened server whose node is Ready, with the setting `publish: details`."""
    with Node(tmp_path_factory.mktemp("publish"), binaries) as found:
        found.write("/etc/k3s-harden/config.yaml", "publish: details\n")
        found.run_alone()
        done = found.harden("apply")
        assert done.returncode == 0, done.stdout + done.stderr
        found.start_server()
        found.wait_until_ready()
        yield found


def python(node: Node, *lines: str) -> None:
    done = node.run(sys.executable, "-c", "\n".join(("from pathlib import Path", *lines)))
    assert done.returncode == 0, done.stdout + done.stderr


def publish(node: Node, *, expected: int = 0) -> str:
    """Run the drift check and publish, and return the output of the latter."""
    checked = node.harden("drift")
    assert checked.returncode == 0, checked.stderr
    done = node.harden("publish", timeout=120)
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


def conditions(node: Node, name: str = NAME) -> dict[str, Any]:
    return {found["type"]: found for found in node.get("node", name)["status"].get("conditions", ())}


def published(node: Node, name: str = NAME) -> dict[str, str]:
    """Return the annotations of k3s-harden without their prefix."""
    found = node.get("node", name)["metadata"].get("annotations", {})
    return {key.removeprefix(PREFIX): value for key, value in found.items() if key.startswith(PREFIX)}


def written_at(node: Node) -> datetime:
    """Return the server's time of the last apply."""
    entries = node.get("node", NAME, "--show-managed-fields")["metadata"]["managedFields"]
    (entry,) = [entry for entry in entries if entry["manager"] == "k3s-harden"]
    assert (entry["operation"], entry["subresource"]) == ("Apply", "status")
    return datetime.strptime(entry["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def test_the_condition_stands_beside_those_of_the_kubelet(node: Node) -> None:
    """kubectl waits for it, and the counts are those of the assessment."""
    before = conditions(node).keys()
    publish(node)
    assert conditions(node).keys() == {*before, CONDITION}
    status = conditions(node)[CONDITION]["status"]
    node.kubectl("wait", f"node/{NAME}", f"--for=condition={CONDITION}={status}", "--timeout=60s")
    found = published(node)
    counts = json.loads(node.path("/var/lib/k3s-harden/assessment.json").read_text())["counts"]
    assert found["passed"] == str(counts["PASS"])
    assert int(found["failed"]) + int(found["left-open"]) == counts["FAIL"]
    assert len(found["failed-controls"].split(",")) == max(1, int(found["failed"]))
    assert f"{DATA_DIR}/server/psa.yaml" in json.loads(found["file-digests"])
    assert node.harden("publish").stdout == ""


def test_fleet_counts_what_a_node_published(node: Node) -> None:
    """The report is complete and recent."""
    publish(node)
    node.kubectl("label", "node", NAME, "node-role.kubernetes.io/control-plane=true", "--overwrite")  # as K3s does
    nodes = node.kubectl("get", "nodes", "--output=json", "--show-managed-fields")
    done = node.run(sys.executable, "-c", "from agent.cli import main; main()", *FLEET, text=nodes)
    (found,) = [found for found in json.loads(done.stdout)["nodes"] if found["name"] == NAME]
    assert (found["result"], found["age_from"]) == (published(node)["result"], "managedFields")
    message = conditions(node)[CONDITION]["message"]
    assert found["reason"] == ("" if found["result"] == "compliant" else message)


def test_a_node_writes_its_own_status_and_no_other(node: Node) -> None:
    """The name is that of the certificate, whatever the host is called."""
    node.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": OTHER}})
    node.run("sh", "-c", f"mkdir -p {OTHER_DIR}/server; cp -a {DATA_DIR}/server/tls {OTHER_DIR}/server/", check=True)
    kubeconfig = f"{OTHER_DIR}/agent/kubelet"
    arguments = "'https://127.0.0.1:6444', d / 'agent/server-ca.crt', d / 'agent/client-kubelet'"
    python(
        node,
        f"from tests.k8s.certificates import create, kubeconfig; d = Path({OTHER_DIR!r})",
        f"create(d, {OTHER!r}, '10.99.0.2')",
        f"kubeconfig(Path('{kubeconfig}.kubeconfig'), {arguments})",
    )
    refused = node.client.request(
        "PATCH",
        6444,
        f"/api/v1/nodes/{NAME}/status?fieldManager=k3s-harden&force=true",
        certificate=Path(OTHER_DIR, "agent/client-kubelet"),
        headers={"Content-Type": "application/apply-patch+yaml"},
        body=FORGED,
    )
    assert refused.status == 403, refused.text
    node.harden("drift")
    file = node.path(str(PUBLICATION))
    file.write_text(file.read_text().replace(f"{AGENT}/kubelet", kubeconfig))
    assert f"published to Node {OTHER}" in node.harden("publish").stdout
    assert published(node, OTHER)["failed"] == published(node)["failed"]


def test_the_fields_are_taken_back_from_others(node: Node) -> None:
    """Another manager gets a conflict. The next run replaces a forged value, and a condition that is gone."""
    publish(node)
    true = published(node)["passed"]
    forged = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME, "annotations": {f"{PREFIX}passed": "999"}}}
    conflict = node.try_kubectl(
        "apply", "--server-side", "--field-manager=other", "--filename=-", text=json.dumps(forged)
    )
    assert "conflict" in conflict.stderr
    node.apply(forged)
    assert published(node)["passed"] == "999"
    assert f"published to Node {NAME}" in node.harden("publish").stdout
    assert published(node)["passed"] == true
    patch = json.dumps({"status": {"conditions": [{"type": CONDITION, "$patch": "delete"}]}})
    node.kubectl("patch", "node", NAME, "--subresource=status", "--type=strategic", f"--patch={patch}")
    assert CONDITION not in conditions(node)
    assert f"published to Node {NAME}" in node.harden("publish").stdout
    assert CONDITION in conditions(node)
    assert node.harden("publish").stdout == ""


def test_pods_avoid_a_node_with_the_taint_of_the_rule(node: Node) -> None:
    """By hand, what node-readiness-controller does with the rule of publish.md for a condition that is not met."""
    page = (CHECKOUT / "docs/howto/publish.md").read_text(encoding="utf-8")
    spec = yaml.safe_load(page.partition("```yml\n")[2].partition("```")[0])["spec"]
    publish(node)
    assert [wanted["type"] in conditions(node) for wanted in spec["conditions"]] == [True]
    assert spec["nodeSelector"]["matchLabels"].items() <= node.get("node", NAME)["metadata"]["labels"].items()
    taint = f"{spec['taint']['key']}:{spec['taint']['effect']}"
    node.create_namespaces("shop")
    node.kubectl("taint", "node", NAME, taint)
    try:
        node.apply(pod("web", "shop"))
        node.kubectl("wait", "pod/web", "-n", "shop", "--for=condition=PodScheduled=False", "--timeout=60s")
        assert "untolerated taint" in str(node.get("pod", "web", "-n", "shop")["status"]["conditions"])
    finally:
        node.kubectl("taint", "node", NAME, f"{taint}-")
    node.kubectl("wait", "pod/web", "-n", "shop", "--for=condition=PodScheduled", "--timeout=60s")


def test_a_new_certificate_of_the_kubelet_is_used(node: Node) -> None:
    """K3s replaces certificate and key, for example in `k3s certificate rotate`."""
    for suffix in ("crt", "key"):
        node.path(f"{AGENT}/client-kubelet.{suffix}").unlink()
    failed = publish(node, expected=1)
    assert f"{AGENT}/client-kubelet.crt does not exist" in failed
    python(node, f"from tests.k8s.certificates import create; create(Path({DATA_DIR!r}), {NAME!r}, '10.99.0.1')")
    assert f"published to Node {NAME}" in publish(node)


@pytest.mark.parametrize("days", [-1, 1])
def test_the_age_is_that_of_the_servers_clock(node: Node, days: int) -> None:
    """A node whose clock is off by a day is not a day younger or older."""
    clock = f"import sys, time; right = time.time; time.time = lambda: right() + {days * 86400}"
    for verb in ("drift", "publish"):
        python(node, clock, f"sys.argv[1:] = [{verb!r}]", "from agent.cli import main; main()")
    now = datetime.now(timezone.utc)
    assert abs(now - written_at(node)) < timedelta(minutes=5)
    heartbeat = datetime.fromisoformat(conditions(node)[CONDITION]["lastHeartbeatTime"].replace("Z", "+00:00"))
    assert abs(now - heartbeat) > timedelta(hours=23)


def test_without_an_api_server_the_drift_check_works_and_uninstall_prints_a_command(node: Node) -> None:
    """The command removes what was published, and leaves the kubelet's conditions."""
    publish(node)
    before = conditions(node).keys()
    node.run("sh", "-c", "kill -STOP $(pidof kube-apiserver)", check=True)
    try:
        assert "no complete answer in time" in publish(node, expected=1)
        done = node.harden("uninstall", "--format", "json")
    finally:
        node.run("sh", "-c", "kill -CONT $(pidof kube-apiserver)", check=True)
    assert done.returncode == 0, done.stdout + done.stderr
    node.wait_for_api()
    program, *words = shlex.split(json.loads(done.stdout)["next_steps"][0]["command"])
    assert program == "kubectl"
    node.kubectl(*words)
    assert conditions(node).keys() == before - {CONDITION}
    assert published(node) == {}


@pytest.mark.parametrize("words", [("uninstall",), ("publish", "--remove")])
def test_what_was_published_is_removed(node: Node, words: tuple[str, ...]) -> None:
    """The kubelet's conditions stay, and nothing is left of the field manager."""
    publish(node)
    assert CONDITION in conditions(node)
    done = node.harden(*words)
    assert re.search(f"removed the condition and the annotations of k3s-harden from Node {NAME}", done.stdout)
    assert conditions(node).keys() >= {"Ready", "DiskPressure"}
    assert CONDITION not in conditions(node)
    assert published(node) == {}
    managers = node.get("node", NAME, "--show-managed-fields")["metadata"]["managedFields"]
    assert "k3s-harden" not in {entry["manager"] for entry in managers}
