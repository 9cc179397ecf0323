"""service-accounts: default tokens and new namespaces in a cluster in memory, and invalid output of kubectl."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.base.errors import HostError
from agent.base.host import Host
from agent.base.host.process import Completed
from agent.base.repair import Run, RunVerb
from agent.base.report import Item, Report
from agent.base.value import replace
from agent.harden.settings.loading import load_settings
from agent.harden.settings.schema import DEFAULT_SETTINGS, Profile, Settings
from agent.reports import repair_texts
from agent.verbs.service_accounts import KubectlAccess, change_default_tokens
from tests.fake import Programs, fake_host
from tests.k3s_tree import put

KUBECTL = "/usr/bin/kubectl"
LIMIT = "--request-timeout=5s"
NAMESPACES = (KUBECTL, "get", "namespaces", "--output=json", LIMIT)
ACCOUNTS = (
    *(KUBECTL, "get", "serviceaccounts", "--all-namespaces"),
    *("--field-selector=metadata.name=default", "--output=json", LIMIT),
)
BINDINGS = (KUBECTL, "get", "rolebindings,clusterrolebindings", "--all-namespaces", "--output=json")
ANSWER = "--output=jsonpath={.automountServiceAccountToken}"
DEEP = 200_000
K3S = "/usr/local/bin/k3s"
KUBECONFIG = "etc/rancher/k3s/k3s.yaml"


def namespaces(*names: str) -> Completed:
    return Completed(0, json.dumps({"items": [{"metadata": {"name": name}} for name in names]}), "")


def disable(host: Host, access: KubectlAccess = KubectlAccess(), **options: Any) -> Report:  # noqa: B008 - immutable; as the verb
    """Run the verb with these options and a timeout of 5 seconds for each call."""
    settings = options.pop("settings", Settings())
    return change_default_tokens(host, settings, access._replace(timeout=5), **options)


@pytest.fixture
def host(in_memory: Path) -> Host:
    put(in_memory, KUBECTL.lstrip("/"), "", 0o755)
    return fake_host(in_memory)


@pytest.mark.parametrize(
    "output",
    [
        pytest.param("[" * DEEP, id="deep lists"),
        pytest.param('{"items": ' * DEEP, id="deep mappings"),
        pytest.param('{"items": ' + "[" * DEEP + "]" * DEEP + "}", id="a deep item"),
        *("", "{", "[]", "null", "1", '"items"', "{}", '{"items": 1}', '{"items": [1]}', '{"items": [{}]}'),
        *('{"items": null}', '{"items": [{"metadata": []}]}', '{"items": [{"metadata": {"namespace": []}}]}'),
        '{"items": [{"metadata": {"name": "default"}}]}',
    ],
)
def test_output_that_is_not_a_list_of_accounts_is_an_error(output: str, host: Host) -> None:
    programs = Programs({NAMESPACES: namespaces("default"), ACCOUNTS: Completed(0, output, "")})
    host = replace(host, run=programs)
    with pytest.raises(HostError, match=r"^cannot read the output of kubectl: expected a list of ServiceAccounts$"):
        disable(host)
    assert programs.asked == [NAMESPACES, ACCOUNTS]


@pytest.mark.parametrize("value", ["0", '"false"', "null", "[]", "{}"])
def test_only_the_value_false_counts_as_protected(value: str, host: Host) -> None:
    """The API server accepts only booleans; any other value is treated as not protected."""
    account = f'{{"items": [{{"metadata": {{"namespace": "a"}}, "automountServiceAccountToken": {value}}}]}}'
    before = "unset" if value == "null" else "true"
    metadata = f'{{"annotations":{{"k3s-harden.internal/automount-before":"{before}"}}}}'
    body = f'{{"metadata":{metadata},"automountServiceAccountToken":false}}'
    patch = ("patch", "serviceaccount", "default", "--namespace=a", f"--patch={body}", ANSWER)
    answers = {
        NAMESPACES: namespaces("a"),
        ACCOUNTS: Completed(0, account, ""),
        (*BINDINGS, LIMIT): Completed(0, '{"items": []}', ""),
        (KUBECTL, *patch, LIMIT): Completed(0, "true", ""),
    }
    (item,) = disable(replace(host, run=Programs(answers))).items
    assert item.detail == "automountServiceAccountToken is true again after the patch"


@pytest.mark.parametrize("is_link", [False, True], ids=["file", "symlink of write-kubeconfig"])
def test_a_kubeconfig_that_another_user_can_change_is_not_used(host: Host, *, is_link: bool) -> None:
    """It can name a program that kubectl runs, so kubectl does not run, and --wait does not wait."""
    root = Path(host.root)
    put(root, K3S.lstrip("/"), "", 0o755)
    kubeconfig = put(root, KUBECONFIG, "", 0o666)
    if is_link:
        kubeconfig.unlink()
        kubeconfig.symlink_to("/srv/ci/kubeconfig")
        put(root, "srv/ci/kubeconfig", "").parent.chmod(0o777)
    programs = Programs()
    with pytest.raises(HostError, match=r"^cannot use /etc/rancher/k3s/k3s.yaml, because kubectl runs programs"):
        disable(replace(host, run=programs), KubectlAccess(wait=300))
    assert not programs.asked


def test_a_named_kubeconfig_that_another_user_can_change_is_not_used(host: Host) -> None:
    """--kubeconfig has the same rule as --config."""
    put(Path(host.root), "tmp/kubeconfig", "", 0o602)
    with pytest.raises(HostError, match=r"^cannot use /tmp/kubeconfig, .*: others can write to it") as caught:
        disable(replace(host, run=Programs()), KubectlAccess("/tmp/kubeconfig"))  # noqa: S108 - in the tree
    assert "--kubeconfig /var/lib/rancher/k3s/server/cred/admin.kubeconfig" in repair_texts.text(caught.value.repair)


class Cluster:
    """A kubectl and its cluster: by namespace, the value of the field; None without an account, ... if not set."""

    def __init__(self, *names: str, pods: Sequence[str] = (), **values: object) -> None:
        self.annotations: dict[str, dict[str, str]] = {name: {} for name in (*names, *values)}
        self.accounts: dict[str, dict[str, Any]] = {
            name: {} if value is ... else {"automountServiceAccountToken": value}
            for name, value in values.items()
            if value is not None
        }
        self.bindings: list[dict[str, Any]] = []
        self.policies: dict[str, str] = {}
        """By namespace, the values of the labels of this program and of K3s."""
        self.pods = pods
        """The namespace of each."""
        self.created: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.at_patch: dict[str, Callable[[Cluster], str]] = {}
        """By namespace, what happens instead of its patch; returns the error of kubectl."""
        self.at_delete = ""
        self.is_up = True
        self.server = "a"
        """The name of the server on which kubectl runs."""

    def __call__(self, argv: Sequence[str], *, timeout: float, largest_output: int = 0) -> Completed:
        """Answer as kubectl does."""
        del timeout, largest_output
        _, verb, kind, *rest = argv
        self.asked.append(verb if kind != BINDINGS[2] else "bindings")
        if not self.is_up:
            return Completed(1, "", "The connection to the server was refused\n")
        if kind == "--raw" or kind.startswith("/"):
            return Completed(1, "", "Error from server (Forbidden): no")
        if verb == "get":
            return Completed(0, self._listed(kind), "")
        if verb == "patch":
            return self._patched(rest[1].removeprefix("--namespace="), json.loads(rest[2].removeprefix("--patch=")))
        if verb == "annotate":
            key, is_set, value = rest[1].partition("=")
            _merge(self.annotations[rest[0]], {key.removesuffix("-"): value if is_set else None})
        elif verb == "create":
            self.created.append(json.loads(Path(kind.removeprefix("--filename=")).read_text()))
            self.policies[self.created[-1]["metadata"]["namespace"]] = "true,"
        elif self.at_delete:
            return Completed(1, "", self.at_delete)
        else:
            del self.policies[rest[0].removeprefix("--namespace=")]
        return Completed(0, "", "")

    def _listed(self, kind: str) -> str:
        if kind == "networkpolicies":
            return "".join(f"{name},{labels}\n" for name, labels in self.policies.items())
        if kind == "pods":
            return " ".join(self.pods)
        if kind == "namespaces":
            items = [{"metadata": {"name": name, "annotations": found}} for name, found in self.annotations.items()]
        elif kind == "serviceaccounts":
            items = [
                {**account, "metadata": {"namespace": name, "annotations": account.get("annotations", {})}}
                for name, account in self.accounts.items()
            ]
        else:
            items = self.bindings
        return json.dumps({"items": items})

    def _patched(self, name: str, patch: dict[str, Any]) -> Completed:
        if name in self.at_patch:
            return Completed(1, "", f"Warning: deprecated\n{self.at_patch[name](self)}\n")
        _merge(self.accounts[name].setdefault("annotations", {}), patch.pop("metadata")["annotations"])
        _merge(self.accounts[name], patch)
        return Completed(0, json.dumps(self.accounts[name].get("automountServiceAccountToken", "")).strip('"'), "")

    @property
    def records(self) -> dict[str, str]:
        return {key.rpartition("/")[2]: value for key, value in self.annotations["kube-system"].items()}


def _merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = value


def statuses(host: Host, cluster: Cluster, **options: Any) -> tuple[int, dict[str, str]]:
    report = disable(replace(host, run=cluster), **options)
    return int(report.exit_code), {item.id.removesuffix("/default"): item.status.value for item in report.items}


def test_each_account_is_patched_once_and_a_missing_one_by_a_later_run(host: Host) -> None:
    """Two lists, the bindings, and a request for each account that automounts."""
    cluster = Cluster(default=True, done=False, young=None)
    assert statuses(host, cluster) == (0, {"default": "changed", "done": "compliant", "young": "kept"})
    assert cluster.asked == ["get", "get", "bindings", "patch"]
    assert statuses(host, cluster) == (0, {"default": "compliant", "done": "compliant", "young": "kept"})
    cluster.accounts["young"] = {}
    assert statuses(host, cluster)[1]["young"] == "changed"
    assert cluster.asked.count("patch") == 2


def test_undo_restores_exactly_the_values_before(host: Host) -> None:
    cluster = Cluster(unset=..., set=True, off=False)
    before = json.dumps(cluster.accounts, sort_keys=True)
    statuses(host, cluster)
    assert {account["automountServiceAccountToken"] for account in cluster.accounts.values()} == {False}
    assert statuses(host, cluster, undo=True) == (0, {"unset": "changed", "set": "changed", "off": "compliant"})
    for account in cluster.accounts.values():
        if not account.get("annotations"):
            account.pop("annotations", None)
    assert json.dumps(cluster.accounts, sort_keys=True) == before


def test_an_undo_that_was_killed_is_completed_by_the_next(host: Host) -> None:
    cluster = Cluster(first=..., second=True, third=...)
    statuses(host, cluster)
    cluster.at_patch["second"] = _is_killed
    with pytest.raises(KeyboardInterrupt):
        statuses(host, cluster, undo=True)
    assert "automountServiceAccountToken" not in cluster.accounts["first"]
    del cluster.at_patch["second"]
    assert statuses(host, cluster, undo=True)[1] == {"first": "compliant", "second": "changed", "third": "changed"}
    values = [account.get("automountServiceAccountToken") for account in cluster.accounts.values()]
    assert (values, [account["annotations"] for account in cluster.accounts.values()]) == ([None, True, None], [{}] * 3)


def test_undo_keeps_a_value_that_somebody_set_since(host: Host) -> None:
    cluster = Cluster(shop=...)
    statuses(host, cluster)
    cluster.accounts["shop"]["automountServiceAccountToken"] = True
    statuses(host, cluster, undo=True)
    assert cluster.accounts["shop"] == {"annotations": {}, "automountServiceAccountToken": True}


def test_a_dry_run_changes_nothing_and_shows_what_would_change(host: Host) -> None:
    cluster = Cluster(default=True, done=False)
    assert statuses(host, cluster, dry_run=True) == (3, {"default": "differs", "done": "compliant"})
    assert "patch" not in cluster.asked


def test_an_exempt_account_gets_its_value_back_and_other_servers_keep_it(host: Host) -> None:
    cluster = Cluster(shop=..., billing=...)
    statuses(host, cluster)
    settings = replace(Settings(), exempt_accounts=("shop/default",))
    assert statuses(host, cluster, settings=settings)[1] == {"shop": "changed", "billing": "compliant"}
    assert "automountServiceAccountToken" not in cluster.accounts["shop"]
    asked = len(cluster.asked)
    assert statuses(host, cluster)[1] == {"shop": "kept", "billing": "compliant"}
    assert "patch" not in cluster.asked[asked:]
    statuses(host, cluster, undo=True)
    assert cluster.accounts == {"shop": {"annotations": {}}, "billing": {"annotations": {}}}


def test_an_account_that_was_exempt_before_the_first_run_only_gets_the_annotation(host: Host) -> None:
    cluster = Cluster(shop=..., billing=False)
    settings = replace(Settings(), exempt_accounts=("shop/default", "billing/default"))
    for status in ("changed", "kept"):
        assert statuses(host, cluster, settings=settings) == (0, {"shop": status, "billing": status})
    values = [account.get("automountServiceAccountToken") for account in cluster.accounts.values()]
    assert values == [None, False]


def test_a_binding_that_names_an_account_is_shown(host: Host) -> None:
    cluster = Cluster(shop=True, billing=True)
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": "shop"}
    cluster.bindings = [{"kind": "RoleBinding", "metadata": {"name": "reader"}, "subjects": [subject]}]
    shop, billing = disable(replace(host, run=cluster), dry_run=True).items
    assert shop.detail.endswith("→ false; its pods may need the token: RoleBinding reader names it")
    assert billing.detail == "automountServiceAccountToken → false"


def test_a_stage_postpones_all_accounts(host: Host) -> None:
    settings = replace(Settings(), stage_service_accounts=False, stages_until="2027-03-31")
    cluster = Cluster(shop=True)
    assert statuses(host, cluster, settings=settings) == (0, {"stages.service-accounts": "POSTPONED"})
    assert cluster.accounts == {"shop": {"automountServiceAccountToken": True}}


def _is_killed(_: Cluster) -> str:
    raise KeyboardInterrupt


def _is_forbidden(_: Cluster) -> str:
    return "Error from server (Forbidden): no"


def _is_deleted(cluster: Cluster) -> str:
    del cluster.accounts["default"]
    del cluster.annotations["default"]
    return "Error from server (NotFound): namespaces not found"


def _stops(cluster: Cluster) -> str:
    cluster.is_up = False
    return "The connection to the server was refused"


def test_a_run_whose_api_server_dies_is_repeated(host: Host) -> None:
    cluster = Cluster(before=True, last=True)
    cluster.at_patch["last"] = _stops
    assert disable(replace(host, run=cluster)).next_steps[-1].step == RunVerb("service-accounts", ("--wait 300",))
    cluster.at_patch, cluster.is_up = {}, True
    assert statuses(host, cluster) == (0, {"before": "compliant", "last": "changed"})


@pytest.mark.parametrize(
    ("happens", "code", "found"),
    [
        (_is_forbidden, 4, {"before": "changed", "default": "failed", "last": "changed"}),
        (_is_deleted, 0, {"before": "changed", "default": "kept", "last": "changed"}),
        (_stops, 4, {"before": "changed", "default": "failed", "last": "failed"}),
    ],
)
def test_a_failure_does_not_stop_the_other_patches(
    happens: Callable[[Cluster], str], code: int, found: dict[str, str], host: Host
) -> None:
    """A namespace that was deleted meanwhile is no failure."""
    cluster = Cluster(before=True, default=True, last=True)
    cluster.at_patch["default"] = happens
    assert statuses(host, cluster) == (code, found)


@pytest.mark.parametrize("name", [K3S, KUBECTL])
def test_a_kubectl_that_others_can_write_is_not_run(name: str, host: Host) -> None:
    """The verb runs as root and fails instead."""
    program = Path(host.root, name.lstrip("/"))
    program.parent.mkdir(parents=True, exist_ok=True)
    program.touch()
    program.chmod(0o777)
    with pytest.raises(HostError, match=f"^cannot run {name} as root: .*others can write to it") as caught:
        disable(replace(host, run=Programs()))
    assert caught.value.repair.steps == (
        Run(f"sudo chown root:root {program}", is_of_machine=True),
        Run(f"sudo chmod go-w {program}", is_of_machine=True),
    )


def test_a_named_kubeconfig_is_passed_to_kubectl(host: Host) -> None:
    """Without k3s, kubectl alone is the command."""
    named = f"--kubeconfig=/{KUBECONFIG}"
    programs = Programs({(KUBECTL, named, *NAMESPACES[1:]): Completed(1, "", "refused\n")})
    with pytest.raises(HostError, match=r"^cannot get namespaces: refused$"):
        disable(replace(host, run=programs), KubectlAccess(f"/{KUBECONFIG}"))


# --- NetworkPolicies of new namespaces ---

ON = replace(Settings(), new_namespaces=True)
GUIDE = ("default", "kube-system", "kube-public")
DECISION = "k3s-harden.internal/network-policies"


def with_namespaces(*names: str, pods: Sequence[str] = ()) -> Cluster:
    cluster = Cluster(*GUIDE, "kube-node-lease", *names, pods=pods)
    cluster.policies = dict.fromkeys(GUIDE, ",0a1b")
    return cluster


def run(
    host: Host, cluster: Cluster, settings: Settings = ON, *, undo: bool = False, dry_run: bool = False
) -> dict[str, Item]:
    put(Path(host.root), "etc/hostname", cluster.server)
    host = replace(host, run=cluster)
    report = change_default_tokens(host, settings, KubectlAccess(), undo=undo, dry_run=dry_run)
    return {item.id: item for item in report.items if not item.id.endswith("/default")}


def test_a_namespace_without_pod_gets_the_policy_of_the_guide_once(host: Host) -> None:
    cluster = with_namespaces("shop", "storage")
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
    assert run(host, cluster := with_namespaces("shop"), Settings()) == {}
    assert cluster.created == []
    assert load_settings(None, DEFAULT_SETTINGS, Profile.STRICT).new_namespaces


def test_a_namespace_with_pods_keeps_its_traffic_until_it_is_accepted(host: Host) -> None:
    cluster = with_namespaces("shop", pods=["shop", "kube-system"])
    for item in [run(host, cluster)["NetworkPolicy shop/intra-namespace"] for _ in range(2)]:
        assert item.status.value == "kept"
        assert item.detail.startswith("not created, because the namespace has pods: ")
        assert item.repair.steps[-1] == Run(f"sudo k3s kubectl annotate namespace shop {DECISION}=accepted")
    assert cluster.created == []
    cluster.annotations["shop"][DECISION] = "accepted"
    assert run(host, cluster)["NetworkPolicy shop/intra-namespace"].status.value == "changed"


def test_a_policy_of_the_site_stays(host: Host) -> None:
    cluster = with_namespaces("shop")
    cluster.policies["shop"] = ","
    run(host, cluster)
    run(host, cluster, undo=True)
    assert (cluster.created, cluster.policies) == ([], {**dict.fromkeys(GUIDE, ",0a1b"), "shop": ","})


@pytest.mark.parametrize("way", ["undo", "removed setting", "postponed policies"])
def test_what_was_created_is_removed(host: Host, way: str) -> None:
    cluster = with_namespaces("shop")
    run(host, cluster)
    cluster.policies["taken-over"] = "true,0a1b"  # K3s applies it from a manifest now
    settings = {
        "undo": ON,
        "removed setting": Settings(),
        "postponed policies": replace(ON, stage_network_policies=False, stages_until="2099-01-01"),
    }[way]
    cluster.at_delete = "Error from server (Forbidden): no"
    assert (
        run(host, cluster, settings, undo=way == "undo")["NetworkPolicy shop/intra-namespace"].status.value == "failed"
    )
    assert cluster.records, "the next run repeats it"
    cluster.at_delete = ""
    assert set(run(host, cluster, settings, undo=way == "undo")) == {
        "NetworkPolicy shop/intra-namespace",
        "record of a",
    }
    assert (cluster.records, set(cluster.policies)) == ({}, {*GUIDE, "taken-over"})


@pytest.mark.parametrize("by", ["annotation", "settings"])
def test_a_namespace_that_becomes_exempt_loses_the_policy(host: Host, by: str) -> None:
    cluster = with_namespaces("shop")
    run(host, cluster)
    settings = replace(ON, exempt_namespaces=("shop",)) if by == "settings" else ON
    if by == "annotation":
        cluster.annotations["shop"][DECISION] = "exempt"
    run(host, cluster, settings)
    assert cluster.policies.keys() == {*GUIDE}


def test_servers_with_different_settings_do_not_fight(host: Host) -> None:
    """The older record applies; the other server reports, whether its setting is off or exempts other namespaces."""
    cluster = with_namespaces("shop", "storage")
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
    cluster = with_namespaces("shop")
    found = run(host, cluster, dry_run=True)
    assert {item.status.value for item in found.values()} == {"differs"}
    assert (cluster.created, cluster.records) == ([], {})
