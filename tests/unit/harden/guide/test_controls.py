"""Properties of all rows of the guide."""

from __future__ import annotations

import re
from itertools import combinations, product

import pytest

from agent.base import package_data
from agent.base.value import replace
from agent.harden.guide import guide_row
from agent.harden.guide.controls import CONTROLS, DEFAULT_SERVICE_ACCOUNTS
from agent.harden.guide.guide_files import DIRECTORIES, FILES
from agent.harden.guide.guide_row import GuideControl
from agent.harden.guide.k3s_options import ON_REQUEST, OPTIONS
from agent.harden.guide.sysctls import SYSCTLS
from agent.k3s.roles_and_versions import NEWEST_KNOWN, OLDEST_COVERED, Role, Version
from tests.tools import docs_controls

each_control = pytest.mark.parametrize("control", CONTROLS, ids=lambda row: f"{row.id} {row.applies.versions}")


def test_controls_contain_each_row_once() -> None:
    """`explain` shows everything that the program changes on a host."""
    rows: list[GuideControl] = [*SYSCTLS, *DIRECTORIES, *FILES, *OPTIONS, DEFAULT_SERVICE_ACCOUNTS]
    assert len(CONTROLS) == len(rows)
    assert set(map(id, CONTROLS)) == set(map(id, rows))


def test_controls_are_in_the_order_of_the_guide() -> None:
    places = [guide_row.IN_ORDER.index(control.origin.heading) for control in CONTROLS]
    assert places == sorted(places)


def test_at_most_one_control_of_an_id_applies_to_a_host() -> None:
    same = [(control, other) for control, other in combinations(CONTROLS, 2) if control.id == other.id]
    assert {control.id for control, _ in same} == {"enable-admission-plugins", "terminated-pod-gc-threshold"}
    versions = [Version(1, minor, 0) for minor in range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1)]
    assert not [
        (control.id, role, version)
        for (control, other), role, version in product(same, Role, versions)
        if control.applies.to(role, version) and other.applies.to(role, version)
    ]


@each_control
def test_each_control_has_complete_texts(control: GuideControl) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9._/-]*", control.id)
    assert 10 <= len(control.title) <= 70
    assert len(control.why) >= 80
    assert len(control.risk) >= 20
    for text in (control.why, control.risk, control.by_hand, control.deviation):
        assert "  " not in text
        assert not re.search(r"[{}<>\n]", text)
    for text in filter(None, (control.why, control.risk, control.deviation)):
        assert text.endswith("."), text


def test_the_rationale_of_a_parameter_names_kubelet_only_if_kubelet_compares_it() -> None:
    """Another source, such as a benchmark, can require one, too. Then K3s starts with any value."""
    (row, *_) = SYSCTLS
    assert "kubelet compares the value when it starts" in row.why
    assert "kubelet compares" not in replace(row, compared=False).why


def test_each_line_of_the_texts_is_that_of_a_row() -> None:
    lines = package_data.read("harden", "guide", "controls.tsv").decode().splitlines()[1:]
    assert {line.split()[0] for line in lines} == {row.id for row in (*CONTROLS, *ON_REQUEST)}


def test_each_way_of_the_guide_belongs_to_a_deviation() -> None:
    assert docs_controls.AS_IN_THE_GUIDE.keys() <= {control.id for control in CONTROLS if control.deviation}
