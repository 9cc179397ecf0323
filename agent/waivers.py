"""Which of a site's waivers count on this host today, and for which control; what to say of those that do not. Pure.

A waiver that names a CIS number alone means the control that has it in the benchmark that is assessed. Numbers move
from version to version, so where it could come to mean another control, it is said.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agent.assessment import Notice, Status, Waiver
from agent.guide.sysctls import SYSCTLS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from agent.benchmark.control import BenchmarkControl
    from agent.benchmark.versions import Benchmark
    from agent.model import Role
    from agent.setting_kinds import SiteWaiver

_SETTLED = frozenset({Status.PASS, Status.NOT_APPLICABLE})


class Scope(NamedTuple):
    """Where and when a waiver has to count: `node` is the host name in small letters, `today` YYYY-MM-DD in UTC."""

    role: Role
    node: str
    today: str

    def includes(self, waiver: SiteWaiver) -> bool:
        """Whether the waiver is for this host, expired or not; a pattern fits the whole host name or its first part."""
        from fnmatch import fnmatchcase

        names = (self.node, self.node.partition(".")[0])
        fits = not waiver.host or any(fnmatchcase(name, waiver.host.lower()) for name in names)
        return fits and waiver.role in (None, self.role)

    def counts(self, waiver: SiteWaiver) -> bool:
        """Whether the waiver is for this host, and its last day is not over."""
        return self.includes(waiver) and not self.is_over(waiver)

    def is_over(self, waiver: SiteWaiver) -> bool:
        """Whether the last day that it counts is over."""
        return waiver.expires != "" and waiver.expires < self.today


class Selection(NamedTuple):
    """The waivers that count in one assessment, by the id of the control, and what there is to say of all others.

    `meant` has each that counts with the ids of the controls that it is for.
    """

    by_control: Mapping[str, Waiver]
    notices: tuple[Notice, ...]
    meant: tuple[tuple[SiteWaiver, tuple[str, ...]], ...]

    def of(self, control: BenchmarkControl) -> Waiver | None:
        """The waiver of a control, None where it has none."""
        return self.by_control.get(control.id)

    def unused(self, statuses: Mapping[str, Status]) -> tuple[Notice, ...]:
        """What to say of waivers that nothing needed, given how it stands with each control, by id."""
        found = []
        for waiver, ids in self.meant:
            standing = {statuses[name] for name in ids if name in statuses}
            if standing and standing <= _SETTLED:
                words = " and ".join(sorted(map(str, standing)))
                message = f"nothing needs the waiver of {waiver.control}: it is {words}"
                found.append(Notice(message, waiver.where, "take it out, so that it does not hide a failure later"))
        return tuple(found)


def select(
    waivers: Iterable[SiteWaiver], controls: Iterable[BenchmarkControl], benchmark: Benchmark, scope: Scope
) -> Selection:
    """The waivers for these controls of this benchmark; of several that count for a control, the first.

    Noticed are those that have expired, that name no control that any benchmark has, and whose number has moved.
    """
    waivers = tuple(waivers)
    assessed = {control.id for control in controls}
    by_control: dict[str, Waiver] = {}
    meant: list[tuple[SiteWaiver, tuple[str, ...]]] = []
    notices: list[Notice] = []
    over: list[tuple[SiteWaiver, tuple[str, ...]]] = []
    for waiver in filter(scope.includes, waivers):
        named, notice = _named(waiver, benchmark)
        ids = tuple(control.id for control in named if control.id in assessed)
        if notice is not None:
            notices.append(notice)
        if scope.is_over(waiver):
            over += [(waiver, ids)] if named else []
            continue
        meant.append((waiver, ids))
        for name in ids:
            by_control.setdefault(name, Waiver(waiver.reason, waiver.expires, waiver.where))
    notices += [_over(waiver) for waiver, ids in over if not by_control.keys() & set(ids)]
    return Selection(by_control, tuple(notices), tuple(meant))


def kernel_parameters(waivers: Iterable[SiteWaiver], scope: Scope) -> dict[str, SiteWaiver]:
    """The waivers that count for a kernel parameter of the guide, by its key: `apply` leaves these alone."""
    keys = {row.id: row.key for row in SYSCTLS}
    found: dict[str, SiteWaiver] = {}
    for waiver in waivers:
        if waiver.control in keys and scope.counts(waiver):
            found.setdefault(keys[waiver.control], waiver)
    return found


def expired(waivers: Iterable[SiteWaiver], ids: Collection[str], scope: Scope) -> tuple[SiteWaiver, ...]:
    """The waivers of these controls that are for this host and whose last day is over, with no other in their place."""
    waivers = tuple(waivers)
    waived = {waiver.control for waiver in waivers if scope.counts(waiver)}
    return tuple(
        waiver
        for waiver in waivers
        if waiver.control in ids and waiver.control not in waived and scope.includes(waiver) and scope.is_over(waiver)
    )


def since(waiver: SiteWaiver) -> str:
    """The first day, YYYY-MM-DD, on which an expired waiver counts no more."""
    from datetime import date, timedelta

    return (date.fromisoformat(waiver.expires) + timedelta(days=1)).isoformat()


def _over(waiver: SiteWaiver) -> Notice:
    return Notice(
        f"the waiver of {waiver.control} counts no more since {since(waiver)}",
        waiver.where,
        "put right what it was for, or give it a new date",
    )


def _named(waiver: SiteWaiver, benchmark: Benchmark) -> tuple[Sequence[BenchmarkControl], Notice | None]:
    """The controls that a waiver names, and what is to be said of how it names them."""
    from agent.benchmark.catalogue import named

    text = waiver.control
    anywhere = named(text)
    if not anywhere:
        remedy = "take the id from a report of k3s-harden assess"
        return (), Notice(f"the waiver of {text} is for nothing: no benchmark has that control", waiver.where, remedy)
    if not re.fullmatch(r"[\d.]+", text):
        return anywhere, None
    here = [control for control in anywhere if benchmark in control.numbers and control.numbers[benchmark].text == text]
    if not here:
        message = f"the waiver of {text} is for nothing: {benchmark} has no such number"
        return here, Notice(message, waiver.where, f"other versions have it: write {_ids(anywhere)}")
    if len(anywhere) > len(here):
        message = f"the waiver of {text} means {_ids(here)} in {benchmark}, and in other versions another control"
        return here, Notice(message, waiver.where, f"write {_ids(here)}, which does not move")
    return here, None


def _ids(controls: Iterable[BenchmarkControl]) -> str:
    return " or ".join(control.id for control in controls)
