"""The shared types: modes, owners, roles, versions and states, and what all value types have."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import PurePosixPath

import pytest

from agent.base.model import Absent, Directory, File, FileMode, Owner, State
from agent.base.value import Row, Value, replace
from agent.k3s.roles_and_versions import ALL_VERSIONS, SERVERS, Applies, Role, Version, VersionRange

PATH = PurePosixPath("/a")


@pytest.mark.parametrize(
    ("bits", "text"), [(0o600, "0600"), (0, "0000"), (0o1777, "1777"), (0o7777, "7777"), (0o44, "0044")]
)
def test_a_mode_is_shown_in_four_octal_digits(bits: int, text: str) -> None:
    """chmod(1) accepts this format; repr() is Python code."""
    assert str(FileMode(bits)) == f"{FileMode(bits)}" == text
    assert eval(repr(FileMode(bits))) == bits  # noqa: S307 - what repr() is for


@pytest.mark.parametrize("bits", [-1, 0o10000, 0o100644])
def test_other_numbers_are_not_modes(bits: int) -> None:
    with pytest.raises(ValueError, match="not permission bits"):
        FileMode(bits)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v1.24.17+k3s1", Version(1, 24, 17, "+k3s1")),
        ("1.24.17", Version(1, 24, 17)),
        ("1.24", Version(1, 24, 0)),
        ("v1.30.0-rc1+k3s2", Version(1, 30, 0, "-rc1+k3s2")),
        (" v1.36.5+k3s1\n", Version(1, 36, 5, "+k3s1")),
        ("v1.36.5-k3s1", Version(1, 36, 5, "+k3s1")),
    ],
)
def test_versions_are_parsed(text: str, version: Version) -> None:
    assert Version.parse(text) == version
    assert Version.parse(str(version)) == version
    assert version.family == f"1.{version.minor}"


@pytest.mark.parametrize(
    "text",
    [
        *("", "latest", "1", "v1", "2.1", "1.x", "1.24.17 k3s1", "1.24.17+", "v1.24.17+k3s1; rm", "-1.24", "1.2400"),
        # Digits other than those of ASCII.
        *("１.24", "1.٢٤"),
    ],
)
def test_other_text_is_not_a_version(text: str) -> None:
    with pytest.raises(ValueError, match="not a K3s version"):
        Version.parse(text)


@pytest.mark.parametrize(
    ("first", "last", "inside", "outside", "text"),
    [
        (None, None, {23, 25, 99}, set(), "all versions"),
        (25, None, {25, 99}, {24}, "v1.25 and newer"),
        (None, 24, {0, 24}, {25}, "v1.24 and older"),
        (23, 26, {23, 26}, {22, 27}, "v1.23 to v1.26"),
        (24, 24, {24}, {23, 25}, "v1.24"),
        (0, None, {0}, set(), "v1.0 and newer"),
    ],
)
def test_a_range_includes_both_ends(
    first: int | None, last: int | None, inside: set[int], outside: set[int], text: str
) -> None:
    bounds = VersionRange(first, last)
    assert all(bounds.includes(Version(1, minor, 99, "+k3s9")) for minor in inside)
    assert not any(bounds.includes(Version(1, minor, 0)) for minor in outside)
    assert str(bounds) == text


def test_a_row_applies_to_its_roles_and_versions() -> None:
    server = Applies(SERVERS, VersionRange(25))
    assert server.to(Role.SERVER, Version(1, 25, 0))
    assert not server.to(Role.AGENT, Version(1, 25, 0))
    assert not server.to(Role.SERVER, Version(1, 24, 0))
    assert str(server) == "servers only, v1.25 and newer"
    assert str(Applies(frozenset({Role.AGENT}))) == "agents only, all versions"
    assert str(Applies()) == "servers and agents, all versions"
    assert Applies().versions == ALL_VERSIONS


def test_states_are_compared_by_type_content_mode_and_owner() -> None:
    file = File(path=PATH, content=b"x", mode=FileMode(0o600))
    assert file == replace(file, immutable=True)
    assert file != replace(file, content=b"y")
    assert file != replace(file, mode=FileMode(0o644))
    assert file != replace(file, owner=Owner(0, 1))
    others: list[State] = [Directory(path=PATH, mode=FileMode(0o600)), Absent(PATH)]
    assert file not in others


class Empty(Value):
    """A value without fields."""


class Pair(Value):
    """Two fields, one of them with a default."""

    left: int
    right: str = "r"


class Triple(Pair, not_compared=("value",)):
    """Inherited fields come first; the last field is not compared."""

    value: str = ""


def called() -> str:
    return "called"


class Calls(Value):
    """A field with a function."""

    function: Callable[[], str] = called


class Twin(Value):
    """The fields of Pair in another class."""

    left: int
    right: str = "r"


class Line(Row):
    """A row."""

    text: str


@pytest.mark.parametrize("value", [Pair(1, "r"), Pair(left=1, right="r"), Pair(1, right="r"), Pair(1)], ids=str)
def test_fields_are_given_by_position_or_name(value: Pair) -> None:
    assert (value.left, value.right) == (1, "r")
    assert repr(value) == "Pair(left=1, right='r')"


def test_a_subclass_adds_its_fields() -> None:
    assert repr(Triple(1)) == "Triple(left=1, right='r', value='')"
    assert Triple(1, "x", "n") == Triple(value="n", right="x", left=1)


@pytest.mark.parametrize(
    "make",
    [
        Pair,
        lambda: Pair(1, "r", "more"),  # type: ignore[call-arg]
        lambda: Pair(1, middle="m"),  # type: ignore[call-arg]
        lambda: Pair(1, left=2),  # type: ignore[misc]
        lambda: Empty(1),
        lambda: replace(Pair(1), middle="m"),  # type: ignore[call-arg]
    ],
)
def test_missing_and_unknown_fields_are_errors(make: Callable[[], Value]) -> None:
    with pytest.raises(TypeError, match="expected"):
        make()


def test_a_function_as_a_default_is_not_a_method() -> None:
    assert Calls().function() == "called"


def test_values_of_different_classes_are_not_equal() -> None:
    """Tuples of different classes would be equal. Values of one class are equal if their fields are."""
    assert Pair(1) == Pair(1)
    assert hash(Pair(1)) == hash(Pair(1))
    assert Pair(1) != Pair(2)
    assert len({Pair(1), Twin(1), Triple(1), Pair(2), Empty(), Empty()}) == 5
    assert Pair(1) != (1, "r")
    assert bool(Empty())


def test_a_field_that_is_not_compared_affects_neither_equality_nor_hash() -> None:
    assert Triple(1, value="a") == Triple(1, value="b")
    assert len({Triple(1, value="a"), Triple(1, value="b"), Triple(2)}) == 2


def test_rows_are_equal_only_to_themselves() -> None:
    """Rows can therefore contain values without a hash."""
    row = Line("a")
    assert row == row  # noqa: PLR0124 - the comparison is under test
    assert row != Line("a")
    assert hash(Line(["no hash"]))  # type: ignore[arg-type]


def test_values_cannot_be_changed() -> None:
    value = Pair(1)
    for name in ("left", "other"):
        with pytest.raises(AttributeError, match=f"cannot set {name}: Pair is immutable"):
            setattr(value, name, 2)
    with pytest.raises(AttributeError, match="cannot delete left: Pair is immutable"):
        del value.left
    assert deepcopy(value) == value


def test_replace_returns_a_copy_with_other_fields() -> None:
    value = Triple(1, value="n")
    assert replace(value, right="x") == Triple(1, "x")
    assert replace(value, right="x").value == "n"
    assert value.right == "r"
