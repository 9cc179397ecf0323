"""Predictions about the files that the arguments of components name. Loaded only if there is such a file."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.repair import Restart, RunVerb, moved_away
from agent.base.report import Prediction
from agent.findings.admission import listed_plugins
from agent.findings.config_edits import without_argument
from agent.findings.registry import (
    Problem,
    by_owner,
    edit_of_k3s_config,
    is_managed,
    of_file,
    steps,
)
from agent.harden.desired.dropin_options import (
    ADMISSION_CONFIGURATION_ARGUMENT,
    ADMISSION_PLUGINS_ARGUMENT,
    AUDIT_POLICY_ARGUMENT,
    DISABLED_PLUGINS_ARGUMENT,
)
from agent.harden.guide.guide_files import AUDIT_POLICY
from agent.harden.node.facts import not_run
from agent.k3s import admission_configuration, audit_policy
from agent.k3s.admission_configuration import POD_SECURITY
from agent.k3s.components.effective_arguments import FEATURE_GATES
from agent.k3s.components.files.api_server_files import rejected_content
from agent.k3s.components.files.decoding import FileRejectionError
from agent.k3s.components.files.file_rules import FileContext
from agent.k3s.components.files.static_policies import PLUGINS as POLICY_PLUGINS
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.harden.desired.dropin_options import NamedPath
    from agent.harden.situation import Situation

RULE_THAT_LOGS = "a rule with the level Metadata or higher"


def rejected(situation: Situation) -> Iterator[Problem]:
    """Yield the files that a component of this host cannot use."""
    facts = situation.facts
    running = {component for component in Component if not not_run(component, facts)}
    yield from _unusable(situation, running)
    for named in situation.k3s_files.named_paths:
        data = situation.k3s_files.contents.get(named.path)
        if data is not None and named.component in running and not situation.is_as_applied(named.path):
            for problem in _invalid_content(situation, named, data):
                yield _problem(situation, named, problem)


def logs_nothing(situation: Situation) -> Iterator[Problem]:
    """Yield an audit policy that logs no request."""
    if situation.waivers.covering(AUDIT_POLICY.id, AUDIT_POLICY_ARGUMENT) is not None:
        return
    for named in situation.k3s_files.named_paths:
        data = situation.k3s_files.contents.get(named.path)
        if named.option == AUDIT_POLICY_ARGUMENT and data is not None and not is_managed(situation, named.path):
            with suppress(InputError):  # the API server exits, or the file is too large to be read
                for found in without_rules_that_log(named.path, data):
                    key, at = Component.API_SERVER.config_key, named.location
                    removal = without_argument(situation, key, AUDIT_POLICY_ARGUMENT, at)
                    yield found._replace(repair=steps(*removal, RunVerb("apply"), restart=Restart.K3S))


def without_rules_that_log(path: PurePosixPath, data: bytes) -> Iterator[Problem]:
    """Yield the case of an audit policy that logs no request, without its remediation. Raises InputError."""
    line = audit_policy.why_nothing_is_logged(data, path)
    if line is not None:
        message, location = "the audit policy logs no request", Location(path, line)
        yield Problem(message, RULE_THAT_LOGS, "no rule that logs", location)


def _unusable(situation: Situation, running: set[Component]) -> Iterator[Problem]:
    values = situation.facts.merged_config.argument(Component.API_SERVER, "audit-log-path")
    named = [
        (file.option, file.path, file.location)
        for file in situation.k3s_files.named_paths
        if file.component is None or file.component in running
    ]
    if Component.API_SERVER in running:
        named += [("audit-log-path", PurePosixPath(value.text), value.location) for value in values[-1:]]
    for option, path, location in named:
        kind = situation.k3s_files.unusable.get(path)
        if kind is not None:
            message = f"K3s does not start: {path} is a {kind}, and {option} requires a file"
            fix = by_owner(situation, path, edit_of_k3s_config(moved_away(path)))
            yield Problem(message, "a file", f"a {kind}", location, fix)


def _invalid_content(situation: Situation, named: NamedPath, data: bytes) -> Iterable[InputError]:
    """Return what a component rejects in a file that an argument names."""
    component = named.component
    if component is None:
        return ()
    if named.option == ADMISSION_CONFIGURATION_ARGUMENT:
        try:
            admission_configuration.configured_plugins(data, named.path)
        except InputError:
            return ()  # admission-configuration-unusable reports it
    return rejected_content(component, named.option, data, named.path, context_of(situation, component))


_ON_BY_DEFAULT = (POD_SECURITY, *POLICY_PLUGINS)


def context_of(situation: Situation, component: Component) -> FileContext:
    """Return what the meaning of a file of a component depends on."""
    facts, files = situation.facts, situation.k3s_files
    arguments = situation.arguments(component).found
    gates = arguments[FEATURE_GATES].value if FEATURE_GATES in arguments else ""
    on, off = (listed_plugins(situation, name) for name in (ADMISSION_PLUGINS_ARGUMENT, DISABLED_PLUGINS_ARGUMENT))
    return FileContext(
        minor=facts.version.minor if facts.version_is_known else 0,
        arguments={name: argument.value for name, argument in arguments.items()},
        gates=set(re.findall("[A-Za-z0-9]+", gates)),
        is_missing=lambda file: file.is_absolute() and (file not in files.contents or file in files.unusable),
        content=files.contents.get,
        uses_plugin=lambda name: name not in off if name in _ON_BY_DEFAULT else name in on,
    )


def _problem(situation: Situation, named: NamedPath, problem: InputError) -> Problem:
    key = named.component.config_key if named.component else ""
    removal = without_argument(situation, key, named.option, named.location)
    by_hand = edit_of_k3s_config(*of_file(problem.location, *removal))
    # No row of a table has a problem of the reader.
    by_reader = Prediction(
        f"agent/k3s/components/files/api_server_files.py, {named.option}", f"{named.component or 'k3s'}"
    )
    return Problem(
        f"K3s does not start: the file of {named.option} is invalid: {problem.problem}",
        location=problem.location,
        repair=by_owner(situation, named.path, by_hand),
        prediction=(isinstance(problem, FileRejectionError) and problem.prediction) or by_reader,
    )
