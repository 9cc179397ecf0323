"""Pods that have a token of a default ServiceAccount, and that will not once it does not hand out tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.cluster.kubernetes.running_objects import ObjectName
from agent.findings.impact import Break, Reason, Topic, When, advice

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from agent.cluster.kubernetes.network_policies import PodNetwork
    from agent.cluster.kubernetes.objects import Binding
    from agent.cluster.kubernetes.running_objects import Running

_DEFAULT = "default"
_SYSTEM_ROLE = "system:"
"""The prefix of roles that each cluster has, such as for the discovery of issuers."""


def account_breaks(
    running: Running, cluster: PodNetwork, is_used: Callable[[str], bool | None], exempt: Collection[str] = ()
) -> Iterator[Break]:
    """Yield the accounts whose pods lose a token or have lost it, except the exempt ones, as NAMESPACE/default.

    An account that has lost its tokens counts if a binding shows that its pods used them.
    `is_used` returns whether the audit log shows requests of the default account of a namespace; None without a log.
    """
    accounts = {account.namespace: account for account in running.objects.get("serviceaccounts", ())}
    bindings = [*running.objects.get("rolebindings", ()), *running.objects.get("clusterrolebindings", ())]
    pods = (found for found, *_ in running.workloads if found.kind == "Pod" and found.account == _DEFAULT)
    lacking = {found.namespace for found in pods if found.automounts is None and not found.projects_token}
    for namespace, titles in _with_token(running, cluster).items():
        account = accounts.get(namespace)
        is_closed = account is not None and account.automounts is False
        named = [str(binding) for binding in bindings if _names(binding, namespace, with_groups=not is_closed)]
        if (is_closed and not named) or f"{namespace}/{_DEFAULT}" in exempt:
            continue
        used = None if is_closed else is_used(namespace)
        uses = (
            f"{', '.join(named)} {'names' if len(named) == 1 else 'name'} the account"
            if named
            else "no binding names the account",
            {True: "the audit log has requests of it", False: "the audit log has no request of it", None: ""}[used],
        )
        found = f"{'false' if is_closed else 'true'} for {', '.join(titles)}; {'; '.join(filter(None, uses))}"
        expected = "true, if they use the API" if is_closed else "false, so that they have no token"
        reason = Reason("automountServiceAccountToken", found, expected)
        fix = advice(
            "set `automountServiceAccountToken: true` in the pods that use the API, or give them their own account",
            f"add {namespace}/{_DEFAULT} to `service-accounts.exempt` of the settings",
        )
        name, is_certain = ObjectName(namespace, "ServiceAccount", _DEFAULT), bool(named or used)
        when = When.NOW if is_closed and namespace in lacking else When.NEXT_PODS
        yield Break(name, Topic.SERVICE_ACCOUNTS, when, (reason,), fix, is_certain=is_certain, is_new=not is_closed)


def _with_token(running: Running, cluster: PodNetwork) -> Mapping[str, list[str]]:
    """Return the workloads that have a token of the default account, by namespace."""
    found: dict[str, dict[str, None]] = {}
    for security, network, *_ in running.workloads:
        is_default = (security.account, security.automounts) == (_DEFAULT, None)
        if is_default and not network.is_over and not security.is_dormant:
            title = cluster.title(network)
            found.setdefault(title.namespace, {})[f"{title.kind} {title.name}"] = None
    return {namespace: [*titles] for namespace, titles in found.items()}


def _names(binding: Binding, namespace: str, *, with_groups: bool) -> bool:
    groups = {"system:serviceaccounts", f"system:serviceaccounts:{namespace}"}
    return not binding.role.startswith(_SYSTEM_ROLE) and any(
        (subject.kind, subject.namespace, subject.name) == ("ServiceAccount", namespace, _DEFAULT)
        or (with_groups and subject.kind == "Group" and subject.name in groups)
        for subject in binding.subjects
    )
