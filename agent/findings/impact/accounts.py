"""Pods that have a token of a default ServiceAccount, and that will not once it does not hand out tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.cluster.kubernetes.running_objects import ObjectName
from agent.findings.impact import Break, Reason, Topic, When, advice, listed

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
    """Yield the accounts whose pods lose a token, except the exempt ones, as NAMESPACE/default.

    `is_used` returns whether the audit log shows requests of the default account of a namespace; None without a log.
    """
    accounts = {account.namespace: account for account in running.objects.get("serviceaccounts", ())}
    bindings = [*running.objects.get("rolebindings", ()), *running.objects.get("clusterrolebindings", ())]
    for namespace, titles in _with_token(running, cluster).items():
        account = accounts.get(namespace)
        if (account is not None and account.automounts is False) or f"{namespace}/{_DEFAULT}" in exempt:
            continue
        named = [str(binding) for binding in bindings if _names(binding, namespace)]
        used = is_used(namespace)
        uses = (
            f"{listed(named)} {'names' if len(named) == 1 else 'name'} the account"
            if named
            else "no binding names the account",
            {True: "the audit log has requests of it", False: "the audit log has no request of it", None: ""}[used],
        )
        found = f"true for {listed(titles)}; {'; '.join(filter(None, uses))}"
        reason = Reason("automountServiceAccountToken", found, "false, so that they have no token")
        fix = advice(
            "set `automountServiceAccountToken: true` in the pods that use the API, or give them their own account",
            f"add {namespace}/{_DEFAULT} to `service-accounts.exempt` of the settings",
        )
        name, is_certain = ObjectName(namespace, "ServiceAccount", _DEFAULT), bool(named or used)
        yield Break(name, Topic.SERVICE_ACCOUNTS, When.NEXT_PODS, (reason,), fix, is_certain=is_certain)


def _with_token(running: Running, cluster: PodNetwork) -> Mapping[str, list[str]]:
    """Return the workloads that have a token of the default account, by namespace."""
    found: dict[str, dict[str, None]] = {}
    for security, network, _ in running.workloads:
        is_default = (security.account, security.automounts) == (_DEFAULT, None)
        if is_default and not network.is_over and not security.is_dormant:
            title = cluster.title(network)
            found.setdefault(title.namespace, {})[f"{title.kind} {title.name}"] = None
    return {namespace: [*titles] for namespace, titles in found.items()}


def _names(binding: Binding, namespace: str) -> bool:
    groups = {"system:serviceaccounts", f"system:serviceaccounts:{namespace}"}
    return not binding.role.startswith(_SYSTEM_ROLE) and any(
        (subject.kind, subject.namespace, subject.name) == ("ServiceAccount", namespace, _DEFAULT)
        or (subject.kind == "Group" and subject.name in groups)
        for subject in binding.subjects
    )
