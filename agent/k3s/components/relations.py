"""Relations between a value, an operand and other values, each with one text for all of its rules. Pure.

The values are those of arguments, or of the fields of a file. A term is a condition about them:

    audit-log-path                 is true, more than 0, or a text or list that is not empty
    authorization-mode=ABAC|Node   is or contains one of these; `controllers=NAME`: the controller runs
    oidc-client-id=*               is given, perhaps with an empty value
    LoggingAlphaOptions            the feature gate is on; the names of gates begin with a capital letter
    !watch-cache                   the opposite of a term
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from agent.k3s.components.tables import syntax
from agent.k3s.components.values import Pairs, Parsed
from agent.k3s.go_values import duration


class Values(Protocol):
    """Values and feature gates by name."""

    def value(self, name: str) -> Parsed | None:
        """Return a value; None if it is not set, and its default is not known."""

    def gate_is_on(self, name: str) -> bool:
        """Return whether a feature gate is on."""

    def shown(self, name: str) -> str:
        """Return a value or feature gate with its name, as it is written: `name=value`."""


class RuleRejection(NamedTuple):
    """A relation that values do not meet."""

    message: str
    """The end of a sentence that begins with the component."""
    expected: str
    other: str = ""
    """The other value that takes part."""


Relation = Callable[[str, str, Values], Iterator[RuleRejection]]
"""A function of an operand, a subject and values, which yields how the values do not meet it."""

DEFAULT = " (default)"
"""The end of a value that is shown, if neither the operator nor a file sets it."""


def name_in(term: str) -> str:
    """Return the name in a term."""
    return term.lstrip("!").partition("=")[0]


def is_gate(term: str) -> bool:
    """Return whether a term is about a feature gate."""
    return term.lstrip("!")[:1].isupper()


def holds(term: str, values: Values) -> bool:
    """Return whether a term is true."""
    if term.startswith("!"):
        return not holds(term[1:], values)
    if is_gate(term):
        return values.gate_is_on(term)
    name, has_words, text = term.partition("=")
    value = values.value(name)
    if name == "controllers":
        return controller_runs(value if isinstance(value, tuple) else (), *text.split("|"))
    if text == "*":
        return value is not None
    if has_words:
        return _is_one_of(value, text.split("|"))
    return value is not None and (value > 0 if isinstance(value, (int, float)) else bool(value))


def controller_runs(words: tuple[str, ...], *names: str) -> bool:
    """Return whether `controllers` lets a controller run that is on by default.

    `names` are its name and its older one (controller-manager/app/helper.go, IsControllerEnabled).
    """
    if not words:
        return True  # K3s passes `*`
    chosen = next((word for word in words if word.removeprefix("-") in names), "")
    return not chosen.startswith("-") if chosen else "*" in words


def _is_one_of(value: Parsed | None, words: list[str]) -> bool:
    if isinstance(value, dict):
        return any(value.get(word, "0") != "0" for word in words)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return any(value == number_of(word) for word in words)
    return any(word in words for word in texts_in(value))


def texts_in(value: Parsed | None) -> tuple[str, ...]:
    """Return a value as texts: the items of a list, `key=value` or `key<value` of a mapping, or one text."""
    if isinstance(value, dict):
        separator = value.separator if isinstance(value, Pairs) else "="
        return tuple(f"{key}{separator}{item}" for key, item in value.items())
    if isinstance(value, bool):
        return (str(value).lower(),)
    return value if isinstance(value, tuple) else () if value is None else (str(value),)


def number_of(bound: str) -> float:
    """Return a bound, which is a number or a duration."""
    try:
        return float(bound)
    except ValueError:
        return duration(bound)


def _each(rule: Callable[[str], tuple[Callable[[str], object], str]]) -> Relation:
    """Return the relation of a value, or each item of a list or a mapping, with what a function of the operand accepts.

    The function also returns what is expected.
    """

    def relation(operand: str, subject: str, values: Values) -> Iterator[RuleRejection]:
        accepts, expected = rule(operand)
        for item in texts_in(values.value(subject)):
            if not accepts(item):
                yield RuleRejection(f"rejects {subject}={item}", expected)

    return relation


_one_of = _each(lambda words: (words.split().__contains__, f"out of {words.replace(' ', ', ')}"))


def _limited(fails: Callable[..., bool], expected: str) -> Relation:
    """Return the relation of a number or a duration with its limits. NaN passes every limit."""

    def relation(limits: str, subject: str, values: Values) -> Iterator[RuleRejection]:
        value = _number_in(subject, values)
        if value is not None and fails(value, *map(number_of, limits.split())):
            yield RuleRejection(f"rejects {subject}", expected.format(*limits.split()))

    return relation


def _number_in(name: str, values: Values) -> float | None:
    value = values.value(name)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _wrong_if(fails: Callable[[Parsed | None, str], bool], message: str, expected: str) -> Relation:
    """Return a relation that a function of the value and the operand decides.

    `{subject}` and `{words}`, the operand, in the texts are replaced.
    """

    def relation(operand: str, subject: str, values: Values) -> Iterator[RuleRejection]:
        if fails(values.value(subject), operand):
            words = {"subject": subject, "words": operand.replace(" ", " or ")}
            yield RuleRejection(message.format(**words), expected.format(**words))

    return relation


def _unique(_: str, subject: str, values: Values) -> Iterator[RuleRejection]:
    """A list has each item once."""
    found = texts_in(values.value(subject))
    for item in dict.fromkeys(found):
        if found.count(item) > 1:
            yield RuleRejection(f"rejects {item} twice in {subject}", "each item once")


def _compared(fails: Callable[[float, float], bool], words: str) -> Relation:
    """Return the relation of a number with another one, or with a multiple of it."""

    def relation(operand: str, subject: str, values: Values) -> Iterator[RuleRejection]:
        other, _, times = operand.partition(" ")
        value, least = _number_in(subject, values), _number_in(other, values)
        if value is not None and least is not None and fails(value, least * float(times) if times else least):
            shown = values.shown(other).partition("=")[2].removesuffix(DEFAULT)
            limit = f"{words} {f'{times} times ' if times else ''}{shown}"
            yield RuleRejection(f"needs {limit} ({other}) in {subject}", limit, other)

    return relation


def _shown(subject: str) -> str:
    return subject.removesuffix("=*")


def _requires(terms: str, subject: str, values: Values) -> Iterator[RuleRejection]:
    """If a term holds, all others have to hold."""
    missing = next((term for term in terms.split() if not holds(term, values)), "") if holds(subject, values) else ""
    if missing:
        gate = "the feature gate " if is_gate(missing) else ""
        yield RuleRejection(
            f"rejects {_shown(subject)} without {gate}{missing}",
            f"{missing}=true" if gate else missing,
            name_in(missing),
        )


def _requires_any(terms: str, subject: str, values: Values) -> Iterator[RuleRejection]:
    """If a term holds, at least one of the others has to hold."""
    if holds(subject, values) and not any(holds(term, values) for term in terms.split()):
        expected = terms.replace(" ", " or ")
        yield RuleRejection(f"rejects {_shown(subject)} without {expected}", expected)


def _excludes(terms: str, subject: str, values: Values) -> Iterator[RuleRejection]:
    """If a term holds, none of the others may hold."""
    both = next((term for term in terms.split() if holds(term, values)), "") if holds(subject, values) else ""
    if both:
        yield RuleRejection(f"rejects {_shown(subject)} beside {both}", "only one of them", name_in(both))


def _forbidden(_: str, subject: str, values: Values) -> Iterator[RuleRejection]:
    """A term does not hold."""
    if holds(subject, values):
        yield RuleRejection(f"exits with {subject}", "no such value")


RELATIONS: Mapping[str, Relation] = {
    "above": _compared(lambda value, least: not value > least, "more than"),
    "alone": _wrong_if(
        lambda value, word: word in texts_in(value) and len(texts_in(value)) > 1,
        "rejects {words} beside other items of {subject}",
        "only {words}, or not {words}",
    ),
    "at least": _limited(lambda value, low: value < low, "at least {}"),
    "at least or 0": _limited(lambda value, low: value != 0 and value < low, "0, or at least {}"),
    "between": _limited(lambda value, low, high: value < low or value > high, "from {} to {}"),
    "between or 0": _limited(lambda value, low, high: value and (value < low or value > high), "0, or from {} to {}"),
    "excludes": _excludes,
    "forbidden": _forbidden,
    "includes": _wrong_if(
        lambda value, words: (
            bool(texts_in(value)) and {*words.lower().split()}.isdisjoint(item.lower() for item in texts_in(value))
        ),
        "needs {words} in {subject}",
        "{words} in {subject}",
    ),
    "matches": _each(lambda name: (syntax(name).accepts, syntax(name).expected)),
    "more than": _limited(lambda value, low: value <= low, "more than {}"),
    "not below": _compared(lambda value, least: value < least, "at least"),
    "no empty item": _wrong_if(
        lambda value, _: not all(map(str.strip, texts_in(value))),
        "rejects an empty item in {subject}",
        "items with a text",
    ),
    "not empty": _wrong_if(lambda value, _: value in ("", (), {}), "rejects an empty {subject}", "a value"),
    "one of": _one_of,
    "one of or empty": lambda words, name, values: _one_of(words, name, values) if values.value(name) else iter(()),
    "present": _wrong_if(lambda value, _: value == (), "needs {subject}", "a value"),
    "requires": _requires,
    "requires any": _requires_any,
    "unique": _unique,
}
"""By the name in the column `relation` of rules.tsv and file_rules.tsv."""
