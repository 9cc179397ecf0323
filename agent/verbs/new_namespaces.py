"""NetworkPolicies of namespaces that policy.yaml does not name (guide: CIS 5.3.2), by the timer of service-accounts.

A policy would cut connections that already work, so only namespaces without a pod get it. Each server that has the
setting on has a record on the namespace kube-system.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.base.errors import HardenError, HostError
from agent.base.host.temporary import memory_file
from agent.base.repair import Repair, Run, RunVerb
from agent.base.report import Item, ItemStatus
from agent.base.times import timestamp
from agent.base.yaml_reader import plain, read_documents
from agent.cluster.kubernetes.objects import as_mapping
from agent.findings.impact.traffic import expected_policies
from agent.harden.guide import manifests
from agent.k3s.roles_and_versions import NEWEST_KNOWN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from agent.base.host import Host
    from agent.cluster.connection import Kubectl
    from agent.harden.settings.schema import Settings

    Namespaces = Mapping[str, Mapping[str, object]]
    """The annotations of each namespace, by its name."""

SETTING = "network-policies.new-namespaces"
DECISION = "k3s-harden.internal/network-policies"
"""The annotation of a namespace with the decision of an administrator."""
ACCEPTED, EXEMPT = "accepted", "exempt"
LABEL = "k3s-harden.internal/new-namespace"
"""The label of each policy that this module creates."""
RECORDS = "new-namespaces.k3s-harden.internal/"
"""The annotations of kube-system, with the name of a server: since when the setting is on, and a digest of it."""
_SYSTEM = "kube-system"
_OF_KUBERNETES = ("kube-node-lease", "kube-public", _SYSTEM, "default")
_NAME = "intra-namespace"
_LONGEST_NAME = 63
_HASH = "objectset.rio.cattle.io/hash"
"""The label of what K3s applies from a manifest, which is not removed here."""
_LABELS = ",".join("{.metadata.labels." + name.replace(".", r"\.") + "}" for name in (LABEL, _HASH))
_COLUMNS = f'--output=jsonpath={{range .items[*]}}{{.metadata.namespace}},{_LABELS}{{"\\n"}}{{end}}'


class _Cluster(NamedTuple):
    """How policies are changed."""

    kubectl: Kubectl
    dry_run: bool

    def policies(self) -> dict[str, bool]:
        """Return the namespaces with a NetworkPolicy, and whether this module created it."""
        found: dict[str, bool] = {}
        for line in self.kubectl("get", "networkpolicies", "--all-namespaces", _COLUMNS).split():
            namespace, _, labels = line.partition(",")
            # Only the first label: ours, and not that of K3s.
            found[namespace] = found.get(namespace, False) or (len(labels) > 1 and labels.endswith(","))
        return found

    def changed(self, name: str, detail: str, *arguments: str) -> Item:
        """Run kubectl, and return what became of it."""
        if self.dry_run:
            return Item(name, ItemStatus.DIFFERS, detail)
        try:
            self.kubectl(*arguments)
        except HostError as error:
            if "(NotFound)" in error.message or "(AlreadyExists)" in error.message:
                return Item(name, ItemStatus.KEPT, "it was changed by another client during this run")
            return Item(name, ItemStatus.FAILED, error.message, error.repair)
        return Item(name, ItemStatus.CHANGED, detail)

    def created(self, namespace: str) -> Item:
        """Create the guide's policy for pods that only their own namespace may reach."""
        *_, document = read_documents(manifests.network_policies([namespace]), PurePosixPath("policy.yaml"))
        policy = as_mapping(plain(document.node))
        policy = {**policy, "metadata": {**as_mapping(policy["metadata"]), "labels": {LABEL: "true"}}}
        with memory_file(json.dumps(policy).encode()) as path:
            return self.changed(_policy(namespace), "created", "create", f"--filename={path}")

    def removed(self, namespace: str, why: str) -> Item:
        """Delete the policy, unless K3s applies it from a manifest meanwhile."""
        where = (f"--namespace={namespace}", f"--selector={LABEL},!{_HASH}", "--wait=false")
        return self.changed(_policy(namespace), f"removed: {why}", "delete", "networkpolicies", *where)

    def recorded(self, server: str, value: str | None) -> Item:
        """Write or remove the record of a server."""
        mark = f"{RECORDS}{server}" + ("-" if value is None else f"={value}")
        detail = f"{'removed' if value is None else 'added'} on namespace {_SYSTEM}"
        return self.changed(f"record of {server}", detail, "annotate", "namespace", _SYSTEM, mark, "--overwrite")


def policed(
    host: Host, kubectl: Kubectl, settings: Settings, namespaces: Namespaces, *, undo: bool, dry_run: bool
) -> Iterator[Item]:
    """Create the policies that are missing, or remove those that this program created. Yield what was done.

    With servers of different settings, those with the older record apply. A list that cannot be read is an item, too:
    what the run has changed before has to be reported.
    """
    try:
        yield from _policed(host, _Cluster(kubectl, dry_run), settings, namespaces, undo=undo)
    except HostError as error:
        yield Item(SETTING, ItemStatus.FAILED, error.message, error.repair)


def _policed(
    host: Host, cluster: _Cluster, settings: Settings, namespaces: Namespaces, *, undo: bool
) -> Iterator[Item]:
    own = host.name[:_LONGEST_NAME]
    on_system = namespaces.get(_SYSTEM, {}).items()
    records = {key[len(RECORDS) :]: str(value) for key, value in on_system if key.startswith(RECORDS)}
    if undo or not (settings.new_namespaces and settings.stage_network_policies):
        yield from _withdrawn(cluster, records, own, undo=undo)
        return
    exempt = _exempt(settings)
    digest = sha256(" ".join(sorted(exempt)).encode()).hexdigest()[:16]
    if records.get(own, "").partition(" ")[2] != digest:
        # A record with other settings is a new one, so those of the other servers are older.
        records[own] = f"{timestamp(host.now())} {digest}"
        yield cluster.recorded(own, records[own])
    first = _oldest(records)
    if records[first].partition(" ")[2] != digest:
        yield _different(first, "exempts other namespaces")
        return
    yield from _synchronized(cluster, settings, namespaces, exempt)


def _synchronized(
    cluster: _Cluster, settings: Settings, namespaces: Namespaces, exempt: Collection[str]
) -> Iterator[Item]:
    policies = cluster.policies()
    decisions = {name: found.get(DECISION) for name, found in namespaces.items() if name not in exempt}
    for namespace, is_own in policies.items():
        if is_own and (namespace in exempt or decisions.get(namespace) == EXEMPT):
            yield cluster.removed(namespace, "the namespace is exempt")
    open_ones = {name: it for name, it in decisions.items() if name not in policies and it != EXEMPT}
    if not open_ones:
        return
    listed = cluster.kubectl("get", "pods", "--all-namespaces", "--output=jsonpath={.items[*].metadata.namespace}")
    used = {name for name, decision in open_ones.items() if decision != ACCEPTED} & {*listed.split()}
    yield from map(cluster.created, sorted(open_ones.keys() - used))
    if used:
        yield from _used(cluster.kubectl, settings, sorted(used))


def _used(kubectl: Kubectl, settings: Settings, namespaces: Collection[str]) -> Iterator[Item]:
    """Yield the namespaces that keep their traffic, because they have pods, with the answer of impact."""
    from agent.verbs.impact import cut_by_policies  # loads many modules

    try:
        cut = cut_by_policies(kubectl, settings, namespaces)
    except HardenError as error:
        cut = dict.fromkeys(namespaces, f"what a NetworkPolicy would cut is not known: {error.message}")
    for name in namespaces:
        accept = Run(f"sudo k3s kubectl annotate namespace {name} {DECISION}={ACCEPTED}")
        why = cut.get(name, "impact finds nothing that a NetworkPolicy would cut")
        repair = Repair((RunVerb("impact"), accept))
        yield Item(_policy(name), ItemStatus.KEPT, f"not created, because the namespace has pods: {why}", repair)


def _withdrawn(cluster: _Cluster, records: Mapping[str, str], own: str, *, undo: bool) -> Iterator[Item]:
    """Yield what is removed without the setting: everything, unless another server has it on."""
    if not records and not undo:
        return
    others = {} if undo else {server: since for server, since in records.items() if server != own}
    if others:
        yield from (cluster.recorded(own, None),) if own in records else ()
        yield _different(_oldest(others), "has it on")
        return
    why = "--undo" if undo else f"{SETTING} is off"
    removed = [cluster.removed(namespace, why) for namespace, is_own in cluster.policies().items() if is_own]
    yield from removed
    # A record stays until all policies are removed, so that the next run repeats this.
    if all(item.status is not ItemStatus.FAILED for item in removed):
        yield from (cluster.recorded(server, None) for server in records)


def _exempt(settings: Settings) -> set[str]:
    """Return the namespaces that never get a policy here; policy.yaml has those of some of them."""
    version = settings.k3s_version or NEWEST_KNOWN
    return {
        *_OF_KUBERNETES,
        *manifests.exempt_namespaces(version, with_rancher=settings.exempt_rancher),
        *settings.exempt_namespaces,
        *(policy.namespace for policy in expected_policies(settings)),
    }


def _oldest(records: Mapping[str, str]) -> str:
    return min(records, key=lambda server: (records[server].partition(" ")[0], server))


def _different(server: str, what: str) -> Item:
    detail = f"server {server} {what}, so this server's setting does not apply; all servers need the same settings"
    forget = Run(f"sudo k3s kubectl annotate namespace {_SYSTEM} {RECORDS}{server}-", where="if that server is gone")
    return Item(SETTING, ItemStatus.KEPT, detail, Repair((forget,)))


def _policy(namespace: str) -> str:
    return f"NetworkPolicy {namespace}/{_NAME}"
