"""Arguments that a field of a file decides, if the operator names that file for the component."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.assess.checks.answer import Answer, ControlStatus, Evidence, undetermined
from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.repair import Repair, Restart
from agent.base.yaml_reader import Scalar, YamlMapping, YamlSequence, first_object
from agent.k3s.components.effective_arguments import GivenBy

if TYPE_CHECKING:
    from agent.assess.checks.assessed_node import AssessedNode
    from agent.base.yaml_reader import Node
    from agent.harden.guide.criteria import Criterion
    from agent.k3s.components.effective_arguments import UnknownArgument


_FIELDS = {
    "anonymous-auth": ("anonymous.enabled", "true"),
    "authorization-mode": ("authorizers[].type", ""),
    "metrics-bind-address": ("metricsBindAddress", ""),
    "profiling": ("enableProfiling", "true"),
}
"""By argument, the field that decides it, and the value without the field; empty for the component's own default.

After `[]`, the key is one of each item of a list. harden/node/arguments/unknown.py has the reason for each.
"""


def answer_by_file(
    name: str, criterion: Criterion, why: UnknownArgument, node: AssessedNode, *, unset_passes: bool
) -> Answer:
    """Return the answer for an unknown argument: by the file that decides it, if it can be read."""
    data = node.situation.k3s_files.contents.get(PurePosixPath(why.file)) if why.file else None
    if data is None or name not in _FIELDS:
        return undetermined(why)
    path, (field, default) = PurePosixPath(why.file), _FIELDS[name]
    try:
        root = first_object(data, path)
    except InputError:
        return undetermined(why)
    if not isinstance(root, YamlMapping):
        return undetermined(why)
    found = _scalars(root, field)
    value = ",".join(scalar.text for scalar in found) or default
    line = found[0].line if found else root.line
    shown = f"{field}: {value}" if found else f"{field} is not set"
    evidence = (Evidence(why.observation, why.location), Evidence(shown, Location(path, line)))
    if criterion.accepts(value) if value else unset_passes:
        return Answer(ControlStatus.PASS, shown, evidence, given_by=GivenBy.OPERATOR)
    return Answer(ControlStatus.FAIL, shown, evidence, repair=Repair(why.steps, Restart.K3S))


def _scalars(root: YamlMapping, path: str) -> list[Scalar]:
    nodes: list[Node] = [root]
    for key in path.split("."):
        inner = [
            found for node in nodes if isinstance(node, YamlMapping) and (found := node.get(key.removesuffix("[]")))
        ]
        nodes = [item for node in inner for item in (node.items if isinstance(node, YamlSequence) else (node,))]
    return [node for node in nodes if isinstance(node, Scalar) and node.value is not None]
