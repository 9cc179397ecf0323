"""Base classes of immutable value types, and a copy of a value with other fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Collection
    from dataclasses import replace as replace  # noqa: PLC0414 - its types are those of this module's function

    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: bool) -> Any:  # noqa: ANN401
        """Return a decorator that changes nothing: typing has one for type checkers from Python 3.11 on."""
        return lambda cls: cls

    def replace(value: Value, /, **changes: object) -> Value:
        """Return a copy of a value with other fields, as dataclasses.replace does."""
        return type(value)(**{**{name: getattr(value, name) for name in value._fields}, **changes})


@dataclass_transform(frozen_default=True)
class Value:
    """A value: equal only to a value of the same class with equal fields, and not changeable.

    A subclass declares its fields as annotations, after those of its base, with a default or without. `not_compared`
    names fields that do not count for equality. A frozen dataclass would be compiled at each start of the program.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _names: ClassVar[frozenset[str]] = frozenset()
    _defaults: ClassVar[dict[str, object]] = {}
    _not_compared: ClassVar[Collection[str]] = ()

    def __init_subclass__(cls, *, not_compared: Collection[str] = ()) -> None:
        own = cls.__dict__.get("__annotations__", ())  # noqa: RUF063 - for Python 3.9
        cls._fields = (*cls._fields, *own)
        cls._names = frozenset(cls._fields)
        cls._defaults = {**cls._defaults, **{name: cls.__dict__[name] for name in own if name in cls.__dict__}}
        cls._not_compared = not_compared

    def __init__(self, *values: object, **named: object) -> None:
        given = dict(zip(self._fields, values), **named)
        fields = self.__dict__
        fields.update(self._defaults)
        fields.update(given)
        if len(given) != len(values) + len(named) or fields.keys() != self._names:
            found = (*map(repr, values), *(f"{name}={value!r}" for name, value in named.items()))
            raise TypeError(f"{type(self).__name__}: expected {', '.join(self._fields)}; found {', '.join(found)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot set {name}: {type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete {name}: {type(self).__name__} is immutable")

    def _compared(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self._fields if name not in self._not_compared)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Value) or type(other) is not type(self):
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash((type(self), self._compared()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._fields)})"


class Row(Value):
    """A row of a table, which is equal only to itself."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__
