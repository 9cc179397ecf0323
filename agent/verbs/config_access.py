"""Users other than root who can change K3s' configuration, by the same rule as in assess."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.benchmark.outside_benchmarks import NODE_ACCESS
from agent.assess.checks.answer import ControlStatus
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.file_access import OnlyRoot
from agent.assess.evidence import file_evidence
from agent.base.value import replace
from agent.findings.after_apply_or_revert import CONFIG_WRITABLE
from agent.findings.registry import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.assess.checks.answer import Evidence
    from agent.base.host import Host
    from agent.base.report import Finding
    from agent.harden.situation import Situation

_CONTROLS = ("k3s-config-directory-access", "k3s-config-access", "k3s-config-drop-ins-access")


def writable_configuration(host: Host, situation: Situation) -> Iterator[Finding]:
    """Yield a finding for each control that fails, unless earlier ones have the same evidence."""
    # Read access to secrets is checked only by assess: this code runs only if another user may write.
    checks = {
        control.id: replace(control.check, secret=False)
        for control in NODE_ACCESS
        if control.id in _CONTROLS and isinstance(control.check, OnlyRoot)
    }
    queries = [query for check in checks.values() for query in check.files(situation.facts)]
    node = AssessedNode(situation, file_evidence.read_evidence(host, situation.facts, queries))
    seen: set[Evidence] = set()
    for control, check in checks.items():
        answer = check.answer(node)
        is_new = not seen.issuperset(answer.evidence)
        if answer.status is ControlStatus.FAIL and is_new and situation.waivers.covering(control) is None:
            seen.update(answer.evidence)
            yield CONFIG_WRITABLE.case(
                Problem(
                    "a user other than root can change K3s' configuration, and so control this node",
                    expected=check.expected,
                    found=answer.found,
                    location=answer.evidence[0].location,
                    repair=answer.repair,
                )
            )
