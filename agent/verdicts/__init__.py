"""How it stands with each control of a benchmark, from one look at the host and the evidence it left. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assessment import Actor, Status, Verdict
from agent.benchmark.check import (
    AllOf,
    ByHand,
    EncryptionProviders,
    EtcdSetting,
    Flag,
    GuideDirectory,
    KernelParameter,
    NotInK3s,
    Ownership,
    Permissions,
    SysctlPrecedence,
)
from agent.component_arguments import GivenBy
from agent.guide.k3s_options import OptionRow
from agent.guide.sysctls import PARAMETERS_FILE
from agent.model import Role
from agent.settings import DEFAULT_SETTINGS
from agent.verdicts import arguments, datastore, files, host
from agent.verdicts.look import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.assessment import Waiver
    from agent.benchmark.check import Check
    from agent.benchmark.control import BenchmarkControl
    from agent.benchmark.versions import Benchmark
    from agent.verdicts.look import Look

APPLY = "sudo k3s-harden apply"

_WORST_FIRST = (Status.FAIL, Status.UNKNOWN, Status.PASS, Status.NOT_APPLICABLE)


def verdict(control: BenchmarkControl, benchmark: Benchmark, look: Look, waiver: Waiver | None) -> Verdict:
    """How it stands with one control."""
    facts = look.facts
    check = control.check_of(benchmark)
    if control.applies.to(facts.role, facts.version) or isinstance(check, NotInK3s):
        answer = answered(check, look)
    else:
        answer = Answer(Status.NOT_APPLICABLE, reason=f"it is for {control.applies}; this is {_this(look)}")
    actor, remedy = _who_acts(control, answer, look)
    status = answer.status
    if waiver is not None and status in (Status.FAIL, Status.UNKNOWN):
        status = Status.WAIVED
    return Verdict(
        control=control,
        number=control.numbers.get(benchmark),
        status=status,
        wanted=answer.wanted,
        found=answer.found,
        evidence=answer.evidence,
        reason=answer.reason,
        actor=actor,
        remedy=remedy if answer.status in (Status.FAIL, Status.UNKNOWN, Status.MANUAL) else "",
        waiver=waiver if status is Status.WAIVED else None,
    )


def answered(check: Check, look: Look) -> Answer:  # noqa: PLR0911 - one for each kind of check
    """What one check says of this host."""
    match check:
        case Permissions() | Ownership():
            return files.answer(check, look)
        case Flag():
            return arguments.answer(check, look)
        case EtcdSetting() | EncryptionProviders():
            return datastore.answer(check, look)
        case KernelParameter() | GuideDirectory() | SysctlPrecedence():
            return host.answer(check, look)
        case AllOf():
            return _all_of([answered(one, look) for one in check.checks])
        case NotInK3s():
            return Answer(Status.NOT_APPLICABLE, reason=check.reason)
        case ByHand():
            return Answer(Status.MANUAL, reason=check.look, remedy=check.look)


def _all_of(answers: Sequence[Answer]) -> Answer:
    """The worst of several; what was seen for the others is kept, too."""
    status = min((answer.status for answer in answers), key=_WORST_FIRST.index)
    deciding = [answer for answer in answers if answer.status is status]
    return Answer(
        status,
        " and ".join(dict.fromkeys(answer.wanted for answer in answers)),
        ", ".join(dict.fromkeys(answer.found for answer in deciding if answer.found)),
        tuple(dict.fromkeys(shown for answer in answers for shown in answer.evidence)),
        "; ".join(dict.fromkeys(answer.reason for answer in deciding if answer.reason)),
        "; ".join(dict.fromkeys(answer.remedy for answer in deciding if answer.remedy)),
        deciding[0].by,
    )


def _who_acts(control: BenchmarkControl, answer: Answer, look: Look) -> tuple[Actor, str]:
    """Who brings a control about on this host, and what is to be done where it is open."""
    remedy = _remedy(control, answer)
    actor = Actor.OPERATOR
    is_option = isinstance(control.guide, OptionRow)
    if answer.status is Status.NOT_APPLICABLE:
        actor, remedy = Actor.NOBODY, ""
    elif answer.status is Status.PASS:
        if control.guide is not None and answer.by in (None, GivenBy.DROPIN):
            actor = Actor.APPLY
        elif answer.by is GivenBy.K3S:
            actor = Actor.K3S
    elif answer.status is Status.MANUAL:
        pass
    elif control.setting:
        how = f"set `{control.setting}` in {DEFAULT_SETTINGS} (see k3s-harden explain settings), then {APPLY}"
        remedy = f"{how}; or by hand: {remedy}" if remedy else how
    elif is_option and look.facts.rancher_managed:
        remedy = "put it into the Cluster object: k3s-harden render rancher-cluster prints it"
    elif control.guide is not None and _apply_would_do(control, answer, look):
        actor, remedy = Actor.APPLY, f"{APPLY}, and restart K3s" if is_option else APPLY
    return actor, remedy


def _remedy(control: BenchmarkControl, answer: Answer) -> str:
    """What to do by hand: the row's own words, with the places where somebody set something else, or the check's."""
    if not control.remedy:
        return answer.remedy
    places = ", ".join(dict.fromkeys(one.where for one in answer.evidence)) if answer.by is GivenBy.OPERATOR else ""
    return f"{control.remedy} (now: {places})" if places else control.remedy


def _apply_would_do(control: BenchmarkControl, answer: Answer, look: Look) -> bool:
    """Whether `apply` has something to change that brings this about."""
    match control.check:
        case KernelParameter(row):
            return bool(look.pending & {row.key, PARAMETERS_FILE}) and answer.by is not GivenBy.OPERATOR
        case GuideDirectory(row):
            return str(look.facts.data_dir / row.path) in look.pending
        case _:
            dropin = look.facts.dropin_path
            return (
                str(dropin) in look.pending
                and control.guide is not None
                and control.guide.id in look.options_to_set
                and not any(_wins_over(one.where, look) for one in answer.evidence)
            )


def _wins_over(where: str, look: Look) -> bool:
    """Whether what stands there comes after our drop-in, so that it would still win."""
    path = where.rpartition(":")[0] or where
    dropin = look.facts.dropin_path
    directory, _, name = path.rpartition("/")
    if any(path == str(unit.path) for unit in look.facts.units):
        return True
    return directory == str(dropin.parent) and name > dropin.name


def _this(look: Look) -> str:
    role = "a server" if look.facts.role is Role.SERVER else "an agent"
    return f"{role} with K3s {look.facts.version}"
