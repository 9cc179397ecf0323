"""Names of controls in waivers: IDs and CIS numbers of every benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from agent.harden.guide.controls import CONTROLS
from agent.harden.settings.loading import SettingsError
from agent.harden.settings.waivers import SiteWaiver
from agent.k3s.cis.versions import Benchmark, beyond_benchmarks, numbers_of, only_in_frameworks
from agent.k3s.options import Spelling

_CUTOFF = 0.6
"""Lower than that for options: the numbers of controls are short."""


def require_known(waivers: Iterable[SiteWaiver]) -> None:
    """Raise SettingsError for the waivers of a file whose control does not exist.

    Controls of all benchmarks are known, because an upgrade of K3s can change the benchmark of the host.
    """
    unknown: dict[PurePosixPath, list[tuple[int, str]]] = {}
    known: frozenset[str] | None = None
    spelling: Spelling | None = None
    for waiver in waivers:
        known = _known() if known is None else known
        if waiver.control not in known:
            spelling = spelling or Spelling(sorted(known), _CUTOFF)
            meant = spelling.meant(waiver.control)
            hint = f"did you mean `{meant}`?" if meant else "`k3s-harden explain` lists all controls"
            problem = f"`waivers`: unknown control `{waiver.control}`; {hint}"
            unknown.setdefault(waiver.location.path, []).append((waiver.location.line, problem))
    for path, errors in unknown.items():
        raise SettingsError(path, errors, ("waivers",))


def _known() -> frozenset[str]:
    """Return the IDs of all controls, and their numbers with and without the benchmark, such as cis-1.9/1.2.9."""
    names = {*(control.id for control in CONTROLS), *beyond_benchmarks(), *only_in_frameworks()}
    for benchmark in Benchmark:
        for control, number in numbers_of(benchmark).items():
            names |= {control, number.text, f"{benchmark}/{number.text}"}
    return frozenset(names)
