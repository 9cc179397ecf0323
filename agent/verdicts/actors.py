"""Who brings a control about on this host (this program, its operator, K3s or nobody), and what they have to do."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.assessment import Actor, Status
from agent.benchmark.check import AllOf, EncryptionProviders, Flag
from agent.component_arguments import GivenBy
from agent.facts import RANCHER_DROPIN
from agent.guide.k3s_options import OptionRow
from agent.places import split_place
from agent.settings import DEFAULT_SETTINGS, row_of

if TYPE_CHECKING:
    from agent.benchmark.check import Check
    from agent.benchmark.control import BenchmarkControl
    from agent.dropin_options import WantedOption
    from agent.settings import SettingRow
    from agent.verdicts.answer import Answer
    from agent.verdicts.node import AssessedNode

APPLY = "sudo k3s-harden apply"


def who_acts(control: BenchmarkControl, check: Check, answer: Answer, node: AssessedNode) -> tuple[Actor, str]:
    """Who brings a control about on this host, and what is to be done where it is open."""
    match answer.status:
        case Status.NOT_APPLICABLE:
            return Actor.NOBODY, ""
        case Status.PASS:
            return _who_did(control, answer, node), ""
        case Status.FAIL if not answer.remedy_is_for_this_host:
            return _who_will(control, check, answer, node)
        case _:
            return Actor.OPERATOR, answer.remedy


def _who_did(control: BenchmarkControl, answer: Answer, node: AssessedNode) -> Actor:
    if answer.by is GivenBy.DROPIN or (control.guide is not None and answer.by is None):
        return Actor.APPLY
    if answer.by is GivenBy.K3S:
        setting = _setting(control)
        return Actor.APPLY if setting and setting.differs_from_default(node.seen.settings) else Actor.K3S
    return Actor.OPERATOR if answer.by else Actor.NOBODY


def _who_will(control: BenchmarkControl, check: Check, answer: Answer, node: AssessedNode) -> tuple[Actor, str]:
    is_argument = isinstance(check, Flag | EncryptionProviders) or (
        isinstance(check, AllOf) and all(isinstance(one, Flag) for one in check.checks)
    )
    by_hand = _by_hand(control, answer)
    if is_argument and node.facts.rancher_managed and not _is_of_this_node(answer):
        return Actor.OPERATOR, _in_the_cluster(control, by_hand)
    if answer.needs:
        if answer.needs <= node.pending:
            return Actor.APPLY, APPLY
    elif is_argument and _dropin_would_do(control, check, answer, node):
        return Actor.APPLY, f"{APPLY}, and restart K3s" if node.has_started else APPLY
    setting = _setting(control)
    has_effect = setting is not None and setting.applies.to(node.facts.role, node.facts.version)
    if setting and has_effect and not setting.differs_from_default(node.seen.settings):
        restart = ", and restart K3s" if is_argument else ""
        return Actor.OPERATOR, f"put `{setting.line}` into {DEFAULT_SETTINGS} and run `{APPLY}`{restart}" + (
            f"; or by hand: {by_hand}" if by_hand else ""
        )
    return Actor.OPERATOR, by_hand


def _setting(control: BenchmarkControl) -> SettingRow | None:
    """The setting that has `apply` bring a control about, if there is one."""
    return row_of(control.setting) if control.setting else None


def _by_hand(control: BenchmarkControl, answer: Answer) -> str:
    """The row's own words, with the places where somebody set something else; or the check's."""
    if not control.remedy:
        return answer.remedy
    places = ", ".join(dict.fromkeys(one.where for one in answer.evidence)) if answer.by is GivenBy.OPERATOR else ""
    return f"{control.remedy} It is now set at {places}." if places else control.remedy


def _is_of_this_node(answer: Answer) -> bool:
    """Whether the value was given in a file that its operator wrote, and not Rancher."""
    names = {PurePosixPath(split_place(one.where)[0]).name for one in answer.evidence}
    return answer.by is GivenBy.OPERATOR and RANCHER_DROPIN not in names


def _in_the_cluster(control: BenchmarkControl, by_hand: str) -> str:
    """Rancher writes K3s' configuration of its nodes anew, from the Cluster object."""
    if isinstance(control.guide, OptionRow):
        return "put into the Cluster object what `k3s-harden render rancher-cluster` prints"
    return f"not in a file of this node, but in spec.rkeConfig of the Cluster object: {by_hand}"


def _dropin_would_do(control: BenchmarkControl, check: Check, answer: Answer, node: AssessedNode) -> bool:
    """Whether `apply` would write something into our drop-in that brings this about."""
    option = _to_be_set(control, check, node)
    if option is None or str(node.facts.dropin_path) not in node.pending:
        return False
    if isinstance(check, Flag) and check.name == option.row.name and not check.criterion.accepts(option.value):
        return False
    return not any(_wins_over(one.where, node) for one in answer.evidence)


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
