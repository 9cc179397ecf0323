"""Owner and steps of the fix for a control on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.assessment import ControlStatus
from agent.checks.argument_values import GivenBy
from agent.checks.corrections import append_to_list
from agent.desired.dropin_options import ADMISSION_PLUGINS_ARGUMENT, all_plugins, configured_values, plugins_joined
from agent.guide.k3s_options import OptionRow
from agent.k3s.paths import K3S_CONFIG_FILE
from agent.model import NO_REMEDIATION, FixOwner, Instruction, Location, OwnCommand, Remediation, Restart
from agent.node.facts import RANCHER_DROPIN
from agent.settings.schema import DEFAULT_SETTINGS, setting_row
from agent.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import PurePosixPath

    from agent.benchmark.control import BenchmarkControl
    from agent.checks.answer import Answer
    from agent.checks.assessed_node import AssessedNode
    from agent.checks.check import Check
    from agent.desired.dropin_options import ExpectedOption
    from agent.model import Step
    from agent.settings.schema import SettingRow

_APPLY = OwnCommand("apply")
_CLUSTER_OBJECT = Instruction(
    "edit the Cluster object below spec.rkeConfig, in machineGlobalConfig or in the machineSelectorConfig of this node"
)
_RATE_LIMIT = "event-rate-limit"
"""The setting of a plugin that needs a configuration of its own, which `apply` writes."""
_RENDER = OwnCommand("render", ("rancher-cluster",))


def remediation_of(control: BenchmarkControl, check: Check, answer: Answer, node: AssessedNode) -> Remediation:
    """Return the fix for an open control, with its owner. If it passes, the owner is the party that meets it."""
    if answer.status is ControlStatus.NOT_APPLICABLE:
        return NO_REMEDIATION
    if answer.status is ControlStatus.PASS:
        return Remediation(owner=_provider(control, answer, node))
    if answer.status is ControlStatus.FAIL and not answer.is_specific:
        fix = None if answer.needs else _in_operators_list(control, check, node)
        return _in_order(fix or _fix(control, check, answer, node), node)
    if answer.status is ControlStatus.UNKNOWN and answer.remediation == Remediation():
        return Remediation((OwnCommand("explain", (control.id,)), Instruction("check the control by hand")))
    return _in_order(answer.remediation, node)


def _in_order(remediation: Remediation, node: AssessedNode) -> Remediation:
    """Return the steps so that each is right when it is carried out.

    Edits of one file begin with its last line: a removal changes the numbers of the lines below it. The drop-in of
    this program is never edited: `apply` writes it.
    """
    steps: list[Step] = []
    edits: list[Instruction] = []
    rewrites = False
    for step in remediation.steps:
        if not isinstance(step, Instruction) or step.location is None or not step.location.line:
            steps += [*_upwards(edits), step]
            edits = []
        elif step.location.path == node.facts.dropin_path:
            rewrites = True
        else:
            edits.append(step)
    steps += _upwards(edits)
    if rewrites and not any(isinstance(step, OwnCommand) and step.verb == "apply" for step in steps):
        repair = node.repair_of(node.facts.dropin_path)
        steps += [step for step in repair.steps if step not in steps]
    alternative = remediation.alternative and _in_order(remediation.alternative, node)
    return replace(remediation, steps=tuple(steps), alternative=alternative)


def _upwards(edits: Iterable[Instruction]) -> list[Instruction]:
    """Return the edits with those of one file from its last line to its first; files stay in their order."""
    by_file: dict[str, list[Instruction]] = {}
    for edit in edits:
        by_file.setdefault(str(edit.location.path) if edit.location else "", []).append(edit)
    return [
        edit
        for inside in by_file.values()
        for edit in sorted(inside, key=lambda one: -(one.location.line if one.location else 0))
    ]


def _provider(control: BenchmarkControl, answer: Answer, node: AssessedNode) -> FixOwner:
    if answer.given_by is None:
        return FixOwner.NONE
    if answer.given_by is GivenBy.DROPIN:
        return FixOwner.APPLY
    if answer.given_by is GivenBy.K3S:
        setting = _setting(control)
        is_applied = setting is not None and setting.differs_from_default(node.situation.settings)
        return FixOwner.APPLY if is_applied else FixOwner.K3S
    return FixOwner.OPERATOR


def _fix(control: BenchmarkControl, check: Check, answer: Answer, node: AssessedNode) -> Remediation:
    if check is not control.check:
        control = replace(control, remediation=None)  # its own is for benchmarks that require `control.check`
    is_argument = check.is_decided_by_argument
    if is_argument and node.facts.rancher_managed and not _is_of_this_node(answer):
        return _in_the_cluster(control, answer)
    begins = _later_list(control, check, node)
    first = (begins,) if begins is not None and _follows_dropin(begins.location, node) else ()
    if answer.needs:
        if answer.needs <= node.pending:
            return Remediation((_APPLY,), owner=FixOwner.APPLY)
    elif is_argument and _dropin_suffices(control, check, answer, node):
        if first:
            return Remediation((*first, _APPLY), restart=Restart.K3S)
        return Remediation((_APPLY,), FixOwner.APPLY, Restart.K3S if node.has_started else Restart.NOT_NEEDED)
    setting = _setting(control)
    has_effect = setting is not None and setting.applies.to(node.facts.role, node.facts.version)
    is_default = setting is not None and not setting.differs_from_default(node.situation.settings)
    if setting and has_effect and is_default and not _is_single_value_of_operator(check, answer):
        by_hand = NO_REMEDIATION if is_argument else _by_hand(control, answer, node)
        caution = (Instruction(control.caution),) if control.caution else ()
        return Remediation(
            (*caution, *first, Instruction(f"add `{setting.line}`", Location(DEFAULT_SETTINGS)), _APPLY),
            restart=Restart.K3S if is_argument else Restart.NOT_NEEDED,
            alternative=by_hand if by_hand.steps else None,
        )
    if _is_of_dropin(control, check, answer) and not node.facts.rancher_managed:
        by_hand = control.with_caution(_plugins(check, node))
    else:
        by_hand = _by_hand_in_list(begins, control, answer, node)
    return by_hand


def _is_single_value_of_operator(check: Check, answer: Answer) -> bool:
    """Return whether the operator's value must be corrected at its location, as the drop-in may not override it."""
    is_list = [one.name for one in check.arguments] == [ADMISSION_PLUGINS_ARGUMENT]
    return check.is_decided_by_argument and not is_list and _is_set_by_hand(answer)


def _is_of_dropin(control: BenchmarkControl, check: Check, answer: Answer) -> bool:
    """Return whether the control requires an admission plugin, and the drop-in sets the list, now or after `apply`.

    The API server reads one list: an edit of K3s' main file has to repeat the plugins of the drop-in.
    """
    is_list = [one.name for one in check.arguments] == [ADMISSION_PLUGINS_ARGUMENT]
    return is_list and control.remediation is not None and not _is_set_by_hand(answer)


def _in_operators_list(control: BenchmarkControl, check: Check, node: AssessedNode) -> Remediation | None:
    """Return the edits of the operator's own list of plugins, so that no second list is needed; None if there is none.

    The API server enables the plugins of all lists, and scanners read only the first one.
    """
    if node.facts.rancher_managed or [one.name for one in check.arguments] != [ADMISSION_PLUGINS_ARGUMENT]:
        return None
    (required,) = check.arguments
    value = required.criterion.suggestion(all_plugins(node.situation.settings, node.facts))
    edits = plugins_joined(value, node.facts) if value else ()
    if not edits:
        return None
    begins = _later_list(control, check, node)
    first = (begins,) if begins is not None and _follows_dropin(begins.location, node) else ()
    setting = _setting(control)
    is_rate_limit = setting is not None and setting.key == _RATE_LIMIT
    has_effect = setting is not None and setting.applies.to(node.facts.role, node.facts.version)
    if setting and is_rate_limit and has_effect and not setting.differs_from_default(node.situation.settings):
        add = Instruction(f"add `{setting.line}`", Location(DEFAULT_SETTINGS))
        return Remediation((*first, *edits, add, _APPLY), restart=Restart.K3S)
    return control.with_caution(Remediation((*first, *edits, _APPLY), restart=Restart.K3S))


def _plugins(check: Check, node: AssessedNode) -> Remediation:
    """Return the edit that adds a plugin to those in effect; `apply` then removes the list from the drop-in."""
    (required,) = check.arguments
    expected, present = node.options_to_set.get(required.name), node.arguments(required.component).get(required.name)
    value = expected.value if expected is not None else present.value if present is not None else ""
    text = f"set `{required.name}={required.criterion.suggestion(value)}` in the list `{required.component.config_key}`"
    return Remediation((Instruction(text, Location(node.facts.configuration.path)), _APPLY), restart=Restart.K3S)


def _by_hand_in_list(
    begins: Instruction | None, control: BenchmarkControl, answer: Answer, node: AssessedNode
) -> Remediation:
    """Return the edit by hand, after that of a drop-in which would drop what is added to K3s' main file."""
    by_hand = _by_hand(control, answer, node)
    is_in_main_file = begins is None or begins.location is None or begins.location.path == node.facts.configuration.path
    if begins is None or is_in_main_file or _is_set_by_hand(answer):
        return by_hand
    return replace(by_hand, steps=(begins, *by_hand.steps))


def _setting(control: BenchmarkControl) -> SettingRow | None:
    """Return the setting that makes `apply` implement a control, if there is one."""
    return setting_row(control.setting) if control.setting else None


def _by_hand(control: BenchmarkControl, answer: Answer, node: AssessedNode) -> Remediation:
    """Return the edit of a set value; if there is none, the fix of the control or of the check."""
    if control.remediation is None or (_is_set_by_hand(answer) and answer.remediation.steps):
        return control.with_caution(answer.remediation)
    own = control.remediation
    steps = _with_config_file(own.steps, node.facts.configuration.path)
    option = node.facts.merged_config.scalar(control.guide.key) if isinstance(control.guide, OptionRow) else None
    if option and isinstance(control.guide, OptionRow) and not control.guide.name:
        steps = (*steps, Instruction(f"change `{control.guide.key}: {option.text}`", option.location))
    return control.with_caution(replace(own, steps=steps))


def _with_config_file(steps: Iterable[Step], path: PurePosixPath | None) -> tuple[Step, ...]:
    """Return the steps of a control with this host's main configuration file of K3s; None for no file at all."""
    return tuple(
        Instruction(step.text, Location(path) if path else None)
        if isinstance(step, Instruction) and step.location == Location(K3S_CONFIG_FILE)
        else step
        for step in steps
    )


def _is_set_by_hand(answer: Answer) -> bool:
    """Return whether the value that decides is set in K3s' configuration or in a file of the kubelet."""
    return answer.given_by in (GivenBy.OPERATOR, GivenBy.KUBELET_FILE)


def _later_list(control: BenchmarkControl, check: Check, node: AssessedNode) -> Instruction | None:
    """Return the edit of the line where the argument's list begins, so that it keeps the values of earlier files."""
    is_list = not isinstance(control.guide, OptionRow) or bool(control.guide.name)
    if not check.arguments or not is_list:
        return None
    key = check.arguments[0].component.config_key
    begins = node.facts.merged_config.begins.get(key)
    return append_to_list(key, begins) if begins is not None else None


def _is_of_this_node(answer: Answer) -> bool:
    """Return whether the value is set in a file that the operator wrote, not Rancher."""
    names = {one.location.path.name for one in answer.evidence if one.location}
    return _is_set_by_hand(answer) and RANCHER_DROPIN not in names


def _in_the_cluster(control: BenchmarkControl, answer: Answer) -> Remediation:
    """Return the edit of the Cluster object, from which Rancher writes K3s' configuration of its nodes."""
    if isinstance(control.guide, OptionRow):
        return Remediation((_RENDER, Instruction("put the output into the Cluster object")))
    own = control.remediation
    if own is None or _is_set_by_hand(answer):
        own = answer.remediation
    steps = control.with_caution(Remediation(_with_config_file(own.steps, None))).steps
    return Remediation((_CLUSTER_OBJECT, *steps))


def _dropin_suffices(control: BenchmarkControl, check: Check, answer: Answer, node: AssessedNode) -> bool:
    """Return whether `apply` would write an option to the drop-in that fixes this."""
    option = _option_to_set(control, check, node)
    if option is None or str(node.facts.dropin_path) not in node.pending:
        return False
    is_same = len(check.arguments) == 1 and check.arguments[0].name == option.row.name
    if is_same and not check.arguments[0].criterion.accepts(option.value):
        return False
    last = configured_values(node.facts.merged_config, option.row)[-1:]
    if not option.row.name:
        return not last or not _follows_dropin(last[0].location, node)
    if last and last[0].spelling:
        return False
    return not (_is_set_by_hand(answer) and any(_follows_dropin(one.location, node) for one in answer.evidence))


def _option_to_set(control: BenchmarkControl, check: Check, node: AssessedNode) -> ExpectedOption | None:
    """Return the guide's option for a control, if the drop-in has to set it."""
    if control.guide is not None:
        return node.options_to_set.get(control.guide.id)
    if len(check.arguments) != 1:
        return None
    (argument,) = check.arguments
    option = node.options_to_set.get(argument.name)
    return option if option is not None and option.row.key == argument.component.config_key else None


def _follows_dropin(location: Location | None, node: AssessedNode) -> bool:
    """Return whether K3s reads a location after the drop-in, so that it takes precedence."""
    return location is not None and node.facts.overrides_dropin(location.path)
