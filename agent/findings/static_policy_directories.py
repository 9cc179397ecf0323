"""Evaluation of the directories from which the API server loads admission policies. Loaded only if there is one."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.repair import Instruction, Restart, Run
from agent.base.yaml_reader import shown
from agent.findings.admission import listed_plugins
from agent.findings.file_predictions import context_of
from agent.findings.registry import Problem, by_owner, instruction, is_managed, of_file, steps
from agent.harden.desired.dropin_options import DISABLED_PLUGINS_ARGUMENT
from agent.k3s.components.files.decoding import FileRejectionError
from agent.k3s.components.files.static_policies import ignores_configurations, objects_of, rejected_directory
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import PurePosixPath

    from agent.harden.situation import Situation
    from agent.k3s.components.files.static_policies import PolicyObject


def rejected(situation: Situation) -> Iterator[Problem]:
    """Yield why the API server does not start with the policies of a directory."""
    context = context_of(situation, Component.API_SERVER)
    for directory, files in situation.k3s_files.policies.items():
        for error in rejected_directory(directory, files, context):
            location = error.location
            target = directory.path if files is None else location.path
            fix = (Instruction(f"correct {location.path}"),) if files is None else of_file(location)
            yield Problem(
                f"K3s does not start: {error.problem}",
                location=location,
                repair=by_owner(situation, target, steps(*fix, restart=Restart.K3S)),
                prediction=error.prediction if isinstance(error, FileRejectionError) else None,
            )


def not_enforced(situation: Situation) -> Iterator[Problem]:
    """Yield the directories and policies that the API server loads, and that protect nothing."""
    own = situation.k3s_files.own_admission
    if situation.settings.has_admission_policies and own is not None and not is_managed(situation, own.path):
        message = f"the API server does not load the policies of the settings: it reads {own.path}"
        fix = instruction("add the entries of `k3s-harden render psa` for the policies to the file", own.location)
        yield Problem(message, location=own.location, repair=fix)
    for path, entry in situation.k3s_files.open_policies.items():
        message, name = f"others than root can change {path}, and so switch its policies off", quote(str(path))
        expected, found = "mode 0755 or stricter, owner root:root", f"mode {entry.mode}, owner {entry.owner}"
        fix = steps(Run(f"sudo chown root:root {name}"), Run(f"sudo chmod go-w {name}"))
        yield Problem(message, expected, found, Location(path), fix)
    disabled = listed_plugins(situation, DISABLED_PLUGINS_ARGUMENT)
    for directory, files in situation.k3s_files.policies.items():
        objects = objects_in(files)
        if objects is None:
            continue  # K3s does not start with it
        policies = [item for item in objects if not item.is_binding]
        bound = {item.policy for item in objects if item.is_binding}
        name = shown(str(directory.path))
        if ignores_configurations(situation.facts.version.minor):
            yield _problem(f"K3s {situation.facts.version} does not load policies from {name}", directory.location)
            continue
        if directory.plugin in disabled:
            location = disabled[directory.plugin][0].location
            yield _problem(f"no policy in {name} is enforced: {directory.plugin} is disabled", location)
        elif not policies:
            yield _problem(f"there is no policy in {name}", directory.location)
        for item in policies:
            if item.name not in bound:
                location = Location(item.path, item.node.line)
                yield _problem(f"the policy {shown(item.name)} is not enforced: no binding names it", location)


def objects_in(files: Mapping[PurePosixPath, bytes | None] | None) -> list[PolicyObject] | None:
    """Return the objects of a directory; None if the API server cannot load it."""
    if files is None or None in files.values():
        return None
    try:
        return [item for path, data in files.items() for item in objects_of(data or b"", path)]
    except InputError:
        return None


def _problem(message: str, location: Location) -> Problem:
    step = Instruction("add a policy with a binding, or remove the directory from the configuration", location)
    return Problem(message, location=location, repair=steps(step))
