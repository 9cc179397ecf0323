"""Findings about the component arguments in the operator's configuration."""

from __future__ import annotations

from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.model import Location
from agent.base.repair import NO_REPAIR, Answer, Decide
from agent.base.report import Prediction, Trait
from agent.base.yaml_reader import shown
from agent.findings.config_edits import added, renamed_key, replaced, setting_to, without
from agent.findings.registry import (
    Problem,
    edit_of_k3s_config,
    error,
    instruction,
    is_managed,
    k3s_exits,
    misconfigured,
    no,
    note,
    steps,
    warning,
    yes,
)
from agent.harden.desired.dropin_options import AUDIT_POLICY_ARGUMENT
from agent.harden.guide.guide_files import ADMISSION_POLICIES_APPLY, POD_SECURITY_ADMISSION
from agent.harden.node import version
from agent.k3s.components.effective_arguments import Cause
from agent.k3s.config import component_argument
from agent.k3s.options import (
    AGENT_KEYS,
    ALIASES,
    CHECKED_KEYS,
    FATAL_IN,
    FATAL_KEYS,
    REMOVED_IN,
    REMOVED_KEYS,
    SERVER_ONLY_KEYS,
)
from agent.k3s.roles_and_versions import NEWEST_KNOWN, Component, Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.harden.desired.dropin_options import NamedPath
    from agent.harden.node.facts import HostFacts
    from agent.harden.situation import Situation
    from agent.k3s.options import Spelling

_KEYS = (*(component.config_key for component in Component), "node-label", "node-taint")
"""Options whose values components read."""


def _has_arguments(situation: Situation) -> bool:
    """Return whether the operator sets an argument of a component, or a kubelet file. If not, no table is loaded."""
    values = situation.facts.operator_config.values
    return not situation.k3s_files.kubelet.are_default or any(key in values for key in _KEYS)


def _predicted(situation: Situation, cause: str) -> Iterator[Problem]:
    """Yield the predictions about arguments that have a cause."""
    if _has_arguments(situation):
        from agent.findings.argument_predictions import problems

        yield from problems(situation, cause)


@k3s_exits(
    "A component exits at an argument that it does not have.", repair="remove or correct the argument; then restart K3s"
)
def component_argument_unknown(situation: Situation) -> Iterator[Problem]:
    """An argument of a component does not exist in this version of Kubernetes.

    It is misspelt, or a newer version has removed it. The tables are for Kubernetes 1.34 to 1.37, from the programs'
    own --help.
    """
    return _predicted(situation, Cause.UNKNOWN_ARGUMENT)


@warning(repair="write the name with hyphens; then restart K3s")
def component_argument_underscored(situation: Situation) -> Iterator[Problem]:
    """The name of an argument has underscores, which only the kubelet reads as hyphens when K3s runs it.

    The programs of Kubernetes accept both, because their main function normalizes the names (component-base,
    cli/run.go). K3s runs the commands of the components without that function (k3s, pkg/executor/embed/embed.go), and
    they exit at the name.
    """
    from agent.k3s.components.tables import OF_KLOG

    config = situation.facts.operator_config
    for component in Component:
        for text, location, _ in config.items(component.config_key) if component is not Component.KUBELET else ():
            spelling = component_argument(text).spelling
            name = spelling.replace("_", "-")
            if name != spelling and not (component is Component.KUBE_PROXY and name in OF_KLOG):
                message = f"K3s may exit: {component} in K3s reads `{shown(spelling)}` as an unknown argument"
                edits = (replaced(situation, location, text, text.replace(spelling, name, 1)),)
                yield misconfigured(message, edits, location, shown(spelling), shown(name))


@k3s_exits(
    "A component exits at a value that it cannot parse or does not accept.",
    repair="correct the value; then restart K3s",
)
def component_argument_invalid(situation: Situation) -> Iterator[Problem]:
    """An argument of a component has a value that the component rejects when it starts.

    The value has the wrong type, is outside a range or an enumeration, or contradicts another argument. Only the last
    value of most arguments counts, but the component parses all of them.
    """
    return _predicted(situation, Cause.INVALID_VALUE)


@k3s_exits(
    "A component exits at a feature gate that it does not have, or that is locked.",
    repair="remove or correct the feature gate; then restart K3s",
)
def feature_gate_invalid(situation: Situation) -> Iterator[Problem]:
    """A feature gate does not exist in this version of Kubernetes, is locked, or has no boolean value.

    Kubernetes removes a gate some versions after its feature is complete. A gate can also need another gate.
    """
    return _predicted(situation, Cause.FEATURE_GATE)


@k3s_exits(
    "The API server exits at a configuration file that it cannot use.",
    repair="correct the file or the path; then restart K3s",
)
def component_file_invalid(situation: Situation) -> Iterator[Problem]:
    """A file that an argument of a component names has content that the component rejects when it starts.

    The API server decodes its configuration files strictly: unknown and repeated fields are errors, except in an audit
    policy. A directory cannot be in the place of a file. Certificates and keys are not read.
    """
    files = situation.k3s_files
    if not files.kubelet.are_default:
        from agent.findings.argument_predictions import kubelet_file_problems

        yield from kubelet_file_problems(situation)
    written = {resource.id for resource in situation.desired}
    if (
        files.unusable
        or any(str(named.path) not in written and named.path in files.contents for named in files.named_paths)
        or any(refusal.edited for refusal in situation.plan.refusals)
    ):
        from agent.findings.file_predictions import rejected

        yield from rejected(situation)
    if files.policies:
        from agent.findings import static_policy_directories

        yield from static_policy_directories.rejected(situation)


@note(repair="upgrade K3s, or remove the settings `admission-policies`")
def admission_policies_unsupported(situation: Situation) -> Iterator[Problem]:
    """The settings choose admission policies, and this K3s version does not load them from files. None is written."""
    facts = situation.facts
    wants_policies = situation.settings.has_admission_policies and facts.role is Role.SERVER
    if wants_policies and facts.version_is_known and not ADMISSION_POLICIES_APPLY.to(facts.role, facts.version):
        message = f"K3s {facts.version} does not load admission policies from files, so none is written"
        removal = setting_to(situation, "admission-policies", "")
        fix = steps(removal) if removal.location.line else NO_REPAIR  # the profile sets them
        yield Problem(message, f"{ADMISSION_POLICIES_APPLY.versions}, or no `admission-policies`", repair=fix)


@warning(
    repair="add a policy with a binding, or remove the directory from the configuration; then restart K3s",
)
def admission_policies_not_enforced(situation: Situation) -> Iterator[Problem]:
    """An admission policy from a file, or one of the settings, has no effect, or others can end it.

    The directory has no policy, a policy has no binding, the admission plugin is disabled, not only root can change the
    files, or the operator's admission configuration does not name the directory. K3s does not log that.
    """
    if situation.k3s_files.policies or situation.settings.has_admission_policies:
        from agent.findings import static_policy_directories

        yield from static_policy_directories.not_enforced(situation)


@error(
    blocks_gate=yes("The API server starts without the default standard that the guide requires."),
    prevents_start=no("The API server accepts the file."),
    repair="set `enforce: restricted` in the file, or remove the argument; then restart K3s",
)
def pod_security_not_enforced(situation: Situation) -> Iterator[Problem]:
    """The operator's admission configuration does not make `restricted` the default of Pod Security.

    K3s' configuration sets admission-control-config-file to another file than psa.yaml, and apply keeps that. The file
    must have an entry for PodSecurity with `enforce: restricted`. A waiver with the ID of the control accepts it.
    """
    for named, data in _own_admission_configuration(situation):
        from agent.findings.pod_security_configuration import not_enforced

        yield from not_enforced(situation, named, data)


@warning(repair="remove the exemptions, or list the namespaces in `pod-security.exempt-namespaces`")
def pod_security_exempts(situation: Situation) -> Iterator[Problem]:
    """The operator's admission configuration exempts more from Pod Security than the guide and the settings.

    Namespaces, users and runtime classes can be exempt. The pods of a Deployment are created by a service account of
    kube-system, so an exempt user can exempt the pods of all namespaces.
    """
    for named, data in _own_admission_configuration(situation):
        from agent.findings.pod_security_configuration import unexpected_exemptions

        yield from unexpected_exemptions(situation, named, data)


def _own_admission_configuration(situation: Situation) -> Iterator[tuple[NamedPath, bytes]]:
    """Yield the operator's admission configuration with its content, if the API server uses it for Pod Security."""
    facts, named = situation.facts, situation.k3s_files.own_admission
    if named is None or is_managed(situation, named.path):
        return
    from agent.harden.node.facts import not_run

    if not_run(Component.API_SERVER, facts):
        return
    data = situation.k3s_files.contents.get(named.path)
    # If apply does not write the drop-in, the argument of the present one remains.
    is_kept = any(refusal.id == str(facts.dropin_path) for refusal in situation.plan.refusals)
    is_read = not is_kept or named in situation.k3s_files.named_paths
    is_required = POD_SECURITY_ADMISSION.applies.to(facts.role, facts.version) and not facts.rancher_managed
    if data is not None and is_read and is_required:
        yield named, data


@error(
    blocks_gate=yes("The API server starts and writes no audit log."),
    prevents_start=no("The API server accepts the policy."),
    repair="correct the rules of the file; then restart K3s",
)
def audit_policy_logs_nothing(situation: Situation) -> Iterator[Problem]:
    """The audit policy of the operator logs no request, for example because all of its rules have the level None.

    A waiver with the ID of the control accepts it.
    """
    named = (item.path for item in situation.k3s_files.named_paths if item.option == AUDIT_POLICY_ARGUMENT)
    if not all(is_managed(situation, path) for path in named):
        from agent.findings.file_predictions import logs_nothing

        yield from logs_nothing(situation)


@k3s_exits(
    "The kubelet v1.35 and newer exits on a host with control groups of version 1.",
    repair="boot with control groups of version 2, or add fail-cgroupv1=false to kubelet-arg",
)
def cgroup_v1_refused(situation: Situation) -> Iterator[Problem]:
    """The host has control groups of version 1, and the kubelet exits there by default since v1.35.

    The kubelet's argument fail-cgroupv1=false is a way out until Kubernetes removes the support.
    """
    facts = situation.facts
    if facts.platform.has_cgroup_v1 and facts.version_is_known and facts.version.minor >= _WITHOUT_CGROUP_V1:
        from agent.findings.argument_predictions import accepts_cgroup_v1

        if not accepts_cgroup_v1(situation):
            message = "K3s does not start: the kubelet exits on a host with control groups of version 1"
            expected = "control groups of version 2, or kubelet-arg: fail-cgroupv1=false"
            edit = added(situation, Component.KUBELET.config_key, "fail-cgroupv1=false")
            others = Answer("No", "K3s runs until Kubernetes removes the support", (edit,))
            boot = Answer(
                "Yes", "append `systemd.unified_cgroup_hierarchy=1` to the kernel's command line, and boot", ()
            )
            fix = edit_of_k3s_config(Decide("Can this host boot with control groups of version 2?", (boot, others)))
            yield Problem(message, expected, "version 1", Location(PurePosixPath("/sys/fs/cgroup")), fix)


_WITHOUT_CGROUP_V1 = 35
"""The first minor whose kubelet has failCgroupV1 by default (pkg/kubelet/apis/config/v1beta1/defaults.go)."""


@k3s_exits("k3s agent exits at an option that it does not have.", repair="remove the option; then restart K3s")
def k3s_option_refused(situation: Situation) -> Iterator[Problem]:
    """An option is unknown to k3s agent, which exits at it, or is one of three at which K3s v1.25 exits.

    k3s server ignores an unknown option of its configuration files; k3s-option-ignored reports that. v1.26 removed
    cluster-secret, disable-selinux, no-deploy and no-flannel, at three of which v1.25 exits.
    """
    facts = situation.facts
    is_agent = facts.role is Role.AGENT
    for key, location in facts.operator_config.locations().items():
        is_fatal = key in FATAL_KEYS and facts.version.minor == FATAL_IN
        if is_fatal or (is_agent and _is_unknown(key, facts) and key not in SERVER_ONLY_KEYS - REMOVED_KEYS):
            meant = _meant(key, facts.role)
            edit = renamed_key(situation, key, location, meant)
            message = f"K3s does not start: `{shown(key)}` is not an option of k3s {facts.role} {facts.version}"
            yield misconfigured(message, edit, location, shown(key), meant)


@k3s_exits(
    "K3s exits at a value that it cannot parse or does not accept.", repair="correct the value; then restart K3s"
)
def k3s_option_invalid(situation: Situation) -> Iterator[Problem]:
    """An option of K3s has a value of the wrong kind, outside an enumeration, or without an option that it needs.

    Booleans, numbers, durations, IP addresses and CIDRs are checked. The rules are those of K3s v1.34 to v1.37.
    """
    facts = situation.facts
    if not CHECKED_KEYS.isdisjoint(facts.operator_config.values):
        from agent.findings.argument_predictions import is_described
        from agent.k3s import option_values

        is_server = facts.role is Role.SERVER
        for key, value, expected in option_values.invalid_options(facts.operator_config, is_server=is_server):
            if is_described(facts):
                message = f"K3s does not start: it rejects {key}: {shown(value.text)}"
                edits = without(situation, key, value.location, (value.text,))
                problem = misconfigured(message, edits, value.location, shown(value.text), expected)
                yield problem._replace(prediction=Prediction("agent/k3s/option_values.py", "k3s, pkg/cli/cmds"))


@warning(repair="correct or remove the option; then restart K3s")
def k3s_option_ignored(situation: Situation) -> Iterator[Problem]:
    """k3s server has no such option in this version, and ignores it with a warning in its log."""
    facts = situation.facts
    if facts.role is Role.SERVER:
        for key, location in facts.operator_config.locations().items():
            if _is_unknown(key, facts) and location.path in facts.configuration.files:
                meant = _meant(key, facts.role)
                edit = renamed_key(situation, key, location, meant)
                message = f"K3s ignores `{shown(key)}`, which is not an option of k3s server {facts.version}"
                yield misconfigured(message, edit, location, shown(key), meant)


def _meant(key: str, role: Role) -> str:
    """Return the option of this role that was meant by a misspelt one. A removed option is not misspelt."""
    return "" if key in REMOVED_KEYS else _spelling(role).meant(key)


@cache
def _spelling(role: Role) -> Spelling:
    from agent.k3s.options import Spelling  # few hosts have an unknown option

    return Spelling(sorted({*AGENT_KEYS, *(SERVER_ONLY_KEYS if role is Role.SERVER else ())} - REMOVED_KEYS))


def _is_unknown(key: str, facts: HostFacts) -> bool:
    """Return whether K3s of this version has no such option. False in a version that may have new options."""
    if key in REMOVED_KEYS:
        return facts.version_is_known and facts.version.minor >= REMOVED_IN
    is_covered = facts.version_is_known and facts.version.minor <= NEWEST_KNOWN.minor
    return is_covered and key not in AGENT_KEYS and key not in SERVER_ONLY_KEYS and key not in ALIASES


@note(
    repair="compare the arguments with the reference of that version of Kubernetes; if it is unknown, pass it",
    traits=Trait.NOT_CHECKED,
)
def component_arguments_not_checked(situation: Situation) -> Iterator[Problem]:
    """The arguments of components are not checked, because the tables do not describe this version of Kubernetes."""
    if _has_arguments(situation):
        from agent.findings.argument_predictions import is_described, with_arguments
        from agent.k3s.components.tables import FIRST_MINOR, LAST_MINOR

        components = with_arguments(situation.facts)
        if components and not is_described(situation.facts):
            known = situation.facts.version_is_known
            minor = situation.facts.version.minor
            named = f"version {situation.facts.version}" if known else "an unknown version"
            fix = ""
            if known and minor < FIRST_MINOR:
                fix = (
                    f"k3s-harden checks arguments of v1.{FIRST_MINOR} to v1.{LAST_MINOR}; compare these with the"
                    f" reference of the component for Kubernetes v1.{minor}"
                )
            elif known:
                fix = "upgrade k3s-harden if a newer release exists"
            yield Problem(
                f"k3s-harden cannot tell whether {' and '.join(components)} of {named} will accept the configured "
                "arguments",
                repair=instruction(fix) if fix else steps(version.question("check")),
            )
