"""Rules about access: who has a right in the cluster, and ServiceAccounts and their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.assess.checks.answer import Answer, ControlStatus, kubectl_get
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.cluster import access_answers
from agent.assess.checks.cluster.access_answers import RIGHTS
from agent.assess.checks.cluster.rule import AssessedCluster, ClusterRule, Listed, fails_if_any, of_site
from agent.base.repair import Instruction, RunVerb, Step
from agent.cluster.kubernetes import rbac
from agent.cluster.kubernetes.built_in_objects import (
    CLUSTER_ADMIN,
    SYSTEM_MASTERS,
    SYSTEM_NAMESPACE,
    is_wildcard,
    reason_of_role,
    reason_of_workload,
)
from agent.cluster.kubernetes.objects import Binding, Subject
from agent.cluster.kubernetes.queries import QUERIES, AccessReview, Cluster, Query, workloads_to_check

_BINDINGS = Query.CLUSTER_ROLE_BINDINGS


def _right(name: str) -> ClusterRule:
    words, rights = RIGHTS[name]

    def decide(of: AssessedCluster) -> Answer:
        steps: tuple[Step, ...]
        found = access_answers.access(of.cluster, access_answers.supported(rights, of.node), of.node)
        if found.everybody:
            status, reason = ControlStatus.FAIL, ""
            steps = found.removals
        elif found.disputes:
            status, reason = ControlStatus.UNKNOWN, access_answers.DISPUTED
            steps = (RunVerb("assess", ("--cluster",)),)
        elif of_site(found.others):
            status, reason = (
                ControlStatus.MANUAL,
                f"a person has to decide which of the accounts require the right to {words}",
            )
            steps = (Instruction("remove the right from the accounts that do not require it"),)
        else:
            return of.answer(ControlStatus.PASS, found.others, _BINDINGS, noun="account")
        observed = (*found.everybody, *found.disputes, *found.others)
        return of.answer(status, observed, _BINDINGS, *steps, noun="account", reason=reason)

    return ClusterRule(
        (*rbac.QUERIES, Query.ACCESS_REVIEWS),
        decide,
        passes=f"only accounts of K3s and Kubernetes, and cluster administrators, may {words}",
        fails=(
            f"all users, pods or nodes, or a default ServiceAccount, may {words} (the groups system:authenticated,"
            " system:unauthenticated, system:serviceaccounts and system:nodes, and the user system:anonymous)"
        ),
        manual="other accounts may; the evidence lists them with their bindings",
    )


def reviews(node: AssessedNode, cluster: Cluster) -> tuple[AccessReview, ...]:
    """Return what to ask the API server for all controls."""
    rights = [right for _, found in RIGHTS.values() for right in found]
    return access_answers.reviews(cluster, access_answers.supported(rights, node), node)


def _cluster_admins(of: AssessedCluster) -> Iterator[Listed]:
    for subject, binding, reason, _ in rbac.bound_to(of.cluster, CLUSTER_ADMIN):
        yield Listed(str(subject), f"{binding} → {CLUSTER_ADMIN}", reason, command=kubectl_get(str(binding)))


def _wildcards(of: AssessedCluster) -> Iterator[Listed]:
    rights = [right for _, found in RIGHTS.values() for right in found]
    for role in rbac.roles(of.cluster):
        rules = rbac.wildcard_rules(role, rights)
        parts = [
            f"* in {name}" if "*" in part else " ".join(sorted(item for item in part if item.startswith("*/")))
            for rule in rules
            for name, part in zip(("verbs", "API groups", "resources"), rule)
            if any(item.startswith("*") for item in part)
        ]
        parts += sorted(filter(is_wildcard, role.urls))
        if parts:
            yield Listed(str(role), ", ".join(dict.fromkeys(parts)), reason_of_role(role, rules))


def _default_accounts(of: AssessedCluster) -> Answer:
    excepted = "K3s' self-assessments except kube-system"
    observed = [
        Listed(
            f"ServiceAccount {account.namespace}/{account.name}",
            "automountServiceAccountToken is not false",
            excepted if account.namespace == SYSTEM_NAMESPACE else "",
        )
        for account in of.cluster.objects[Query.SERVICE_ACCOUNTS]
        if account.name == "default" and account.automounts is not False
    ]
    mounts = bool(of_site(observed))
    holders = [*rbac.of_default_accounts(of.cluster)]
    bound = [
        Listed(str(subject), f"has rights by {binding}", command=kubectl_get(str(binding)))
        for subject, binding, *_ in holders
    ]
    steps: tuple[Step, ...] = (RunVerb("service-accounts"),) if mounts else ()
    by_binding: dict[Binding, list[Subject]] = {}
    for holder in holders:
        by_binding.setdefault(holder.binding, []).append(holder.subject)
    steps += tuple(access_answers.removal(binding, subjects) for binding, subjects in by_binding.items())
    status = ControlStatus.FAIL if mounts or bound else ControlStatus.PASS
    return of.answer(status, (*observed, *bound), Query.SERVICE_ACCOUNTS, *steps, noun="account")


def _token_mounts(of: AssessedCluster) -> Answer:
    accounts = {
        (account.namespace, account.name): account.automounts for account in of.cluster.objects[Query.SERVICE_ACCOUNTS]
    }
    observed: dict[str, Listed] = {}
    tokens = {(secret.namespace, secret.name) for secret in of.cluster.objects[Query.TOKEN_SECRETS]}
    requested = True
    for query, workload in workloads_to_check(of.cluster):
        by_pod, by_account = workload.automounts, accounts.get((workload.namespace, workload.account))
        is_automatic = (by_account if by_pod is None else by_pod) is not False
        # Admission adds such a volume to a pod with an automatic token, too.
        named = sorted(name for name in workload.secrets if (workload.namespace, name) in tokens)
        if is_automatic or workload.projects_token or named:
            reason = reason_of_workload(workload, of.cluster.registry)
            requested = requested and (by_pod is True or not is_automatic or bool(reason))
            how = "" if by_pod is None and is_automatic else ", as its specification says"
            detail = f"mounts the token of {workload.account}{how}"
            if named and not (is_automatic or workload.projects_token):
                detail = f"has a token that does not expire, of the Secret {', '.join(named)}"
            if not reason or workload.title not in observed:
                observed[workload.title] = Listed(workload.title, detail, reason, query)
    site = of_site(observed.values())
    status = ControlStatus.PASS if not site else ControlStatus.MANUAL if requested else ControlStatus.FAIL
    step = Instruction(
        "set automountServiceAccountToken: false in the ServiceAccounts, and true only in pods that use the API server"
    )
    reason = "a person has to decide which of these pods require the token" if status is ControlStatus.MANUAL else ""
    return of.answer(status, observed.values(), Query.PODS, step, noun="workload", reason=reason)


def _system_masters(of: AssessedCluster) -> Answer:
    bindings = [binding for binding in rbac.bindings(of.cluster) if SYSTEM_MASTERS in binding.subjects]
    observed = [Listed(str(binding), f"grants {binding.role} to the group") for binding in bindings]
    return of.to_review(observed, _BINDINGS, "binding")


def _secrets_of_type(of: AssessedCluster, name: str, detail: str) -> list[Listed]:
    secrets = of.cluster.objects[Query.SECRETS]
    command = f"sudo k3s kubectl get secrets --all-namespaces --field-selector=type={name}"
    return [Listed(f"Secret {secret.name}", detail, command=command) for secret in secrets if secret.type == name]


def _token_secrets(of: AssessedCluster) -> Answer:
    observed = _secrets_of_type(of, "kubernetes.io/service-account-token", "contains a token that does not expire")
    return of.to_review(observed, Query.SECRETS, "token")


def _bootstrap_tokens(of: AssessedCluster) -> Answer:
    observed = _secrets_of_type(of, "bootstrap.kubernetes.io/token", "contains a bootstrap token")
    if observed:
        return of.to_review(observed, Query.SECRETS, "bootstrap token")
    return of.answer(ControlStatus.PASS, observed, Query.SECRETS)


RULES: Mapping[str, ClusterRule] = {
    "users-without-service-account-tokens": ClusterRule(
        (Query.SECRETS,), _token_secrets, manual="always; the evidence lists the Secrets with tokens"
    ),
    "users-without-bootstrap-tokens": ClusterRule(
        (Query.SECRETS,),
        _bootstrap_tokens,
        passes="no Secret has the type bootstrap.kubernetes.io/token",
        manual="there is such a Secret",
    ),
    "rbac-cluster-admin": fails_if_any(
        (_BINDINGS, Query.ROLE_BINDINGS),
        _cluster_admins,
        "account",
        "bind these accounts to a role with fewer rights and delete the bindings, or waive the control with the reason"
        " why they require it",
        passes="only the group system:masters and the jobs that install Traefik are bound to cluster-admin",
        fails="another account is bound to it, in the whole cluster or in kube-system",
    ),
    "rbac-wildcards": fails_if_any(
        (Query.CLUSTER_ROLES, Query.ROLES),
        _wildcards,
        "role",
        "replace `*` in these roles by the verbs, resources and API groups that are required",
        passes=(
            "only roles that are on every K3s have `*` as a verb, API group or resource, a wildcard for a subresource"
            " that gives access, such as */exec, or one for all URLs or those below /debug"
        ),
        fails="another role has one",
    ),
    "default-service-accounts": ClusterRule(
        (Query.SERVICE_ACCOUNTS, *rbac.QUERIES),
        _default_accounts,
        passes=(
            "each default ServiceAccount outside of kube-system has automountServiceAccountToken: false, and no binding"
            " of the site gives rights on objects to a default ServiceAccount, or to a group that includes it"
        ),
        fails="one of them is not met",
    ),
    "service-account-token-mounts": ClusterRule(
        (*QUERIES, Query.SERVICE_ACCOUNTS, Query.TOKEN_SECRETS),
        _token_mounts,
        passes="only workloads of K3s mount a token, as a volume or a Secret",
        fails="another workload mounts one without automountServiceAccountToken: true in its specification",
        manual="other workloads mount one, and their specifications request it",
    ),
    "rbac-system-masters": ClusterRule(
        (_BINDINGS, Query.ROLE_BINDINGS),
        _system_masters,
        manual="always, because the API server has no list of certificates; the evidence lists the group's bindings",
    ),
    **{name: _right(name) for name in RIGHTS},
}
"""By control."""
