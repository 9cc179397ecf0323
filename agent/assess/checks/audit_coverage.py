"""The check of the audit policy, with its rules as evidence."""

from __future__ import annotations

from pathlib import PurePosixPath
from shlex import quote
from typing import TYPE_CHECKING

from agent.assess.checks.answer import Answer, ControlStatus, Evidence, grep_count, undetermined
from agent.assess.checks.check import Manual
from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.repair import Instruction, Repair, Restart
from agent.harden.desired.dropin_options import AUDIT_POLICY_ARGUMENT
from agent.harden.node.arguments.running_components import not_run
from agent.k3s import audit_policy
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from agent.assess.checks.assessed_node import AssessedNode

_EXPECTED = (
    "the policy logs access to Secrets, ConfigMaps and token reviews, changes to pods and Deployments, and exec,"
    " attach, port-forward and proxy"
)
_MOST_SHOWN = 50
"""Rules of a policy."""


class AuditCoverage(Manual):
    """The audit policy logs the requests that the benchmark names; a person decides about rules for some accounts."""

    def answer(self, node: AssessedNode) -> Answer:
        arguments = node.arguments(Component.API_SERVER)
        if not_run(Component.API_SERVER, node.facts):
            return super().answer(node)
        why = arguments.why_unknown(AUDIT_POLICY_ARGUMENT)
        if why:
            return undetermined(why)._replace(expected=_EXPECTED)
        argument = arguments.get(AUDIT_POLICY_ARGUMENT)
        if argument is None:
            observation = f"--{AUDIT_POLICY_ARGUMENT} is not set, so nothing is logged"
            command = grep_count(AUDIT_POLICY_ARGUMENT, node.facts.configuration.path.parent)
            return _failed("nothing is logged", Evidence(observation, source="K3s' configuration", repeat_with=command))
        given, path = argument.given[-1], PurePosixPath(argument.value)
        named = Evidence(given.written or f"--{AUDIT_POLICY_ARGUMENT}={given.value}", given.location, given.source)
        try:
            answer = _by_policy(path, node)
        except InputError as error:
            answer = Answer(ControlStatus.MANUAL, evidence=(Evidence(error.problem, error.location),))
        answer = answer._replace(evidence=(named, *answer.evidence))
        is_manual = answer.status is ControlStatus.MANUAL
        return super().answer(node)._replace(evidence=answer.evidence) if is_manual else answer


def _by_policy(path: PurePosixPath, node: AssessedNode) -> Answer:
    """Return the answer by the rules of the policy; MANUAL if they do not decide."""
    if node.situation.is_as_applied(path) and node.situation.inputs.audit_policy is None:
        # Reading the policy of the guide with PyYAML would take as long as many other controls.
        command = f"sudo grep level: {quote(str(path))}"
        return _passed(Evidence("level Metadata for all requests", Location(path), repeat_with=command))
    data = node.situation.k3s_files.contents.get(path)
    if data is None:
        raise InputError(Location(path), "missing, or not readable")
    rules, gaps = audit_policy.rules_in_words(data, path), audit_policy.audit_gaps(data, path)
    shown = [Evidence(words, Location(path, line)) for line, words in rules[:_MOST_SHOWN]]
    if len(rules) > _MOST_SHOWN:
        shown.append(Evidence(f"and {len(rules) - _MOST_SHOWN} more rules", Location(path)))
    lost = [gap for gap in gaps if gap.is_for_all]
    if not gaps:
        return _passed(*shown)
    if not lost:
        return Answer(ControlStatus.MANUAL, evidence=tuple(shown))
    decisive = (Evidence(f"does not log {gap.requests}", Location(path, gap.line)) for gap in lost)
    return _failed(f"does not log {', '.join(gap.requests for gap in lost)}", *decisive, *shown)


def _passed(*evidence: Evidence) -> Answer:
    return Answer(ControlStatus.PASS, "logs all of these requests", evidence, expected=_EXPECTED)


def _failed(found: str, *evidence: Evidence) -> Answer:
    step = Instruction("add rules for these requests to the audit policy, before the rule that matches them now")
    return Answer(ControlStatus.FAIL, found, evidence, repair=Repair((step,), Restart.K3S), expected=_EXPECTED)
