"""Who has a right: by the roles and bindings that were read, and by what the API server answers about accounts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from shlex import quote
from typing import NamedTuple

from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.cluster.rule import Listed
from agent.base import package_data
from agent.base.repair import Patch, Run, Step
from agent.cluster.kubernetes import rbac
from agent.cluster.kubernetes.built_in_objects import CLUSTER_ADMIN, SYSTEM_NAMESPACE
from agent.cluster.kubernetes.objects import Binding, Subject
from agent.cluster.kubernetes.queries import (
    ALL_OF_THEM,
    EVERYBODY,
    AccessReview,
    Cluster,
    Query,
    ReviewedAccount,
    account_of,
)
from agent.cluster.kubernetes.rbac import RbacRight, RightHolder
from agent.k3s.roles_and_versions import Component


def _parsed(rules: str) -> tuple[RbacRight, ...]:
    cells = (rule.split("|") for rule in rules.split("; "))
    return tuple(
        RbacRight(frozenset(verbs.split()), group, resource, names == "any", names == "everybody", int(*since or "0"))
        for verbs, resources, group, names, *since in cells
        for resource in resources.split()
    )


RIGHTS = {
    name: (words, _parsed(rules))
    for name, words, rules in package_data.rows("assess", "checks", "cluster", "rights.tsv")
}
"""By control: in words, and what grants it."""

MOST_ABOUT_EVERYBODY, MOST_ABOUT_OTHERS = 490, 2000
"""Reviews of one assessment."""

_GROUP = "rbac.authorization.k8s.io"
_GLOBAL = "clusterrolebinding"
_MODE, _CONFIGURATION = "authorization-mode", "authorization-config"
_READ = frozenset({"Node", "RBAC"})
"""Authorization modes whose decisions follow from objects of the cluster."""
DISPUTED = "the bindings that were read and the API server's answers differ"
_NO_BINDING = "no binding that was read grants it"


class Access(NamedTuple):
    """Who has a right."""

    everybody: Sequence[Listed]
    """The accounts of all users or pods, without those of every K3s."""
    others: Sequence[Listed]
    disputes: Sequence[Listed]
    """Where the bindings and the API server differ, or the API server was not asked."""
    removals: tuple[Step, ...]
    """The steps that remove the right from everybody."""


def supported(rights: Iterable[RbacRight], node: AssessedNode) -> tuple[RbacRight, ...]:
    """Return the rights that the Kubernetes of this node has."""
    return tuple(right for right in rights if right.since <= node.facts.version.minor)


def reviews(cluster: Cluster, rights: Sequence[RbacRight], node: AssessedNode) -> tuple[AccessReview, ...]:
    """Return what to ask the API server about these rights, which are those of all controls."""
    if any(query not in cluster.objects for query in rbac.QUERIES):
        return ()
    is_read = _is_read(node, cluster)
    about_all = _about((ALL_OF_THEM,) if is_read else EVERYBODY, rights)
    about_everybody = dict.fromkeys((*about_all, *_confirming(cluster, rights)))
    others = () if is_read else _of_others(cluster, rights)
    asked = others if len(others) <= MOST_ABOUT_OTHERS else ()
    return (*list(about_everybody)[:MOST_ABOUT_EVERYBODY], *asked)


def access(cluster: Cluster, rights: Sequence[RbacRight], node: AssessedNode) -> Access:
    """Return who has one of the rights."""
    if not _is_read(node, cluster):
        return _by_reviews(cluster, rights)
    holders = rbac.holders(cluster, rights)
    disputes = [
        _answered(review, f"allows it to {review}; {_NO_BINDING}")
        for review in _about((ALL_OF_THEM,), rights)
        if cluster.reviews.get(review) and not rbac.explanation(cluster, review)
    ]
    everybody = []
    for holder in holders:
        if holder.is_everybody and not holder.reason:
            review = _confirmation(holder, rights)
            if cluster.reviews.get(review, True):
                everybody.append(_observed(holder))
            else:
                disputes.append(Listed(*_observed(holder)[:2], query=Query.ACCESS_REVIEWS))
                disputes.append(_answered(review, f"does not allow it to {review}"))
    others = [_observed(holder) for holder in holders if holder.reason or not holder.is_everybody]
    return Access(everybody, others, disputes, removals(holders))


def _is_read(node: AssessedNode, cluster: Cluster) -> bool:
    """Return whether only roles and bindings decide, by the running API server or else by its configuration."""
    arguments = node.arguments(Component.API_SERVER)
    if any(arguments.why_unknown(name) for name in (_MODE, _CONFIGURATION)) or arguments.get(_CONFIGURATION):
        return False
    configured = arguments.get(_MODE)
    value = (cluster.flags or {}).get(_MODE, "").strip("[]") or (configured.value if configured else "")
    modes = set(value.split(","))
    return "RBAC" in modes and modes <= _READ


def _about(accounts: Iterable[ReviewedAccount], rights: Sequence[RbacRight]) -> tuple[AccessReview, ...]:
    return tuple(
        AccessReview(account, verb, right.group, right.resource)
        for account in accounts
        for verb, right in _verbs(rights)
    )


def _verbs(rights: Iterable[RbacRight]) -> Iterator[tuple[str, RbacRight]]:
    for right in rights:
        yield from ((verb, right) for verb in sorted(right.verbs))


def _confirming(cluster: Cluster, rights: Sequence[RbacRight]) -> Iterator[AccessReview]:
    for holder in rbac.holders(cluster, rights):
        if holder.is_everybody and not holder.reason:
            yield _confirmation(holder, rights)


def _confirmation(holder: RightHolder, rights: Sequence[RbacRight]) -> AccessReview:
    """Return the review that the holder's first rule answers with yes, if it is in effect."""
    named = ((verb, right._replace(on_named_objects=True)) for verb, right in _verbs(rights))
    rule, verb, right = next(
        (rule, verb, right)
        for verb, right in named
        for rule in holder.rules
        if rbac.grants(rule, right._replace(verbs=frozenset({verb})))
    )
    name = min(rule.names, default="")
    return AccessReview(account_of(holder.subject), verb, right.group, right.resource, holder.binding.namespace, name)


def _of_others(cluster: Cluster, rights: Sequence[RbacRight]) -> tuple[AccessReview, ...]:
    """Return the reviews of each account that is known; of those of Kubernetes, if the site granted them a right."""
    accounts = {
        Subject("ServiceAccount", account.namespace, account.name)
        for account in cluster.objects.get(Query.SERVICE_ACCOUNTS, ())
    }
    accounts.update(subject for binding in rbac.bindings(cluster) for subject in binding.subjects)
    of_site = (item for item in accounts if item.namespace != SYSTEM_NAMESPACE and not item.name.startswith("system:"))
    bound = (holder.subject for holder in rbac.holders(cluster, rights) if not holder.reason)
    return _about(sorted(set(map(account_of, (*of_site, *bound)))), rights)


def _by_reviews(cluster: Cluster, rights: Sequence[RbacRight]) -> Access:
    """Return who has the rights if bindings do not decide alone: the API server's answers, with a binding if known."""
    found: dict[ReviewedAccount, Listed] = {}
    disputes = []
    for review in (*_about(EVERYBODY, rights), *_of_others(cluster, rights), *_confirming(cluster, rights)):
        answer = cluster.reviews.get(review)
        if answer and review.account not in found:
            why = rbac.explanation(cluster, review) or _NO_BINDING
            found[review.account] = _answered(review, f"allows it to {review}; {why}")
        elif answer is None:
            disputes.append(Listed(str(review.account), f"was not asked about: {review}", query=Query.ACCESS_REVIEWS))
    everybody = [
        observed
        for account, observed in found.items()
        if account in EVERYBODY or not account.user or account.user.endswith(":default")
    ]
    others = [seen for seen in found.values() if seen not in everybody]
    steps = removals(rbac.holders(cluster, rights)) or tuple(Run(seen.command) for seen in everybody[:1])
    return Access(everybody, others, disputes, steps)


def removals(holders: Iterable[RightHolder]) -> tuple[Step, ...]:
    """Return the steps that remove the accounts of all users, pods or nodes from the bindings of the site."""
    of_everybody: dict[Binding, set[Subject]] = {}
    for holder in holders:
        if holder.is_everybody and not holder.reason:
            of_everybody.setdefault(holder.binding, set()).add(holder.subject)
    return tuple(removal(binding, subjects) for binding, subjects in of_everybody.items())


def removal(binding: Binding, removed: Collection[Subject]) -> Patch:
    """Return the step that removes accounts from a binding."""
    left = [
        {"kind": kind, "name": name, **({"namespace": namespace} if namespace else {"apiGroup": _GROUP})}
        for kind, namespace, name in (subject for subject in binding.subjects if subject not in removed)
    ]
    return Patch(str(binding), (("subjects", json.dumps(left) if left else "null"),))


def _answered(review: AccessReview, detail: str) -> Listed:
    return Listed(str(review.account), f"the API server {detail}", query=Query.ACCESS_REVIEWS, command=review.command)


def _observed(holder: RightHolder) -> Listed:
    """Return an account, with a reason if only another control reports it. Each control reports all users."""
    binding, reason = holder.binding, holder.reason
    if not reason and not holder.is_everybody and binding.role == CLUSTER_ADMIN and not binding.namespace:
        reason = "it is a cluster administrator; rbac-cluster-admin is about them"
    rules = f": {'; '.join(map(str, holder.rules))}" if holder.rules else ""
    return Listed(str(holder.subject), f"{binding} → {binding.role}{rules}", reason, command=_shown_by(binding))


def _shown_by(binding: Binding) -> str:
    """Return the command that prints a binding with the rules of its role."""
    kind, where = ("rolebinding", f" --namespace={quote(binding.namespace)}") if binding.namespace else (_GLOBAL, "")
    names = f"{kind}/{quote(binding.name)} {binding.role_kind.lower()}/{quote(binding.role)}"
    return f"sudo k3s kubectl get {names}{where} --output=yaml"
