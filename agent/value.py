"""Base classes of immutable value types, and a copy of a value with other fields.

A value type is declared like a frozen dataclass and checked like one by mypy. dataclasses would compile five methods
for each class at each start of the program, which takes 0.3 ms; a value type takes 0.01 ms (docs/adr/0017).
NamedTuple is declared and checked like that of typing, which would also compile each annotation.
"""

from __future__ import annotations

from collections import namedtuple
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from dataclasses import replace as replace  # noqa: PLC0414 - exports it
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414

    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: bool) -> Callable[[type], type]:
        """Return a decorator that changes nothing: it is for type checkers."""
        return lambda cls: cls

    def replace(value: Value, /, **changes: object) -> Value:
        """Return a copy of a value with other fields, as dataclasses.replace() does, whose types mypy checks."""
        return type(value)(**{**{name: getattr(value, name) for name in value._fields}, **changes})

    class _NamedTupleMeta(type):
        """Creates a named tuple from the body of a class that is derived from NamedTuple."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = body["__annotations__"]
            defaults = [body.pop(field) for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body.pop("__module__"))  # noqa: PYI024
            for key, value in body.items():
                setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_NamedTupleMeta):
        """Base class in the declaration of a named tuple; no base class of the result."""


@dataclass_transform(frozen_default=True)
class Value:
    """A value: equal only to a value of the same class with equal fields, and not changeable.

    A subclass declares its fields as annotations, after those of its base, with a default or without.
    `not_compared` names fields that do not count for equality.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _names: ClassVar[frozenset[str]] = frozenset()
    _defaults: ClassVar[Mapping[str, object]] = {}
    _compared: ClassVar[attrgetter[Any] | type[Any]] = type
    """Returns the values of the fields that count for equality; the class if there is none."""

    def __init_subclass__(cls, *, not_compared: Collection[str] = ()) -> None:
        own = cls.__dict__.get("__annotations__", ())  # noqa: RUF063 - Python 3.9 has no other way
        if own:
            cls._fields = (*cls._fields, *own)
            cls._names = frozenset(cls._fields)
            cls._defaults = {**cls._defaults, **{name: cls.__dict__[name] for name in own if name in cls.__dict__}}
            cls._compared = attrgetter(*(name for name in cls._fields if name not in not_compared))

    def __init__(self, *values: object, **named: object) -> None:
        state = named
        if values:
            state = dict(zip(self._fields, values), **named)
        if len(state) != len(values) + len(named):
            raise self._wrong_fields(values, named)
        if len(state) < len(self._fields):
            state = {**self._defaults, **state}
        if state.keys() != self._names:
            raise self._wrong_fields(values, named)
        self.__dict__.update(state)

    def _wrong_fields(self, values: tuple[object, ...], named: Mapping[str, object]) -> TypeError:
        return TypeError(f"{type(self).__name__} has the fields {self._fields}, not {(*values, *named)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot set {name}: {type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete {name}: {type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        return self._compared(self) == self._compared(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self._compared(self)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._fields)})"


class Row(Value):
    """A row of a table, which is equal only to itself."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__
