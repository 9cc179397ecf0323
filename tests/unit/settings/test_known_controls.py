"""Waivers for unknown controls."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.benchmark.catalogue import CATALOGUE
from agent.guide.controls import CONTROLS
from agent.model import Location
from agent.settings.known_controls import require_known
from agent.settings.loading import SettingsError
from agent.settings.waivers import SiteWaiver

PATH = PurePosixPath("/etc/k3s-harden/config.yaml")


def waiver(control: str, line: int = 1) -> SiteWaiver:
    return SiteWaiver(control, "it is so", location=Location(PATH, line))


def test_each_id_and_number_of_each_benchmark_is_known() -> None:
    """A waiver can be for a benchmark that another version of K3s has."""
    names = [control.id for control in CONTROLS]
    for row in CATALOGUE:
        names.append(row.id)
        names += [number.text for number in row.numbers.values()]
        names += [f"{benchmark}/{number.text}" for benchmark, number in row.numbers.items()]
    require_known(map(waiver, names))


def test_all_unknown_controls_of_a_file_are_reported_with_their_lines() -> None:
    with pytest.raises(SettingsError) as refused:
        require_known([waiver("1.2.9"), waiver("vm.overcomit_memory", 3), waiver("cis-9.9/1.2.9", 5), waiver("???", 7)])
    assert [str(problem.location) for problem in refused.value.problems] == [f"{PATH}:{line}" for line in (3, 5, 7)]
    first, _, last = (problem.problem for problem in refused.value.problems)
    assert first == "`waivers`: unknown control `vm.overcomit_memory`; did you mean `vm.overcommit_memory`?"
    assert last == "`waivers`: unknown control `???`; `k3s-harden explain` lists all controls"
