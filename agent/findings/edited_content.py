"""Evaluation of the content of edited files. Loaded only if a managed file is edited."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base import yaml_reader
from agent.base.errors import InputError
from agent.base.model import File, Location
from agent.base.repair import Instruction, Restart, RunVerb
from agent.base.yaml_reader import plain
from agent.cluster.kubernetes.network_policies import parse_policy
from agent.findings import pod_security_configuration
from agent.findings.file_predictions import RULE_THAT_LOGS, without_rules_that_log
from agent.findings.manifest_files import unpacked_objects
from agent.findings.registry import Problem, steps
from agent.harden.desired.dropin_options import (
    ADMISSION_CONFIGURATION_ARGUMENT,
    ADMISSION_PLUGINS_ARGUMENT,
    AUDIT_POLICY_ARGUMENT,
    configured_values,
    options_to_set,
    starts_a_cluster,
)
from agent.harden.guide.guide_files import AUDIT_POLICY, NETWORK_POLICIES, POD_SECURITY_ADMISSION, POD_SECURITY_POLICIES
from agent.harden.guide.manifests import RESTRICTED_POLICY
from agent.harden.plan.diffs import value_of
from agent.k3s.admission_configuration import K3S_DEFAULT
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.cluster.kubernetes.network_policies import NetworkPolicy
    from agent.findings.manifest_files import ManifestObject
    from agent.harden.guide.k3s_options import OptionRow
    from agent.harden.situation import Situation
    from agent.k3s.config import ConfigValue

_LARGEST_MANIFEST = 8 << 20
_INGRESS = "Ingress"


def insufficient_edits(situation: Situation, edited: Iterable[str]) -> Iterator[Problem]:
    """Yield a case for each part of an edited file that does not meet its control.

    `edited` contains the ids of the files. 90-kubelet.conf is not judged: the gate sets the running values at each
    start, and sysctl-overridden reports the values of the next boot.
    """
    data_dir = situation.facts.data_dir
    judges = {
        data_dir / POD_SECURITY_ADMISSION.path: _admission_configuration,
        data_dir / AUDIT_POLICY.path: _audit_policy,
        data_dir / NETWORK_POLICIES.path: _policy_manifest,
        situation.facts.dropin_path: _dropin,
    }
    for name in edited:
        file, judge = situation.observed[name], judges.get(PurePosixPath(name))
        if judge is not None and isinstance(file, File):
            yield from judge(situation, file)


def _admission_configuration(situation: Situation, file: File) -> Iterator[Problem]:
    if not _is_judged(situation, file, ADMISSION_CONFIGURATION_ARGUMENT, POD_SECURITY_ADMISSION.id):
        return
    found = pod_security_configuration.pod_security_shortfall(situation, file.path, file.content)
    if found is not None:
        yield _forced(found)


def _audit_policy(situation: Situation, file: File) -> Iterator[Problem]:
    if not _is_judged(situation, file, AUDIT_POLICY_ARGUMENT, AUDIT_POLICY.id):
        return
    try:
        yield from map(_forced, without_rules_that_log(file.path, file.content))
    except yaml_reader.BoundsError as error:
        yield _unknown(error, RULE_THAT_LOGS)
    except InputError:
        return  # the API server exits


def _is_judged(situation: Situation, file: File, argument: str, control: str) -> bool:
    """Return whether the file needs a judgement: no waiver covers it, and K3s' configuration names no other file."""
    values = situation.facts.merged_config.argument(Component.API_SERVER, argument)
    is_read = not values or values[-1].text == str(file.path)
    return is_read and situation.waivers.covering(control, argument) is None


def _policy_manifest(situation: Situation, file: File) -> Iterator[Problem]:
    expected = next(
        resource for resource in situation.desired if isinstance(resource, File) and resource.path == file.path
    )
    try:
        found = _objects(file)
    except InputError as error:
        # The objects of earlier starts remain in an existing cluster.
        if isinstance(error, yaml_reader.BoundsError) or starts_a_cluster(situation.facts):
            yield _unknown(error, "the guide's policies", Restart.NOT_NEEDED)
        return
    required = _objects(expected)
    if situation.waivers.covering(NETWORK_POLICIES.id) is None:
        yield from _network_policies(file, found, required)
    if situation.waivers.covering(POD_SECURITY_POLICIES.id) is None:
        yield from _pod_security_policies(file, found, required)


def _network_policies(
    file: File, found: Iterable[ManifestObject], required: Iterable[ManifestObject]
) -> Iterator[Problem]:
    """Yield the namespaces whose incoming traffic is not restricted.

    NetworkPolicies add up: a pod accepts what one of them allows. The other policies of the guide only allow traffic,
    so a file without them is stricter.
    """
    present = _restricting(found)
    for namespace in sorted({entry.namespace for entry, _ in _restricting(required)}):
        policies = [(entry, policy) for entry, policy in present if entry.namespace == namespace]
        if not policies:
            message = f"no NetworkPolicy restricts all pods of the namespace {namespace}"
            expected = "a NetworkPolicy with an empty podSelector"
            yield _forced(Problem(message, expected, "none", Location(file.path)), Restart.NOT_NEEDED)
        for entry, policy in policies:
            if _INGRESS in policy.opens or policy.admits_each_pod:
                allowed = "all traffic" if _INGRESS in policy.opens else "all pods of the cluster"
                message = f"a NetworkPolicy allows {allowed} to all pods of the namespace {namespace}"
                location = Location(file.path, entry.line)
                found_entry = Problem(message, "rules that name their sources", entry.name, location)
                yield _forced(found_entry, Restart.NOT_NEEDED)


def _restricting(objects: Iterable[ManifestObject]) -> list[tuple[ManifestObject, NetworkPolicy]]:
    """Return the NetworkPolicies that restrict incoming traffic of all pods of their namespace."""
    policies = ((entry, parse_policy(plain(entry.node))) for entry in objects if entry.kind == "NetworkPolicy")
    return [
        (entry, policy) for entry, policy in policies if not any(policy.selector.values()) and _INGRESS in policy.types
    ]


def _pod_security_policies(
    file: File, found: Iterable[ManifestObject], required: Iterable[ManifestObject]
) -> Iterator[Problem]:
    """Yield the objects of the guide that differ, and its restricted policy if it is missing.

    Without one of the other objects, fewer pods are admitted.
    """
    by_name = {(entry.kind, entry.namespace, entry.name): entry for entry in found}
    for entry in required:
        if entry.kind == "NetworkPolicy":
            continue
        now = by_name.get((entry.kind, entry.namespace, entry.name))
        if now is None and entry.name != RESTRICTED_POLICY:
            continue
        if now is None or value_of(now.node) != value_of(entry.node):
            message = f"the {entry.kind} {entry.name} is {'missing' if now is None else 'not the guide’s'}"
            expected, seen = f"the {entry.kind} of `k3s-harden render policy`", "another content" if now else "none"
            location = Location(file.path, now.line if now else 0)
            yield _forced(Problem(message, expected, seen, location), Restart.NOT_NEEDED)


def _dropin(situation: Situation, file: File) -> Iterator[Problem]:
    """Yield the options that neither k3s-harden's drop-in nor another layer of the configuration sets as required."""
    config = situation.facts.merged_config
    if config.startup_problems(situation.facts.role):
        return  # K3s exits
    for option in options_to_set(situation.settings, situation.facts):
        row, values = option.row, configured_values(config, option.row)
        if situation.waivers.covering(row.id) is not None or _is_met(situation, row, values):
            continue
        last = values[-1] if values else None
        is_list = row.name == ADMISSION_PLUGINS_ARGUMENT
        if last is not None and last.location.path != file.path and not is_list:
            continue  # option-overridden reports it
        found = "not set" if last is None else ",".join(value.text for value in values) if is_list else last.text
        location = Location(file.path) if last is None or last.location.path != file.path else last.location
        yield _forced(Problem(f"{row.name or row.key} does not meet its control", str(row.meets), found, location))


def _is_met(situation: Situation, row: OptionRow, values: tuple[ConfigValue, ...]) -> bool:
    if row.name != ADMISSION_PLUGINS_ARGUMENT:
        return row.meets.accepts(values[-1].text) if values else row.unset_complies
    # The API server enables the plugins of all arguments.
    plugins = [value.text for value in values]
    if situation.facts.merged_config.keeps_default(row.key, row.name):
        plugins.append(K3S_DEFAULT)
    return row.meets.accepts(",".join(plugins))


def _objects(file: File) -> tuple[ManifestObject, ...]:
    documents = yaml_reader.read_documents(file.content, file.path, max_bytes=_LARGEST_MANIFEST)
    return tuple(entry for document in documents for entry in unpacked_objects(document, file.path))


def _unknown(error: InputError, expected: str, restart: Restart = Restart.K3S) -> Problem:
    return _forced(Problem("the content cannot be checked", expected, error.problem, error.location), restart)


def _forced(found: Problem, restart: Restart = Restart.K3S) -> Problem:
    """Return the case of an edited file with its remediation."""
    edit = steps(Instruction("correct the edit", found.location), restart=restart)
    force = steps(RunVerb("apply", ("--force",)), restart=restart, alternative=edit)
    return found._replace(repair=force, resource=str(found.location.path) if found.location else "")
