"""Whatever has an id is explained, and an id that is nearly right leads to the right one."""

from __future__ import annotations

import pytest

from agent.errors import ExitCode, UsageError
from agent.explain import explained, listed
from agent.findings import KINDS
from agent.guide.controls import CONTROLS


@pytest.mark.parametrize("name", [*dict.fromkeys(control.id for control in CONTROLS), *KINDS])
def test_whatever_the_list_shows_is_explained(name: str) -> None:
    """Each control and finding is in the list, and says something when it is asked for."""
    assert f"  {name} " in listed()
    assert explained(name).startswith(name)


def test_a_control_that_changed_with_the_versions_is_explained_for_all_of_them() -> None:
    """Each range of versions has its own words."""
    text = explained("terminated-pod-gc-threshold")
    assert text.index("v1.28 and older") < text.index("v1.29 and newer")


def test_what_to_do_by_hand_is_on_one_line() -> None:
    """A line break in a command would spoil it for whoever copies it."""
    (line,) = (line for line in explained("audit-policy").splitlines() if "render audit-policy" in line)
    assert line.strip() == next(control.by_hand for control in CONTROLS if control.id == "audit-policy")


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("audit-log-maxaeg", "did you mean audit-log-maxage"),
        ("overcommit", "did you mean vm.overcommit_memory?"),
        ("maxsize", "did you mean audit-log-maxsize?"),
        ("qqqq", "k3s-harden explain lists them"),
    ],
)
def test_an_id_that_is_nearly_right_leads_to_the_right_one(wanted: str, hint: str) -> None:
    """A wrong id is a usage error that helps."""
    with pytest.raises(UsageError) as error:
        explained(wanted)
    assert error.value.exit_code is ExitCode.USAGE
    assert error.value.hint.startswith(hint)
