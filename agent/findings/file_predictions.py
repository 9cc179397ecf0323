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
from agent.k3s.components import controllers, tables
from agent.k3s.components.certificate_pairs import CERTIFICATE_PAIRS, SIGNING, SIGNING_ALL
from agent.k3s.components.files import (
    credential_providers,
    decoding,
    egress,
    key_pairs,
    kubeconfig,
    leader_migration,
    pem,
    recycler_pod,
    tokens,
    tracing,
)
from agent.model import Component, Instruction, Location, Remediation, Restart
from agent.node.components import not_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from agent.desired.dropin_options import NamedPath
    from agent.k3s.config import ConfigValue
    from agent.situation import Situation

_SIMILAR = 0.75


def rejected(situation: Situation) -> Iterator[Trouble]:
    """Yield the files that a component of this host cannot use."""
    facts = situation.facts
    running = {component for component in Component if not not_run(component, facts)}
    yield from _unusable(situation, running)
    for named in situation.k3s_files.named_paths:
        data = situation.k3s_files.contents.get(named.path)
        if data is not None and named.component in running and not situation.is_as_applied(named.path):
            for problem in _problems(situation, named, data):
                yield _trouble(situation, named, problem)
    for component in Component:
        if component in running:
            yield from _mismatched(situation, component)
            yield from _of_names(situation, component)


def _mismatched(situation: Situation, component: Component) -> Iterator[Trouble]:
    """Yield the certificates that do not belong to their private key."""
    for pair in CERTIFICATE_PAIRS[component]:
        certificate, key = (_named(situation, component, argument) for argument in pair)
        contents = [named and situation.k3s_files.contents.get(named.path) for named in (certificate, key)]
        if (
            certificate
            and contents[0]
            and contents[1]
            and _is_read(pair[0], situation)
            and not key_pairs.belong_together(contents[0], contents[1])
        ):
            message = f"it does not belong to the key of {pair[1]}"
            yield _trouble(situation, certificate, InputError(Location(certificate.path), message))


def _of_names(situation: Situation, component: Component) -> Iterator[Trouble]:
    """Yield the problems of certificates for certain names: one value of tls-sni-cert-key names both files."""
    by_location: dict[Location, list[NamedPath]] = {}
    for named in situation.k3s_files.named_paths:
        if named.component is component and named.option == "tls-sni-cert-key":
            by_location.setdefault(named.location, []).append(named)
    for pair in by_location.values():
        contents = [situation.k3s_files.contents.get(named.path) or b"" for named in pair]
        for named, data, kind in zip(pair, contents, ("tls-cert-file", "tls-private-key-file")):
            for problem in decoding.located(pem.problems(kind, data), named.path) if data else ():
                yield _trouble(situation, named, problem)
        if len(pair) > 1 and not key_pairs.belong_together(contents[0], contents[1]):
            message = "the certificate does not belong to the key"
            yield _trouble(situation, pair[0], InputError(Location(pair[0].path), message))


def _named(situation: Situation, component: Component, argument: str) -> NamedPath | None:
    """Return the last file that an argument of a component names."""
    named = [one for one in situation.k3s_files.named_paths if (one.component, one.option) == (component, argument)]
    return named[-1] if named else None


def _is_read(argument: str, situation: Situation) -> bool:
    """Return whether the file of an argument is read. A controller that is switched off reads none."""
    names = _CONTROLLERS.get(argument)
    if names is None:
        return True
    arguments = situation.facts.merged_config.component_arguments(Component.CONTROLLER_MANAGER.config_key)
    words = tuple(word for value in arguments.get("controllers", ()) for word in value.text.split(","))
    return controllers.runs(words, *names)


_CONTROLLERS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys((name for pair in (*SIGNING, SIGNING_ALL) for name in pair), controllers.SIGNER),
    "root-ca-file": ("root-ca-certificate-publisher-controller", "root-ca-cert-publisher"),
}
"""The names of the controller that reads the file of an argument."""


def misspelt(situation: Situation) -> Iterator[Trouble]:
    """Yield an entry for a plugin whose name is similar to PodSecurity, if PodSecurity has none."""
    from difflib import get_close_matches

    from agent.k3s.components.files import admission

    for named, data in _of_the_operator(situation, ADMISSION_CONFIGURATION_ARGUMENT):
        try:
            if POD_SECURITY in admission_configuration.configured_plugins(data, named.path):
                continue
        except InputError:
            continue  # the API server exits
        for name, line in admission.plugins(data, named.path):
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


def _unusable(situation: Situation, running: set[Component]) -> Iterator[Trouble]:
    values = situation.facts.merged_config.component_arguments(API_SERVER_KEY).get("audit-log-path", ())
    named = [
        (one.option, one.path, one.location)
        for one in situation.k3s_files.named_paths
        if one.component is None or one.component in running
    ]
    if Component.API_SERVER in running:
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
    if not _is_read(named.option, situation):
        return ()
    key = (named.component, named.option)
    if key in _WITH_ARGUMENTS:
        return _WITH_ARGUMENTS[key](situation, named.path, data)
    if key in _READERS:
        return _READERS[key](data, named.path)
    return decoding.located(pem.problems(named.option, data), named.path)


def _admission(situation: Situation, path: PurePosixPath, data: bytes) -> Iterable[InputError]:
    from agent.k3s.components.files import admission

    contents, unusable = situation.k3s_files.contents, situation.k3s_files.unusable
    try:
        admission_configuration.configured_plugins(data, path)
    except InputError:
        return ()  # admission-configuration-unusable reports it
    on, off = (plugins(situation, one) for one in (ADMISSION_PLUGINS_ARGUMENT, DISABLED_PLUGINS_ARGUMENT))
    return admission.problems(
        data,
        path,
        missing=lambda file: file.is_absolute() and (file not in contents or file in unusable),
        enabled=lambda name: name in on if name != POD_SECURITY else name not in off,
        content=contents.get,
    )


def _encryption(situation: Situation, path: PurePosixPath, data: bytes) -> Iterable[InputError]:
    from agent.k3s.components.files import encryption

    gates = _of_api_server(situation).get("feature-gates", ())
    return encryption.problems(data, path, has_kms_v1=any("KMSv1" in one.text for one in gates))


def _authentication(situation: Situation, path: PurePosixPath, data: bytes) -> Iterable[InputError]:
    from agent.k3s.components.files import authentication

    return authentication.problems(data, path, has_anonymous_auth="anonymous-auth" in _of_api_server(situation))


def _authorization(situation: Situation, path: PurePosixPath, data: bytes) -> Iterable[InputError]:
    from agent.k3s.components.files import authorization

    contents, unusable = situation.k3s_files.contents, situation.k3s_files.unusable
    return authorization.problems(
        data,
        path,
        missing=lambda file: file not in contents or file in unusable,
        has_policy="authorization-policy-file" in _of_api_server(situation),
    )


def _of_api_server(situation: Situation) -> Mapping[str, Sequence[ConfigValue]]:
    return situation.facts.merged_config.component_arguments(API_SERVER_KEY)


def _described_minor(situation: Situation) -> int:
    """Return the minor version; 0 if the tables do not describe it."""
    facts = situation.facts
    return facts.version.minor if facts.version_is_known and tables.describe(facts.version) else 0


def _kube_proxy(situation: Situation, path: PurePosixPath, data: bytes) -> Iterable[InputError]:
    from agent.k3s.components.files import kube_proxy

    arguments = situation.facts.merged_config.component_arguments(Component.KUBE_PROXY.config_key)
    return kube_proxy.problems(data, path, _described_minor(situation), has_master=_has_value(arguments, "master"))


def _has_value(arguments: Mapping[str, Sequence[ConfigValue]], name: str) -> bool:
    return any(value.text for value in arguments.get(name, ())[-1:])


def _scheduler(situation: Situation, path: PurePosixPath, data: bytes) -> Iterable[InputError]:
    from agent.k3s.components.files import scheduler
    from agent.node.passed_arguments import elects_leaders

    arguments = situation.facts.merged_config.component_arguments(Component.SCHEDULER.config_key)
    context = scheduler.Context(
        minor=_described_minor(situation),
        has_master=_has_value(arguments, "master"),
        has_gates="feature-gates" in arguments,
        elects=elects_leaders(situation.facts) and not any(name.startswith("leader-elect") for name in arguments),
    )
    return scheduler.problems(data, path, context)


_WITH_ARGUMENTS: Mapping[
    tuple[Component | None, str], Callable[[Situation, PurePosixPath, bytes], Iterable[InputError]]
] = {
    (Component.API_SERVER, ADMISSION_CONFIGURATION_ARGUMENT): _admission,
    (Component.API_SERVER, "authentication-config"): _authentication,
    (Component.API_SERVER, "authorization-config"): _authorization,
    (Component.API_SERVER, "encryption-provider-config"): _encryption,
    (Component.KUBE_PROXY, "config"): _kube_proxy,
    (Component.SCHEDULER, "config"): _scheduler,
}
"""Files whose meaning depends on other arguments."""

_READERS: Mapping[tuple[Component | None, str], Callable[[bytes, PurePosixPath], Iterable[InputError]]] = {
    **{
        (Component.API_SERVER, f"{name}-webhook-config-file"): kubeconfig.problems
        for name in ("audit", "authentication-token", "authorization")
    },
    (Component.API_SERVER, "egress-selector-config-file"): egress.problems,
    (Component.API_SERVER, "token-auth-file"): tokens.problems,
    (Component.API_SERVER, "tracing-config-file"): tracing.problems,
    (Component.KUBELET, "image-credential-provider-config"): credential_providers.problems,
    (Component.CONTROLLER_MANAGER, "leader-migration-config"): leader_migration.problems,
    **{
        (Component.CONTROLLER_MANAGER, f"pv-recycler-pod-template-filepath-{kind}"): recycler_pod.problems
        for kind in ("hostpath", "nfs")
    },
    (Component.KUBELET, "kubeconfig"): kubeconfig.problems,
    **{
        (component, name): kubeconfig.problems
        for component in (Component.CONTROLLER_MANAGER, Component.SCHEDULER)
        for name in ("authentication-kubeconfig", "authorization-kubeconfig", "kubeconfig")
    },
}


def _trouble(situation: Situation, named: NamedPath, problem: InputError) -> Trouble:
    if is_managed(situation, named.path):
        remediation = written_by_apply(situation, str(named.path))
    else:
        # A problem of the whole file has no line.
        location = problem.location if problem.location.line else None
        remediation = Remediation((Instruction(f"correct {problem.location.path}", location),), restart=Restart.K3S)
    return Trouble(
        f"K3s does not start: the file of {named.option} is invalid: {problem.problem}",
        location=problem.location,
        remediation=remediation,
    )
