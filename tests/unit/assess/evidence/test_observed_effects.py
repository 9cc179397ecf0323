"""Effects of a node whose log says that K3s enforces no NetworkPolicies."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.assess.checks.answer import ControlStatus
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.evidence import file_evidence
from agent.assess.evidence.observed_effects import read_effects
from agent.base.host.process import Completed
from agent.harden.situation.observation import observe_situation
from tests.fake import Programs, fake_host
from tests.k3s_tree import K3s
from tests.unit.assess.checks.nodes import node

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
    tmp_path: Path, log: Completed, status: ControlStatus, says: str
) -> None:
    tree = node(tmp_path / "node", K3s())
    situation = observe_situation(tree.host(), tree.request())
    at = AssessedNode(situation, file_evidence.read_evidence(tree.host(), situation.facts, ()))
    for name in ("systemctl", "journalctl"):
        tree.write(f"/usr/bin/{name}", mode=0o755)
    tree.write("/run/systemd/system/.keep")
    programs = Programs({SHOW: Completed(0, "InvocationID=0a1b\n", ""), LOG: log})
    effect = next(read_effects(fake_host(tree.root, programs=programs, is_live=True), at))
    assert (effect.subject, effect.status) == ("NetworkPolicies on this node", status)
    assert says in effect.observed
