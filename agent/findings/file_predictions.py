"""Predictions about the files that the arguments of components name. Loaded only if there is such a file."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.desired.dropin_options import (
    ADMISSION_CONFIGURATION_ARGUMENT,
    ADMISSION_PLUGINS_ARGUMENT,
    API_SERVER_KEY,
    AUDIT_POLICY_ARGUMENT,
    DISABLED_PLUGINS_ARGUMENT,
)
from agent.errors import InputError
from agent.findings.admission import plugins
from agent.findings.registry import Trouble, edit_of_k3s_config, is_managed, written_by_apply
from agent.guide.files import AUDIT_POLICY
from agent.k3s import admission_configuration, admission_plugins, audit_policy
from agent.k3s.admission_plugins import POD_SECURITY
from agent.k3s.components import connection_files, files
from agent.model import Component, File, Instruction, Location, Remediation, Restart, Role
from agent.node.components import not_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.desired.dropin_options import NamedPath
    from agent.situation import Situation

_SIMILAR = 0.75


def rejected(situation: Situation) -> Iterator[Trouble]:
    """Yield the files that the API server, the scheduler and kube-proxy cannot use."""
    for component, argument, problems_of in (
        (Component.SCHEDULER, "config", files.scheduler),
        (Component.KUBE_PROXY, "config", files.kube_proxy),
        (Component.KUBELET, "image-credential-provider-config", connection_files.credential_providers),
        (Component.KUBELET, "kubeconfig", connection_files.kubeconfig),
    ):
        if not not_run(component, situation.facts):
            for named, data in _configurations(situation, component, argument):
                for problem in problems_of(data, named.path):
                    yield _trouble(situation, named, problem)
    yield from _rejected_by_api_server(situation)


def _configurations(situation: Situation, component: Component, argument: str) -> Iterator[tuple[NamedPath, bytes]]:
    """Yield the configuration file that an argument of a component names."""
    values = situation.facts.merged_config.component_arguments(component.config_key).get(argument, ())
    for named in situation.k3s_files.named_paths:
        data = situation.k3s_files.contents.get(named.path)
        if values and named.option == argument and data is not None and named.location == values[-1].location:
            yield named, data


def _rejected_by_api_server(situation: Situation) -> Iterator[Trouble]:
    if situation.facts.role is Role.AGENT or not_run(Component.API_SERVER, situation.facts):
        return
    yield from _unusable(situation)
    for named in situation.k3s_files.named_paths:
        data = situation.k3s_files.contents.get(named.path)
        if data is not None and not _is_expected(situation, named.path):
            for problem in _problems(situation, named, data):
                yield _trouble(situation, named, problem)


def misspelt(situation: Situation) -> Iterator[Trouble]:
    """Yield an entry for a plugin whose name is similar to PodSecurity, if PodSecurity has none."""
    from difflib import get_close_matches

    for named, data in _of_the_operator(situation, ADMISSION_CONFIGURATION_ARGUMENT):
        try:
            if POD_SECURITY in admission_configuration.configured_plugins(data, named.path):
                continue
        except InputError:
            continue  # the API server exits
        for name, line in files.plugins(data, named.path):
            is_unknown = admission_plugins.is_unknown(name, situation.facts.version)
            if is_unknown and get_close_matches(name, [POD_SECURITY], cutoff=_SIMILAR):
                location = Location(named.path, line)
                yield Trouble(
                    "Pod Security admission has its default, privileged: its configuration names another plugin",
                    expected=POD_SECURITY,
                    found=name,
                    location=location,
                    remediation=Remediation((Instruction(f"correct `{name}`", location),), restart=Restart.K3S),
                )


def logs_nothing(situation: Situation) -> Iterator[Trouble]:
    """Yield an audit policy that logs no request."""
    if situation.waivers.covering(AUDIT_POLICY.id, AUDIT_POLICY_ARGUMENT) is not None:
        return
    for named, data in _of_the_operator(situation, AUDIT_POLICY_ARGUMENT):
        try:
            line = audit_policy.why_nothing_is_logged(data, named.path)
        except InputError:
            continue  # the API server exits, or the file is too large to be read
        if line is not None:
            location = Location(named.path, line)
            yield Trouble(
                "the audit policy logs no request",
                expected="a rule with the level Metadata or higher",
                found="no rule that logs",
                location=location,
                remediation=Remediation((Instruction("correct the rules", location),), restart=Restart.K3S),
            )


def _of_the_operator(situation: Situation, argument: str) -> Iterator[tuple[NamedPath, bytes]]:
    written = {resource.id for resource in situation.desired}
    for named in situation.k3s_files.named_paths:
        data = situation.k3s_files.contents.get(named.path)
        if named.option == argument and data is not None and str(named.path) not in written:
            yield named, data


def _unusable(situation: Situation) -> Iterator[Trouble]:
    values = situation.facts.merged_config.component_arguments(API_SERVER_KEY).get("audit-log-path", ())
    named = [(one.option, one.path, one.location) for one in situation.k3s_files.named_paths]
    named += [("audit-log-path", PurePosixPath(one.text), one.location) for one in values[-1:]]
    for option, path, location in named:
        kind = situation.k3s_files.unusable.get(path)
        if kind is not None:
            yield Trouble(
                f"K3s does not start: {path} is a {kind}, and {option} requires a file",
                expected="a file",
                found=f"a {kind}",
                location=location,
                remediation=_replacement(situation, path, location),
            )


def _replacement(situation: Situation, path: PurePosixPath, location: Location) -> Remediation:
    """Return the remediation for something else than a file. A refusal of apply has that for a managed file."""
    if is_managed(situation, path):
        return written_by_apply(situation, str(path))
    return edit_of_k3s_config(f"correct the path, or remove {path}", location)


def _problems(situation: Situation, named: NamedPath, data: bytes) -> Iterable[InputError]:
    contents, unusable, path = situation.k3s_files.contents, situation.k3s_files.unusable, named.path
    if named.option == ADMISSION_CONFIGURATION_ARGUMENT:
        try:
            admission_configuration.configured_plugins(data, path)
        except InputError:
            return ()  # admission-configuration-unusable reports it
        on, off = (plugins(situation, one) for one in (ADMISSION_PLUGINS_ARGUMENT, DISABLED_PLUGINS_ARGUMENT))
        return files.admission(
            data,
            path,
            missing=lambda file: file.is_absolute() and (file not in contents or file in unusable),
            enabled=lambda name: name in on if name != POD_SECURITY else name not in off,
            content=contents.get,
        )
    if named.option == "encryption-provider-config":
        gates = situation.facts.merged_config.component_arguments(API_SERVER_KEY).get("feature-gates", ())
        return files.encryption(data, path, has_kms_v1=any("KMSv1" in one.text for one in gates))
    if named.option == "authentication-config":
        arguments = situation.facts.merged_config.component_arguments(API_SERVER_KEY)
        return files.authentication(data, path, has_anonymous_auth="anonymous-auth" in arguments)
    if named.option == "authorization-config":
        arguments = situation.facts.merged_config.component_arguments(API_SERVER_KEY)
        return files.authorization(
            data,
            path,
            missing=lambda file: file not in contents or file in unusable,
            has_policy="authorization-policy-file" in arguments,
        )
    return connection_files.problems(named.option, data, path)


def _trouble(situation: Situation, named: NamedPath, problem: InputError) -> Trouble:
    if is_managed(situation, named.path):
        remediation = written_by_apply(situation, str(named.path))
    else:
        remediation = Remediation(
            (Instruction(f"correct {problem.location.path}", problem.location),), restart=Restart.K3S
        )
    return Trouble(
        f"K3s does not start: the file of {named.option} is invalid: {problem.problem}",
        location=problem.location,
        remediation=remediation,
    )


def _is_expected(situation: Situation, path: PurePosixPath) -> bool:
    """Return whether a file has the content that we write, which is valid."""
    data = situation.k3s_files.contents.get(path)
    return any(isinstance(one, File) and one.path == path and one.content == data for one in situation.desired)
