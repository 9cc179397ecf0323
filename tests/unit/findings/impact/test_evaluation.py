"""The impact: Pod Security, ServiceAccounts, accepted objects, and what is broken already or could not be read."""

from __future__ import annotations

import json
import time
from cProfile import Profile
from pstats import Stats

import pytest

from agent.base.errors import ExitCode, HostError
from agent.base.host.https import Response
from agent.base.model import Location
from agent.base.value import replace
from agent.cluster.kubernetes.pod_security import PodSecurityDefaults, PodSecurityLevel
from agent.cluster.pod_security_probe import UnexpectedAnswer
from agent.cluster.reader import read_role, read_running
from agent.findings.impact import Reason, Topic, When
from agent.findings.impact.evaluation import needed
from agent.findings.impact.rejected_pods import answered_otherwise
from agent.harden.settings.loading import SettingsError
from agent.harden.settings.schema import Settings
from agent.reports.repair_texts import text
from agent.verbs.impact import checked
from tests.unit.findings.impact.sample_cluster import (
    BASE,
    WEB,
    Api,
    Json,
    PagedApi,
    broken,
    container,
    endpoints,
    impact,
    node,
    pod,
    policy,
    service,
    thing,
)
from tests.unit.findings.impact.test_traffic import DATABASE, FRONT
from tests.unit.harden.settings.test_loading import PATH, loaded

OPEN_ACCOUNT = thing("ServiceAccount", "default", "shop")
OTHERS = [item for item in BASE if item["kind"] != "ServiceAccount" or item["metadata"]["namespace"] != "shop"]


def binding(role: str, **subject: str) -> Json:
    return thing("ClusterRoleBinding", "b", roleRef={"kind": "ClusterRole", "name": role}, subjects=[subject])


def test_a_rejected_workload_has_its_violations_and_its_patch() -> None:
    good = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    template = {"spec": {"containers": [container(securityContext=good)], "securityContext": {"runAsNonRoot": True}}}
    web = thing("Deployment", "web", "shop", spec={"replicas": 0, "template": template})
    (found,) = impact(web, level=PodSecurityLevel.RESTRICTED).breaks
    assert (str(found.object), found.topic, found.when) == ("shop/Deployment/web", Topic.POD_SECURITY, When.NEXT_PODS)
    assert [reason.field for reason in found.reasons] == ["spec.securityContext.seccompProfile.type"]
    assert text(found.repair).startswith("set `stages.pod-security: baseline` in /etc/k3s-harden/config.yaml; then set")
    assert 'seccompProfile.type: "RuntimeDefault"` in the Deployment shop/web' in text(found.repair)


@pytest.mark.parametrize(
    ("bindings", "is_certain"),
    [
        ([], False),
        ([binding("edit", kind="ServiceAccount", namespace="shop", name="default")], True),
        ([binding("edit", kind="Group", name="system:serviceaccounts:shop")], True),
        ([binding("edit", kind="ServiceAccount", namespace="other", name="default")], False),
        ([binding("system:service-account-issuer-discovery", kind="Group", name="system:serviceaccounts")], False),
    ],
)
def test_pods_that_lose_their_token_are_named_with_the_bindings(bindings: list[Json], is_certain: object) -> None:
    front = pod("front", "shop", "10.42.1.5")
    found = impact(OPEN_ACCOUNT, front, *bindings, base=OTHERS).breaks
    entry = next(entry for entry in found if entry.topic is Topic.SERVICE_ACCOUNTS)
    assert (str(entry.object), entry.when) == ("shop/ServiceAccount/default", When.NEXT_PODS)
    assert entry.is_certain is is_certain
    assert "Pod front" in entry.reasons[0].found


@pytest.mark.parametrize(
    ("used", "text"),
    [
        (True, "; the audit log has requests of it"),
        (False, "; the audit log has no request of it"),
        (None, "no binding names the account"),
    ],
)
def test_requests_in_the_audit_log_make_a_lost_token_certain(used: object, text: str) -> None:
    """Without requests there it is not certain that the token is unused."""
    front = pod("front", "shop", "10.42.1.5")
    found = impact(OPEN_ACCOUNT, front, base=OTHERS, is_account_used=lambda namespace: namespace == "shop" and used)
    (entry,) = [entry for entry in found.breaks if entry.topic is Topic.SERVICE_ACCOUNTS]
    assert entry.reasons[0].found.endswith(text)
    assert entry.is_certain is (used is True)


@pytest.mark.parametrize("spec", [{"automountServiceAccountToken": True}, {"serviceAccountName": "own"}])
def test_pods_that_keep_their_token_or_have_none_are_not_named(spec: Json) -> None:
    assert impact(OPEN_ACCOUNT, pod("front", "shop", "10.42.1.5", **spec), base=OTHERS).breaks == ()


def test_controllers_whose_pods_are_rejected_are_broken_now() -> None:
    copy = {**replicas("web-1", 2), "kind": "ReplicaSet"}
    copy["metadata"]["ownerReferences"] = [{"controller": True, "kind": "Deployment", "name": "web"}]
    about = {"namespace": "shop", "kind": "ReplicaSet", "name": "web-1"}
    message = 'Error creating: pods "x" is forbidden: violates PodSecurity "restricted:latest": hostPort'
    event = thing("Event", "e", "shop", involvedObject=about, message=message)
    found = [entry for entry in impact(replicas("web", 2), copy, event).breaks if entry.is_certain]
    assert [(str(entry.object), entry.when, entry.reasons[0].found) for entry in found] == [
        ("shop/Deployment/web", When.NOW, '"restricted:latest": hostPort')
    ]


class Forbidding(Api):
    """Refuses one list."""

    def get(self, path: str, accept: str) -> Response:
        return Response(403, b"") if path.startswith("/api/v1/services?") else super().get(path, accept)


def test_a_list_that_cannot_be_read_is_never_safe() -> None:
    found = broken(api=Forbidding)
    assert {name: entry.is_certain for name, entry in found.items()} == {"services": False}
    assert impact(api=Forbidding).exit_code is ExitCode.NOT_COMPLIANT


def test_a_refused_list_proposes_another_credential_and_a_failed_one_does_not() -> None:
    class Failing(Api):
        def get(self, path: str, accept: str) -> Response:
            if path.startswith("/api/v1/services?"):
                raise HostError("cannot read /api/v1/services: timed out")
            return super().get(path, accept)

    refused, failed = (text(broken(api=api)["services"].repair) for api in (Forbidding, Failing))
    role = "k3s-harden render impact-role | kubectl apply -f -"
    assert refused == f"use a credential that may list them; or run `{role}`"
    assert failed == "find out why the API server fails"


def test_a_silent_api_server_is_not_asked_for_every_list() -> None:
    class Silent(Api):
        def get(self, path: str, accept: str) -> Response:
            answer = super().get(path, accept)
            if len(self.asked) > 5:
                raise HostError(f"cannot read {path}: timed out")
            return answer

    api = Silent(BASE)
    with pytest.raises(HostError, match="timed out"):
        read_running(api)
    assert len(api.asked) < 16


def test_lists_are_read_at_the_same_time() -> None:
    """A server that answers slowly is mostly waited for."""
    running: list[int] = []

    class Slow(Api):
        def get(self, path: str, accept: str) -> Response:
            running.append(1)
            time.sleep(0.05)
            try:
                return super().get(path, accept)
            finally:
                most.append(len(running))
                running.pop()

    most: list[int] = []
    assert read_running(Slow(BASE)).objects["namespaces"]
    assert max(most) > 3


def test_groups_that_the_api_server_does_not_have_are_not_asked_for() -> None:
    class WithGroups(Api):
        def get(self, path: str, accept: str) -> Response:
            answer = super().get(path, accept)
            names = ("apps", "networking.k8s.io", "traefik.io", "monitoring.coreos.com")
            groups = {"groups": [{"name": name} for name in names]}
            return Response(200, json.dumps(groups).encode()) if path == "/apis" else answer

    api = WithGroups(BASE)
    running = read_running(api, needed([Topic.NETWORK_POLICIES]))
    asked = {path.partition("?")[0].rpartition("/")[2] for path in api.asked}
    assert {"ingressroutes", "servicemonitors", "deployments"} <= asked
    assert not {"httproutes", "serviceaccounts", "rolebindings", "events"} & asked
    assert running.problems == {}


def test_the_role_lists_exactly_what_is_read() -> None:
    api = Api(BASE)
    read_running(api)
    paths = {path.partition("?")[0] for path in api.asked} - {"/version", "/apis"}
    rules = read_role()["rules"]
    granted = {(group, name) for rule in rules for group in rule["apiGroups"] for name in rule["resources"]}
    assert {(*path.split("/")[2:-2], path.rpartition("/")[2]) for path in paths if path.startswith("/apis/")} == {
        pair for pair in granted if pair[0]
    }
    assert {path.rpartition("/")[2] for path in paths if path.startswith("/api/")} == {
        name for group, name in granted if not group
    }


@pytest.mark.parametrize(
    ("plugin", "who"), [("cilium", "Cilium (kube-system/DaemonSet/cilium)"), ("other", "no known one")]
)
def test_who_enforces_policies_instead_of_k3s_is_named(plugin: str, who: str) -> None:
    template = {"spec": {"containers": [container()], "hostNetwork": True}}
    agent = thing("DaemonSet", plugin, "kube-system", spec={"template": template})
    disabled = node("n1", "10.0.0.1", server=True, arguments='["server", "--disable-network-policy"]')
    base = [item for item in BASE if item["kind"] != "Node"]
    found = broken(*WEB, pod("front", "shop", "10.42.2.5", container(env="web.default")), agent, disabled, base=base)
    assert found["Cluster"].reasons[0].found.startswith(who)
    assert found["Cluster"].reasons[0].found.endswith("--disable-network-policy on node n1")


def test_large_pods_hide_no_other_one() -> None:
    """Pods of 1 MiB are read in smaller pages. One that is larger than a page is not judged, which is said."""
    sizes = [*(1 << 20,) * 20, 9 << 20, 0]
    pods = [
        pod(f"p{number}", "shop", f"10.42.1.{number}", container(args=["x" * size]))
        for number, size in enumerate(sizes)
    ]
    found = impact(*pods, level=PodSecurityLevel.RESTRICTED, api=PagedApi).breaks
    judged = {entry.object.name for entry in found if entry.topic is Topic.POD_SECURITY and entry.is_certain}
    assert judged == {f"p{number}" for number, size in enumerate(sizes) if size < 9 << 20}
    (unread,) = [entry.reasons[0].found for entry in found if entry.reasons[0].field == "list"]
    assert unread == "cannot read 1 of /api/v1/pods, too large: shop/p20"


def test_a_cluster_without_any_object_is_an_error() -> None:
    with pytest.raises(HostError, match="it has no objects"):
        read_running(Api([]))


@pytest.mark.parametrize("status", [{"phase": []}, {"conditions": [{"type": {}, "status": "True"}]}])
def test_a_field_of_a_wrong_type_counts_as_missing(status: Json) -> None:
    web = {**pod("web", "shop", "10.42.1.5"), "status": {"podIP": "10.42.1.5", **status}}
    odd = policy("odd", "shop", ingress=[{"from": [{"ipBlock": {"cidr": ["0.0.0.0/0"]}}]}])
    assert impact(web, odd).exit_code is ExitCode.COMPLIANT


def test_a_hardened_cluster_has_nothing_to_say() -> None:
    assert impact(pod("web", "shop", "10.42.1.5")).exit_code is ExitCode.COMPLIANT


def test_services_with_external_addresses_are_named_if_the_settings_deny_these() -> None:
    web = service("web", "shop", externalIPs=["192.0.2.1"])
    settings = replace(Settings(), deny_service_external_ips=True)
    (found,) = impact(web, settings=settings).breaks
    assert (str(found.object), found.when) == ("shop/Service/web", When.RESTART)
    assert impact(web).breaks == ()


def test_hostile_objects_are_read_like_any_others() -> None:
    deep: Json = {}
    for _ in range(300):
        deep = {"x": [deep]}
    odd = node("n3", "10.0.0.3")
    odd["spec"]["podCIDR"] = "x"
    scraped = {"annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9" * 5000}}
    cyclic = {"ownerReferences": [{"controller": True, "kind": "ReplicaSet", "name": "a"}]}
    objects = (
        thing("Ingress", "deep", "default", spec=deep),
        odd,
        pod("a", "shop", "10.42.1.5", metadata=scraped),
        thing("ReplicaSet", "a", "shop", metadata=cyclic, spec={"replicas": "x", "template": []}),
        pod("prometheus", "shop", "not an address", container(env="a." * 20_000 + "b" * 20_000)),
    )
    assert impact(*objects).breaks == ()


RESTRICTED = PodSecurityDefaults(PodSecurityLevel.RESTRICTED)


def replicas(name: str, number: int, **more: str) -> Json:
    template = {"spec": {"containers": [container(8080)], **more}}
    return thing("Deployment", name, "shop", spec={"replicas": number, "template": template}, status={"replicas": 1})


def test_a_running_workload_that_pod_security_rejects_by_now_cannot_come_back() -> None:
    found = impact(replicas("web", 1), pod("alone", "shop", "10.42.1.5"), today=RESTRICTED, tomorrow=RESTRICTED).breaks
    assert {(str(entry.object), entry.when, entry.is_certain) for entry in found} == {
        ("shop/Deployment/web", When.NEXT_PODS, True),
        ("shop/Pod/alone", When.NEXT_PODS, True),
    }
    assert {entry.condition for entry in found} == {"such as on another node after a drain"}


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        (RESTRICTED, [(When.NOW, True)]),
        (PodSecurityDefaults(None), [(When.NOW, False)]),
        (PodSecurityDefaults(PodSecurityLevel.PRIVILEGED), [(When.NEXT_PODS, True)]),
    ],
    ids=["rejected", "not known", "admitted"],
)
def test_pods_are_missing_by_pod_security_only_if_it_rejects_them(
    today: PodSecurityDefaults, expected: list[tuple[When, bool]]
) -> None:
    """A missing ServiceAccount or a quota keeps pods away, too."""
    found = impact(replicas("web", 2), today=today, tomorrow=RESTRICTED).breaks
    assert [(entry.when, entry.is_certain) for entry in found] == expected


def test_workloads_that_lack_pods_for_another_reason_are_not_named() -> None:
    assert impact(replicas("web", 2, serviceAccountName="missing")).breaks == ()


@pytest.mark.parametrize(
    ("volumes", "when"),
    [
        ([], When.NOW),
        ([{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}], When.NEXT_PODS),
    ],
    ids=["created afterwards", "created before"],
)
def test_a_token_that_is_gone_is_named_if_a_binding_names_the_account(volumes: list[Json], when: When) -> None:
    front = pod("front", "shop", "10.42.1.5", volumes=volumes)
    bound = binding("edit", kind="ServiceAccount", namespace="shop", name="default")
    (entry,) = impact(front, bound).breaks
    assert (str(entry.object), entry.topic, entry.when) == ("shop/ServiceAccount/default", Topic.SERVICE_ACCOUNTS, when)
    assert impact(front, binding("edit", kind="Group", name="system:serviceaccounts")).breaks == ()
    assert impact(front, bound, settings=replace(Settings(), exempt_accounts=("shop/default",))).breaks == ()


@pytest.mark.parametrize(
    ("predicted", "answer", "found", "expected"),
    [(True, "", "admitted", "rejected"), (False, "would violate PodSecurity", "would violate PodSecurity", "admitted")],
)
def test_an_answer_that_was_not_predicted_is_not_certain(
    predicted: bool, answer: str, found: str, expected: str
) -> None:
    entry = answered_otherwise(UnexpectedAnswer("Deployment shop/web", predicted, answer))
    assert (str(entry.object), entry.when, entry.is_certain) == ("shop/Deployment/web", When.NEXT_PODS, False)
    assert entry.reasons == (Reason("dry run of the pod template", found, expected),)


def accepting(*items: str) -> Settings:
    return loaded("impact:\n  accepted:\n" + "".join(f"    - {item}\n" for item in items))


REASON = "reason: no other client"
CLIENT = f"{{object: shop/Pod/front, {REASON}, expires: 2027-01-31}}"
TARGET = f"{{object: default/Pod/web, {REASON}, expires: 2027-01-31}}"


def test_accepted_objects_are_listed_and_do_not_count() -> None:
    found = impact(*WEB, FRONT, settings=accepting(CLIENT, TARGET))
    assert found.exit_code is ExitCode.COMPLIANT
    assert {str(entry.object) for entry in found.breaks if entry.is_accepted} == {"shop/Pod/front", "default/Pod/web"}
    assert len(found.breaks) == 2
    assert {name: count for name, count in found.counts.items() if count} == {"accepted": 2}
    assert impact(*WEB, FRONT, settings=accepting(TARGET)).exit_code is ExitCode.NOT_COMPLIANT


def test_an_acceptance_counts_on_its_last_day_and_not_after_it() -> None:
    for day, expected in (("2026-12-02", ExitCode.COMPLIANT), ("2026-12-01", ExitCode.NOT_COMPLIANT)):
        items = (item.replace("2027-01-31", day) for item in (CLIENT, TARGET))
        assert impact(*WEB, FRONT, settings=accepting(*items)).exit_code is expected


def test_an_acceptance_of_an_object_that_does_not_break_is_a_note() -> None:
    found = impact(*WEB, FRONT, settings=accepting(CLIENT.replace("shop/Pod/front", "default/Service/web")))
    assert found.unknown == ()
    assert "`impact.accepted` names default/Service/web, which does not break" in found.notes


def test_an_acceptance_that_names_nothing_is_an_error_of_its_line() -> None:
    """Of an object whose kind is not read, it is not known whether it exists."""
    found = impact(*WEB, settings=accepting(TARGET, CLIENT))
    with pytest.raises(SettingsError, match="the cluster has no shop/Pod/front; correct its name") as caught:
        checked(found)
    assert caught.value.problems[0].location == Location(PATH, 4)
    assert impact(*WEB, settings=accepting(CLIENT.replace("Pod", "Ingress"))).unknown == ()


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (f"{{{REASON}, expires: 2027-01-31}}", "`object` is missing"),
        ("{object: default/Pod/web, expires: 2027-01-31}", "`reason` is missing"),
        (f"{{object: default/Pod/web, {REASON}}}", "`expires` is missing; it must be a date such as 2027-06-30"),
        (f"{{object: web, {REASON}, expires: 2027-01-31}}", "`object` must be an object as `impact` names it"),
        (f"{{object: default/Pod/web, {REASON}, expires: soon}}", "`expires` must be a date"),
        ("{object: default/Pod/web, reason: todo, expires: 2027-01-31}", "`reason` must be a sentence"),
        (f"{{object: default/Pod/web, {REASON}, expires: 2027-01-31, host: x}}", "unknown key `host`"),
        ("default/Pod/web", "must be a list of mappings"),
    ],
)
def test_a_malformed_acceptance_is_an_error_of_its_line(item: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        accepting(TARGET, item)
    (error,) = caught.value.problems
    assert error.location.line == 4
    assert problem in error.problem


def clients(number: int) -> list[Json]:
    """Return clients of one database, each with labels of its own."""
    return [
        pod(f"c{at}", "shop", f"10.42.2.{at % 250}", container(env="db.default:5432"), on="n2") for at in range(number)
    ]


def test_the_clients_of_one_database_are_one_rule_and_one_policy() -> None:
    found = impact(*DATABASE, *clients(300))
    assert len({str(entry.object) for entry in found.breaks if entry.allow}) == 300
    (rule,) = found.allow
    assert len(rule.policy["spec"]["ingress"][0]["from"]) == 300


def test_pasted_rules_and_acceptances_end_with_nothing_that_breaks() -> None:
    first = impact(*DATABASE, *WEB, FRONT, *clients(3))
    lines = "".join(f"    - {rule}\n" for rule in first.allow)
    settings = loaded(f"network-policies:\n  allow:\n{lines}")
    second = impact(*DATABASE, *WEB, FRONT, *clients(3), settings=settings)
    assert second.allow == settings.network_policy_allow
    names = [str(entry.object) for entry in second.breaks]
    assert set(names) == {"default/Pod/db", "default/Pod/web"}
    items = "".join(f"    - {{object: {name}, {REASON}, expires: 2027-01-31}}\n" for name in names)
    last = loaded(f"network-policies:\n  allow:\n{lines}impact:\n  accepted:\n{items}")
    assert impact(*DATABASE, *WEB, FRONT, *clients(3), settings=last).exit_code is ExitCode.COMPLIANT


def test_a_new_rule_is_merged_into_that_of_the_settings() -> None:
    own = "{namespace: default, pods: {app: web}, ports: [8080], from: {namespace: a}}"
    (rule,) = impact(*WEB, FRONT, settings=loaded(f"network-policies: {{allow: [{own}]}}")).allow
    assert str(rule) == (
        "{namespace: default, pods: {app: web}, ports: [8080],"
        " from: [{namespace: a}, {namespace: shop, pods: {app: front}}]}"
    )


def test_the_work_grows_with_the_cluster_and_not_with_its_square() -> None:
    def calls(workloads: int) -> int:
        objects: list[Json] = []
        for number in range(workloads):
            name, address = f"app{number}", f"10.42.1.{number + 2}"
            client = container(8080, env=f"http://app{(number + 1) % workloads}.default")
            own = ("default", "shop")[number % 2]
            path = {"backend": {"service": {"name": name, "port": {"number": 80}}}}
            objects += [
                pod(name, own, address, client),
                service(name, own, clusterIP=""),
                thing("Ingress", name, own, spec={"rules": [{"http": {"paths": [path]}}]}),
                endpoints(name, own, address),
            ]
        profile = Profile()
        profile.runcall(impact, *objects, settings=loaded("network-policies: {namespaces: [shop]}"))
        return Stats(profile).total_calls  # type: ignore[attr-defined, no-any-return]  # typeshed lacks it

    few, many = calls(50), calls(200)
    assert many < 5 * few
