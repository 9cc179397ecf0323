"""Who brings a control about on this host (this program, its operator, K3s or nobody), and what they have to do."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.assess.arguments import GivenBy
from agent.assess.assessment import Actor, ControlStatus
from agent.assess.places import split_place
from agent.assess.verdicts.changes import with_plus
from agent.benchmark.check import AllOf, EncryptionProviders, Flag
from agent.guide.k3s_options import OptionRow
from agent.k3s.paths import K3S_CONFIG_FILE
from agent.node.facts import RANCHER_DROPIN
from agent.settings.schema import DEFAULT_SETTINGS, row_of

if TYPE_CHECKING:
    from agent.assess.verdicts.answer import Answer
    from agent.assess.verdicts.node import AssessedNode
    from agent.benchmark.check import Check
    from agent.benchmark.control import BenchmarkControl
    from agent.desired.dropin_options import WantedOption
    from agent.model import Location
    from agent.settings.schema import SettingRow

APPLY = "sudo k3s-harden apply"


def who_acts(control: BenchmarkControl, check: Check, answer: Answer, node: AssessedNode) -> tuple[Actor, str]:
    """Who brings a control about on this host, and what is to be done where it is open."""
    match answer.status:
        case ControlStatus.NOT_APPLICABLE:
            return Actor.NOBODY, ""
        case ControlStatus.PASS:
            return _who_did(control, answer, node), ""
        case ControlStatus.FAIL if not answer.remedy_is_for_this_host:
            return _who_will(control, check, answer, node)
        case _:
            return Actor.OPERATOR, answer.remedy


def _who_did(control: BenchmarkControl, answer: Answer, node: AssessedNode) -> Actor:
    match answer.by:
        case GivenBy.DROPIN:
            return Actor.APPLY
        case GivenBy.K3S:
            setting = _setting(control)
            return Actor.APPLY if setting and setting.differs_from_default(node.seen.settings) else Actor.K3S
        case GivenBy.OPERATOR | GivenBy.KUBELET_FILE:
            return Actor.OPERATOR
        case None:
            return Actor.NOBODY


def _who_will(control: BenchmarkControl, check: Check, answer: Answer, node: AssessedNode) -> tuple[Actor, str]:
    is_argument = isinstance(check, Flag | EncryptionProviders) or (
        isinstance(check, AllOf) and all(isinstance(one, Flag) for one in check.checks)
    )
    if is_argument and node.facts.rancher_managed and not _is_of_this_node(answer):
        return Actor.OPERATOR, _in_the_cluster(control, answer)
    first = _what_drops_ours(control, check, node)
    if answer.needs:
        if answer.needs <= node.pending:
            return Actor.APPLY, APPLY
    elif is_argument and _dropin_would_do(control, check, answer, node):
        if first:
            return Actor.OPERATOR, f"{first}run `{APPLY}`, and restart K3s"
        return Actor.APPLY, f"{APPLY}, and restart K3s" if node.has_started else APPLY
    setting = _setting(control)
    has_effect = setting is not None and setting.applies.to(node.facts.role, node.facts.version)
    if setting and has_effect and not setting.differs_from_default(node.seen.settings):
        restart = ", and restart K3s" if is_argument else ""
        by_hand = _by_hand(control, answer, node)
        return Actor.OPERATOR, f"{first}put `{setting.line}` into {DEFAULT_SETTINGS} and run `{APPLY}`{restart}" + (
            f"; or by hand: {by_hand}" if by_hand else ""
        )
    return Actor.OPERATOR, _what_drops_the_first(control, check, answer, node) + _by_hand(control, answer, node)


def _setting(control: BenchmarkControl) -> SettingRow | None:
    """The setting that has `apply` bring a control about, if there is one."""
    return row_of(control.setting) if control.setting else None


def _by_hand(control: BenchmarkControl, answer: Answer, node: AssessedNode) -> str:
    """What to change where somebody gave a value; else the row's own words, or the check's."""
    if _is_somebodys(answer) and answer.remedy:
        return _after(control.caution, answer.remedy)
    if not control.remedy:
        return _after(control.caution, answer.remedy)
    option = node.facts.merged_config.scalar(control.guide.key) if isinstance(control.guide, OptionRow) else None
    is_set = option is not None and isinstance(control.guide, OptionRow) and not control.guide.name
    now = f" It is now `{option[0]}` at {option[1]}: change it there." if is_set and option else ""
    # The rows say where K3s' configuration usually is.
    return control.repair.replace(str(K3S_CONFIG_FILE), str(node.facts.configuration.path)) + now


def _after(caution: str, remedy: str) -> str:
    return f"{caution} {remedy[:1].upper()}{remedy[1:]}" if caution else remedy


def _is_somebodys(answer: Answer) -> bool:
    """Whether the value that decides was given by somebody, in K3s' configuration or in a file of the kubelet's."""
    return answer.by in (GivenBy.OPERATOR, GivenBy.KUBELET_FILE)


def _what_drops_ours(control: BenchmarkControl, check: Check, node: AssessedNode) -> str:
    """What to do first where a file after our drop-in drops what ours has in a component's list; empty where none."""
    key, begins = _begins(control, check, node)
    if begins is None or not _wins_over(str(begins), node):
        return ""
    return f"{with_plus(key, begins)}, which drops what earlier files have in that list; then "


def _what_drops_the_first(control: BenchmarkControl, check: Check, answer: Answer, node: AssessedNode) -> str:
    """The same for what has to be added to the list in K3s' main file."""
    key, begins = _begins(control, check, node)
    if begins is None or begins.path == node.facts.configuration.path or _is_somebodys(answer):
        return ""
    return f"{with_plus(key, begins)}, which drops what earlier files have in that list; then: "


def _begins(control: BenchmarkControl, check: Check, node: AssessedNode) -> tuple[str, Location | None]:
    """The list that a check's argument goes into, and the place from which on K3s takes it."""
    flag = next((one for one in check.checks if isinstance(one, Flag)), None) if isinstance(check, AllOf) else check
    if not isinstance(flag, Flag) or (isinstance(control.guide, OptionRow) and not control.guide.name):
        return "", None
    key = flag.component.config_key
    return key, node.facts.merged_config.begins.get(key)


def _is_of_this_node(answer: Answer) -> bool:
    """Whether the value was given in a file that its operator wrote, and not Rancher."""
    names = {PurePosixPath(split_place(one.where)[0]).name for one in answer.evidence}
    return _is_somebodys(answer) and RANCHER_DROPIN not in names


def _in_the_cluster(control: BenchmarkControl, answer: Answer) -> str:
    """Rancher writes K3s' configuration of its nodes anew, from the Cluster object."""
    if isinstance(control.guide, OptionRow):
        return "put into the Cluster object what `k3s-harden render rancher-cluster` prints"
    by_row = control.repair.replace(f" in {K3S_CONFIG_FILE}", "")
    text = _after(control.caution, answer.remedy) if _is_somebodys(answer) or not control.remedy else by_row
    return (
        "in the Cluster object, below spec.rkeConfig, where machineGlobalConfig or the machineSelectorConfig of this"
        f" node has it: {text}"
    )


def _dropin_would_do(control: BenchmarkControl, check: Check, answer: Answer, node: AssessedNode) -> bool:
    """Whether `apply` would write something into our drop-in that brings this about."""
    option = _to_be_set(control, check, node)
    if option is None or str(node.facts.dropin_path) not in node.pending:
        return False
    if isinstance(check, Flag) and check.name == option.row.name and not check.criterion.accepts(option.value):
        return False
    if not option.row.name:
        now = node.facts.merged_config.scalar(option.row.key)
        return now is None or not _wins_over(str(now[1]), node)
    return not (_is_somebodys(answer) and any(_wins_over(one.where, node) for one in answer.evidence))


def _to_be_set(control: BenchmarkControl, check: Check, node: AssessedNode) -> WantedOption | None:
    """The option of the guide that a control asks for, if our drop-in has to set it."""
    if control.guide is not None:
        return node.options_to_set.get(control.guide.id)
    option = node.options_to_set.get(check.name) if isinstance(check, Flag) else None
    is_its = option is not None and isinstance(check, Flag) and option.row.key == check.component.config_key
    return option if is_its else None


def _wins_over(where: str, node: AssessedNode) -> bool:
    """Whether what stands there comes after our drop-in, so that it would still win."""
    path = PurePosixPath(split_place(where)[0])
    dropin = node.facts.dropin_path
    if path in node.services:
        return True
    return path.parent == dropin.parent and path.name > dropin.name
