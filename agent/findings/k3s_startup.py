"""Findings about what K3s and its components read when they start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.errors import InputError, LimitError
from agent.base.model import Location
from agent.base.repair import Answer, Decide, Restart, Run, RunVerb, moved_away
from agent.base.report import Trait
from agent.base.yaml_reader import BoundsError
from agent.findings.admission import listed_plugins, of_the_operator
from agent.findings.config_edits import (
    setting_to,
    without,
    without_argument,
    without_name,
    without_own_admission,
)
from agent.findings.registry import (
    APPLY,
    Problem,
    by_owner,
    edit_of_k3s_config,
    error,
    file_removal,
    is_managed,
    k3s_exits,
    misconfigured,
    no,
    of_file,
    quoted,
    steps,
    warning,
    written_by_apply,
    yes,
)
from agent.harden.desired.dropin_options import (
    ADMISSION_CONFIGURATION_ARGUMENT,
    ADMISSION_PLUGINS_ARGUMENT,
    AUDIT_POLICY_ARGUMENT,
)
from agent.harden.guide.guide_files import POD_SECURITY_ADMISSION
from agent.harden.settings.schema import setting_row
from agent.k3s import admission_configuration, audit_policy
from agent.k3s.options import SERVER_ONLY_KEYS, TOKEN_FILE_KEYS
from agent.k3s.roles_and_versions import Component, Role

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.base.errors import HardenError
    from agent.harden.situation import Situation

_EVENT_RATE_LIMIT = "EventRateLimit"
_SMALLER = steps(
    Decide(
        "Can this configuration be smaller, such as by merging drop-ins?",
        (Answer("Yes", "the gate reads all of it", ()), Answer("No", "the gate blocks K3s", ())),
    )
)
_NEED_CONFIGURATION = (_EVENT_RATE_LIMIT, "ImagePolicyWebhook")
"""Plugins without a default configuration (kubernetes, plugin/pkg/admission)."""


@k3s_exits(
    "K3s exits if it cannot parse a file of its configuration, and waits forever at a FIFO.",
    repair="correct the YAML or the value, or remove the directory, FIFO or broken link",
)
def k3s_config_broken(situation: Situation) -> Iterator[Problem]:
    """K3s cannot read a file of its configuration.

    The file is not valid YAML, an option has a value of the wrong kind, or something other than a file is in its place,
    such as a directory or a symlink that leads to itself.
    """
    for problem in situation.facts.merged_config.startup_problems(situation.facts.role):
        fix = steps(*of_file(problem.location))
        yield Problem(f"K3s does not start: {problem.problem}", location=problem.location, repair=fix)
    for problem in situation.facts.configuration.invalid_files:
        fix = steps(moved_away(problem.location.path))
        yield Problem(f"K3s does not start: {problem.message}", location=problem.location, repair=fix)


@error(
    blocks_gate=yes("K3s reads what this program did not, and can start with any option."),
    prevents_start=no("The content is not known."),
    repair="make the file smaller, or remove drop-ins; then restart K3s",
    traits=Trait.NOT_CHECKED,
)
def k3s_config_not_read(situation: Situation) -> Iterator[Problem]:
    """A part of K3s' configuration exceeds a limit of this program, but not those of K3s and systemd.

    It is too large, too deeply nested, or one of too many drop-ins. The configuration includes the services that start
    K3s, their drop-ins and their environment files.
    """
    for problem in not_read(situation):
        location = problem.location if isinstance(problem, InputError) else None
        yield Problem(problem.message, location=location, repair=_SMALLER)


def not_read(situation: Situation) -> Iterator[HardenError]:
    """Yield the errors of what exceeds a limit of this program in K3s' configuration.

    Other errors are not included: what root cannot read, K3s cannot read either.
    """
    errors = {error.message: error for error in situation.facts.configuration.unreadable}
    return (error for error in errors.values() if isinstance(error, (LimitError, BoundsError)))


@error(
    blocks_gate=yes("K3s starts without the hardened configuration."),
    prevents_start=no("K3s continues without its configuration files."),
    repair="remove the file",
)
def k3s_config_ignored(situation: Situation) -> Iterator[Problem]:
    """A drop-in of K3s' configuration is a symbolic link to a missing file, so K3s ignores all configuration files."""
    for path in situation.facts.configuration.broken_links:
        message = "K3s ignores all files of its configuration: this drop-in is a symbolic link to a missing file"
        yield Problem(message, location=Location(path), repair=file_removal(path))


@k3s_exits("k3s agent exits at an option of k3s server.", repair="remove the option")
def server_key_on_agent(situation: Situation) -> Iterator[Problem]:
    """The configuration of an agent sets an option that only k3s server has. systemd restarts k3s agent forever."""
    if situation.facts.role is Role.AGENT:
        for key, location in situation.facts.merged_config.locations().items():
            if key in SERVER_ONLY_KEYS:
                message = f"K3s does not start: `{key}` is not a valid k3s agent option"
                yield misconfigured(message, without(situation, key, location), location, key)


@k3s_exits(
    "The API server exits if its audit policy is missing, invalid, or has no rules.",
    repair="correct the file, or run `sudo k3s-harden apply` if it is one of k3s-harden; then restart K3s",
)
def audit_policy_unusable(situation: Situation) -> Iterator[Problem]:
    """The audit policy of the API server is missing, is invalid, or has no rules."""
    for path, location in _named(situation, AUDIT_POLICY_ARGUMENT):
        if path not in situation.k3s_files.contents:
            missing = Problem("K3s does not start: its audit policy is missing", found=str(path), location=location)
            yield _repaired(missing, situation, path, location)
        data = situation.k3s_files.contents.get(path)
        if data is None or situation.is_as_applied(path):
            continue
        for problem in audit_policy.rejected_by_version(data, path, situation.facts.known_version):
            message = f"K3s does not start: its audit policy is invalid: {problem.problem}"
            yield _repaired(Problem(message, location=problem.location), situation, path, location)


@k3s_exits(
    "The API server exits if the file is missing or invalid, or lacks a plugin's configuration.",
    repair="correct the file, or run `sudo k3s-harden apply` if it is one of k3s-harden; then restart K3s",
)
def admission_configuration_unusable(situation: Situation) -> Iterator[Problem]:
    """The admission configuration of the API server is missing or invalid.

    The plugins EventRateLimit and ImagePolicyWebhook require an entry in that file if they are enabled.
    """
    enabled = listed_plugins(situation, ADMISSION_PLUGINS_ARGUMENT)
    needing = {name: of_the_operator(situation, enabled[name]) for name in _NEED_CONFIGURATION if name in enabled}
    configured: set[str | None] = set()
    for path, location in _named(situation, ADMISSION_CONFIGURATION_ARGUMENT):
        if not needing and situation.is_as_applied(path):
            continue
        found = _configured_plugins(situation, path)
        if isinstance(found, InputError):
            is_missing = path not in situation.k3s_files.contents
            what = found.problem if is_missing else f"is invalid: {found.problem}"
            message, at = f"K3s does not start: its admission configuration {what}", found.location
            yield _repaired(Problem(message, location=location if is_missing else at), situation, path, location)
            return
        configured |= found
    for name, values in needing.items():
        if name not in configured:
            message = f"K3s does not start: the admission plugin {name} has no configuration"
            expected = f"an entry in the file of {ADMISSION_CONFIGURATION_ARGUMENT}"
            at, key = values[0].location, Component.API_SERVER.config_key
            fix = edit_of_k3s_config(*without_name(situation, key, name, at, ADMISSION_PLUGINS_ARGUMENT))
            row = setting_row("event-rate-limit")
            if name == _EVENT_RATE_LIMIT and row.applies.to(situation.facts.role, situation.facts.version):
                is_set = row.differs_from_default(situation.settings)
                setting = () if is_set else (setting_to(situation, row.key, row.example),)
                psa = written_by_apply(situation, str(situation.facts.data_dir / POD_SECURITY_ADMISSION.path))
                fix = steps(*without_own_admission(situation), *setting, *psa.steps, alternative=fix)
            yield Problem(message, expected, values[0].text, values[0].location, fix)


@warning(
    repair="create or correct the file, or remove the argument; then run `sudo k3s-harden apply`, and restart K3s",
)
def operator_file_replaced(situation: Situation) -> Iterator[Problem]:
    """The operator's audit policy or admission configuration is missing or invalid, so K3s uses that of the hardening.

    The drop-in sets the argument after the operator's. When the operator's file is usable, the next apply removes the
    argument from the drop-in, and K3s reads the operator's file from its next start on.
    """
    facts = situation.facts
    for name in (AUDIT_POLICY_ARGUMENT, ADMISSION_CONFIGURATION_ARGUMENT):
        values = facts.merged_config.argument(Component.API_SERVER, name)
        if not values or values[-1].location.path != facts.dropin_path:
            continue
        for value in values[:-1]:
            if value.text in facts.unusable_files:
                message = f"K3s uses {values[-1].text} instead of {value.text}: {facts.unusable_files[value.text]}"
                edits = without_argument(situation, Component.API_SERVER.config_key, name, value.location)
                fix = steps(*edits, RunVerb("apply"), restart=Restart.K3S)
                yield Problem(message, found=value.text, location=value.location, repair=fix)


@k3s_exits("The component that reads the file exits.", repair="create the file, or correct the path")
def named_file_missing(situation: Situation) -> Iterator[Problem]:
    """K3s' configuration sets an argument of a component to a file that does not exist."""
    for option, path, location, component in situation.k3s_files.named_paths:
        if (
            option not in {AUDIT_POLICY_ARGUMENT, ADMISSION_CONFIGURATION_ARGUMENT, *TOKEN_FILE_KEYS}
            and path not in situation.k3s_files.contents
        ):
            message = f"K3s does not start: the file of {option} does not exist"
            key = component.config_key if component else option
            edits = (
                without_argument(situation, key, option, location) if component else without(situation, key, location)
            )
            yield misconfigured(message, edits, location, str(path))


@warning(repair="write the token of the cluster to the file, mode 0600")
def token_file_missing(situation: Situation) -> Iterator[Problem]:
    """K3s' configuration names a file with a token, and the file does not exist.

    K3s waits up to four minutes for the file, because another service can deliver it, and then exits.
    """
    for option, path, location, _ in situation.k3s_files.named_paths:
        if option in TOKEN_FILE_KEYS and path not in situation.k3s_files.contents:
            message = f"K3s waits for the file of {option}, and exits after four minutes"
            command = f"sudo install -m 0600 /dev/stdin {quoted(path)}"
            answers = (
                Answer("Yes", "it is written from the standard input", (Run(command),)),
                Answer("No", "K3s starts as soon as another service delivers it", ()),
            )
            fix = steps(Decide("Is the token known, and does no other service deliver it?", answers))
            yield Problem(message, found=f"{path} does not exist", location=location, repair=fix)


def _repaired(problem: Problem, situation: Situation, path: PurePosixPath, location: Location) -> Problem:
    """Return the case of a file that K3s' configuration names at a location, with its remediation."""
    option = next(named.option for named in situation.k3s_files.named_paths if named.location == location)
    removal = (*without_argument(situation, Component.API_SERVER.config_key, option, location), *APPLY.steps)
    is_there = path in situation.k3s_files.contents
    of_it = of_file(problem.location or Location(path), *removal) if is_there else removal
    fix = by_owner(situation, path, edit_of_k3s_config(*of_it))
    return problem._replace(repair=fix, resource=str(path) if is_managed(situation, path) else "")


def _named(situation: Situation, option: str) -> list[tuple[PurePosixPath, Location]]:
    return [(path, location) for name, path, location, _ in situation.k3s_files.named_paths if name == option]


def _configured_plugins(situation: Situation, path: PurePosixPath) -> frozenset[str | None] | InputError:
    """Return the plugins with an entry in an AdmissionConfiguration, or what is wrong with the file."""
    if path not in situation.k3s_files.contents:
        return InputError(Location(path), f"{path} is missing")
    data = situation.k3s_files.contents[path]
    if data is None:
        return frozenset(_NEED_CONFIGURATION)  # not-readable reports it
    try:
        return admission_configuration.configured_plugins(data, path)
    except InputError as error:
        return error
