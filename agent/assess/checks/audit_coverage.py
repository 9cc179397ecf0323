"""The review of the audit policy, with its rules as evidence."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.assess.checks.answer import Answer, Evidence
from agent.assess.checks.manual import Manual
from agent.base.errors import InputError
from agent.base.model import Component, Location
from agent.harden.desired.dropin_options import AUDIT_POLICY_ARGUMENT
from agent.harden.node.arguments.components import not_run
from agent.k3s import audit_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.assess.checks.assessed_node import AssessedNode

_MOST_SHOWN = 50
"""Rules of a policy."""


class AuditCoverage(Manual):
    """A person decides whether the rules of the audit policy suffice."""

    def answer(self, node: AssessedNode) -> Answer:
        return super().answer(node)._replace(evidence=tuple(_rules(node)))


def _rules(node: AssessedNode) -> Iterator[Evidence]:
    arguments = node.arguments(Component.API_SERVER)
    if not_run(Component.API_SERVER, node.facts) or arguments.why_unknown(AUDIT_POLICY_ARGUMENT):
        return
    argument = arguments.get(AUDIT_POLICY_ARGUMENT)
    if argument is None:
        yield Evidence(f"--{AUDIT_POLICY_ARGUMENT} is not set, so nothing is logged", source="K3s' configuration")
        return
    given = argument.given[-1]
    yield Evidence(given.written or f"--{AUDIT_POLICY_ARGUMENT}={given.value}", given.location, given.source)
    path = PurePosixPath(argument.value)
    data = node.situation.k3s_files.contents.get(path)
    if data is None:
        yield Evidence("missing, or not readable", Location(path))
        return
    if node.situation.is_as_applied(path) and node.situation.inputs.audit_policy is None:
        # Reading the policy of the guide with PyYAML would take as long as many other controls.
        yield Evidence("level Metadata for all requests", Location(path))
        return
    try:
        rules = audit_policy.rules_in_words(data, path)
    except InputError as error:
        yield Evidence(error.problem, error.location)
        return
    for line, words in rules[:_MOST_SHOWN]:
        yield Evidence(words, Location(path, line))
    if len(rules) > _MOST_SHOWN:
        yield Evidence(f"and {len(rules) - _MOST_SHOWN} more rules", Location(path))
