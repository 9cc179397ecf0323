"""Checks of the audit policy, and of the admission policies that the API server loads from files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from shlex import quote
from typing import NamedTuple

from agent.assess.checks.answer import Answer, ControlStatus, Evidence, grep_count, undetermined
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.check import Check, Manual
from agent.assess.checks.cluster.cluster_check import ClusterCheck
from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.repair import Instruction, Repair, Restart, RunVerb
from agent.base.value import replace
from agent.base.yaml_reader import mappings, part, shown, texts
from agent.harden.desired.dropin_options import AUDIT_POLICY_ARGUMENT
from agent.harden.guide.controls import DEFAULT_SERVICE_ACCOUNTS
from agent.harden.guide.guide_files import NETWORK_POLICIES, POD_SECURITY_ADMISSION
from agent.harden.guide.guide_row import GuideControl
from agent.harden.node.facts import not_run
from agent.k3s import audit_policy
from agent.k3s.roles_and_versions import Component

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


_ABOUT = {
    POD_SECURITY_ADMISSION.id: {"namespaces", "pods"},
    DEFAULT_SERVICE_ACCOUNTS.id: {"serviceaccounts"},
    NETWORK_POLICIES.id: {"networkpolicies"},
}
"""The resources of a policy that is evidence for the controls of a row of the guide."""
_MUTATES = "Mutate"


class _Policy(NamedTuple):
    resources: set[str]
    actions: set[str]
    """Of all its bindings."""
    evidence: Evidence


class PoliciesFromFiles(Check):
    """The API server loads policies from files, and one of them rejects or changes requests."""

    setting = "admission-policies.pod-security"
    expected = "a policy from a file rejects or changes requests"

    def answer(self, node: AssessedNode) -> Answer:
        situation, cluster = node.situation, node.cluster
        if not situation.k3s_files.policies:
            steps = (RunVerb("apply"),) if situation.settings.has_admission_policies else node.set_by(self.setting)
            return Answer(ControlStatus.FAIL, "no policy is loaded from a file", repair=Repair(steps))
        from agent.findings.static_policy_directories import not_enforced, rejected

        for problem in (*rejected(situation), *not_enforced(situation)):
            shows = (Evidence(problem.message, problem.location),)
            repair = replace(problem.repair, restart=Restart.K3S)
            return Answer(ControlStatus.FAIL, problem.message, shows, repair=repair)
        policies, digests = [*_policies(node)], dict(_digests(node))
        evidence = (*(policy.evidence for policy in policies), *digests)
        if cluster is not None and cluster.policies is None:
            reason = cluster.problem or cluster.problems.get("/metrics", "")
            return Answer(ControlStatus.UNKNOWN, "", evidence, reason, Repair((RunVerb("assess", ("--cluster",)),)))
        if not all(digests.values()):
            found, restart = "the running API server has loaded other files", Repair(restart=Restart.K3S)
            return Answer(ControlStatus.FAIL, found, evidence, repair=restart)
        strict = [policy for policy in policies if policy.actions & {"Deny", _MUTATES}]
        found = f"{len(strict)} of {len(policies)} policies reject or change requests"
        return Answer(ControlStatus.PASS if strict else ControlStatus.FAIL, found, evidence)


def evidence_for(check: Check, row: GuideControl | None, node: AssessedNode) -> tuple[Evidence, ...]:
    """Return the policies from files that are about what a check of the cluster is about, and the digests."""
    about = _ABOUT.get(row.id) if row and isinstance(check, ClusterCheck) else None
    if about is None:
        return ()
    found = [policy.evidence for policy in _policies(node) if policy.resources & about]
    return (*found, *dict(_digests(node))) if found else ()


def _policies(node: AssessedNode) -> Iterator[_Policy]:
    from agent.findings.static_policy_directories import objects_in

    for directory, files in node.situation.k3s_files.policies.items():
        objects = objects_in(files) or ()
        for item in objects:
            if item.is_binding:
                continue
            rules = mappings(part(item.node, "spec", "matchConstraints", "resourceRules"))
            resources = {name for rule in rules for name in texts(rule.get("resources"))}
            bindings = [other.node for other in objects if other.is_binding and other.policy == item.name]
            actions = {action for binding in bindings for action in texts(part(binding, "spec", "validationActions"))}
            if directory.plugin.startswith(_MUTATES[:-1]) and bindings:
                actions = {_MUTATES}
            text = f"policy {shown(item.name)} for {', '.join(sorted(resources))}: {', '.join(sorted(actions))}"
            yield _Policy(resources, actions, Evidence(text, Location(item.path, item.node.line)))


def _digests(node: AssessedNode) -> Iterator[tuple[Evidence, bool]]:
    """Yield the digest of each directory, and whether it is not known that the API server has loaded another one."""
    from agent.k3s.components.files.static_policies import digest

    loaded = node.cluster.policies if node.cluster else None
    for directory, files in node.situation.k3s_files.policies.items():
        expected = digest(files or {})
        text = f"{directory.plugin} loads {shown(str(directory.path))}, {expected}"
        found = expected if loaded is None else loaded.get(directory.plugin, "")
        if loaded is not None:
            of = "this content" if found == expected else found or "nothing"
            text += f"; the running API server has loaded {of}"
        yield Evidence(text, directory.location), found == expected
