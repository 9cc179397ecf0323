"""Which waivers of a site count in an assessment, and for which control; what to say of those that do not. Pure.

A waiver that names a CIS number alone means the control that has it in the benchmark that is assessed. Numbers move
from version to version, so where it could come to mean another control, it is said.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agent.assess.assessment import ControlStatus, Notice, Waiver
from agent.benchmark.catalogue import named
from agent.settings.waivers import first_day_without

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent.benchmark.control import BenchmarkControl
    from agent.benchmark.versions import Benchmark
    from agent.settings.waivers import Scope, SiteWaiver

_SETTLED = frozenset({ControlStatus.PASS, ControlStatus.NOT_APPLICABLE})


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

    def unused(self, statuses: Mapping[str, ControlStatus]) -> tuple[Notice, ...]:
        """What to say of waivers that nothing needed, given how it stands with each control, by id."""
        found = []
        for waiver, ids in self.meant:
            standing = {statuses[name] for name in ids if name in statuses}
            if standing and standing <= _SETTLED:
                words = " and ".join(sorted(map(str, standing)))
                message = f"nothing needs the waiver of {waiver.control}: it is {words}"
                found.append(
                    Notice(message, str(waiver.location), "take it out, so that it does not hide a failure later")
                )
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
        if scope.is_expired(waiver):
            over += [(waiver, ids)] if named else []
            continue
        meant.append((waiver, ids))
        for name in ids:
            by_control.setdefault(name, Waiver(waiver.reason, waiver.expires, str(waiver.location)))
    notices += [_over(waiver) for waiver, ids in over if not by_control.keys() & set(ids)]
    return Selection(by_control, tuple(notices), tuple(meant))


def _over(waiver: SiteWaiver) -> Notice:
    return Notice(
        f"the waiver of {waiver.control} counts no more since {first_day_without(waiver)}",
        str(waiver.location),
        "put right what it was for, or give it a new date",
    )


def _named(waiver: SiteWaiver, benchmark: Benchmark) -> tuple[Sequence[BenchmarkControl], Notice | None]:
    """The controls that a waiver names, and what is to be said of how it names them."""
    text = waiver.control
    anywhere = named(text)
    if not anywhere:
        remedy = "take the id from a report of k3s-harden assess"
        return (), Notice(
            f"the waiver of {text} is for nothing: no benchmark has that control", str(waiver.location), remedy
        )
    if not re.fullmatch(r"[\d.]+", text):
        return anywhere, None
    here = [control for control in anywhere if benchmark in control.numbers and control.numbers[benchmark].text == text]
    if not here:
        message = f"the waiver of {text} is for nothing: {benchmark} has no such number"
        return here, Notice(message, str(waiver.location), f"other versions have it: write {_ids(anywhere)}")
    if len(anywhere) > len(here):
        message = f"the waiver of {text} means {_ids(here)} in {benchmark}, and in other versions another control"
        return here, Notice(message, str(waiver.location), f"write {_ids(here)}, which does not move")
    return here, None


def _ids(controls: Iterable[BenchmarkControl]) -> str:
    return " or ".join(control.id for control in controls)
