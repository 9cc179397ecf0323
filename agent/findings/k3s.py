"""K3s' configuration: what would keep K3s from starting, and what takes the hardening out again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import yaml_reader
from agent.desired import dropin_options
from agent.desired.dropin_options import (
    ADMISSION_CONFIGURATION_FLAG,
    ADMISSION_PLUGINS_FLAG,
    API_SERVER_KEY,
    AUDIT_POLICY_FLAG,
    DISABLED_PLUGINS_FLAG,
    given,
    missing,
)
from agent.errors import InputError
from agent.findings.registry import Trouble, finding, instruction, shell_command, written_by_apply
from agent.guide.files import NETWORK_POLICIES, POD_SECURITY_ADMISSION
from agent.guide.k3s_options import PROTECT_KERNEL_DEFAULTS, SECRETS_ENCRYPTION
from agent.k3s import admission_plugins, audit_policy
from agent.k3s.options import SERVER_ONLY_KEYS
from agent.model import Component, File, Location, Role
from agent.node.datastore import Datastore
from agent.report import Level
from agent.settings.schema import SecretsEncryption

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.model import Remediation
    from agent.situation import Situation


@finding(Level.ERROR)
def k3s_config_broken(seen: Situation) -> Iterator[Trouble]:
    """A file of K3s' configuration is not what K3s can read, so that K3s would not start, or start without all of it.

    The latter is what it does at a link to nothing among the drop-ins: none of the files counts then.
    """
    for problem in seen.facts.merged_config.problems:
        yield Trouble(
            f"K3s would not start: {problem.problem}",
            location=problem.location,
            remediation=instruction(problem.hint or "repair it"),
        )
    for problem in seen.facts.configuration.unfit:
        yield Trouble(
            f"K3s would not start: {problem.problem}",
            location=problem.location,
            remediation=instruction("put a file in its place, or take it away"),
        )
    for path in seen.facts.configuration.broken_links:
        yield Trouble(
            "K3s would start without all of its configuration: it links to nothing",
            location=Location(path),
            remediation=instruction("put a file in its place, or take it away"),
        )


@finding(Level.ERROR)
def server_key_on_agent(seen: Situation) -> Iterator[Trouble]:
    """An agent's configuration has a key that only servers know: k3s-agent exits at it, and restarts for ever."""
    if seen.facts.role is Role.AGENT:
        for key, source in seen.facts.merged_config.locations().items():
            if key in SERVER_ONLY_KEYS:
                yield Trouble(
                    f"K3s would not start: `{key}` is no key of k3s agent",
                    found=key,
                    location=source,
                    remediation=instruction("remove it"),
                )


@finding(Level.ERROR)
def admission_plugins_refused(seen: Situation) -> Iterator[Trouble]:
    """The API server exits at an admission plugin that it does not have, and at one that is both enabled and disabled.

    PodSecurityPolicy is gone from v1.25 on. An empty name is no plugin either, as after a comma at the end.
    """
    for flag in (ADMISSION_PLUGINS_FLAG, DISABLED_PLUGINS_FLAG):
        for plugin, values in _plugins(seen, flag).items():
            if admission_plugins.is_unknown(plugin, seen.facts.version):
                for value, source in _of_the_operator(seen, values):
                    yield Trouble(
                        f"K3s would not start: the plugin {plugin or 'without a name'} is unknown to K3s"
                        f" {seen.facts.version}",
                        found=value,
                        location=source,
                        remediation=_taken_out(seen, plugin, source),
                    )
    enabled = {*_plugins(seen, ADMISSION_PLUGINS_FLAG), *_plugins_to_come(seen)}
    for plugin, values in _plugins(seen, DISABLED_PLUGINS_FLAG).items():
        if plugin in enabled:
            for value, source in values:
                yield Trouble(
                    f"K3s would not start: the plugin {plugin} is both enabled and disabled",
                    found=value,
                    location=source,
                    remediation=_taken_out(seen, plugin, source),
                )


@finding(Level.ERROR)
def pod_security_disabled(seen: Situation) -> Iterator[Trouble]:
    """The admission plugin PodSecurity is switched off, so that psa.yaml does nothing, without a word of K3s."""
    if POD_SECURITY_ADMISSION.applies.to(seen.facts.role, seen.facts.version) and not seen.facts.rancher_managed:
        for value, source in _plugins(seen, DISABLED_PLUGINS_FLAG).get(admission_plugins.POD_SECURITY, ()):
            yield Trouble(
                f"{seen.facts.data_dir / POD_SECURITY_ADMISSION.path} does nothing: the plugin that reads it is off",
                found=value,
                location=source,
                remediation=_taken_out(seen, admission_plugins.POD_SECURITY, source),
            )


@finding(Level.ERROR)
def audit_policy_unusable(seen: Situation) -> Iterator[Trouble]:
    """The audit policy that the API server is told to read is missing, cannot be decoded, or has no rules: it exits."""
    for path, source in _named(seen, AUDIT_POLICY_FLAG):
        if path not in seen.k3s_files.contents:
            yield Trouble(
                "K3s would not start: its audit policy does not exist",
                found=str(path),
                location=source,
                remediation=_repair(seen, path),
            )
        data = seen.k3s_files.contents.get(path)
        for problem in () if data is None or _is_as_wanted(seen, path) else audit_policy.problems(data, path):
            yield Trouble(
                f"K3s would not start: its audit policy cannot be used: {problem.problem}",
                location=problem.location,
                remediation=_repair(seen, path),
            )


@finding(Level.ERROR)
def admission_configuration_unusable(seen: Situation) -> Iterator[Trouble]:
    """The admission configuration that the API server is told to read is missing or cannot be decoded: it exits.

    It exits as well if the plugin EventRateLimit is on and has no configuration in that file.
    """
    limited = _of_the_operator(seen, _plugins(seen, ADMISSION_PLUGINS_FLAG).get("EventRateLimit", []))
    configured: set[str | None] = set()
    unusable = False
    for path, source in _named(seen, ADMISSION_CONFIGURATION_FLAG):
        if not limited and _is_as_wanted(seen, path):
            continue
        found = _configured_plugins(seen, path)
        if isinstance(found, frozenset):
            configured |= found
            continue
        unusable = True
        yield Trouble(
            f"K3s would not start: its admission configuration cannot be used: {found}",
            found=str(path),
            location=source,
            remediation=_repair(seen, path),
        )
    if "EventRateLimit" not in configured and not unusable:
        for value, source in limited[:1]:
            yield Trouble(
                "K3s would not start: the plugin EventRateLimit has no configuration",
                expected=f"an entry for it in the file of {ADMISSION_CONFIGURATION_FLAG}",
                found=value,
                location=source,
                remediation=instruction(
                    "set `event-rate-limit` in the settings and run k3s-harden apply, or take the plugin out"
                ),
            )


@finding(Level.ERROR)
def named_file_missing(seen: Situation) -> Iterator[Trouble]:
    """K3s' configuration names a file that does not exist; the component that is to read it exits."""
    for option, path, source in seen.k3s_files.named_paths:
        if option not in {AUDIT_POLICY_FLAG, ADMISSION_CONFIGURATION_FLAG} and path not in seen.k3s_files.contents:
            yield Trouble(
                f"K3s would not start: the file of {option} does not exist",
                found=str(path),
                location=source,
                remediation=instruction("put the file there, or correct the path"),
            )


@finding(Level.ERROR)
def list_dropped(seen: Situation) -> Iterator[Trouble]:
    """A later file repeats the key of a list without `+`, so K3s drops what earlier files, ours too, had in it."""
    lost: dict[tuple[str, Location], list[str]] = {}
    for dropped in seen.facts.merged_config.dropped:
        if seen.facts.dropin_path in (dropped.location.path, dropped.by.path):
            lost.setdefault((dropped.key, dropped.by), []).append(dropped.value)
    for (key, by), values in lost.items():
        yield Trouble(
            f"a later file replaces the list `{key}`, so that these are lost: {' '.join(values)}",
            expected=f"{key}+:",
            found=f"{key}:",
            location=by,
            remediation=instruction("write a + behind the key there"),
        )


@finding(Level.ERROR)
def option_overridden(seen: Situation) -> Iterator[Trouble]:
    """A file that K3s reads after ours, or its command line, sets an option to what does not meet the control.

    An argument of kubelet has the last word over K3s' own protect-kernel-defaults, wherever it stands.
    """
    ours = str(seen.facts.dropin_path)
    wanted = () if seen.facts.rancher_managed else dropin_options.wanted(seen.settings, seen.facts)
    if any(option.row is PROTECT_KERNEL_DEFAULTS for option in wanted):
        flags = seen.facts.merged_config.component_arguments(Component.KUBELET.config_key)
        for value, source in flags.get(PROTECT_KERNEL_DEFAULTS.key, ())[-1:]:
            if not PROTECT_KERNEL_DEFAULTS.meets.accepts(value):
                yield Trouble(
                    f"{PROTECT_KERNEL_DEFAULTS.key} is taken back by an argument of kubelet",
                    expected=str(PROTECT_KERNEL_DEFAULTS.meets),
                    found=value,
                    location=source,
                    remediation=instruction("remove it there"),
                )
    kept_away = (refusal.id for refusal in seen.plan.refusals if not refusal.edited)
    if ours in {*(change.id for change in seen.plan.changes), *kept_away}:
        return  # ours is not in place yet, so nothing can have come after it
    for option in missing(seen.settings, seen.facts):
        if option.row.name == ADMISSION_PLUGINS_FLAG:
            continue  # the API server adds them up
        last = given(seen.facts.merged_config, option.row)[-1:]
        if last and str(last[0].location.path) != ours and not option.row.meets.accepts(last[0].text):
            yield Trouble(
                f"{option.row.name or option.row.key} is set again after our file",
                expected=str(option.row.meets),
                found=last[0].text,
                location=last[0].location,
                remediation=instruction("remove it there, or give it a value that meets the control"),
            )


@finding(Level.ERROR)
def two_admission_configurations(seen: Situation) -> Iterator[Trouble]:
    """Two files are given as the admission configuration. The API server reads the last alone, without a word."""
    named = _named(seen, ADMISSION_CONFIGURATION_FLAG)
    if len({path for path, _ in named}) > 1:
        for path, source in named[:-1]:
            yield Trouble(
                f"{path} is not read: {ADMISSION_CONFIGURATION_FLAG} is given again at {named[-1][1]}",
                expected="one file",
                found=f"{len(named)} files",
                location=source,
                remediation=instruction("put all into one file, and name that one alone"),
            )


@finding(Level.WARNING)
def split_admission_plugins(seen: Situation) -> Iterator[Trouble]:
    """The admission plugins stand in several arguments: the API server adds them up, scanners read the first alone."""
    values = seen.facts.merged_config.component_arguments(API_SERVER_KEY).get(ADMISSION_PLUGINS_FLAG, ())
    if len(values) > 1:
        yield Trouble(
            f"{ADMISSION_PLUGINS_FLAG} is given {len(values)} times; kube-bench sees the first alone",
            expected="one value, joined by commas",
            found=" and ".join(value for value, _ in values),
            location=values[0][1],
            remediation=instruction(
                "take your own out: ours has all of them"
                if values[-1][1].path == seen.facts.dropin_path
                else "join them"
            ),
        )


@finding(Level.WARNING)
def network_policies_inert(seen: Situation) -> Iterator[Trouble]:
    """K3s' network policy controller is off: NetworkPolicies do nothing, unless another controller enforces them.

    Or K3s does not apply policy.yaml at all, since a file `policy.yaml.skip` or its key `disable` says so.
    """
    config, key = seen.facts.merged_config, "disable-network-policy"
    if not NETWORK_POLICIES.applies.to(seen.facts.role, seen.facts.version):
        return
    given = config.scalar(key)
    if given and config.boolean(key):
        value, where = given
        yield Trouble(
            "nothing of K3s enforces the NetworkPolicies",
            found=f"{key}: {value}",
            location=where,
            remediation=instruction("remove it, unless your network plugin enforces NetworkPolicies itself"),
        )
    policy = seen.facts.data_dir / NETWORK_POLICIES.path
    if policy.name in seen.k3s_files.manifests.skips:
        skip = seen.k3s_files.manifests.skips[policy.name]
        yield Trouble(
            f"K3s passes over {policy}",
            found=skip.name,
            location=Location(skip),
            remediation=shell_command(f"sudo rm {skip}"),
        )
    if policy.stem in seen.k3s_files.manifests.disabled:
        yield Trouble(
            f"K3s deletes {policy}, with the objects in it",
            found=f"disable: {policy.stem}",
            location=seen.k3s_files.manifests.disabled[policy.stem],
            remediation=instruction(f"take {policy.stem} out there"),
        )


@finding(Level.WARNING)
def secrets_not_encrypted(seen: Situation) -> Iterator[Trouble]:
    """Secrets lie in the datastore in clear text. That is not switched under a live datastore: it could lose them."""
    facts = seen.facts
    if facts.role is Role.AGENT or dropin_options.encrypts(seen.settings, facts) or facts.encrypts_secrets is not False:
        return
    if seen.settings.secrets_encryption is SecretsEncryption.AUTO and not _operator_encrypts(seen):
        if facts.joins_a_cluster and facts.datastore is Datastore.NONE:
            yield Trouble(
                "this server joins a cluster: secrets-encryption must be as on its other servers, or it cannot join",
                remediation=instruction(
                    "set `secrets-encryption: on` or `off` in the settings, whichever the others have"
                ),
            )
        elif not dropin_options.starts_a_cluster(facts):
            yield Trouble(
                "secrets are not encrypted, and this cluster has data",
                expected="secrets-encryption: true",
                remediation=instruction(
                    "`k3s-harden explain secrets-encryption` has the steps; older releases of K3s have none"
                ),
            )


@finding(Level.ERROR, blocks_gate=False)
def secrets_encryption_kept(seen: Situation) -> Iterator[Trouble]:
    """The settings say off or leave, but K3s encrypts by our argument, which is therefore kept.

    K3s reads its key only with that argument: without it, it could read none of the cluster's secrets.
    """
    asked = seen.settings.secrets_encryption
    unasked = asked in (SecretsEncryption.OFF, SecretsEncryption.LEAVE) and not _operator_encrypts(seen)
    if unasked and seen.facts.encrypts_secrets and seen.facts.role is Role.SERVER:
        yield Trouble(
            "secrets-encryption stays on, since K3s encrypts this cluster's secrets by it",
            expected=str(asked),
            found="true",
            location=Location(seen.facts.dropin_path),
            remediation=instruction(
                "set it to `on` or `auto`; to stop encrypting, first follow k3s secrets-encrypt disable"
            ),
        )


def _operator_encrypts(seen: Situation) -> bool:
    own = given(seen.facts.operator_config, SECRETS_ENCRYPTION)
    return bool(own) and SECRETS_ENCRYPTION.meets.accepts(own[-1].text)


def _plugins(seen: Situation, flag: str) -> dict[str, list[tuple[str, Location]]]:
    """The admission plugins that a flag of the API server names, each with the values it stands in."""
    found: dict[str, list[tuple[str, Location]]] = {}
    for value, source in seen.facts.merged_config.component_arguments(API_SERVER_KEY).get(flag, ()):
        for plugin in dict.fromkeys(value.split(",") if value else ()):
            found.setdefault(plugin, []).append((value, source))
    return found


def _plugins_to_come(seen: Situation) -> Iterator[str]:
    """The admission plugins that are enabled without a word in the configuration: by apply, or by K3s itself."""
    for option in missing(seen.settings, seen.facts):
        if option.row.name == ADMISSION_PLUGINS_FLAG:
            yield from option.value.split(",")
    if seen.facts.merged_config.keeps_default(API_SERVER_KEY, ADMISSION_PLUGINS_FLAG):
        yield admission_plugins.K3S_DEFAULT


def _of_the_operator(seen: Situation, values: list[tuple[str, Location]]) -> list[tuple[str, Location]]:
    """Of some values those that our file does not merely repeat."""
    return [one for one in values if one[1].path != seen.facts.dropin_path] or values


def _taken_out(seen: Situation, plugin: str, source: Location) -> Remediation:
    """The remedy for a plugin that must not stand in a value."""
    if source.path in seen.k3s_files.obsolete:
        return shell_command(f"sudo rm {source.path}")
    if source.path == seen.facts.dropin_path:
        return written_by_apply(seen, str(source.path))
    return instruction(f"take {plugin or 'the comma too many'} out there")


def _repair(seen: Situation, path: PurePosixPath) -> Remediation:
    """What mends a file that K3s' configuration names: we do, if it is one of ours."""
    if any(one.id == str(path) for one in seen.desired):
        return written_by_apply(seen, str(path))
    return instruction("repair that file, or take the option out: ours is used then")


def _named(seen: Situation, option: str) -> list[tuple[PurePosixPath, Location]]:
    return [(path, source) for name, path, source in seen.k3s_files.named_paths if name == option]


def _is_as_wanted(seen: Situation, path: PurePosixPath) -> bool:
    """Whether a file has what we put there, which need not be judged: to parse it would take longer than all else."""
    data = seen.k3s_files.contents.get(path)
    return any(isinstance(one, File) and one.path == path and one.content == data for one in seen.desired)


def _configured_plugins(seen: Situation, path: PurePosixPath) -> frozenset[str | None] | str:
    """The plugins that an AdmissionConfiguration has entries for, or what is wrong with it."""
    if path not in seen.k3s_files.contents:
        return "it does not exist"
    data = seen.k3s_files.contents[path]
    if data is None:
        return frozenset({"EventRateLimit"})  # not ours to read: benefit of the doubt, and not-readable says so
    try:
        documents = yaml_reader.read(data, path)
    except InputError as error:
        return error.problem
    node = documents[0].node if documents else None
    if not isinstance(node, yaml_reader.Mapping) or node.text("kind") != "AdmissionConfiguration":
        return "it is no AdmissionConfiguration"
    if not (node.text("apiVersion") or "").startswith("apiserver.config.k8s.io/"):
        return "its apiVersion is not apiserver.config.k8s.io/v1"
    plugins = node.get("plugins")
    items = plugins.items if isinstance(plugins, yaml_reader.Sequence) else ()
    return frozenset(item.text("name") for item in items if isinstance(item, yaml_reader.Mapping))
