"""apply and revert on a server where K3s runs: what breaks at once, policies of the site, objects of policy.yaml."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from agent.assess.assessment import ControlStatus
from agent.base.errors import ExitCode
from agent.base.host import Host
from agent.base.host.connection_tracking import MOST_TRACKED
from agent.base.host.probe import K3sProcess
from agent.base.linux.file_systems import TrackedConnection
from agent.base.repair import Repair, RunVerb
from agent.base.report import Report
from agent.base.value import replace
from agent.cluster.kubernetes.queries import Query
from agent.cluster.node_status import Annotation
from agent.cluster.reader import _LISTS
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.harden.situation.observation import observe_situation
from agent.k3s.roles_and_versions import Role
from agent.reports.repair_texts import text
from agent.verbs import check_and_apply
from agent.verbs.drift import drift
from agent.verbs.impact import impact_on_server
from agent.verbs.revert import revert
from agent.verbs.site_policies import SAVED
from agent.verbs.traffic_records import Record, record_content
from tests.fake import fake_host
from tests.unit.assessed import KEYS, assessment, verdict
from tests.unit.cluster.api_server import Answer, ApiServer, Handler, drop_connection
from tests.unit.cluster.kubernetes import samples
from tests.unit.findings.impact import sample_cluster
from tests.unit.findings.impact.sample_cluster import BASE, WEB, Json, container, plural

REQUEST = Request(Overrides(role="server", k3s_version="1.34"))
RUNNING = K3sProcess(1, Role.SERVER, 0.0)
VERSION = b'{"gitVersion": "v1.34.0+k3s1"}'
POLICY = "var/lib/rancher/k3s/server/manifests/policy.yaml"
AUDIT = "var/lib/rancher/k3s/server/audit.yaml"
POSTPONED = "stages: {until: 2099-01-01, network-policies: off, service-accounts: off, pod-security: warn}\n"
ADDON = "/apis/k3s.cattle.io/v1/namespaces/kube-system/addons/policy"


@pytest.fixture
def root(in_memory: Path) -> Path:
    """A server that was never hardened."""
    (in_memory / "etc").mkdir()
    (in_memory / "var/lib").mkdir(parents=True)
    return in_memory


def host_of(root: Path, *processes: K3sProcess) -> Host:
    return fake_host(root, processes=processes, is_live=True)


def with_api(root: Path, api: ApiServer) -> None:
    """Write the credential of K3s, which it creates at its start."""
    config = root / "var/lib/rancher/k3s/server/cred/admin.kubeconfig"
    config.parent.mkdir(parents=True, exist_ok=True)
    (root / "var/lib/rancher/k3s/server/tls").mkdir(exist_ok=True)
    config.write_text(api.kubeconfig(embedded=True))
    config.chmod(0o600)


# --- what apply would break ---


@pytest.mark.parametrize("dies", [False, True])
def test_nothing_is_changed_if_the_api_server_does_not_answer(root: Path, *, dies: bool) -> None:
    """Also if it dies while it is read."""
    answers = {"/version": lambda handler: handler.send(200, VERSION), "/api/v1/pods": drop_connection}
    with ApiServer(samples.NEW, answers).running() as api:
        if dies:
            with_api(root, api)
        report = check_and_apply.apply(host_of(root, RUNNING), REQUEST)
    assert int(report.exit_code) == 3
    assert {"impact-unknown", "breaks-at-once"} & {finding.id for finding in report.findings}
    assert [str(step.step) for step in report.next_steps if "--accept-impact" in str(step.step)]
    assert not (root / POLICY).exists()
    assert not (root / "var/lib/k3s-harden").exists()


def pod(name: str, namespace: str, labels: dict[str, str], address: str) -> dict[str, object]:
    """Return a running pod that declares port 9000."""
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    container = {"name": "main", "ports": [{"containerPort": 9000}]}
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    return {"metadata": metadata, "spec": {"containers": [container], "nodeName": "node-1"}, "status": status}


@pytest.fixture
def two_pods(root: Path) -> Iterator[Host]:
    """A server on which K3s runs, with two pods."""
    pods = [pod("web", "default", {"app": "web"}, "10.42.0.5"), pod("client", "shop", {"app": "client"}, "10.42.0.6")]
    api = ApiServer({**samples.NEW, Query.PODS: pods}, {"/version": lambda handler: handler.send(200, VERSION)})
    with api.running():
        with_api(root, api)
        yield host_of(root, RUNNING)


def settings_of(root: Path, text: str) -> None:
    path = root / "etc/k3s-harden/config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def breaks_at_once(report: Report) -> list[str]:
    return [finding.message for finding in report.findings if finding.id == "breaks-at-once"]


@pytest.mark.parametrize(
    ("step", "named"),
    [("pod-security: warn", {"default/Pod/web"}), ("network-policies: off", {"default/Pod/web", "shop/Pod/client"})],
    ids=["policies", "level"],
)
def test_each_step_that_adds_something_asks_and_names_only_what_breaks_by_it(
    two_pods: Host, root: Path, step: str, named: set[str]
) -> None:
    """Until it is accepted; a run afterwards has nothing to ask."""
    settings_of(root, POSTPONED)
    check_and_apply.apply(two_pods, REQUEST)
    before = (root / POLICY).read_bytes()
    settings_of(root, f"stages: {{until: 2099-01-01, {step}}}\n")
    report = check_and_apply.apply(two_pods, REQUEST)
    names = {message.partition(" breaks ")[0].partition(" may break ")[0] for message in breaks_at_once(report)}
    assert {name for name in names if "/Pod/" in name} == named
    assert (int(report.exit_code), (root / POLICY).read_bytes()) == (3, before)
    assert check_and_apply.apply(two_pods, REQUEST, accept_impact=True).has_changed
    assert not breaks_at_once(check_and_apply.apply(two_pods, REQUEST))


@pytest.mark.parametrize("day", ["2099-01-01", "2001-01-01"])
def test_objects_that_the_settings_accept_do_not_stop_apply_even_after_their_last_day(
    two_pods: Host, root: Path, day: str
) -> None:
    accepted = f"{{object: default/Pod/web, reason: no other client, expires: {day}}}"
    settings_of(root, POSTPONED)
    check_and_apply.apply(two_pods, REQUEST)
    settings_of(root, f"stages: {{until: 2099-01-01, pod-security: warn}}\nimpact: {{accepted: [{accepted}]}}\n")
    named = breaks_at_once(check_and_apply.apply(two_pods, REQUEST))
    assert named
    assert not any("default/Pod/web" in message for message in named)


@pytest.mark.parametrize(("number", "is_said"), [(MOST_TRACKED, True), (1, False)])
def test_impact_says_that_not_all_open_connections_were_read(two_pods: Host, number: int, *, is_said: bool) -> None:
    one = TrackedConnection("TCP", "10.42.0.6", "10.42.0.5", 80)
    host = replace(two_pods, connections=lambda: (one,) * number)
    notes = "\n".join(impact_on_server(host, REQUEST, observe_situation(host, REQUEST)).notes)
    assert (f"more than the {MOST_TRACKED} open connections" in notes) == is_said


def test_apply_reads_the_records_of_all_nodes_in_their_directory(two_pods: Host, root: Path) -> None:
    """They show that nobody uses the port."""
    directory = root / "var/lib/k3s-harden/connections"

    def named() -> list[str]:
        found = check_and_apply.apply(two_pods, REQUEST).findings
        return [finding.message for finding in found if finding.id in ("breaks-at-once", "impact-unknown")]

    def asks_about_the_port() -> bool:
        return any(message.startswith("default/Pod/web may break at once") for message in named())

    now = int(two_pods.now())
    record = Record("node-1", "0" * 16, now - 90_000, now, watched=86_400)
    assert asks_about_the_port()
    directory.mkdir(parents=True)
    (directory / "node-1.json").write_bytes(record_content(record))
    assert not asks_about_the_port()
    (directory / "node-1.json").write_bytes(b"")
    (message,) = named()
    assert "/var/lib/k3s-harden/connections/node-1.json:1: it is damaged or incomplete" in message


@pytest.mark.parametrize("way", ["accepted", "not running", "agent", "gate", "postponed", "nothing to add"])
def test_the_cluster_is_not_asked_what_breaks(way: str, root: Path) -> None:
    """An accepted impact, a K3s that does not run, an agent, the gate, and runs that add nothing to the cluster."""
    request = REQUEST if way != "agent" else replace(REQUEST, overrides=Overrides(role="agent", k3s_version="1.34"))
    with ApiServer().running() as api:
        with_api(root, api)
        running = host_of(root, *(() if way == "not running" else (RUNNING,)))
        if way == "postponed":
            settings_of(root, POSTPONED)
        if way == "nothing to add":
            check_and_apply.apply(host_of(root), REQUEST)
            (root / AUDIT).unlink()
        if way == "gate":
            check_and_apply.gate(running, request)
        else:
            check_and_apply.apply(running, request, accept_impact=way == "accepted")
        # Policies of the site that K3s replaces are saved before policy.yaml is written.
        asked = ["/apis/networking.k8s.io/v1/networkpolicies?limit=250"] * (way == "accepted")
        assert [path for _, path, _ in api.asked] == asked
    assert (root / POLICY).exists() is (way != "agent")


def test_a_repair_by_the_drift_check_accepts_no_impact(root: Path) -> None:
    """Nobody reads the question of a timer, so the log has it."""
    path = root / "etc/k3s-harden/config.yaml"
    path.parent.mkdir()
    path.write_text("drift: {repair: true}\n")
    (root / "run").mkdir()
    (root / "run/k3s-harden.lock").touch()
    found = verdict(KEYS, ControlStatus.FAIL)._replace(repair=Repair((RunVerb("apply"),)))
    lines = list(drift(host_of(root, RUNNING), REQUEST, lambda _: assessment(found)))
    assert [line for line in lines if line.startswith("it is not known what breaks in the cluster")]
    assert not (root / POLICY).exists()


def served(*objects: Json) -> dict[str, Answer]:
    """Return the answers of an API server that has these objects."""

    def answer(path: str) -> Answer:
        kind = path.rpartition("/")[2]
        found = [item for item in objects if plural(item["kind"]) == kind]
        body = json.dumps({"kind": "List", "metadata": {}, "items": found}).encode()
        return lambda handler: handler.send(200, body)

    paths = {request.path: answer(request.path) for request, _ in _LISTS.values()}
    return {"/version": lambda handler: handler.send(200, VERSION), **paths}


def test_the_drift_check_counts_what_the_hardening_breaks_if_it_asks_the_api_server(root: Path) -> None:
    """A NetworkPolicy that K3s has applied cuts a connection. The count is published, and no control fails by it."""
    front = sample_cluster.pod("front", "shop", "10.42.2.5", container(env="http://web.default"), on="n2")
    ours = {
        **policy(annotations=BY_K3S["metadata"]["annotations"]),
        "kind": "NetworkPolicy",
        "spec": {"podSelector": {}},
    }
    api = ApiServer(answers=served(*BASE, *WEB, front, ours))
    record = root / "var/lib/k3s-harden/record.json"

    def lines(settings: str) -> list[str]:
        settings_of(root, settings)
        return list(drift(host_of(root, RUNNING), REQUEST, lambda _: assessment(verdict(KEYS))))

    def published() -> object:
        node = json.loads(json.loads(record.read_text())["record"])
        return node["metadata"]["annotations"].get(Annotation.BROKEN)

    (root / "run").mkdir()
    (root / "run/k3s-harden.lock").touch()
    with api.running():
        with_api(root, api)
        recording = "record-file: /var/lib/k3s-harden/record.json"
        found = lines(f"drift: {{cluster: true, {recording}}}\n")
        assert "the hardening in effect breaks 1 object of the cluster" in found
        assert any("k3s-harden impact" in line for line in found)
        assert published() == "1"
        assert not [line for line in lines(f"drift: {{{recording}}}\n") if "breaks" in line]
        assert published() is None
    (line,) = lines("drift: {cluster: true}\n")[:1]
    assert line.startswith("it is not known what the hardening breaks in the cluster: ")


# --- policies of the site ---

OWN = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
NAME = "NetworkPolicy default/intra-namespace"
SPEC = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}


def policy(name: str = "intra-namespace", **metadata: Any) -> dict[str, Any]:
    """Return a policy as the API server lists it."""
    given = {"name": name, "namespace": "default", "uid": "1", "resourceVersion": "2", "labels": {"a": "b"}}
    return {"metadata": {**given, "managedFields": [{}], **metadata}, "spec": SPEC}


BY_K3S = policy("default-network-ingress-webhook-policy", annotations={"objectset.rio.cattle.io/owner-name": "policy"})


class Server:
    """A server on which K3s runs, and its API server, whose deploy controller applies policy.yaml at once."""

    def __init__(self, root: Path, *policies: dict[str, Any]) -> None:
        self.root = root
        self.created = 201
        answers = {ADDON: self._addon, OWN: lambda handler: handler.send(self.created, b"{}")}
        self.api = ApiServer({Query.NETWORK_POLICIES: policies}, answers)

    def _addon(self, handler: Handler) -> None:
        checksum = sha256((self.root / POLICY).read_bytes()).hexdigest()
        handler.send(200, json.dumps({"spec": {"checksum": checksum}}).encode())

    @property
    def host(self) -> Host:
        with_api(self.root, self.api)
        return host_of(self.root, RUNNING)

    @property
    def saved(self) -> list[Any]:
        path = self.root / str(SAVED).lstrip("/")
        return list(json.loads(path.read_text())["items"]) if path.exists() else []

    def settings(self, text: str) -> None:
        settings_of(self.root, text)

    def apply(self, host: Host | None = None) -> Report:
        return check_and_apply.apply(host or self.host, REQUEST, accept_impact=True)


@pytest.fixture
def server(root: Path) -> Iterator[Server]:
    found = Server(root, policy(), policy("of the site"), BY_K3S)
    with found.api.running():
        yield found


def details(report: Report) -> dict[str, str]:
    return {item.id: item.detail for item in report.items if "NetworkPolic" in item.id or item.id == str(SAVED)}


def test_only_policies_of_the_site_with_our_names_are_saved_as_they_were(server: Server) -> None:
    assert details(server.apply()) == {NAME: f"saved in {SAVED}, because K3s replaces it"}
    metadata = {"name": "intra-namespace", "namespace": "default", "labels": {"a": "b"}}
    about = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    assert server.saved == [{**about, "metadata": metadata, "spec": SPEC}]


@pytest.mark.parametrize("way", ["revert", "stage"])
def test_they_come_back_when_k3s_has_removed_ours(server: Server, way: str) -> None:
    server.apply()
    (saved,) = server.saved
    if way == "stage":
        server.settings("stages: {until: 2027-03-31, network-policies: off}\n")
        report = server.apply()
    else:
        report = revert(server.host, last=False, force=False)
    assert details(report) == {NAME: "created again, as it was before policy.yaml"}
    assert (server.api.posts, server.saved) == ([saved], [])
    server.settings("")
    assert details(server.apply()) == {NAME: f"saved in {SAVED}, because K3s replaces it"}


@pytest.mark.parametrize(("status", "left"), [(409, 0), (403, 1), (404, 1)])
def test_one_that_cannot_be_created_stays_saved(server: Server, status: int, left: int) -> None:
    server.apply()
    server.created = status
    report = revert(server.host, last=False, force=False)
    assert (int(report.exit_code), len(server.saved)) == (0, left)
    repair = next(item.repair for item in report.items if item.id == NAME)
    assert ("kubectl create -f" in text(repair)) is bool(left)


def test_an_api_server_that_dies_meanwhile_only_delays_them(server: Server) -> None:
    server.apply()
    server.settings("stages: {until: 2027-03-31, network-policies: off}\n")
    alive = server.api.answers
    server.api.answers = {**alive, OWN: drop_connection}
    assert str(SAVED) in details(server.apply())
    assert len(server.saved) == 1
    server.api.answers = alive
    assert details(server.apply()) == {NAME: "created again, as it was before policy.yaml"}
    assert server.saved == []


def test_without_a_k3s_that_runs_they_stay_saved_and_the_report_says_so(server: Server) -> None:
    server.apply()
    report = revert(host_of(server.root), last=False, force=False)
    assert "which has to be deleted first" in details(report)[NAME]
    assert (len(server.saved), server.api.posts) == (1, [])


def test_without_an_answer_the_report_says_that_nothing_was_saved(server: Server) -> None:
    host = server.host
    server.api.answers = {"/apis/networking.k8s.io/v1/networkpolicies": _unavailable}
    report = server.apply(host)
    assert "are not saved" in details(report)["NetworkPolicies"]
    assert (server.root / POLICY).exists()


def _unavailable(handler: Handler) -> None:
    handler.send(503, b"{}")


@pytest.mark.parametrize("way", ["later run", "stopped", "postponed"])
def test_nobody_is_asked_if_policy_yaml_is_not_written_with_policies(server: Server, way: str) -> None:
    if way == "later run":
        server.apply()
        server.api.asked.clear()
    if way == "postponed":
        server.settings("stages: {until: 2027-03-31, network-policies: off}\n")
    server.apply(host_of(server.root) if way == "stopped" else None)
    assert server.api.asked == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"items": 3}', '{"items": [null]}', "[" * 100_000])
def test_a_damaged_copy_is_like_none(server: Server, content: str) -> None:
    server.apply()
    (server.root / str(SAVED).lstrip("/")).write_text(content)
    report = revert(server.host, last=False, force=False)
    assert (int(report.exit_code), server.api.posts) == (0, [])


# --- K3s removes the objects of policy.yaml before revert removes the file ---


@pytest.fixture
def hardened(root: Path) -> Path:
    """A hardened server with an earlier start of K3s."""
    (root / "var/lib/rancher/k3s/server/tls").mkdir(parents=True)
    check_and_apply.apply(fake_host(root), REQUEST)
    return root


def reverted(root: Path, *, follows: bool = True, changed: Sequence[str] = ()) -> tuple[Report, list[bytes]]:
    """Revert, and return what the deploy controller saw; without `follows` it does not apply the manifest."""
    seen: list[bytes] = []
    annotated = {"annotations": {"k3s-harden.internal/automount-before": "unset"}}
    marks = {"default": {}, **dict.fromkeys(changed, annotated)}
    accounts = {Query.SERVICE_ACCOUNTS: [{"metadata": {"namespace": name, **mark}} for name, mark in marks.items()]}

    def answer(handler: Handler) -> None:
        content = (root / POLICY).read_bytes()
        seen.append(content)
        checksum = sha256(content).hexdigest() if follows else "another"
        handler.send(200, json.dumps({"spec": {"checksum": checksum}}).encode())

    with ApiServer(accounts, {ADDON: answer}).running() as api:
        with_api(root, api)
        return revert(host_of(root, RUNNING), last=False, force=False), seen


def found(report: Report, name: str) -> str:
    """Return what a finding names; empty without it."""
    return next((finding.found for finding in report.findings if finding.id == name), "")


def test_k3s_applies_a_manifest_of_comments_before_it_is_removed(hardened: Path) -> None:
    report, seen = reverted(hardened)
    assert [all(line.startswith(b"#") for line in content.splitlines()) for content in seen] == [True]
    assert not (hardened / POLICY).exists()
    assert {"objects-remain", "accounts-remain"}.isdisjoint(finding.id for finding in report.findings)


def partly_reverted(root: Path, report: Report) -> None:
    """Assert that only the manifest is left, without objects, and that the report has the next step."""
    left = {item.id: item for item in report.items if item.status not in ("changed", "compliant", "kept")}
    assert left.keys() == {f"/{POLICY}"}
    assert left[f"/{POLICY}"].detail.startswith("K3s has not removed its objects: ")
    assert report.exit_code is ExitCode.PARTIAL
    assert report.next_steps[0].step == RunVerb("revert")
    assert all(line.startswith(b"#") for line in (root / POLICY).read_bytes().splitlines())
    report, _ = reverted(root)
    assert (int(report.exit_code), (root / POLICY).exists()) == (0, False)


def test_objects_that_k3s_does_not_remove_within_a_minute_leave_a_partial_revert(hardened: Path) -> None:
    report, seen = reverted(hardened, follows=False)
    assert len(seen) > 5
    partly_reverted(hardened, report)


def test_a_revert_that_was_killed_while_it_waited_is_completed(hardened: Path) -> None:
    header = b"".join(
        line for line in (hardened / POLICY).read_bytes().splitlines(keepends=True) if line.startswith(b"#")
    )
    (hardened / POLICY).write_bytes(header)
    report, _ = reverted(hardened)
    assert (int(report.exit_code), (hardened / POLICY).exists()) == (0, False)


def test_without_an_answer_of_the_api_server_a_revert_is_partial(hardened: Path) -> None:
    report = revert(host_of(hardened, RUNNING), last=False, force=False)
    assert found(report, "accounts-remain") == "not known: the API server does not answer"
    partly_reverted(hardened, report)


def test_an_api_server_that_hangs_leaves_a_partial_revert(hardened: Path) -> None:
    """It accepts connections, as one that waits for its datastore."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        api = ApiServer()
        api.port = silent.getsockname()[1]
        with_api(hardened, api)
        report = revert(host_of(hardened, RUNNING), last=False, force=False)
    partly_reverted(hardened, report)


def test_an_edited_manifest_becomes_a_backup_before_anything_changes_it(hardened: Path) -> None:
    edited = (hardened / POLICY).read_bytes() + b"---\napiVersion: v1\nkind: Namespace\nmetadata: {name: mine}\n"
    (hardened / POLICY).write_bytes(edited)
    report = revert(host_of(hardened, RUNNING), last=False, force=True)
    assert [file.read_bytes() for file in (hardened / "var/lib/k3s-harden/backups").iterdir()] == [edited]
    assert "NetworkPolicy default/intra-namespace" in found(report, "objects-remain")


def test_without_k3s_the_objects_are_reported(hardened: Path) -> None:
    report = revert(host_of(hardened), last=False, force=False)
    assert not (hardened / POLICY).exists()
    assert "NetworkPolicy default/intra-namespace" in found(report, "objects-remain")


def test_accounts_that_stay_changed_are_named(hardened: Path) -> None:
    """They are objects of the cluster: another server can still be hardened."""
    report, _ = reverted(hardened, changed=("shop", "web"))
    assert found(report, "accounts-remain") == "shop/default, web/default"
