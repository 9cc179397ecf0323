"""Findings about configuration that overrides or weakens the hardening of K3s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.model import Location
from agent.base.repair import Answer, Decide, RunVerb
from agent.base.report import Trait
from agent.findings.config_edits import appended_list, setting_to, without, without_argument, without_name
from agent.findings.registry import Problem, error, file_removal, misconfigured, no, steps, warning, yes
from agent.harden.desired import dropin_options
from agent.harden.desired.dropin_options import ADMISSION_PLUGINS_ARGUMENT, configured_values, options_to_set
from agent.harden.guide.guide_files import NETWORK_POLICIES
from agent.harden.guide.k3s_options import PROTECT_KERNEL_DEFAULTS, SECRETS_ENCRYPTION
from agent.harden.node.datastore import Datastore
from agent.harden.settings.schema import SecretsEncryption
from agent.k3s.component_configuration import ENCRYPTION_CONFIGURATION, release_enabling_later
from agent.k3s.roles_and_versions import Component, Role, VersionRange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.base.repair import Edit
    from agent.harden.situation import Situation

_SUPERVISOR_AUTHENTICATES = (37, 1)
"""The first release, by minor and patch version, whose supervisor rejects anonymous requests to all endpoints."""

_SUPERVISOR_ENDPOINTS = {
    "enable-pprof": "profiles of its memory",
    "embedded-registry": "the container images of this node",
    "supervisor-metrics": "its metrics",
}

_ZERO_MEANS_FIVE = VersionRange(27, 36)
"""Versions whose kubelet records fewer events with `event-qps=0` than by default."""


@error(
    blocks_gate=yes("K3s starts without the lost arguments."),
    prevents_start=no("K3s accepts the later list."),
    repair="append `+` to the key; then restart K3s",
)
def list_dropped(situation: Situation) -> Iterator[Problem]:
    """A later file repeats the key of a list without `+`, so K3s drops the items of earlier files."""
    lost: dict[tuple[str, Location], list[str]] = {}
    for dropped in situation.facts.merged_config.dropped:
        if situation.facts.dropin_path in (dropped.location.path, dropped.by.path):
            lost.setdefault((dropped.key, dropped.by), []).append(dropped.value.partition("=")[0])
    for (key, by), names in lost.items():
        dropping = f"{key}:, which drops {', '.join(names)}"
        edit = appended_list(key, by)
        yield misconfigured(f"a later file replaces the list `{key}`", (edit,), by, dropping, f"{key}+:")


@error(
    blocks_gate=yes("K3s starts with a value that does not meet the control."),
    prevents_start=no("K3s accepts the value."),
    repair="correct the value, or remove the option; then restart K3s",
    traits=Trait.HAS_VERDICT,
)
def option_overridden(situation: Situation) -> Iterator[Problem]:
    """A later file, or the command line of K3s, sets an option to a value that does not meet the control.

    An argument of the kubelet overrides K3s' option protect-kernel-defaults, in whichever file it is.
    """
    expected = (
        () if situation.facts.rancher_managed else dropin_options.expected_options(situation.settings, situation.facts)
    )
    if any(option.row is PROTECT_KERNEL_DEFAULTS for option in expected):
        for value in situation.facts.merged_config.argument(Component.KUBELET, PROTECT_KERNEL_DEFAULTS.key)[-1:]:
            if not PROTECT_KERNEL_DEFAULTS.meets.accepts(value.text):
                key, meets = PROTECT_KERNEL_DEFAULTS.key, str(PROTECT_KERNEL_DEFAULTS.meets)
                message = f"an argument of the kubelet overrides {key}"
                edits = without_argument(situation, Component.KUBELET.config_key, key, value.location)
                yield misconfigured(message, edits, value.location, value.text, meets)
    for option in options_to_set(situation.settings, situation.facts):
        if option.row.name == ADMISSION_PLUGINS_ARGUMENT:
            continue  # the API server enables the plugins of all arguments
        last = configured_values(situation.facts.merged_config, option.row)[-1:]
        # K3s sorts arguments by name: request_timeout follows the request-timeout of any file.
        is_later = bool(last) and (bool(last[0].spelling) or situation.facts.overrides_dropin(last[0].location.path))
        if is_later and not option.row.meets.accepts(last[0].text):
            name, key, at = option.row.name, option.row.key, last[0].location
            message = f"a later value overrides {name or key} of k3s-harden's drop-in"
            edits = without_argument(situation, key, name, at) if name else without(situation, key, at)
            yield misconfigured(message, edits, at, last[0].text, str(option.row.meets))


@warning(repair="remove the option or file, unless your network plugin enforces NetworkPolicies")
def network_policies_inert(situation: Situation) -> Iterator[Problem]:
    """The NetworkPolicies have no effect: K3s' network policy controller is disabled, or K3s skips policy.yaml.

    Another controller, such as that of Calico or Cilium, enforces NetworkPolicies, too. K3s skips policy.yaml if a file
    `policy.yaml.skip` exists, and deletes its objects if the option `disable` lists it.
    """
    facts, manifests = situation.facts, situation.k3s_files.manifests
    config, key = facts.merged_config, "disable-network-policy"
    if not NETWORK_POLICIES.applies.to(facts.role, facts.version):
        return
    disabled = config.scalar(key)
    if disabled and config.boolean(key):
        message, removal = "K3s does not enforce NetworkPolicies", without(situation, key, disabled.location)
        yield misconfigured(message, (_enforced_by_plugin(removal),), disabled.location, f"{key}: {disabled.text}")
    policy = facts.data_dir / NETWORK_POLICIES.path
    if policy.name in manifests.skips:
        skip = manifests.skips[policy.name]
        yield Problem(f"K3s skips {policy}", found=skip.name, location=Location(skip), repair=file_removal(skip))
    if policy.stem in manifests.disabled:
        location = manifests.disabled[policy.stem]
        edits = without_name(situation, "disable", policy.stem, location)
        yield misconfigured(f"K3s deletes {policy} and its objects", edits, location, f"disable: {policy.stem}")


def _enforced_by_plugin(removal: tuple[Edit, ...]) -> Decide:
    question = "Does another network plugin, such as Calico or Cilium, enforce NetworkPolicies in this cluster?"
    waived = "the finding stays, and nothing else has to be done"
    return Decide(question, (Answer("No", "K3s enforces them", removal), Answer("Yes", waived, ())))


@warning(repair="remove the option, or let only the cluster's nodes connect to port 6443")
def supervisor_endpoint_anonymous(situation: Situation) -> Iterator[Problem]:
    """K3s before v1.37.1 can serve an optional endpoint of its supervisor to clients without credentials.

    `enable-pprof` serves profiles, which contain parts of K3s' memory, `embedded-registry` serves the container images
    of the node, and `supervisor-metrics` serves metrics. v1.37.1 requires credentials (k3s-io/k3s #14701). The first
    release without them is not known, so each older one is reported.
    """
    facts = situation.facts
    if not facts.version.is_before(*_SUPERVISOR_AUTHENTICATES):
        return
    for key, what in _SUPERVISOR_ENDPOINTS.items():
        option = facts.merged_config.scalar(key)
        if option is not None and facts.merged_config.boolean(key):
            message = f"K3s {facts.version} serves {what} without authentication"
            expected, at = "v1.37.1 or newer, or the option is not set", option.location
            yield misconfigured(message, without(situation, key, at), at, f"{key}: {option.text}", expected)


@warning(repair="remove the argument, or set it to 50")
def event_qps_lowers_limit(situation: Situation) -> Iterator[Problem]:
    """The kubelet's argument `event-qps=0` means 5 events per second up to v1.36, not no limit.

    That is the default up to v1.26; from v1.27 on the default is 50. From v1.37 on, 0 means no limit. The benchmarks
    cis-1.23 and cis-1.24 require 0, and later ones do not (kubernetes/kubernetes #117119).
    """
    facts = situation.facts
    if not _ZERO_MEANS_FIVE.includes(facts.version):
        return
    for value in facts.merged_config.argument(Component.KUBELET, "event-qps")[-1:]:
        if value.text == "0":
            message = f"the kubelet of {facts.version} records 5 events per second, and drops the others"
            edits = without_argument(situation, Component.KUBELET.config_key, "event-qps", value.location)
            yield misconfigured(message, edits, value.location, "event-qps=0", "event-qps=50, the default")


@warning(repair="follow `k3s-harden explain secrets-encryption`, or set `on` or `off` in the settings")
def secrets_not_encrypted(situation: Situation) -> Iterator[Problem]:
    """Kubernetes secrets are in the datastore in plain text.

    k3s-harden does not enable encryption on a live datastore because that can make its secrets unreadable. With
    `secrets-encryption: on` in the settings it sets the option if this K3s version supports that. The finding remains
    until K3s has written its encryption configuration with another first provider than identity.
    """
    facts, setting = situation.facts, situation.settings.secrets_encryption
    is_asked = setting is SecretsEncryption.ON or (setting is SecretsEncryption.AUTO and _operator_encrypts(situation))
    if facts.role is Role.AGENT or facts.encrypts_secrets is not False:
        return
    if is_asked:
        yield from _not_yet_encrypted(situation)
        return
    if setting is not SecretsEncryption.AUTO or dropin_options.encrypts(situation.settings, facts):
        return
    if facts.joins_a_cluster and facts.datastore is Datastore.NONE:
        message = "this server joins a cluster, and secrets-encryption must be the same on all of its servers"
        yield Problem(
            message, repair=steps(_decided(situation, "Do the other servers of this cluster encrypt secrets?"))
        )
    elif facts.datastore is Datastore.EXTERNAL and facts.running_since is None:
        message = "cannot determine whether the external datastore has data, so apply does not set secrets-encryption"
        question = "Is this a new cluster, or do its other servers encrypt secrets?"
        yield Problem(message, repair=steps(_decided(situation, question)))
    elif not dropin_options.starts_a_cluster(facts):
        message = "secrets are not encrypted, and this cluster has data"
        yield Problem(message, expected="secrets-encryption: true", repair=_AS_EXPLAINED)


_AS_EXPLAINED = steps(RunVerb("explain", ("secrets-encryption",)))


def _decided(situation: Situation, question: str) -> Decide:
    """Return the question whether this server encrypts secrets."""
    different = "a server that differs from the others cannot read the secrets of the cluster"
    answers = (
        Answer(answer, different, (setting_to(situation, SECRETS_ENCRYPTION.key, value), RunVerb("apply")))
        for answer, value in (("Yes", "on"), ("No", "off"))
    )
    return Decide(question, tuple(answers))


def _not_yet_encrypted(situation: Situation) -> Iterator[Problem]:
    """Yield the case of a cluster with data whose configuration or settings ask for encryption."""
    facts = situation.facts
    if dropin_options.is_encrypted_too_late(facts):
        message = f"secrets are not encrypted: K3s {facts.version} cannot encrypt those of a cluster that has data"
        expected = f"{release_enabling_later(facts.version.minor)} or newer"
        yield Problem(message, expected, str(facts.version), repair=_AS_EXPLAINED)
    # With an external datastore, the file is missing until K3s has started here.
    elif facts.datastore in (Datastore.SQLITE, Datastore.ETCD) or facts.running_since is not None:
        message = "secrets are not encrypted yet, and this cluster has data"
        expected, found = "another first provider than identity", "identity, or no such file"
        yield Problem(message, expected, found, Location(facts.data_dir / ENCRYPTION_CONFIGURATION), _AS_EXPLAINED)


@error(
    blocks_gate=no("Secrets are encrypted, which is more than the settings require."),
    prevents_start=no("K3s keeps the option with which it encrypted the secrets."),
    repair="set `secrets-encryption` to `on` or `auto`, or first decrypt the secrets",
)
def secrets_encryption_kept(situation: Situation) -> Iterator[Problem]:
    """The settings disable secrets-encryption, but K3s encrypts secrets through the drop-in, so the option remains.

    K3s reads its encryption key only if the option is set. Without it, K3s could not read any secret of the cluster.
    """
    setting = situation.settings.secrets_encryption
    disabled = setting in (SecretsEncryption.OFF, SecretsEncryption.LEAVE) and not _operator_encrypts(situation)
    if disabled and situation.facts.encrypts_secrets and situation.facts.role is Role.SERVER:
        message = "secrets-encryption remains set because K3s encrypts the secrets of this cluster"
        fix = steps(setting_to(situation, SECRETS_ENCRYPTION.key, "on"), RunVerb("apply"))
        yield Problem(message, str(setting), "true", Location(situation.facts.dropin_path), fix)


def _operator_encrypts(situation: Situation) -> bool:
    own = configured_values(situation.facts.operator_config, SECRETS_ENCRYPTION)
    return bool(own) and SECRETS_ENCRYPTION.meets.accepts(own[-1].text)
