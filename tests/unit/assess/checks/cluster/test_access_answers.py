"""Rights by the roles that were read, and by the API server's answers about access."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from agent.assess.checks.answer import Answer
from agent.assess.checks.cluster import access_answers, access_rules
from agent.assess.checks.cluster.access_answers import MOST_ABOUT_EVERYBODY, MOST_ABOUT_OTHERS
from agent.base.repair import Repair
from agent.cluster.kubernetes.objects import Subject
from agent.cluster.kubernetes.queries import ALL_OF_THEM, EVERYBODY, AccessReview, Query, account_of
from agent.reports import repair_texts
from tests.unit.assess.checks.cluster.test_all_rules import (
    FAIL,
    MANUAL,
    PASS,
    Server,
    hardened_node,
    plain,
    server,
    shown,
)
from tests.unit.cluster.kubernetes.samples import Json, account, binding, cluster, role, rule

__all__ = ["hardened_node", "plain", "server"]  # fixtures

UNKNOWN = MANUAL.__class__.UNKNOWN
LIST_SECRETS = AccessReview(EVERYBODY[0], "list", "", "secrets")
READER = role("reader", rule("list", "secrets"))


def asked(server: Server, objects: dict[Query, Sequence[Json]], *allowed: AccessReview) -> Answer:
    """Return the answer about Secrets if the API server allows these reviews, and no other."""
    found = cluster(objects)
    reviews = access_rules.reviews(server.assessed(), found)
    assert set(allowed) <= set(reviews)
    return server.of("rbac-secrets", found._replace(reviews={review: review in allowed for review in reviews}))


def bound(subject: str, namespace: str = "") -> dict[Query, Sequence[Json]]:
    query = Query.ROLE_BINDINGS if namespace else Query.CLUSTER_ROLE_BINDINGS
    return {Query.CLUSTER_ROLES: [READER], query: [binding("all", "reader", subject, namespace=namespace)]}


def test_a_right_that_both_show_fails_with_binding_role_and_rule(server: Server) -> None:
    answer = asked(server, bound("Group system:authenticated"), LIST_SECRETS)
    assert answer.status is FAIL
    assert shown(answer)[0] == "Group system:authenticated: ClusterRoleBinding all → reader: list secrets"
    assert asked(server, {}).status is PASS


def test_a_right_that_only_the_api_server_shows_is_unknown(server: Server) -> None:
    """Roles only add rights, so that one review is about everybody."""
    answer = asked(server, {}, LIST_SECRETS._replace(account=ALL_OF_THEM))
    reviews = access_rules.reviews(server.assessed(), cluster({}))
    assert [review for review in reviews if review[1:] == LIST_SECRETS[1:]] == [
        LIST_SECRETS._replace(account=ALL_OF_THEM)
    ]
    assert answer.status is UNKNOWN
    assert shown(answer)[0].endswith("the API server allows it to list secrets; no binding that was read grants it")


@pytest.mark.parametrize("namespace", ["", "shop"])
@pytest.mark.parametrize(
    "subject", ["Group system:serviceaccounts", "ServiceAccount shop/default", "User system:anonymous"]
)
def test_a_right_that_the_api_server_denies_is_unknown_with_both(server: Server, subject: str, namespace: str) -> None:
    """Such as a binding that a webhook of authorization overrules."""
    answer = asked(server, bound(subject, namespace))
    assert answer.status is UNKNOWN
    assert shown(answer)[0].startswith(f"{subject}: ")
    assert "the API server does not allow it to list secrets" in shown(answer)[1]
    assert ("in namespace shop" in shown(answer)[1]) is bool(namespace)


def test_a_rule_for_a_named_object_is_asked_with_the_name(server: Server) -> None:
    objects = {
        **bound("Group system:authenticated"),
        Query.CLUSTER_ROLES: [role("reader", rule("get", "secrets", names="db"))],
    }
    review = AccessReview(EVERYBODY[0], "get", "", "secrets", name="db")
    assert asked(server, objects, review).status is FAIL
    assert asked(server, objects).status is UNKNOWN


@pytest.mark.parametrize("mode", ["Node,RBAC,Webhook", "AlwaysAllow", "ABAC"])
def test_with_other_authorization_modes_accounts_without_bindings_are_asked(plain: Server, mode: str) -> None:
    """Nothing in the cluster shows what they allow."""
    plain.config(f"kube-apiserver-arg: [authorization-mode={mode}]\n")
    tool = AccessReview(account_of(Subject("ServiceAccount", "shop", "tool")), "get", "", "secrets")
    objects: dict[Query, Sequence[Json]] = {Query.SERVICE_ACCOUNTS: [account("tool")]}
    answer = asked(plain, objects, tool)
    assert answer.status is MANUAL
    assert "user system:serviceaccount:shop:tool" in answer.found
    assert asked(plain, objects, LIST_SECRETS).status is FAIL
    assert asked(plain, objects).status is PASS


def test_too_many_accounts_are_unknown_and_not_asked(plain: Server) -> None:
    plain.config("kube-apiserver-arg: [authorization-mode=Node,RBAC,Webhook]\n")
    objects: dict[Query, Sequence[Json]] = {Query.SERVICE_ACCOUNTS: [account(f"tool-{n}") for n in range(50)]}
    answer = asked(plain, objects)
    assert answer.status is UNKNOWN
    assert "was not asked about" in shown(answer)[0]
    reviews = access_rules.reviews(plain.assessed(), cluster(objects))
    assert len(reviews) <= MOST_ABOUT_EVERYBODY < MOST_ABOUT_OTHERS


def test_the_number_of_reviews_is_limited(server: Server) -> None:
    many = [binding(f"all-{n}", "reader", f"Group system:serviceaccounts:team-{n}") for n in range(900)]
    objects = {Query.CLUSTER_ROLES: [READER], Query.CLUSTER_ROLE_BINDINGS: many}
    assert len(access_rules.reviews(server.assessed(), cluster(objects))) == MOST_ABOUT_EVERYBODY
    assert len(access_rules.reviews(server.assessed(), cluster({}))) < MOST_ABOUT_EVERYBODY


def test_rights_that_a_version_does_not_have_are_not_asked(server: Server) -> None:
    """Up to 1.35, the API server also answers yes about a constrained impersonation, which then has no effect."""
    found = access_rules.reviews(server.assessed(), cluster({}))
    assert not any(review.verb.startswith("impersonate:") for review in found)
    rights = [right for _, rules in access_answers.RIGHTS.values() for right in rules]
    assert {right.since for right in rights} == {0, 36}
    assert access_answers.supported(rights, server.assessed()) != tuple(rights)


def test_a_namespace_that_everybody_may_create_is_a_way_around_pod_security(server: Server) -> None:
    """Its creator chooses its labels, and its name, such as one that is exempt and does not exist."""
    name = "pod-policy-mechanism"
    everybody = binding("all", "labels", "Group system:authenticated", "User eve")
    for given in (
        rule("create", "namespaces"),
        rule("update", "namespaces/finalize", names="shop"),
        rule("patch", "*/status"),
    ):
        objects = {Query.CLUSTER_ROLES: [role("labels", given)], Query.CLUSTER_ROLE_BINDINGS: [everybody]}
        found = cluster(objects)
        reviews = dict.fromkeys(access_rules.reviews(server.assessed(), found), True)
        answer = server.of(name, found._replace(reviews={**reviews, **dict.fromkeys(_about_all(), False)}))
        assert answer.status is FAIL
        assert "which are exempt and do not exist" in shown(answer)[0]
        assert repair_texts.text(Repair(answer.repair.steps)) == (
            'set `subjects: [{"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}]`'
            " in the ClusterRoleBinding all"
        )
    found = cluster({})
    reviews = dict.fromkeys(access_rules.reviews(server.assessed(), found), False)
    assert server.of(name, found._replace(reviews=reviews)).status is PASS
    assert server.of(name, found._replace(reviews={**reviews, next(iter(_about_all())): True})).status is UNKNOWN


def _about_all() -> list[AccessReview]:
    return [AccessReview(ALL_OF_THEM, "create", "", "namespaces")]


def test_a_system_account_to_which_the_site_granted_a_right_is_asked(plain: Server) -> None:
    """With another authorizer, the name of an account proves nothing; other accounts of Kubernetes are not asked."""
    plain.config("kube-apiserver-arg: [authorization-mode=Node,RBAC,Webhook]\n")
    evil = ("User system:authenticated", "Group system:nodes", "ServiceAccount kube-system/evil")
    objects = {
        Query.CLUSTER_ROLES: [READER],
        Query.CLUSTER_ROLE_BINDINGS: [binding("a", "reader", *evil), binding("b", "view", "User system:kube-proxy")],
    }
    accounts = {review.account for review in access_rules.reviews(plain.assessed(), cluster(objects))}
    assert {
        account_of(Subject("User", "", "system:authenticated")),
        account_of(Subject("Group", "", "system:nodes")),
    } <= accounts
    assert account_of(Subject("ServiceAccount", "kube-system", "evil")) in accounts
    assert account_of(Subject("User", "", "system:kube-proxy")) not in accounts


class Counted(tuple[object, ...]):
    """Objects that count how often they are searched."""

    __slots__ = ()
    searches = 0

    def __iter__(self) -> Iterator[object]:
        Counted.searches += 1
        return super().__iter__()


def test_bindings_are_searched_for_each_account_and_not_for_each_of_its_rights(plain: Server) -> None:
    """Anybody with rights in a namespace can create thousands of bindings."""
    plain.config("kube-apiserver-arg: [authorization-mode=Node,RBAC,Webhook]\n")
    found = cluster({Query.SERVICE_ACCOUNTS: [account("tool")]})
    bindings = {Query.CLUSTER_ROLE_BINDINGS: Counted(found.objects[Query.CLUSTER_ROLE_BINDINGS])}
    found = found._replace(objects={**found.objects, **bindings})
    reviews = access_rules.reviews(plain.assessed(), found)
    Counted.searches = 0
    assert plain.of("rbac-create-pods", found._replace(reviews=dict.fromkeys(reviews, True))).status is FAIL
    accounts = {review.account for review in reviews}
    assert len(accounts) <= Counted.searches <= 3 * len(accounts)
