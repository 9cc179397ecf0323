"""A node with `profile: strict`: running pods, effects of the settings, and `revert`."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pytest

from tests.k8s import pods, registry
from tests.k8s.binaries import Binaries, real_k3s
from tests.k8s.client import DATA_DIR
from tests.k8s.components import CONTAINERD
from tests.k8s.containers import IMAGE
from tests.k8s.kube_bench import kube_bench
from tests.k8s.node import Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("strict")]

SETTINGS = "/etc/k3s-harden/config.yaml"
LEASES = "/var/lib/cni/networks"
OLD_LEASE = f"{LEASES}/cbr0/10.42.0.250"
PORT = 8080
PIDS = 4096
FORBIDDEN = 403
CREATED = 201
DROPIN = "/etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml"
KEPT = (DROPIN, f"{DATA_DIR}/server/logs", f"{DATA_DIR}/server/manifests")
MANAGED = ("/etc", str(DATA_DIR), "/var/lib/cni")
"""The directories below which `apply` makes changes."""

REASONS = {
    "1.1.20": "K3s creates certificates with 0644; they are not secret. pki.certificate-permissions sets 0600",
    "1.2.26": "the node has SQLite, not etcd, and kube-bench expects an argument for etcd",
    "5.1.3": "Kubernetes' own roles have wildcards",
}
"""The checks that kube-bench fails on this node, with the reasons in docs/howto/strict.md."""


class Strict(NamedTuple):
    """A running node, and its files before and after the first `apply`."""

    node: Node
    before: dict[str, tuple[Any, ...]]
    after: dict[str, tuple[Any, ...]]
    addresses: dict[str, str]
    """The addresses of the running pods, by name."""


@pytest.fixture(scope="module")
def strict(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strict]:
    """A server that had a pod before, hardened with the profile, with a pod of each kind: restricted, and as root."""
    with Node(tmp_path_factory.mktemp("strict"), binaries) as node:
        node.write(SETTINGS, "profile: strict\n")
        node.write(OLD_LEASE, "a pod of the time before\n", mode=0o644)
        before = files(node)
        done = node.harden("apply")
        assert done.returncode == 0, done.stdout + done.stderr
        after = files(node)
        node.start_server()
        node.wait_until_ready()
        node.wait_until_deployed()
        archive = f"{DATA_DIR}/agent/images/tools.tar"
        serving = node.start_python("tests.k8s.registry", archive, str(registry.PORT), log=registry_log(node))
        node.create_namespaces("shop")
        assert node.harden("service-accounts").returncode == 0
        found = node.run_pods(pod("restricted", "shop"), pod("as-root", "kube-system", as_root=True))
        yield Strict(node, before, after, found)
        serving.kill()
        serving.wait()


def registry_log(node: Node) -> Path:
    return node.log.with_name("registry.log")


def pod(name: str, namespace: str, image: str = registry.IMAGE, *, as_root: bool = False) -> dict[str, Any]:
    """Return a pod whose pull policy is not Always; with `as_root` without a seccomp profile."""
    probed = pods.pod(name, namespace, f"tcp:{PORT}", probe=PORT, as_root=as_root)
    probed["spec"]["containers"][0].update({"image": image, "imagePullPolicy": "IfNotPresent"})
    return probed


def files(node: Node) -> dict[str, tuple[Any, ...]]:
    """Return mode, owner, content and default access control list of each path below MANAGED."""
    found: dict[str, tuple[Any, ...]] = {}
    for top in MANAGED:
        start = node.path(top)
        for path in (start, *start.rglob("*")) if start.exists() else ():
            name = f"{top}{str(path).removeprefix(str(start))}"
            entry = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(entry.st_mode) else b""
            lists = () if path.is_symlink() else tuple(os.listxattr(path))
            found[name] = (entry.st_mode, entry.st_uid, entry.st_gid, content, lists)
    return found


def in_pod(strict: Strict, namespace: str, name: str, *words: str) -> str:
    return strict.node.kubectl("exec", f"--namespace={namespace}", name, "--", "/tools", *words)


@pytest.mark.parametrize(("namespace", "name"), [("shop", "restricted"), ("kube-system", "as-root")])
def test_pods_run_with_a_seccomp_profile(strict: Strict, namespace: str, name: str) -> None:
    """Mode 2 of seccomp is a filter. The manifest of the pod in kube-system sets no profile."""
    status = in_pod(strict, namespace, name, "cat", "/proc/1/status")
    assert "\nSeccomp:\t2\n" in status


def test_pods_reach_each_other(strict: Strict) -> None:
    """Each pod has an address of CNI, and answers another pod."""
    answer = in_pod(strict, "kube-system", "as-root", "connect", f"tcp:{strict.addresses['as-root']}:{PORT}")
    assert answer.split() == [f"tcp:{strict.addresses['as-root']}:{PORT}", "true"]


def test_images_are_pulled_for_each_pod(strict: Strict) -> None:
    """The plugin sets the policy, so the second pod uses the registry although the image is on the node."""
    for namespace, name in (("shop", "restricted"), ("kube-system", "as-root")):
        spec = strict.node.get("pod", f"--namespace={namespace}", name)["spec"]
        assert spec["containers"][0]["imagePullPolicy"] == "Always"
    log = registry_log(strict.node).read_text()
    assert log.count('"HEAD /v2/tools/manifests/test ') >= len(strict.addresses)


def test_a_pod_whose_registry_is_unreachable_does_not_start(strict: Strict) -> None:
    """The image is on the node, as on an air-gapped one. The documentation contains this risk."""
    image = "localhost:5001/tools:test"
    strict.node.run("ctr", f"--address={CONTAINERD}", "--namespace=k8s.io", "images", "tag", IMAGE, image, check=True)
    strict.node.apply(pod("imported", "shop", image))

    def is_waiting() -> bool:
        found = strict.node.get("pod", "--namespace=shop", "imported")["status"].get("containerStatuses", ())
        return any(
            status["state"].get("waiting", {}).get("reason") in ("ErrImagePull", "ImagePullBackOff") for status in found
        )

    strict.node.until("the pull fails", is_waiting)
    strict.node.kubectl("delete", "pod", "imported", "--namespace=shop", "--wait=false")


def test_a_fork_bomb_is_stopped_by_the_limit_of_the_pod(strict: Strict) -> None:
    """The control group of the pod has the limit. Other processes of the node are not affected."""
    uid = strict.node.get("pod", "--namespace=kube-system", "as-root")["metadata"]["uid"]
    answer = in_pod(strict, "kube-system", "as-root", "fork", str(2 * PIDS))
    started, _, reason = answer.partition(", stopped by ")
    assert PIDS - 100 < int(started) < PIDS
    assert reason.strip() == "resource temporarily unavailable"
    limits = strict.node.run(
        "find", "/sys/fs/cgroup", "-path", f"*{uid.replace('-', '?')}*", "-name", "pids.max"
    ).stdout
    top = min(limits.split(), key=len)
    assert strict.node.path(top).read_text(encoding="ascii").strip() == str(PIDS)
    assert in_pod(strict, "shop", "restricted", "cat", "/proc/1/comm")


def test_the_running_kubelet_has_the_limit(strict: Strict) -> None:
    """/configz shows the limit, but never the argument seccomp-default, which `assess` takes into account."""
    path = f"/api/v1/nodes/{strict.node.get('nodes')['items'][0]['metadata']['name']}/proxy/configz"
    running = strict.node.client.get(6444, path).json["kubeletconfig"]
    assert (running["podPidsLimit"], running["seccompDefault"]) == (PIDS, False)


def test_a_service_with_external_ips_is_rejected(strict: Strict) -> None:
    """A Service of the same type without external IPs is accepted."""
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "site", "namespace": "shop"},
        "spec": {"ports": [{"port": PORT}]},
    }
    path = "/api/v1/namespaces/shop/services?dryRun=All"
    assert strict.node.client.request("POST", 6444, path, body=body).status == CREATED
    body["spec"]["externalIPs"] = ["192.0.2.1"]
    refused = strict.node.client.request("POST", 6444, path, body=body)
    assert refused.status == FORBIDDEN
    assert "Use of external IPs is denied by admission control" in refused.json["message"]


def test_events_are_limited_and_recorded(strict: Strict) -> None:
    """The plugin is enabled, and the few events of this node are below its limit."""
    assert "EventRateLimit" in strict.node.component_log("kube-apiserver") or real_k3s()
    assert strict.node.get("events", "--namespace=shop")["items"]


def test_the_files_of_cni_are_private(strict: Strict) -> None:
    """Files of running pods and the earlier file are private. Without the profile, their mode is 0644."""
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in strict.node.path(f"{LEASES}/cbr0").iterdir()}
    leases = {name: mode for name, mode in found.items() if name != "lock"}
    assert {*strict.addresses.values(), "10.42.0.250"} <= leases.keys()
    assert set(leases.values()) == {0o600}


def test_no_control_fails(strict: Strict) -> None:
    """The newest benchmark of the version is assessed while pods run. `apply` has no more changes.

    With --cluster, the pod as root is reported, and the running components have what is configured.
    """
    report = json.loads(strict.node.harden("assess", "--format", "json").stdout)
    statuses = {verdict["id"]: verdict["status"] for verdict in report["verdicts"]}
    assert [name for name, status in statuses.items() if status in ("FAIL", "UNKNOWN")] == []
    cluster = json.loads(strict.node.harden("assess", "--cluster", "--format", "json").stdout)
    failed = {verdict["id"]: verdict["found"] for verdict in cluster["verdicts"] if verdict["status"] == "FAIL"}
    assert all("Pod kube-system/as-root" in found or "1 namespace" in found for found in failed.values()), failed
    assert [note["message"] for note in cluster["notes"] if "is configured" in note["message"]] == []
    for name in ("cni-permissions", "kubelet-pod-max-pids", "kubelet-seccomp-default", "apiserver-event-rate-limit"):
        assert statuses[name] == "PASS"
    assert strict.node.check_problems() == []


def test_kube_bench_fails_only_checks_with_a_documented_reason(strict: Strict) -> None:
    """Its profile for K3s is that of cis-1.9; the documentation explains each failure."""
    if real_k3s():
        pytest.skip("needs K3s' log in journald: run kube-bench on the host of K3s")
    results = kube_bench(strict.node)
    failed = {number for number, status in results.items() if status == "FAIL"}
    assert failed == REASONS.keys()
    closed = {"1.1.9", "1.2.3", "1.2.9", "1.2.11", "4.2.13"}
    assert {number: results[number] for number in closed} == dict.fromkeys(closed, "PASS")


def test_revert_restores_all_changed_files(strict: Strict) -> None:
    """Contents, modes, owners and access control lists of all changed paths are restored while K3s runs.

    The last test of this node.
    """
    changed = {name for name in (*strict.before, *strict.after) if strict.before.get(name) != strict.after.get(name)}
    assert {OLD_LEASE, LEASES, DROPIN} <= changed
    done = strict.node.harden("revert")
    assert done.returncode == 0, done.stdout + done.stderr
    found = files(strict.node)
    left = {name for name in changed if found.get(name) != strict.before.get(name)}
    assert {name for name in left if name in strict.before} == set()
    # Directories that `apply` created and K3s used are not empty. K3s encrypts Secrets, and needs that option.
    assert (
        left == {*KEPT, *(str(PurePosixPath(name).parent) for name in KEPT), "/etc/rancher", "/etc/rancher/k3s"} & left
    )
    (option,) = (line for line in strict.node.path(DROPIN).read_text().splitlines() if not line.startswith("#"))
    assert option == "secrets-encryption: true"
