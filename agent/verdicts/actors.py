"""Who brings a control about on this host, and in which words he is told: this program, its operator, K3s or nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.assessment import Actor, Status
from agent.benchmark.check import AllOf, EncryptionProviders, Flag
from agent.component_arguments import GivenBy
from agent.facts import RANCHER_DROPIN
from agent.guide.files import POD_SECURITY_ADMISSION
from agent.guide.k3s_options import OptionRow
from agent.settings import DEFAULT_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.benchmark.check import Check
    from agent.benchmark.control import BenchmarkControl
    from agent.k3s_arguments import Argument
    from agent.settings import Settings
    from agent.verdicts.look import Answer, Look

APPLY = "sudo k3s-harden apply"


class Setting(NamedTuple):
    """What goes into the settings to have `apply` bring a control about, and whether it is there."""

    text: str
    is_there: Callable[[Settings], bool]


SETTINGS = {
    "always-pull-images": Setting("always-pull-images: true", lambda site: site.always_pull_images),
    "event-rate-limit": Setting(
        "event-rate-limit: {qps: 5000, burst: 20000}", lambda site: site.event_rate_limit is not None
    ),
    "pki.certificate-permissions": Setting(
        'pki: {certificate-permissions: "0600"}', lambda site: site.certificate_permissions is not None
    ),
}
"""By what a control's row has as its setting."""


def who_acts(control: BenchmarkControl, check: Check, answer: Answer, look: Look) -> tuple[Actor, str]:
    """Who brings a control about on this host, and what is to be done where it is open."""
    match answer.status:
        case Status.NOT_APPLICABLE:
            return Actor.NOBODY, ""
        case Status.PASS:
            return _who_did(control, answer, look), ""
        case Status.FAIL if not answer.instead:
            return _who_will(control, check, answer, look)
        case _:
            return Actor.OPERATOR, answer.remedy


def _who_did(control: BenchmarkControl, answer: Answer, look: Look) -> Actor:
    if answer.by is GivenBy.DROPIN or (control.guide is not None and answer.by is None):
        return Actor.APPLY
    if answer.by is GivenBy.K3S:
        setting = SETTINGS.get(control.setting)
        return Actor.APPLY if setting and setting.is_there(look.seen.settings) else Actor.K3S
    return Actor.OPERATOR if answer.by else Actor.NOBODY


def _who_will(control: BenchmarkControl, check: Check, answer: Answer, look: Look) -> tuple[Actor, str]:
    is_argument = isinstance(check, Flag | EncryptionProviders) or (
        isinstance(check, AllOf) and all(isinstance(one, Flag) for one in check.checks)
    )
    by_hand = _by_hand(control, answer)
    if is_argument and look.facts.rancher_managed and not _is_of_this_node(answer):
        return Actor.OPERATOR, _in_the_cluster(control, by_hand)
    if answer.needs:
        if answer.needs <= look.pending:
            return Actor.APPLY, APPLY
    elif is_argument and _dropin_would_do(control, check, answer, look):
        return Actor.APPLY, f"{APPLY}, and restart K3s" if look.has_started else APPLY
    setting = SETTINGS.get(control.setting)
    if setting and _is_taken(control.setting, look) and not setting.is_there(look.seen.settings):
        restart = ", and restart K3s" if is_argument else ""
        return Actor.OPERATOR, f"put `{setting.text}` into {DEFAULT_SETTINGS} and run `{APPLY}`{restart}" + (
            f"; or by hand: {by_hand}" if by_hand else ""
        )
    return Actor.OPERATOR, by_hand


def _by_hand(control: BenchmarkControl, answer: Answer) -> str:
    """The row's own words, with the places where somebody set something else; or the check's."""
    if not control.remedy:
        return answer.remedy
    places = ", ".join(dict.fromkeys(one.where for one in answer.evidence)) if answer.by is GivenBy.OPERATOR else ""
    return f"{control.remedy} It is now set at {places}." if places else control.remedy


def _is_of_this_node(answer: Answer) -> bool:
    """Whether the value was given in a file that its operator wrote, and not Rancher."""
    return answer.by is GivenBy.OPERATOR and not any(f"/{RANCHER_DROPIN}:" in one.where for one in answer.evidence)


def _in_the_cluster(control: BenchmarkControl, by_hand: str) -> str:
    """Rancher writes K3s' configuration of its nodes anew, from the Cluster object."""
    if isinstance(control.guide, OptionRow):
        return "put into the Cluster object what `k3s-harden render rancher-cluster` prints"
    return f"not in a file of this node, but in spec.rkeConfig of the Cluster object: {by_hand}"


def _is_taken(setting: str, look: Look) -> bool:
    """Whether the setting has an effect on this host."""
    # The limits of the plugin stand in the admission configuration, which older versions do not get.
    return setting != "event-rate-limit" or POD_SECURITY_ADMISSION.applies.to(look.facts.role, look.facts.version)


def _dropin_would_do(control: BenchmarkControl, check: Check, answer: Answer, look: Look) -> bool:
    """Whether `apply` would write something into our drop-in that brings this about."""
    argument = _to_be_set(control, check, look)
    if argument is None or str(look.facts.dropin_path) not in look.pending:
        return False
    if isinstance(check, Flag) and check.name == argument.row.name and not check.criterion.accepts(argument.value):
        return False
    return not any(_wins_over(one.where, look) for one in answer.evidence)


def _to_be_set(control: BenchmarkControl, check: Check, look: Look) -> Argument | None:
    """The option of the guide that a control asks for, if our drop-in has to set it."""
    if control.guide is not None:
        return look.options_to_set.get(control.guide.id)
    argument = look.options_to_set.get(check.name) if isinstance(check, Flag) else None
    is_its = argument is not None and isinstance(check, Flag) and argument.row.key == check.component.config_key
    return argument if is_its else None


def _wins_over(where: str, look: Look) -> bool:
    """Whether what stands there comes after our drop-in, so that it would still win."""
    path = where.rpartition(":")[0] or where
    dropin = look.facts.dropin_path
    directory, _, name = path.rpartition("/")
    if any(path == str(unit.path) for unit in look.facts.units):
        return True
    return directory == str(dropin.parent) and name > dropin.name
