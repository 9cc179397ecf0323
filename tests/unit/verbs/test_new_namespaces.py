"""NetworkPolicies of new namespaces, with a kubectl that has a cluster in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.base.host import Host
from agent.base.host.process import Completed
from agent.base.repair import Run
from agent.base.report import Item
from agent.base.value import replace
from agent.harden.settings.schema import Settings
from agent.verbs.service_accounts import KubectlAccess, change_default_tokens
from tests.fake import fake_host, in_memory
from tests.k3s_tree import put

ON = replace(Settings(), new_namespaces=True)
GUIDE = {"default": False, "kube-system": False, "kube-public": False}
DECISION = "k3s-harden.internal/network-policies"


class Cluster:
    """Namespaces with their annotations, policies by namespace with whether they are ours, and pods."""

    def __init__(self, *names: str, pods: Sequence[str] = ()) -> None:
        self.annotations: dict[str, dict[str, str]] = {name: {} for name in (*GUIDE, "kube-node-lease", *names)}
        self.policies: dict[str, str] = dict.fromkeys(GUIDE, ",0a1b")
        """The values of the labels of this program and of K3s."""
        self.pods = pods
        self.created: list[dict[str, Any]] = []
        self.error = ""
        self.server = "a"
        """The name of the server on which kubectl runs."""

    def __call__(self, argv: Sequence[str], *, timeout: float, largest_output: int = 0) -> Completed:
        """Answer as kubectl does."""
        del timeout, largest_output
        _, verb, kind, *rest = argv
        text = ""
        if verb == "annotate":
            key, is_set, value = rest[1].partition("=")
            if is_set:
                self.annotations[rest[0]][key] = value
            else:
                del self.annotations[rest[0]][key.removesuffix("-")]
        elif verb == "create":
            self.created.append(json.loads(Path(kind.removeprefix("--filename=")).read_text()))
            self.policies[self.created[-1]["metadata"]["namespace"]] = "true,"
        elif verb == "delete":
            if self.error:
                return Completed(1, "", self.error)
            del self.policies[rest[0].removeprefix("--namespace=")]
        elif kind == "namespaces":
            items = [{"metadata": {"name": name, "annotations": it}} for name, it in self.annotations.items()]
            text = json.dumps({"items": items})
        elif kind == "networkpolicies" and rest[1].startswith("--output=jsonpath"):
            text = "".join(f"{name},{labels}\n" for name, labels in self.policies.items())
        elif kind == "pods" and rest[1].startswith("--output=jsonpath"):
            text = " ".join(self.pods)
        elif kind == "--raw" or kind.startswith("/"):
            return Completed(1, "", "Error from server (Forbidden): no")
        else:
            text = '{"items": []}'
        return Completed(0, text, "")

    @property
    def records(self) -> dict[str, str]:
        return {key.rpartition("/")[2]: value for key, value in self.annotations["kube-system"].items()}


@pytest.fixture
def host() -> Iterator[Host]:
    with in_memory() as root:
        put(root, "usr/bin/kubectl", "", 0o755)
        yield fake_host(root)


def run(
    host: Host, cluster: Cluster, settings: Settings = ON, *, undo: bool = False, dry_run: bool = False
) -> dict[str, Item]:
    put(Path(host.root), "etc/hostname", cluster.server)
    host = replace(host, run=cluster)
    report = change_default_tokens(host, settings, KubectlAccess(), undo=undo, dry_run=dry_run)
    return {item.id: item for item in report.items if not item.id.endswith("/default")}


def test_a_namespace_without_pod_gets_the_policy_of_the_guide_once(host: Host) -> None:
    cluster = Cluster("shop", "storage")
    settings = replace(ON, exempt_namespaces=("storage",))
    found = run(host, cluster, settings)
    assert [(name, item.status.value) for name, item in found.items()] == [
        ("record of a", "changed"),
        ("NetworkPolicy shop/intra-namespace", "changed"),
    ]
    (policy,) = cluster.created
    labels = {"k3s-harden.internal/new-namespace": "true"}
    assert policy["metadata"] == {"name": "intra-namespace", "namespace": "shop", "labels": labels}
    assert policy["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "shop"
    }
    assert run(host, cluster, settings) == {}


def test_it_is_off_by_default_and_on_in_the_strict_profile(host: Host) -> None:
    from agent.harden.settings.loading import load_settings
    from agent.harden.settings.schema import DEFAULT_SETTINGS, Profile

    assert run(host, cluster := Cluster("shop"), Settings()) == {}
    assert cluster.created == []
    assert load_settings(None, DEFAULT_SETTINGS, Profile.STRICT).new_namespaces


def test_a_namespace_with_pods_keeps_its_traffic_until_it_is_accepted(host: Host) -> None:
    cluster = Cluster("shop", pods=["shop", "kube-system"])
    for item in [run(host, cluster)["NetworkPolicy shop/intra-namespace"] for _ in range(2)]:
        assert item.status.value == "kept"
        assert item.detail.startswith("not created, because the namespace has pods: ")
        assert item.repair.steps[-1] == Run(f"sudo k3s kubectl annotate namespace shop {DECISION}=accepted")
    assert cluster.created == []
    cluster.annotations["shop"][DECISION] = "accepted"
    assert run(host, cluster)["NetworkPolicy shop/intra-namespace"].status.value == "changed"


def test_a_policy_of_the_site_stays(host: Host) -> None:
    cluster = Cluster("shop")
    cluster.policies["shop"] = ","
    run(host, cluster)
    run(host, cluster, undo=True)
    assert (cluster.created, cluster.policies) == ([], {**dict.fromkeys(GUIDE, ",0a1b"), "shop": ","})


@pytest.mark.parametrize("way", ["undo", "removed setting", "postponed policies"])
def test_what_was_created_is_removed(host: Host, way: str) -> None:
    cluster = Cluster("shop")
    run(host, cluster)
    cluster.policies["taken-over"] = "true,0a1b"  # K3s applies it from a manifest now
    settings = {
        "undo": ON,
        "removed setting": Settings(),
        "postponed policies": replace(ON, stage_network_policies=False, stages_until="2099-01-01"),
    }[way]
    cluster.error = "Error from server (Forbidden): no"
    assert (
        run(host, cluster, settings, undo=way == "undo")["NetworkPolicy shop/intra-namespace"].status.value == "failed"
    )
    assert cluster.records, "the next run repeats it"
    cluster.error = ""
    assert set(run(host, cluster, settings, undo=way == "undo")) == {
        "NetworkPolicy shop/intra-namespace",
        "record of a",
    }
    assert (cluster.records, set(cluster.policies)) == ({}, {*GUIDE, "taken-over"})


@pytest.mark.parametrize("by", ["annotation", "settings"])
def test_a_namespace_that_becomes_exempt_loses_the_policy(host: Host, by: str) -> None:
    cluster = Cluster("shop")
    run(host, cluster)
    settings = replace(ON, exempt_namespaces=("shop",)) if by == "settings" else ON
    if by == "annotation":
        cluster.annotations["shop"][DECISION] = "exempt"
    run(host, cluster, settings)
    assert cluster.policies.keys() == GUIDE.keys()


def test_servers_with_different_settings_do_not_fight(host: Host) -> None:
    """The older record applies; the other server reports, whether its setting is off or exempts other namespaces."""
    cluster = Cluster("shop", "storage")
    run(host, cluster)
    others = (Settings(), replace(ON, exempt_namespaces=("storage",)))
    cluster.server = "b"
    for settings in others:
        item = run(host, cluster, settings)["network-policies.new-namespaces"]
        assert (item.status.value, "server a " in item.detail) == ("kept", True)
    cluster.server = "a"
    assert run(host, cluster) == {}
    assert cluster.policies.keys() == {*GUIDE, "shop", "storage"}
    item = run(host, cluster, Settings())["network-policies.new-namespaces"]
    assert "server b has it on" in item.detail
    assert cluster.policies.keys() == {*GUIDE, "shop", "storage"}
    cluster.server = "b"
    run(host, cluster, others[1])
    assert cluster.policies.keys() == {*GUIDE, "shop"}


def test_a_dry_run_writes_nothing(host: Host) -> None:
    cluster = Cluster("shop")
    found = run(host, cluster, dry_run=True)
    assert {item.status.value for item in found.values()} == {"differs"}
    assert (cluster.created, cluster.records) == ([], {})
