"""The verdict on each control of a benchmark, from one look at the host and the evidence gathered there. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.assessment import ControlStatus, Verdict
from agent.assess.verdicts import arguments, datastore, files, host
from agent.assess.verdicts.actors import who_acts
from agent.assess.verdicts.answer import Answer
from agent.benchmark import words
from agent.benchmark.check import (
    AllOf,
    EncryptionProviders,
    EtcdSetting,
    Flag,
    GuideDirectory,
    KernelParameter,
    Manual,
    NotInK3s,
    Ownership,
    Permissions,
    SysctlPrecedence,
)
from agent.model import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.assess.assessment import Waiver
    from agent.assess.verdicts.node import AssessedNode
    from agent.benchmark.check import Check
    from agent.benchmark.control import BenchmarkControl
    from agent.benchmark.versions import Benchmark

_TO_BE_WAIVED = (ControlStatus.FAIL, ControlStatus.UNKNOWN, ControlStatus.MANUAL)
"""Of a control that only a person can tell, the waiver's reason says what the person found."""

_WORST_FIRST = (ControlStatus.FAIL, ControlStatus.UNKNOWN, ControlStatus.PASS, ControlStatus.NOT_APPLICABLE)


def verdict(control: BenchmarkControl, benchmark: Benchmark, node: AssessedNode, waiver: Waiver | None) -> Verdict:
    """The verdict on one control; the waiver counts only where the control would be open."""
    check = control.check_of(benchmark)
    not_for = "" if isinstance(check, NotInK3s) else _not_for(control, node)
    answer = Answer(ControlStatus.NOT_APPLICABLE, reason=not_for) if not_for else answered(check, node)
    actor, remedy = who_acts(control, check, answer, node)
    is_waived = waiver is not None and answer.status in _TO_BE_WAIVED
    return Verdict(
        control=control,
        number=control.numbers.get(benchmark),
        status=ControlStatus.WAIVED if is_waived else answer.status,
        wanted="" if not_for else words.wanted(check, str(node.facts.data_dir)),
        found=answer.found,
        evidence=answer.evidence,
        reason=answer.reason,
        actor=actor,
        remedy=remedy,
        waiver=waiver if is_waived else None,
    )


def answered(check: Check, node: AssessedNode) -> Answer:  # noqa: PLR0911 - one for each kind of check
    """What one check says of this host."""
    match check:
        case Permissions() | Ownership():
            return files.answer(check, node)
        case Flag():
            return arguments.answer(check, node)
        case EtcdSetting() | EncryptionProviders():
            return datastore.answer(check, node)
        case KernelParameter() | GuideDirectory() | SysctlPrecedence():
            return host.answer(check, node)
        case AllOf():
            return _all_of([answered(one, node) for one in check.checks])
        case NotInK3s():
            return Answer(ControlStatus.NOT_APPLICABLE, reason=check.reason)
        case Manual():
            return Answer(ControlStatus.MANUAL, reason=check.look, remedy=check.look)


def _all_of(answers: Sequence[Answer]) -> Answer:
    """The worst of several answers, with the evidence of all."""
    status = min((answer.status for answer in answers), key=_WORST_FIRST.index)
    deciding = [answer for answer in answers if answer.status is status]
    return Answer(
        status,
        found=", ".join(dict.fromkeys(answer.found for answer in deciding if answer.found)),
        evidence=tuple(dict.fromkeys(shown for answer in answers for shown in answer.evidence)),
        reason="; ".join(dict.fromkeys(answer.reason for answer in deciding if answer.reason)),
        remedy="; ".join(dict.fromkeys(answer.remedy for answer in deciding if answer.remedy)),
        by=deciding[0].by,
        remedy_is_for_this_host=any(answer.remedy_is_for_this_host for answer in deciding),
        needs=frozenset().union(*(answer.needs for answer in deciding)),
    )


def _not_for(control: BenchmarkControl, node: AssessedNode) -> str:
    """Why a control is not for this host, as a sentence; empty where it is."""
    roles, versions = control.applies
    if node.facts.role not in roles:
        return f"it is for {next(iter(roles))}s, and this is {_ROLE[node.facts.role]}"
    if not versions.includes(node.facts.version):
        return f"it is for K3s {versions}, and this is {node.facts.version}"
    return ""


_ROLE = {Role.SERVER: "a server", Role.AGENT: "an agent"}
