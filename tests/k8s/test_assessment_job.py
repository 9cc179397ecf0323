"""`render assessment-job`: what it prints runs on a hardened node with the image that `make image` builds."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent import __version__
from agent.verbs.render.pods import IMAGE
from tests.k8s import break_out
from tests.k8s.components import CONTAINERD
from tests.k8s.namespaces import ADDRESS, NAME
from tests.k8s.node import Node
from tests.k8s.report_definitions import define_reports
from tests.k8s.taken_over import IMAGE as TAKEN_OVER
from tests.k8s.taken_over import taken_over
from tests.tools.dist.bundle import bundle
from tests.tools.dist.image import image
from tests.tools.dist.release import image_packages

DEPENDS_ON_RUNTIME = {"ring"}
"""Newer versions of containerd refuse it."""
OF_ANOTHER_IMAGE = {
    "key",
    "socket of everybody",
    "socket by a pair",
    "netlink",
    "output of a container",
    "file by handle for reading",
    "directory by handle",
    "mount",
    *(name for name in break_out.ATTEMPTS if name.startswith(("lock of", "shared lock of"))),
}

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("server")]

IMPORT = ("ctr", f"--address={CONTAINERD}", "--namespace=k8s.io", "images", "import")
USER = 1879048192
OURS = "--namespace=k3s-harden"
LEFT = "namespaces,clusterroles,clusterrolebindings,clusterreports"
"""The kinds of objects without a namespace that the manifests or their pods create."""


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the image of the working tree."""
    directory = tmp_path_factory.mktemp("image")
    bundle(directory, platform.machine())
    return image(directory, platform.machine())


@pytest.fixture(scope="module")
def node(server: Node, archive: Path) -> Node:
    """The hardened server with the image and the definition of reports."""
    assert IMAGE in server.run(*IMPORT, str(archive), check=True, timeout=120).stdout
    define_reports(server)
    # K3s itself listens on the address of the node, to which kube-proxy leads.
    to_api = "PREROUTING -d 10.43.0.1 -p tcp --dport 443 -j DNAT --to-destination 127.0.0.1:6444"
    server.run("sh", "-c", f"sysctl -w net.ipv4.conf.all.route_localnet=1; iptables -t nat -I {to_api}", check=True)
    return server


def render(node: Node, *words: str) -> list[dict[str, Any]]:
    done = node.harden("render", "assessment-job", *words)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@contextmanager
def applied(node: Node, manifests: list[dict[str, Any]]) -> Iterator[None]:
    """Create the objects and delete them, after which nothing is left."""
    before, text = cluster_wide(node), yaml.safe_dump_all(manifests)
    node.kubectl("apply", "--filename=-", text=text)
    try:
        yield
    finally:
        node.kubectl("delete", "--filename=-", "--timeout=60s", text=text)
    node.until("nothing is left", lambda: cluster_wide(node) == before)


def cluster_wide(node: Node) -> set[str]:
    return set(node.kubectl("get", LEFT, "--output=name").split())


def output_of_job(node: Node) -> str:
    """Wait for the end of the Job, and return what its pod printed."""
    node.until("the Job has ended", lambda: bool(ends(node)))
    return node.kubectl("logs", OURS, f"job/assess-{NAME}")


def ends(node: Node) -> list[str]:
    (job,) = node.get("jobs", OURS)["items"]
    return [found["type"] for found in job["status"].get("conditions", ()) if found["status"] == "True"]


def output_of_daemon_set(node: Node) -> str:
    """Return what the pod has printed; empty before it starts."""
    return node.try_kubectl("logs", OURS, "daemonset/assess").stdout


def verdicts(report: dict[str, Any]) -> dict[str, Any]:
    return {verdict["id"]: verdict for verdict in report["verdicts"]}


def test_verdicts_are_those_of_the_node_itself(node: Node) -> None:
    """Control by control with their evidence, while the pod runs, which itself has files on the node."""
    with applied(node, render(node, "--all-nodes", "--format", "json")):
        node.until("the pod has reported", lambda: output_of_daemon_set(node).endswith("}\n"))
        in_pod = json.loads(output_of_daemon_set(node))
        on_node = json.loads(node.harden("assess", "--format", "json").stdout)
    for control, verdict in verdicts(on_node).items():
        assert verdicts(in_pod)[control] == verdict
    assert in_pod["counts"] == on_node["counts"]
    assert in_pod["node"] == on_node["node"]
    assert sum("could not be asked" in note["message"] for note in in_pod["notes"]) == 1


def test_a_job_fails_with_the_exit_code_of_a_node_that_is_not_compliant(node: Node) -> None:
    """Its log is the report, whose commands are those for the node."""
    with applied(node, render(node, "--node", NAME)):
        text = output_of_job(node)
        assert ends(node)[-1] == "Failed"
        (pod,) = node.get("pods", OURS)["items"]
    (status,) = pod["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 3
    assert "FAIL" in text
    assert "--root" not in text


def test_a_daemon_set_repeats_the_assessment(node: Node) -> None:
    """It does not restart, each process is confined, and it ends at once when it is deleted."""
    with applied(node, render(node, "--all-nodes", "--every", "0.001")):
        node.until("it has assessed twice", lambda: output_of_daemon_set(node).count("result 3") > 1)
        of_pod = f"grep -lE '^Uid:\\s+{USER}' /proc/[0-9]*/status | xargs grep -h Seccomp_filters"
        filters = node.run("sh", "-c", of_pod, check=True).stdout.split()[1::2]
        # That of the runtime and its own, also in the process that waits, which an assessment could otherwise trace.
        assert min(map(int, filters)) > 1
        (pod,) = node.get("pods", OURS)["items"]
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_the_namespace_admits_what_others_refuse(node: Node) -> None:
    """Pod Security of the hardened cluster rejects the same pod in `default`."""
    *_, job = render(node, "--node", NAME)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "same", "namespace": "default"}}
    text = yaml.safe_dump({**pod, "spec": job["spec"]["template"]["spec"]})
    refused = node.try_kubectl("create", "--dry-run=server", "--filename=-", text=text)
    assert 'violates PodSecurity "restricted:latest"' in refused.stderr


def test_a_report_is_written_with_exactly_the_necessary_rights(node: Node) -> None:
    """Each rule is needed: without it the API server refuses. The report is deleted with the namespace."""
    manifests = render(node, "--node", NAME, "--report-to-api")
    (role,) = (found for found in manifests if found["kind"] == "ClusterRole")
    with applied(node, manifests):
        assert "k3s-harden: cannot" not in output_of_job(node)
        (report,) = node.get("clusterreports")["items"]
        assert report["metadata"]["name"] == f"k3s-harden-{NAME}"
        assert report["scope"]["name"] == NAME
        assert report["summary"]["fail"] > 0
    for rule in role["rules"]:
        given = rule["verbs"]
        for verb in given:
            rule["verbs"] = [*({*given} - {verb}), "watch"]
            with applied(node, manifests):
                assert "HTTP status 403 (Forbidden)" in output_of_job(node)
            assert node.get("clusterreports")["items"] == []
        rule["verbs"] = given


@pytest.fixture(scope="module")
def attacked(node: Node, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The server with an image whose program was taken over, and with targets for it."""
    image_of_attacker = taken_over(archive, tmp_path_factory.mktemp("taken-over"))
    node.run(*IMPORT, str(image_of_attacker), check=True, timeout=120)
    log = node.place.parent / "targets.log"
    with node.start_python("tests.k8s.taken_over", str(node.binaries.path("tools")), ADDRESS, log=log) as targets:
        node.until("the targets are open", lambda: node.path(break_out.TARGETS).exists())
        yield node
        targets.kill()


def reached(node: Node, *manifests: dict[str, Any]) -> dict[str, str]:
    """Run a Job with the program that was taken over, and return what each attempt reached."""
    *_, job = manifests
    (container,) = job["spec"]["template"]["spec"]["containers"]
    container["image"] = TAKEN_OVER
    if container["args"][0] == "assess-node":
        container["args"].append("--format=json")
    with applied(node, list(manifests)):
        lines = output_of_job(node).splitlines()
    found = dict(line.split("\t", 1) for line in lines)
    assert list(found) == list(break_out.ATTEMPTS)
    return {name: result for name, result in found.items() if result and not result.startswith("\t")}


def test_a_pod_that_is_taken_over_can_only_read(attacked: Node) -> None:
    """It reaches no process, socket, port, terminal, lock or FIFO, and no file for writing; it reads each key."""
    assert len(break_out.ATTEMPTS) > 40
    assert reached(attacked, *render(attacked, "--node", NAME)).keys() == {"key"}


def test_another_image_with_the_same_rights_reaches_no_more_than_is_documented(attacked: Node) -> None:
    """Its program does not confine itself. The kubelet and the runtime still do: docs/explanation/security-model.md."""
    manifests = render(attacked, "--node", NAME)
    manifests[-1]["spec"]["template"]["spec"]["containers"][0]["args"] = ["render", "assessment-job", "--node=a"]
    assert reached(attacked, *manifests).keys() - DEPENDS_ON_RUNTIME == OF_ANOTHER_IMAGE


def test_each_attempt_succeeds_with_more_rights(attacked: Node) -> None:
    """Those of root with the same capability, whose program does not confine itself, or those of a privileged pod."""
    *others, policy, job = render(attacked, "--node", NAME)
    assert policy["kind"] == "NetworkPolicy"
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container["args"].remove("--node=$(NODE)")
    container["securityContext"] |= {"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False}
    pod.update(hostPID=True, shareProcessNamespace=False)
    as_root = reached(attacked, *others, deepcopy(job)).keys()
    assert as_root >= {
        "socket of root",
        "bus as root",
        "port",
        "signal",
        "file by handle",
        "fifo",
        "set-user-ID program",
        "lease",
        *OF_ANOTHER_IMAGE,
    }
    container["securityContext"] = {"privileged": True}
    del container["volumeMounts"][1]  # over /dev of the node
    pod.update(hostNetwork=True, hostIPC=True)
    assert as_root | reached(attacked, *others, job).keys() == break_out.ATTEMPTS.keys()


def test_without_k3s_a_pod_says_so(node: Node) -> None:
    """The root directory is another one, as on a node that runs another distribution."""
    node.run("sh", "-c", "mkdir -p /srv/other/etc /srv/other/proc && mount --rbind /proc /srv/other/proc", check=True)
    *others, job = render(node, "--node", NAME)
    job["spec"]["template"]["spec"]["containers"][0]["args"][1] = "--root=/host/srv/other"
    with applied(node, [*others, job]):
        assert "K3s is not installed yet" in output_of_job(node)
    node.run("umount", "--lazy", "/srv/other/proc", check=True)


def test_other_programs_read_the_image(archive: Path, tmp_path: Path) -> None:
    """skopeo copies it with its labels, and a second build has the same bytes."""
    target = tmp_path / "copy"
    subprocess.run(("skopeo", "copy", "--quiet", f"oci-archive:{archive}", f"dir:{target}"), check=True)
    shown = subprocess.run(("skopeo", "inspect", "--config", f"dir:{target}"), capture_output=True, check=True).stdout
    config = json.loads(shown)["config"]
    assert (config["User"], config["Entrypoint"]) == ("0:0", ["/opt/k3s-harden/bin/k3s-harden"])
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert "libc6" in dict(image_packages(archive))
    before = archive.read_bytes()
    assert image(archive.parent, platform.machine()).read_bytes() == before
