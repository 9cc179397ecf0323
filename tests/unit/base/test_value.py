"""Value types: fields, defaults, equality by class and content, immutability, and copies."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest

from agent.base.value import Row, Value, replace


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
