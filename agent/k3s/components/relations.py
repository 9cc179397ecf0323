"""Relations between a value, an operand and other values, each with one text for all of its rules. Pure.

The values are those of arguments, or of the fields of a file. A term is a condition about them:

    audit-log-path                 is true, more than 0, or a text or list that is not empty
    authorization-mode=ABAC|Node   is or contains one of these; `controllers=NAME`: the controller runs
    LoggingAlphaOptions            the feature gate is on; the names of gates begin with a capital letter
    !watch-cache                   the opposite of a term
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Union

from agent.k3s.components.controllers import runs
from agent.k3s.components.values import duration
from agent.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from agent.k3s.components.syntaxes import Syntax
    from agent.k3s.components.values import Parsed

    class Values(Protocol):
        """Values and feature gates by name."""

        def value(self, name: str) -> Parsed | None:
            """Return a value; None if it is not set, and its default is not known."""

        def gate_is_on(self, name: str) -> bool:
            """Return whether a feature gate is on."""

    Bound = Union[float, str]
    """A number, or a duration as text."""


class Unmet(NamedTuple):
    """A relation that values do not meet."""

    message: str
    """The end of a sentence that begins with the component."""
    expected: str
    other: str = ""
    """The other value that takes part."""


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
        return runs(value if isinstance(value, tuple) else (), *text.split("|"))
    if has_words:
        return _is_one_of(value, text.split("|"))
    return value is not None and (value > 0 if isinstance(value, (int, float)) else bool(value))


def _is_one_of(value: Parsed | None, words: list[str]) -> bool:
    if isinstance(value, dict):
        return any(value.get(word, "0") != "0" for word in words)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return any(value == _number(word) for word in words)
    return any(word in words for word in texts_in(value))


def texts_in(value: Parsed | None) -> tuple[str, ...]:
    """Return a value as texts: the items of a list, `key=value` of a mapping, or one text."""
    if isinstance(value, dict):
        return tuple(f"{key}={item}" for key, item in value.items())
    if isinstance(value, bool):
        return (str(value).lower(),)
    return value if isinstance(value, tuple) else () if value is None else (str(value),)


def _number(bound: Bound) -> float:
    try:
        return float(bound)
    except ValueError:
        return duration(str(bound))


class Relation(Value):
    """What a value must be. Each kind has one text."""

    def unmet(self, subject: str, values: Values) -> Iterator[Unmet]:
        """Yield how the values do not meet the relation; `subject` is a name, or a term of Requires and Excludes."""
        raise NotImplementedError

    def others(self) -> tuple[str, ...]:
        """Return the terms about other values."""
        return ()


class OneOf(Relation):
    """The value, or each item of a list, is one of some words."""

    words: str
    """Separated by blanks. An empty value is accepted."""

    def unmet(self, subject: str, values: Values) -> Iterator[Unmet]:
        """Yield each other word."""
        words = self.words.split()
        for item in texts_in(values.value(subject)):
            if item and item not in words:
                yield Unmet(f"rejects {subject}={item}", f"out of {', '.join(words)}")


class Matches(Relation):
    """The value, or each item of a list or a mapping, has a syntax."""

    syntax: Syntax

    def unmet(self, subject: str, values: Values) -> Iterator[Unmet]:
        """Yield each item with another syntax."""
        for item in texts_in(values.value(subject)):
            if not self.syntax.accepts(item):
                yield Unmet(f"rejects {subject}={item}", self.syntax.expected)


class Between(Relation):
    """A number or a duration has limits."""

    low: Bound
    high: Bound | None = None
    is_open: bool = False
    """Whether `low` itself is rejected."""
    or_zero: bool = False

    def unmet(self, subject: str, values: Values) -> Iterator[Unmet]:
        """Yield a number outside the limits. NaN passes every limit."""
        value = values.value(subject)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or (self.or_zero and value == 0):
            return
        low, high = _number(self.low), None if self.high is None else _number(self.high)
        if value < low or (self.is_open and value == low) or (high is not None and value > high):
            yield Unmet(f"rejects {subject}", self._expected())

    def _expected(self) -> str:
        low = f"{'more than' if self.is_open else 'at least'} {self.low}"
        limits = low if self.high is None else f"{low} and at most {self.high}"
        return f"0, or {limits}" if self.or_zero else limits


def at_least(low: Bound) -> Between:
    """Return the relation that a value has a lower limit."""
    return Between(low)


def more_than(low: Bound) -> Between:
    """Return the relation that a value is above a limit."""
    return Between(low, is_open=True)


class NotEmpty(Relation):
    """The value is set, and no item of a list is empty or blank."""

    def unmet(self, subject: str, values: Values) -> Iterator[Unmet]:
        """Yield an empty value or item."""
        value = values.value(subject)
        if value is not None and not (value and all(item.strip() for item in texts_in(value))):
            yield Unmet(f"rejects an empty {subject}", "a value")


class Present(Relation):
    """A field of a file is set, and is not an empty text or list."""

    def unmet(self, subject: str, values: Values) -> Iterator[Unmet]:
        """Yield a field that is not set."""
        if values.value(subject) == ():
            yield Unmet(f"needs {subject}", "a value")


class Unique(Relation):
    """A list has each item once."""

    def unmet(self, subject: str, values: Values) -> Iterator[Unmet]:
        """Yield each repeated item."""
        found = texts_in(values.value(subject))
        for item in dict.fromkeys(found):
            if found.count(item) > 1:
                yield Unmet(f"rejects {item} twice in {subject}", "each item once")


class Alone(Relation):
    """A word excludes the other items of a list."""

    word: str

    def unmet(self, subject: str, values: Values) -> Iterator[Unmet]:
        """Yield the word beside others."""
        found = texts_in(values.value(subject))
        if self.word in found and len(found) > 1:
            yield Unmet(f"rejects {self.word} beside other items of {subject}", f"only {self.word}, or not {self.word}")


class Includes(Relation):
    """A list that is set has at least one of some words, in lower or upper case."""

    words: str

    def unmet(self, subject: str, values: Values) -> Iterator[Unmet]:
        """Yield a list with none of them."""
        words = self.words.split()
        found = texts_in(values.value(subject))
        if found and {word.lower() for word in words}.isdisjoint(item.lower() for item in found):
            yield Unmet(f"needs {' or '.join(words)} in {subject}", f"{' or '.join(words)} in the list")


class Exceeds(Relation):
    """A number is above another one."""

    other: str
    times: float = 1
    or_equal: bool = False

    def unmet(self, subject: str, values: Values) -> Iterator[Unmet]:
        """Yield two numbers in the wrong order."""
        value, least = values.value(subject), values.value(self.other)
        if isinstance(value, (int, float)) and isinstance(least, (int, float)):
            least = least * self.times
            if not (value > least or (self.or_equal and value == least)):
                other = f"{self.times} times {self.other}" if self.times != 1 else self.other
                limit = f"at least {other}" if self.or_equal else f"more than {other}"
                yield Unmet(f"needs {limit} in {subject}", limit, self.other)

    def others(self) -> tuple[str, ...]:
        """Return the other number."""
        return (self.other,)


class _OfTerms(Relation):
    """A relation to terms."""

    terms: str
    """Separated by blanks."""

    def others(self) -> tuple[str, ...]:
        """Return the terms."""
        return tuple(self.terms.split())


class Requires(_OfTerms):
    """If a term holds, others must hold, too."""

    is_any: bool = False
    """Whether one of them is enough."""

    def unmet(self, subject: str, values: Values) -> Iterator[Unmet]:
        """Yield the first term that does not hold."""
        if holds(subject, values):
            missing = [term for term in self.others() if not holds(term, values)]
            if len(missing) == len(self.others()) or (missing and not self.is_any):
                needed = " or ".join(missing) if self.is_any else missing[0]
                gate = "the feature gate " if is_gate(needed) else ""
                expected = f"{needed}=true" if gate else needed
                yield Unmet(f"rejects {subject} without {gate}{needed}", expected, name_in(missing[0]))


class Excludes(_OfTerms):
    """If a term holds, others must not hold."""

    def unmet(self, subject: str, values: Values) -> Iterator[Unmet]:
        """Yield the first term that holds, too."""
        both = next((term for term in self.others() if holds(term, values)), "") if holds(subject, values) else ""
        if both:
            yield Unmet(f"rejects {subject} beside {both}", "only one of them", name_in(both))


class Forbidden(Relation):
    """A term must not hold."""

    def unmet(self, subject: str, values: Values) -> Iterator[Unmet]:
        """Yield a term that holds."""
        if holds(subject, values):
            yield Unmet(f"exits with {subject}", "no such value")
