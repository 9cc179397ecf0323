"""Effects that are read from the logs of K3s and of its API server, and from its Addon."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import PurePosixPath

import pytest

from agent.assess.checks.answer import ControlStatus
from agent.assess.checks.network_effects import ADDON
from agent.assess.evidence.observed_effects import _addon, _audited, read_effects
from agent.base.host.process import Completed
from agent.cluster.kubernetes.queries import Cluster
from tests.fake import Programs, fake_host
from tests.unit.assess.checks.nodes import CheckedNode
from tests.unit.cluster.api_server import ApiServer, Handler

SHOW = ("/usr/bin/systemctl", "show", "--property=InvocationID", "--", "k3s.service")
LOG = (
    *("/usr/bin/journalctl", "--quiet", "--no-pager", "--output=cat", "_SYSTEMD_INVOCATION_ID=0a1b", "--lines=10"),
    "--grep=Skipping network policy controller start|Aborting sync[.] Failed to run iptables-restore",
)
# As K3s writes it if `ipset save` fails, as it does on a kernel without ip_set.
SKIPPED = (
    'time="2026-12-02T04:37:13Z" level=warning msg="Skipping network policy controller start, ipset save failed: ipset'
    ' v7.11: Cannot open session to kernel."'
)


@pytest.mark.parametrize(
    ("log", "status", "says"),
    [
        (Completed(0, f"{SKIPPED}\n", ""), ControlStatus.FAIL, SKIPPED),
        (Completed(1, "", ""), ControlStatus.UNKNOWN, "admin.kubeconfig"),
        (Completed(1, "", "Compiled without pattern matching support"), ControlStatus.UNKNOWN, "admin.kubeconfig"),
    ],
)
def test_the_log_of_this_start_decides_even_without_an_api_server(
    server: CheckedNode, log: Completed, status: ControlStatus, says: str
) -> None:
    at = server.assessed()
    for name in ("systemctl", "journalctl"):
        server.write(f"/usr/bin/{name}", mode=0o755)
    server.write("/run/systemd/system/.keep")
    programs = Programs({SHOW: Completed(0, "InvocationID=0a1b\n", ""), LOG: log})
    effect = next(read_effects(fake_host(server.root, programs=programs, is_live=True), at))
    assert (effect.subject, effect.status) == ("NetworkPolicies on this node", status)
    assert says in effect.observed


@pytest.mark.parametrize(
    ("applied", "age", "expected"),
    [
        ("own", 61.0, [ControlStatus.PASS]),
        ("another", 61.0, [ControlStatus.FAIL]),
        ("another", 59.0, []),  # K3s has not looked yet
        ("", 61.0, []),
    ],
)
def test_the_policies_of_another_server_in_the_cluster_fail(
    server: CheckedNode, applied: str, age: float, expected: list[ControlStatus]
) -> None:
    facts = server.facts()
    path = server.write(f"{facts.data_dir}/server/manifests/policy.yaml", "kind: List\n")
    host = server.host()
    os.utime(path, (host.now() - age, host.now() - age))
    checksum = {"own": sha256(b"kind: List\n").hexdigest()}.get(applied, applied)
    answer = json.dumps({"kind": "Addon", "spec": {"checksum": checksum}}).encode()
    answers = {ADDON: lambda handler: handler.send(200 if applied else 404, answer)}
    with ApiServer(answers=answers).running() as api:
        server.put("server/cred/admin.kubeconfig", api.kubeconfig(embedded=True))
        found = list(_addon(host, facts))
    assert [effect.status for effect in found] == expected
    assert all("namespaces-network-policies" in effect.controls for effect in found)


LOG_FILE = "/var/lib/rancher/k3s/server/logs/audit.log"


@pytest.mark.parametrize(
    ("log", "status", "says"),
    [
        ("grows", ControlStatus.PASS, "a request of this assessment is in"),
        ("rests", ControlStatus.FAIL, "a request of this assessment was answered, and is not in"),
        ("is missing", ControlStatus.FAIL, "does not exist"),
        ("is a FIFO", ControlStatus.FAIL, "leads to a FIFO"),
        ("rests, and the API server is down", ControlStatus.UNKNOWN, "cannot"),
        ("rests, and events are written later", ControlStatus.UNKNOWN, "--audit-log-mode=batch"),
    ],
)
def test_the_audit_log_has_a_request_of_the_assessment(
    server: CheckedNode, log: str, status: ControlStatus, says: str
) -> None:
    """The API server appends what was requested, as it does for an event."""
    server.config("kube-apiserver-arg: [audit-log-mode=batch]\n" if "later" in log else "debug: false\n")
    server.harden()
    path = server.write(LOG_FILE, "an event of another request\n", 0o600)
    if log in ("is missing", "is a FIFO"):
        path.unlink()
    if log == "is a FIFO":
        os.mkfifo(path)
    at = server.assessed(Cluster("", {}, {}))

    def answer(handler: Handler) -> None:
        if log == "grows":
            with path.open("a") as file:
                file.write(f'{{"requestURI":"{handler.path}"}}\n')
        handler.send(500 if "down" in log else 200, b'{"items":[]}')

    with ApiServer(answers={"/api/v1/secrets": answer}).running() as api:
        server.put("server/cred/admin.kubeconfig", api.kubeconfig(embedded=True))
        found = _audited(server.host(), at, PurePosixPath(LOG_FILE))
    assert found[0] is status
    assert says in found[1]
    assert all("metadata.name%3Dk3s-harden-" in asked[1] for asked in api.asked)
