"""Automatic tokens of the default ServiceAccounts (guide: CIS 5.1.5), and NetworkPolicies of new namespaces.

Uses kubectl, which reaches the API on every server with the credentials that K3s keeps for root.
"""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.base.errors import HostError
from agent.base.repair import Cause, Instruction, Repair
from agent.base.report import Fact, Item, ItemStatus, Report, no_progress
from agent.base.value import replace
from agent.cluster.kubernetes.objects import as_list, as_mapping
from agent.harden.settings.schema import Settings
from agent.verbs.advice import next_steps
from agent.verbs.new_namespaces import policed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from agent.base.host import Host
    from agent.base.report import Progress
    from agent.cluster.connection import Kubectl
    from agent.cluster.kubernetes.objects import Json
    from agent.verbs.new_namespaces import Namespaces

_PAUSE = 3.0
_LARGEST_ANSWER = 64 << 20
"""Bytes; the accounts of about 50,000 namespaces."""
_WHERE = "run this on a server where K3s is running, or pass a working kubeconfig with --kubeconfig"

_KUBECONFIG = PurePosixPath("/etc/rancher/k3s/k3s.yaml")
"""The default of `k3s kubectl`; a symlink if `write-kubeconfig` sets another path (k3s, pkg/server/server.go)."""
_ROOTS_KUBECONFIG = "/var/lib/rancher/k3s/server/cred/admin.kubeconfig"

_FIELD = "automountServiceAccountToken"
_BEFORE = "k3s-harden.internal/automount-before"
"""The annotation with the value that the field had before: `true`, or `unset`."""
_EXEMPT = "k3s-harden.internal/automount-exempt"
"""The annotation of an account that a server exempts, so that the other servers do not change it."""
_UNSET = "unset"


class _Account(NamedTuple):
    """The default ServiceAccount of a namespace."""

    value: object
    """The field; None if it is not set, which means true."""
    before: str
    """The value before the first change of this program; empty without one."""
    is_exempt: bool

    @property
    def automounts(self) -> bool:
        """Whether pods without a value of their own get the token. The API server accepts only booleans."""
        return self.value is not False


class _Change(NamedTuple):
    """A patch of an account, and its description."""

    patch: Mapping[str, object]
    detail: str
    expected: bool
    """Whether the account automounts its token afterwards."""


class KubectlAccess(NamedTuple):
    """How kubectl reaches the API server."""

    kubeconfig: str | None = None
    timeout: float = 20
    """Seconds for one call."""
    wait: float = 0
    """Seconds for the first answer of the API server."""


class _DistrustedError(HostError):
    """Another user can change what this program would run."""


def _refuse_distrusted(host: Host, kubeconfig: PurePosixPath | None) -> None:
    """Raise _DistrustedError if another user can change the kubeconfig, which can name a program (`exec`)."""
    # Before each call, because K3s can create the file during --wait.
    problem = host.own_tree.trust_problem(kubeconfig) if kubeconfig and host.own_tree.exists(kubeconfig) else None
    if problem:
        raise _DistrustedError(
            f"cannot use {kubeconfig}, because kubectl runs programs that it names: {problem}",
            Instruction(f"pass a kubeconfig that no other user can change, such as --kubeconfig {_ROOTS_KUBECONFIG}"),
        )


def change_default_tokens(
    host: Host,
    settings: Settings,
    access: KubectlAccess,
    *,
    undo: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> Report:
    """Disable the token of each default ServiceAccount, or undo that; a failure does not stop the others.

    The same for the NetworkPolicies of new namespaces. An account that the settings exempt gets its earlier value back.
    Raises HostError if there is no kubectl, another user can change it or its kubeconfig, or the API server does not
    answer.
    """
    kubectl = _kubectl(host, access)
    progress("reading the ServiceAccounts" if not access.wait else "waiting for the API server")
    namespaces, before = _first_answer(host, kubectl, host.now() + access.wait)
    items = []
    if not undo and not settings.stage_service_accounts:
        detail, before = f"off; until {settings.stages_until}", {}
        items.append(Item("stages.service-accounts", ItemStatus.POSTPONED, detail, until=settings.stages_until or ""))
    exempt = {name.partition("/")[0] for name in settings.exempt_accounts}
    changes = {
        namespace: change
        for namespace, account in before.items()
        if account is not None and (change := _change(account, undo=undo, is_exempt=namespace in exempt)) is not None
    }
    bound = _bound(kubectl) if any(not change.expected for change in changes.values()) else {}
    for number, (namespace, account) in enumerate(before.items(), 1):
        change = changes.get(namespace)
        if change is None:
            items.append(_unchanged(namespace, account, undo=undo))
            continue
        if not change.expected and (uses := _uses(bound, namespace)):
            change = change._replace(detail=f"{change.detail}; {uses}")
        if dry_run:
            items.append(Item(f"{namespace}/default", ItemStatus.DIFFERS, change.detail))
        else:
            progress(f"patching {namespace}/default", number, len(before))
            items.append(_patched(kubectl, namespace, change))
    items += policed(host, kubectl, settings, namespaces, undo=undo, dry_run=dry_run)
    facts = (Fact("command", " ".join(kubectl.command), "first of k3s kubectl and kubectl"),)
    report = Report(verb="service-accounts", writes=not dry_run, facts=facts, items=tuple(items), findings=())
    if dry_run:
        return report
    return replace(report, next_steps=next_steps.steps_after_service_accounts(report, undo=undo))


def withdrawn_policies(host: Host) -> tuple[Item, ...]:
    """Remove the NetworkPolicies of new namespaces after a revert; nothing if the API server does not answer."""
    try:
        kubectl = _kubectl(host, KubectlAccess())
        return tuple(policed(host, kubectl, Settings(), _namespaces(kubectl), undo=False, dry_run=False))
    except HostError:
        return ()


def changed_accounts(host: Host, data_dir: PurePosixPath) -> list[str] | None:
    """Return the default ServiceAccounts that this program has changed; None if the API server does not answer."""
    from agent.base.errors import HardenError
    from agent.cluster.connection import connect_as_admin
    from agent.cluster.kubernetes.queries import METADATA, ApiRequest
    from agent.cluster.reader import LIMITS, Reader

    request = ApiRequest("/api/v1/serviceaccounts", METADATA, "fieldSelector=metadata.name%3Ddefault")
    try:
        with connect_as_admin(host, data_dir, LIMITS) as client:
            listed = Reader(client).listed(request, lambda item: as_mapping(as_mapping(item).get("metadata")))
    except HardenError:
        return None
    changed = (metadata for metadata in listed if _BEFORE in as_mapping(metadata.get("annotations")))
    return [f"{metadata.get('namespace')}/default" for metadata in changed]


def _change(account: _Account, *, undo: bool, is_exempt: bool) -> _Change | None:
    """Return what has to change; None if nothing."""
    if not (undo or is_exempt or account.is_exempt):
        if not account.automounts:
            return None
        marks = {_BEFORE: _UNSET if account.value is None else "true"}
        return _Change({"metadata": {"annotations": marks}, _FIELD: False}, f"{_FIELD} → false", False)
    mark = None if undo else "true"
    if not account.before and account.is_exempt is (mark is not None):
        return None
    restored: Mapping[str, object] = {}
    if account.before and not account.automounts:
        restored = {_FIELD: True if account.before == "true" else None}
    detail = f"{_FIELD} → {account.before}, as before" if restored else f"annotation {_EXEMPT} → {mark or _UNSET}"
    patch = {"metadata": {"annotations": {_BEFORE: None, _EXEMPT: mark}}, **restored}
    return _Change(patch, detail, bool(restored) or account.automounts)


def _uses(bound: Mapping[str, Sequence[str]] | None, namespace: str) -> str:
    """Return why pods of the account may need its token; empty if no binding names the account."""
    if bound is None:
        return "whether a binding names it could not be determined"
    names = ", ".join(bound.get(namespace, ()))
    return f"its pods may need the token: {names} {'names' if ',' not in names else 'name'} it" if names else ""


def _unchanged(namespace: str, account: _Account | None, *, undo: bool) -> Item:
    name = f"{namespace}/default"
    if undo:
        return Item(name, ItemStatus.COMPLIANT, "was not changed by this program")
    if account is None:
        return Item(name, ItemStatus.KEPT, "the namespace has no default ServiceAccount yet", cause=Cause.LACKING)
    if account.is_exempt:
        return Item(name, ItemStatus.KEPT, f"exempt by the annotation {_EXEMPT}, until --undo")
    return Item(name, ItemStatus.COMPLIANT, f"{_FIELD} is false")


def _patched(kubectl: Kubectl, namespace: str, change: _Change) -> Item:
    """Patch an account, and return what the API server answers."""
    import json

    name, patch = f"{namespace}/default", json.dumps(change.patch, separators=(",", ":"))
    patched = (f"--namespace={namespace}", f"--patch={patch}", f"--output=jsonpath={{.{_FIELD}}}")
    try:
        answer = kubectl("patch", "serviceaccount", "default", *patched).strip()
    except HostError as error:
        if "(NotFound)" in error.message:
            return Item(name, ItemStatus.KEPT, "the namespace was deleted during this run")
        return Item(name, ItemStatus.FAILED, error.message, error.repair)
    if (answer != "false") is not change.expected:
        detail = f"{_FIELD} is {answer or _UNSET} again after the patch"
        return Item(name, ItemStatus.FAILED, detail, Repair((Instruction("find the controller that changes it back"),)))
    return Item(name, ItemStatus.CHANGED, change.detail)


def _first_answer(host: Host, kubectl: Kubectl, deadline: float) -> tuple[Namespaces, dict[str, _Account | None]]:
    while True:
        try:
            namespaces = _namespaces(kubectl)
            return namespaces, _accounts(kubectl, namespaces)
        except _DistrustedError:
            raise
        except HostError:
            if host.now() + _PAUSE > deadline:
                raise
            host.sleep(_PAUSE)


def _namespaces(kubectl: Kubectl) -> Namespaces:
    """Return the annotations of each namespace that is not being deleted."""
    listed = _items(kubectl("get", "namespaces", "--output=json"), "namespaces")
    found = (as_mapping(namespace.get("metadata")) for namespace in listed)
    return {
        str(metadata.get("name")): as_mapping(metadata.get("annotations"))
        for metadata in found
        if "deletionTimestamp" not in metadata
    }


def _accounts(kubectl: Kubectl, namespaces: Iterable[str]) -> dict[str, _Account | None]:
    """Return the default ServiceAccount of each namespace; None if there is none yet."""
    selected = ("--all-namespaces", "--field-selector=metadata.name=default", "--output=json")
    found = {}
    for account in _items(kubectl("get", "serviceaccounts", *selected), "ServiceAccounts"):
        metadata = as_mapping(account.get("metadata"))
        annotations = as_mapping(metadata.get("annotations"))
        if not isinstance(metadata.get("namespace"), str):
            raise HostError("cannot read the output of kubectl: expected a list of ServiceAccounts")
        before = annotations.get(_BEFORE, "")
        found[str(metadata["namespace"])] = _Account(
            account.get(_FIELD), before if before in ("true", _UNSET) else "", annotations.get(_EXEMPT) == "true"
        )
    return {name: found.get(name) for name in namespaces}


def _bound(kubectl: Kubectl) -> Mapping[str, Sequence[str]] | None:
    """Return the bindings that name the default account of a namespace, by namespace; None if they cannot be read."""
    found: dict[str, list[str]] = {}
    try:
        listed = kubectl("get", "rolebindings,clusterrolebindings", "--all-namespaces", "--output=json")
        for binding in _items(listed, "bindings"):
            name = as_mapping(binding.get("metadata")).get("name")
            for subject in map(as_mapping, as_list(binding.get("subjects"))):
                if (subject.get("kind"), subject.get("name")) == ("ServiceAccount", "default"):
                    found.setdefault(str(subject.get("namespace")), []).append(f"{binding.get('kind')} {name}")
    except HostError:
        return None
    return found


def _items(output: str, what: str) -> Iterator[Mapping[str, Json]]:
    """Yield the objects of a list. Raises HostError for any other output."""
    import json

    try:
        items = json.loads(output)["items"]
    except (ValueError, LookupError, TypeError, RecursionError):
        items = None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise HostError(f"cannot read the output of kubectl: expected a list of {what}")
    yield from items


def _kubectl(host: Host, access: KubectlAccess) -> Kubectl:
    """Return the kubectl of this host. Raises HostError if there is none that only root can change."""
    from agent.base.host.https import Limits
    from agent.cluster.connection import Kubectl

    options = () if access.kubeconfig is None else (f"--kubeconfig={access.kubeconfig}",)
    limits = Limits(access.timeout, _LARGEST_ANSWER)
    for command, default in ((("k3s", "kubectl"), _KUBECONFIG), (("kubectl",), None)):
        tool = host.tool(command[0])
        if tool is not None:
            distrusted = host.tree.distrusted(tool)
            if distrusted:
                raise HostError(f"cannot run {tool} as root: {distrusted.problem}", *distrusted.steps)
            read = default if access.kubeconfig is None else PurePosixPath(access.kubeconfig)
            words = (str(tool), *command[1:], *options)
            return Kubectl(host.run, words, limits, _WHERE, partial(_refuse_distrusted, host, read))
    raise HostError(
        "cannot reach the cluster: neither k3s nor kubectl is installed", Instruction("run this on a K3s server")
    )
