"""Base classes of immutable value types, and a copy of a value with other fields.

A value type is declared like a frozen dataclass and checked like one by mypy. dataclasses would compile five methods
for each class at each start of the program, which takes 0.3 ms; a value type takes 0.02 ms (docs/adr/0017).
NamedTuple is declared and checked like that of typing, which would compile a constructor and each annotation.

The constructors of all classes share their code: only the names of the parameters differ.
"""

from __future__ import annotations

from collections import _tuplegetter  # type: ignore[attr-defined]
from functools import cache
from operator import attrgetter
from types import CodeType, FunctionType

TYPE_CHECKING = False  # as all modules; importing typing takes 3 ms
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from dataclasses import replace as replace  # noqa: PLC0414 - exports it
    from typing import Any, ClassVar
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414

    from typing_extensions import dataclass_transform


new = tuple.__new__


def _with_parameters(
    code: CodeType, name: str, fields: tuple[str, ...], defaults: Mapping[str, object]
) -> FunctionType:
    """Return a function that has these fields as its parameters after the first one."""
    names = (code.co_varnames[0], *fields)
    code = code.replace(co_argcount=len(names), co_nlocals=len(names), co_varnames=names)
    made = FunctionType(code, globals(), None, tuple([defaults[field] for field in fields if field in defaults]))
    made.__qualname__ = name
    return made


def _set_fields(self: Value) -> None:
    self.__dict__.update(locals())
    del self.__dict__["self"]


@cache
def _new_tuple(size: int) -> CodeType:
    """Return the code that creates a named tuple of this size, which does not depend on the names."""
    names = "".join(f"_{index}, " for index in range(size))
    made: FunctionType = eval(f"lambda cls, {names}: new(cls, ({names}))")  # noqa: S307 - of this module
    return made.__code__


def _shown(value: Value) -> str:
    return f"{type(value).__name__}({', '.join(f'{name}={getattr(value, name)!r}' for name in value._fields)})"


if not TYPE_CHECKING:

    def dataclass_transform(**_: bool) -> Callable[[type], type]:
        """Return a decorator that changes nothing: it is for type checkers."""
        return lambda cls: cls

    def replace(value: Value, /, **changes: object) -> Value:
        """Return a copy of a value with other fields, as dataclasses.replace() does, whose types mypy checks."""
        return type(value)(**{**{name: getattr(value, name) for name in value._fields}, **changes})

    class _NamedTupleType(type):
        """Makes the annotations in the body of a class the names of the elements of its tuples."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            fields = tuple(body.get("__annotations__", ()))
            body["__new__"] = _with_parameters(_new_tuple(len(fields)), f"{name}.__new__", fields, body)
            body.update((field, _tuplegetter(index, "")) for index, field in enumerate(fields))
            return super().__new__(cls, name, bases, {**body, "__slots__": (), "_fields": fields})

    class NamedTuple(tuple, metaclass=_NamedTupleType):  # noqa: SLOT001 - the metaclass adds them
        """Base class of named tuples, with the methods of those of typing."""

        def __getnewargs__(self) -> tuple[object, ...]:
            return tuple(self)

        def __repr__(self) -> str:
            return _shown(self)

        def _asdict(self) -> dict[str, object]:
            return dict(zip(self._fields, self))

        def _replace(self, /, **changes: object) -> NamedTuple:
            return type(self)(**{**self._asdict(), **changes})


@dataclass_transform(frozen_default=True)
class Value:
    """A value: equal only to a value of the same class with equal fields, and not changeable.

    A subclass declares its fields as annotations, after those of its base, with a default or without.
    `not_compared` names fields that do not count for equality.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[Mapping[str, object]] = {}
    _compared: ClassVar[attrgetter[Any] | type[Any]] = type
    """Returns the values of the fields that count for equality; the class if there is none."""

    def __init_subclass__(cls, *, not_compared: Collection[str] = ()) -> None:
        own = cls.__dict__.get("__annotations__", ())  # noqa: RUF063 - Python 3.9 has no other way
        if own:
            cls._fields = (*cls._fields, *own)
            cls._defaults = {**cls._defaults, **{name: cls.__dict__[name] for name in own if name in cls.__dict__}}
            name = f"{cls.__name__}.__init__"
            made = _with_parameters(_set_fields.__code__, name, cls._fields, cls._defaults)
            cls.__init__ = made  # type: ignore[method-assign]
            cls._compared = attrgetter(*(name for name in cls._fields if name not in not_compared))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot set {name}: {type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete {name}: {type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        return self._compared(self) == self._compared(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self._compared(self)))

    def __repr__(self) -> str:
        return _shown(self)


class Row(Value):
    """A row of a table, which is equal only to itself."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__
