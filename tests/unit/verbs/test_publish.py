"""The verb publish against an HTTPS server: what it sends, when, and what it does if that fails."""

from __future__ import annotations

import json
import shlex
import socket
import stat
from base64 import encodebytes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path, PurePosixPath
from threading import Thread
from typing import Any

import pytest

from agent.assess.assessment import ControlStatus, Verdict
from agent.base.errors import HardenError
from agent.base.host import Host
from agent.base.host.https import Limits
from agent.base.report import no_progress
from agent.base.times import timestamp
from agent.base.value import replace
from agent.cluster.fleet.members import Requirement
from agent.cluster.fleet.published import FleetNode
from agent.cluster.node_status import ANNOTATIONS_LIMIT, CONDITION, PREFIX, Annotation
from agent.cluster.own_objects import node_name
from agent.harden.changes.state import PUBLICATION, SENT
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.reports import repair_texts
from agent.verbs.drift import drift
from agent.verbs.fleet import Sources
from agent.verbs.fleet import fleet as read_fleet
from agent.verbs.publish import publish
from tests.fake import Clock, fake_host, in_memory
from tests.k3s_tree import put
from tests.ssh_key import new_key
from tests.unit.assessed import CERTIFICATES, KEYS, WHEN, assessment, control, verdict
from tests.unit.cluster.api_server import TLS, ApiServer, Handler

PATIENT = Limits(request=60.0, total=120.0, body=1 << 20)
QUICK = PATIENT._replace(request=1.0, total=2.0)
STATUS = "/api/v1/nodes/node-1/status"
REQUEST = Request(Overrides(role="server", k3s_version="1.34"))
FAILED = verdict(CERTIFICATES, ControlStatus.FAIL)


class Kubelet(BaseHTTPRequestHandler):
    """The kubelet's own port."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@dataclass
class Node:
    """A live host with K3s' files of the kubelet."""

    root: Path
    api: ApiServer
    health_port: int = 0
    limits: Limits = PATIENT
    clock: Clock = field(default_factory=lambda: Clock(WHEN))

    def host(self) -> Host:
        return replace(fake_host(self.root, clock=self.clock, is_live=True), lock_wait=5)

    def put(self, path: str, text: str, mode: int = 0o600) -> None:
        put(self.root, path.lstrip("/"), text, mode)

    def check(self, *found: Verdict, settings: str = "publish: node\n") -> list[str]:
        """Run the drift check an hour later, and return its lines."""
        self.put("/etc/k3s-harden/config.yaml", settings, 0o644)
        self.clock.seconds += 3600
        now = assessment(*found, when=self.clock.seconds)
        return list(drift(self.host(), REQUEST, lambda _: now))

    def publish(self, *, remove: bool = False) -> str:
        return publish(self.host(), remove=remove, health_port=self.health_port, limits=self.limits)

    def serve(self, found: object, status: int = 200) -> None:
        body = found.encode() if isinstance(found, str) else json.dumps(found).encode()
        self.api.answers = {"/api/v1/nodes/node-1": lambda handler: handler.send(status, body)}

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations that were sent last, without their prefix."""
        sent: dict[str, str] = self.api.patches[-1]["metadata"].get("annotations", {})
        return {name.removeprefix(PREFIX): value for name, value in sent.items()}

    @property
    def condition(self) -> dict[str, str]:
        (sent,) = self.api.patches[-1]["status"]["conditions"]
        return dict(sent)


@contextmanager
def healthy_kubelet() -> Iterator[int]:
    """Serve the kubelet's own port, and yield its number."""
    with HTTPServer(("127.0.0.1", 0), Kubelet) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def node() -> Iterator[Node]:
    with in_memory() as root, ApiServer().running() as api, healthy_kubelet() as port:
        found = Node(root, api, port)
        text = api.kubeconfig(embedded=True, certificate="node.crt", key="node.key")
        found.put("/var/lib/rancher/k3s/agent/kubelet.kubeconfig", text)
        found.put("/etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0o644)
        found.put("/run/k3s-harden.lock", "")
        (root / "var/lib").chmod(0o755)
        yield found


def hang(handler: Handler) -> None:
    handler.rfile.read(1)


def test_one_apply_to_the_own_status_has_condition_and_annotations(node: Node) -> None:
    node.check(verdict(CERTIFICATES), verdict(KEYS), FAILED)
    assert node.publish().startswith(f"published to Node node-1: {CONDITION} is False; cis-1.9: 2 controls passed, ")
    path = f"{STATUS}?fieldManager=k3s-harden&force=true"
    assert node.api.asked == [("PATCH", path, "application/apply-patch+yaml")]
    assert node.api.patches[0]["metadata"]["name"] == "node-1"
    counts = {"result": "failed", "evaluated": "3", "passed": "2", "failed": "1", "undetermined": "0"}
    assert node.annotations.items() >= counts.items()
    known = {str(name).removeprefix(PREFIX) for name in Annotation}
    absent = {"drifting-since", "failed-controls", "waived-until", "postponed-until", "observing-since", "broken"}
    assert node.annotations.keys() == known - absent
    assert node.condition.keys() == {"type", "status", "reason", "message", "lastHeartbeatTime", "lastTransitionTime"}
    assert (node.condition["type"], node.condition["reason"]) == ("k3s-harden.internal/Hardened", "ControlsFailed")
    assert "0123456789abcdef" not in json.dumps(node.api.patches)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (("PASS", "WAIVED", "MANUAL", "NOT_APPLICABLE"), ("True", "Compliant", "compliant", "2")),
        (("PASS", "UNKNOWN"), ("Unknown", "ControlsUndetermined", "unknown", "2")),
        (("FAIL", "UNKNOWN"), ("False", "ControlsFailed", "failed", "2")),
        (("MANUAL", "NOT_APPLICABLE"), ("Unknown", "ControlsUndetermined", "unknown", "0")),
        ((), ("Unknown", "ControlsUndetermined", "unknown", "0")),
    ],
)
def test_a_result_without_evidence_is_unknown(node: Node, statuses: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """Manual controls and those that do not apply are not evaluated."""
    node.check(*(verdict(KEYS, ControlStatus(status)) for status in statuses))
    node.publish()
    sent = (node.condition["status"], node.condition["reason"], node.annotations["result"])
    assert (*sent, node.annotations["evaluated"]) == expected


def test_only_changes_are_sent_and_otherwise_a_heartbeat_every_six_hours(node: Node) -> None:
    """A clock that was set back delays nothing. The condition keeps the time at which its status changed."""
    node.check(verdict(KEYS))
    node.publish()
    first = node.condition
    node.serve(node.api.patches[-1])
    node.clock.seconds += 5 * 3600
    assert node.publish() == ""
    node.clock.seconds += 3600
    assert node.publish() != ""
    assert node.condition["lastTransitionTime"] == first["lastTransitionTime"]
    assert node.condition["lastHeartbeatTime"] > first["lastHeartbeatTime"]
    node.check(FAILED)
    node.publish()
    assert node.condition["lastTransitionTime"] > first["lastTransitionTime"]
    node.clock.seconds -= 86400
    assert node.publish() != ""


@pytest.mark.parametrize("change", ["registered again", "no condition", "condition of another", "other annotation"])
def test_what_the_node_has_lost_is_sent_again_at_once(node: Node, change: str) -> None:
    """After `kubectl delete node`, or if another client removes or changes something."""
    node.check(verdict(KEYS))
    node.publish()
    found = node.api.patches[-1]
    conditions, annotations = found["status"]["conditions"], found["metadata"]["annotations"]
    kubelet = {"type": "Ready", "status": "True"}
    others: dict[str, tuple[list[dict[str, str]], dict[str, str]]] = {
        "registered again": ([kubelet], {"k3s.io/hostname": "node-1"}),
        "no condition": ([kubelet], annotations),
        "condition of another": ([{**conditions[0], "status": "True", "message": "all is well"}], annotations),
        "other annotation": (conditions, {**annotations, f"{PREFIX}failed": "99"}),
    }
    node.serve({"metadata": {"annotations": annotations}, "status": {"conditions": [kubelet, *conditions]}})
    assert node.publish() == ""
    changed, texts = others[change]
    node.serve({"metadata": {"annotations": texts}, "status": {"conditions": changed}})
    assert node.publish().startswith("published to Node node-1")
    assert len(node.api.patches) == 2


@pytest.mark.parametrize(
    ("status", "reason"), [(500, "HTTP status 500"), (404, "HTTP status 404"), (200, "not valid JSON")]
)
def test_a_node_that_cannot_be_read_is_an_error(node: Node, status: int, reason: str) -> None:
    """The next run reads it again. Nothing is read while K3s does not run."""
    node.check(verdict(KEYS))
    node.publish()
    node.serve("{", status)
    with pytest.raises(HardenError, match=f"cannot read /api/v1/nodes/node-1: .*{reason}"):
        node.publish()
    node.health_port = 1
    assert node.publish() == ""


def test_drift_has_the_time_of_its_first_check_until_it_is_repaired(node: Node) -> None:
    """A control that failed from the beginning is no drift."""
    node.check(verdict(KEYS), FAILED)
    for _ in range(2):
        node.check(verdict(KEYS, ControlStatus.FAIL), FAILED)
    node.publish()
    assert node.annotations["drifting-since"] == "2027-01-15T10:00:00Z"
    assert node.condition["reason"] == "Drifted"
    node.check(verdict(KEYS), FAILED)
    node.publish()
    assert "drifting-since" not in node.annotations
    assert node.condition["reason"] == "ControlsFailed"


def test_details_are_cut_to_the_limit_of_all_annotations(node: Node) -> None:
    names = [f"control-with-a-long-name-{number}" for number in range(400)]
    failed = [FAILED._replace(control=control(name, CERTIFICATES.check)) for name in names]
    node.check(*failed[:2], settings="publish: details\n")
    node.publish()
    assert node.annotations["failed-controls"] == ",".join(names[:2])
    node.check(*failed, settings="publish: details\n")
    node.publish()
    *listed, last = node.annotations["failed-controls"].split(",")
    assert last == "..."
    assert listed == names[: len(listed)]
    sent = node.api.patches[-1]["metadata"]["annotations"]
    assert ANNOTATIONS_LIMIT - 64 < sum(len(name) + len(value) for name, value in sent.items()) <= ANNOTATIONS_LIMIT


def test_digests_are_those_of_the_files_on_the_host(node: Node) -> None:
    node.put("/var/lib/rancher/k3s/server/psa.yaml", "content")
    node.check(verdict(KEYS))
    node.publish()
    digests = json.loads(node.annotations["file-digests"])
    assert digests == {"/var/lib/rancher/k3s/server/psa.yaml": "ed7002b439e9ac84"}


def test_an_old_assessment_is_not_sent_again(node: Node) -> None:
    """If the drift check has not run for two days, the time of what was published shows it."""
    node.check(verdict(KEYS))
    node.publish()
    node.clock.seconds += 2 * 86400 + 1
    with pytest.raises(HardenError, match="it was assessed at 2027-01-15T09:00:00Z"):
        node.publish()
    assert len(node.api.patches) == 1


def test_a_clone_publishes_nothing_until_it_is_assessed(node: Node) -> None:
    """A copy of the disk has the assessment of another machine."""
    node.check(verdict(KEYS))
    node.put("/etc/machine-id", "f" * 32, 0o644)
    assert node.publish().startswith("nothing is published: the stored assessment is that of another machine")
    assert node.api.patches == []
    node.check(verdict(KEYS))
    node.publish()
    assert len(node.api.patches) == 1


def test_nothing_is_published_before_the_first_drift_check(node: Node) -> None:
    """There is no false value at the start of a node, and none without the setting."""
    assert node.publish().startswith("nothing is published: no drift check")
    node.check(verdict(KEYS), settings="")
    assert node.publish().startswith("nothing is published: no drift check")
    assert node.api.asked == []


@pytest.mark.parametrize("by_setting", [True, False])
def test_an_empty_apply_removes_everything(node: Node, by_setting: bool) -> None:
    node.check(FAILED)
    node.publish()
    if by_setting:
        node.check(FAILED, settings="publish: none\n")
    line = node.publish(remove=not by_setting)
    assert line == "removed the condition and the annotations of k3s-harden from Node node-1"
    assert node.api.patches[-1] == {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}}
    assert not any((node.root / str(path).lstrip("/")).exists() for path in (PUBLICATION, SENT))


def test_without_an_answer_the_command_of_an_administrator_is_printed(node: Node) -> None:
    node.check(FAILED)
    node.publish()
    node.api.answers = {STATUS: lambda handler: handler.send(503, b"{}")}
    with pytest.raises(HardenError, match="status 503"):
        node.publish(remove=True)
    with pytest.raises(HardenError, match=r"status 503 \(Service Unavailable\)") as raised:
        node.publish(remove=True)
    *words, patch = shlex.split(repair_texts.text(raised.value.repair))
    assert words == ["kubectl", "patch", "node", "node-1", "--subresource=status", "--type=strategic"]
    content: dict[str, Any] = json.loads(patch.removeprefix("--patch="))
    assert content["metadata"]["annotations"] == dict.fromkeys(map(str, Annotation))
    assert content["status"]["conditions"] == [{"type": CONDITION, "$patch": "delete"}]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda handler: handler.send(403, b"{}"), r"HTTP status 403 \(Forbidden\)"),
        (lambda handler: handler.send(404, b"{}"), r"HTTP status 404 \(Not Found\)"),
        (lambda handler: handler.send(409, b"{}"), r"HTTP status 409 \(Conflict\)"),
        (lambda handler: handler.send(500, b"x" * 2000), r"HTTP status 500 \(Internal Server Error\)"),
        (lambda handler: handler.send(200, b"x" * (2 << 20)), "the answer is larger than 1 MiB"),
        (hang, "no complete answer in time"),
    ],
)
def test_a_failure_is_an_error_and_the_next_run_sends_again(node: Node, answer: Any, reason: str) -> None:
    """Nothing counts as sent without the status 200."""
    node.check(FAILED)
    node.api.answers = {STATUS: answer}
    node.limits = QUICK if answer is hang else PATIENT
    with pytest.raises(HardenError, match=reason):
        node.publish()
    node.api.answers, node.limits = {}, PATIENT
    assert node.publish().startswith("published to Node node-1")


def test_nothing_is_sent_while_the_kubelet_is_not_healthy(node: Node) -> None:
    node.check(FAILED)
    healthy, node.health_port = node.health_port, 1
    with pytest.raises(HardenError, match=r"no healthy kubelet on port 1$"):
        node.publish()
    assert node.api.asked == []
    node.health_port = healthy
    assert node.publish().startswith("published to Node node-1")


def test_another_program_on_the_port_of_the_kubelet_cannot_hold_it(node: Node) -> None:
    """Without a kubelet, any user can listen there, and announce an answer without end."""
    node.check(FAILED)
    node.limits = QUICK
    with socket.create_server(("127.0.0.1", 0)) as server:

        def announce() -> None:
            with suppress(OSError), server.accept()[0] as connection:
                while True:
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

        Thread(target=announce, daemon=True).start()
        node.health_port = server.getsockname()[1]
        with pytest.raises(HardenError, match=r"no healthy kubelet on port"):
            node.publish()


def test_a_record_of_an_unknown_time_is_sent_again(node: Node) -> None:
    node.check(FAILED)
    node.publish()
    sent = node.root / str(SENT)[1:]
    sent.write_bytes(b"\0\0\0\n" + sent.read_bytes().partition(b"\n")[2])
    assert node.publish().startswith("published to Node node-1")


def test_a_server_without_a_node_says_so(node: Node) -> None:
    node.put("/etc/rancher/k3s/config.yaml", "disable-agent: true\n")
    expected = "cannot publish the state of this server: it has no Node, because `disable-agent` is set"
    assert expected in node.check(FAILED)
    assert node.publish().startswith("nothing is published")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"annotations": 1}', "[" * 100_000])
def test_a_damaged_file_is_like_none(node: Node, content: str) -> None:
    node.check(FAILED)
    node.put(str(PUBLICATION), content)
    assert node.publish().startswith("nothing is published")
    node.check(FAILED)
    node.put(str(SENT), content)
    assert node.publish().startswith("published")


def test_the_name_of_the_node_is_that_of_its_certificate() -> None:
    """The certificate of another client has none."""
    assert node_name((TLS / "node.crt").read_bytes()) == "node-1"
    for data in ((TLS / "client.crt").read_bytes(), b"", b"system:node:node-1"):
        with pytest.raises(HardenError, match="is not one of system:node:NAME"):
            node_name(data)


@pytest.mark.parametrize("length", [1, 63, 115, 116, 200, 243])
def test_the_name_of_a_node_can_be_long(length: int) -> None:
    """From 128 bytes on, DER has the length of the common name in a second byte."""
    name = f"system:node:{'n' * length}".encode()
    size = bytes([len(name)]) if len(name) < 0x80 else bytes([0x81, len(name)])
    der = b"\x06\x03\x55\x04\x03\x0c" + size + name + b"0\x0a"
    pem = b"-----BEGIN CERTIFICATE-----\n" + encodebytes(der) + b"-----END CERTIFICATE-----\n"
    assert node_name(pem) == "n" * length


# --- the signed record that the drift check writes, read by `fleet` as it is collected ---

RECORD = "/var/lib/k3s-harden/record.json"


@pytest.fixture
def key(tmp_path: Path, node: Node) -> Path:
    """A key, and beside it the file of allowed signers."""
    node.put("/usr/bin/ssh-keygen", "", 0o755)
    path = new_key(tmp_path / "key")
    (tmp_path / "signers").write_text(f"berlin {path.with_suffix('.pub').read_text()}")
    return path


def settings(key: object, more: str = "") -> str:
    return f"drift: {{record-file: {RECORD}, record-key: {key}}}\n{more}"


def collected(node: Node, key: Path) -> FleetNode:
    """Return the node of the record, which a site collects as berlin.json."""
    directory = key.parent / "collected"
    directory.mkdir(exist_ok=True)
    (directory / "berlin.json").write_bytes(node.root.joinpath(RECORD[1:]).read_bytes())
    signers = PurePosixPath(key.with_name("signers"))
    (found,) = read_fleet(
        {}, Sources(paths=[PurePosixPath(directory)]), Requirement(1e12), no_progress, signers=signers
    ).nodes
    return found


def test_the_record_has_the_result_of_the_check_and_a_valid_signature(node: Node, key: Path) -> None:
    """It is public, and nothing is sent to the Node."""
    assert [line for line in node.check(verdict(KEYS), FAILED, settings=settings(key)) if "record" in line] == []
    found = collected(node, key)
    assert (found.full_name, found.role, found.verified != "") == (f"berlin/{found.name}", "server", True)
    assert found.failed_controls == (CERTIFICATES.id,)
    assert found.assessed == timestamp(node.clock.seconds)
    assert stat.S_IMODE((node.root / RECORD[1:]).stat().st_mode) == 0o644
    assert node.publish().startswith("nothing is published")
    assert node.api.asked == []


def test_drift_is_in_each_later_record(node: Node, key: Path) -> None:
    """Until the control passes again."""
    node.check(verdict(CERTIFICATES), settings=settings(key))
    node.check(FAILED, settings=settings(key))
    since = timestamp(node.clock.seconds)
    node.check(FAILED, settings=settings(key))
    record = json.loads(json.loads((node.root / RECORD[1:]).read_bytes())["record"])
    assert record["metadata"]["annotations"]["k3s-harden.internal/drifting-since"] == since
    node.check(verdict(CERTIFICATES), settings=settings(key))
    assert "drifting-since" not in (node.root / RECORD[1:]).read_text()


@pytest.mark.parametrize("key_of_settings", ["null", "/nonexistent/key"])
def test_a_record_that_cannot_be_signed_is_written_and_does_not_count(
    node: Node, key: Path, key_of_settings: str
) -> None:
    """The log has the reason, unless the settings want no signature."""
    lines = node.check(verdict(KEYS), settings=settings(key_of_settings))
    expected = 0 if key_of_settings == "null" else 1
    assert sum(line.startswith("the record is not signed: cannot sign ") for line in lines) == expected
    assert collected(node, key).reason == "the record is not signed"


def test_a_record_and_the_node_are_written_independently(node: Node, key: Path) -> None:
    """A directory that does not exist stops no publication. A node without a Node has a record."""
    lines = node.check(verdict(KEYS), settings="drift: {record-file: /var/lib/none/r.json}\npublish: node\n")
    assert sum("cannot write /var/lib/none/r.json" in line for line in lines) == 1
    assert node.publish().startswith("published to Node node-1")
    node.put("/etc/rancher/k3s/config.yaml", "disable-agent: true\n")
    lines = node.check(verdict(KEYS), settings=settings(key, "publish: node\n"))
    assert any("it has no Node" in line for line in lines)
    assert collected(node, key).verified
    assert not (node.root / str(PUBLICATION)[1:]).exists()


def test_publish_none_removes_what_was_published_although_a_record_is_written(node: Node, key: Path) -> None:
    node.check(verdict(KEYS), settings="publish: node\n")
    node.publish()
    node.check(verdict(KEYS, ControlStatus.FAIL), settings=settings(key))
    assert node.publish().startswith("removed the condition")
    assert collected(node, key).verified
