"""What holds for every control, of whatever kind, and how one is found."""

from __future__ import annotations

import re
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.guide import headings
from agent.guide.controls import CONTROLS, DEFAULT_SERVICE_ACCOUNTS
from agent.guide.files import DIRECTORIES, FILES
from agent.guide.k3s_options import OPTIONS
from agent.guide.sysctls import SYSCTLS
from agent.model import NEWEST_KNOWN, OLDEST_COVERED, Role, Version

if TYPE_CHECKING:
    from agent.guide.control import Control

each_control = pytest.mark.parametrize("control", CONTROLS, ids=lambda row: f"{row.id} {row.applies.versions}")


def test_controls_are_all_rows_once() -> None:
    """Nothing that the program does to a host is missing from what it explains."""
    rows: list[Control] = [*SYSCTLS, *DIRECTORIES, *FILES, *OPTIONS, DEFAULT_SERVICE_ACCOUNTS]
    assert len(CONTROLS) == len(rows)
    assert set(map(id, CONTROLS)) == set(map(id, rows))


def test_controls_follow_the_guide() -> None:
    """A reader with the guide beside finds them in its order."""
    places = [headings.IN_ORDER.index(control.origin.heading) for control in CONTROLS]
    assert places == sorted(places)


def test_no_host_gets_two_controls_with_one_id() -> None:
    """An id means one thing on any host; a second row with it is for other versions."""
    same = [(one, other) for one, other in combinations(CONTROLS, 2) if one.id == other.id]
    assert {one.id for one, _ in same} == {"enable-admission-plugins", "terminated-pod-gc-threshold"}
    versions = [Version(1, minor, 0) for minor in range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1)]
    assert not [
        (one.id, role, version)
        for (one, other), role, version in product(same, Role, versions)
        if one.applies.to(role, version) and other.applies.to(role, version)
    ]


@each_control
def test_control_explains_itself(control: Control) -> None:
    """Each says what, why, with what risk and how by hand, in sentences, with nothing left to fill in."""
    assert re.fullmatch(r"[a-z0-9][a-z0-9._/-]*", control.id)
    assert 10 <= len(control.title) <= 70
    assert len(control.why) >= 80
    assert len(control.risk) >= 20
    for text in (control.why, control.risk, control.by_hand, control.deviation):
        assert "  " not in text
        assert not re.search(r"[{}<>\n]", text)
    for text in filter(None, (control.why, control.risk, control.deviation)):
        assert text.endswith("."), text


def test_every_deviation_has_its_place_in_the_documentation() -> None:
    """A control that differs from the guide is named there, and one that does not is not."""
    page = (Path(__file__).parents[3] / "docs" / "explanation" / "deviations.md").read_text()
    paragraphs = re.findall(r"^Controls?: (.*?)\n\n", page, re.MULTILINE | re.DOTALL)
    named = {control_id for paragraph in paragraphs for control_id in re.findall(r"`([^`]+)`", paragraph)}
    assert named == {control.id for control in CONTROLS if control.deviation}
    assert len(paragraphs) == page.count("\n## ")
    for heading in ("Guide", "Here", "Why", "The guide's way"):
        assert page.count(f"- **{heading}:**") == len(paragraphs)
