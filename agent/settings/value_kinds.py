"""The kinds of value that a setting can have: what is allowed, in words, and what a YAML node stands for. Pure.

A kind refuses what it does not allow, and says what more it wants and where; settings.py makes a message of that.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.guide.manifests import EventRateLimit
from agent.model import Location, Role, Version
from agent.yaml_reader import Mapping, Scalar, Sequence, alternatives, duplicates, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.yaml_reader import Node

OFF = "off"

_NAMESPACE = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_MOST_EVENTS = 1_000_000
_NO_REASONS = frozenset({"fixme", "later", "n/a", "na", "none", "reason", "tbd", "todo", "unknown", "waived", "xxx"})
"""What people type where a form insists on a reason."""


class Refused(Exception):  # noqa: N818 - an answer of a reader, never an error of the program
    """A value is not what is allowed. `what` says more, `node` is where it is if not where the value begins.

    `others` are further reasons, each like this one.
    """

    def __init__(self, what: str = "", node: Node | None = None, others: tuple[Refused, ...] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.node = node
        self.others = others


class Kind(NamedTuple):
    """A kind of value: `allowed` in words, after "must be", and what makes the value of a node or raises Refused."""

    allowed: str
    of: Callable[[Node], object]


class SiteWaiver(NamedTuple):
    """A control whose failure a site accepts, with the reason.

    `control` is an id of ours, a CIS number, or benchmark/number. `expires` is the last day it counts, YYYY-MM-DD, ""
    for never. It counts for one role, or for both (None), and for hosts whose name fits the shell pattern `host`, ""
    for all.
    """

    control: str
    reason: str
    expires: str = ""
    role: Role | None = None
    host: str = ""
    location: Location = Location(PurePosixPath())
    """Where the waiver is written."""


def words(choices: dict[str, object]) -> Kind:
    """One of a few words. YAML 1.1 makes booleans and numbers of some, so it is what was written that counts."""

    def of(node: Node) -> object:
        if not isinstance(node, Scalar) or node.text not in choices:
            raise Refused
        return choices[node.text]

    return Kind(alternatives(choices), of)


def number(least: int, most: int, unit: str = "") -> Kind:
    """A whole number in decimal, of `unit`."""
    return Kind(f"a whole number{unit and f' of {unit}'}, {least} to {most}", lambda node: _whole(node, least, most))


def or_null(kind: Kind) -> Kind:
    """Nothing, or a value of that kind."""

    def of(node: Node) -> object:
        return None if isinstance(node, Scalar) and node.value is None else kind.of(node)

    return Kind(kind.allowed, of)


def _boolean(node: Node) -> bool:
    if isinstance(node, Scalar) and isinstance(node.value, bool):
        return node.value
    raise Refused


def _whole(node: Node, least: int, most: int) -> int:
    if not isinstance(node, Scalar) or isinstance(node.value, bool) or not isinstance(node.value, int):
        raise Refused
    # 010 is 8 to YAML 1.1: nobody who writes it here means that.
    if str(node.value) != node.text:
        raise Refused("written in decimal")
    if not least <= node.value <= most:
        raise Refused
    return node.value


def _version(node: Node) -> Version:
    # 1.30 is the number 1.3 to YAML, so it is what was written that counts.
    if not isinstance(node, Scalar):
        raise Refused
    try:
        return Version.parse(node.text)
    except ValueError:
        raise Refused from None


def _path(node: Node) -> PurePosixPath:
    text = _text(node)
    if not text.startswith("/") or ".." in text.split("/") or not text.isprintable() or text.strip() != text:
        raise Refused
    path = PurePosixPath("/" + text.lstrip("/"))
    if path == PurePosixPath("/"):
        raise Refused
    return path


def _namespaces(node: Node) -> tuple[str, ...]:
    if not isinstance(node, Sequence):
        raise Refused
    found: list[str] = []
    for item in node.items:
        name = _text(item)
        if not re.fullmatch(_NAMESPACE, name):
            raise Refused("each a lower-case RFC 1123 label", item)
        if name in found:
            raise Refused("each once", item)
        found.append(name)
    return tuple(found)


def _event_rate_limit(node: Node) -> EventRateLimit | None:
    if isinstance(node, Scalar) and (node.value is False or node.value is None or node.text == OFF):
        return None
    if not isinstance(node, Mapping):
        raise Refused
    for entry in node.entries:
        if entry.key not in EventRateLimit._fields:
            raise Refused(f"without the key `{shown(entry.key)}`", node._replace(line=entry.line))
    numbers = []
    for name in EventRateLimit._fields:
        value = node.get(name)
        if value is None:
            raise Refused(f"with `{name}`")
        try:
            numbers.append(_whole(value, 1, _MOST_EVENTS))
        except Refused:
            raise Refused(f"which `{name}` is not", value) from None
    return EventRateLimit(*numbers)


def _waivers(node: Node) -> tuple[SiteWaiver, ...]:
    if isinstance(node, Scalar) and node.value is None:
        return ()
    if not isinstance(node, Sequence):
        raise Refused
    found: list[SiteWaiver] = []
    refused: list[Refused] = []
    for item in node.items:
        try:
            found.append(_waiver(item))
        except Refused as one:
            refused.append(one)
    if refused:
        raise Refused(refused[0].what, refused[0].node, tuple(refused[1:]))
    return tuple(found)


def _waiver(node: Node) -> SiteWaiver:
    if not isinstance(node, Mapping):
        raise Refused("", node)
    for entry in node.entries:
        if entry.key not in _WAIVER_KEYS:
            raise Refused(f"without the key `{shown(entry.key)}`", node._replace(line=entry.line))
    if repeated := duplicates(node):
        _, again = repeated[0]
        raise Refused(f"with one `{again.key}` each", again.node)
    values: dict[str, object] = {}
    for key, (allowed, of) in _WAIVER_KEYS.items():
        value = node.get(key)
        if value is None:
            if key in _MANDATORY:
                raise Refused(f"the `{key}` {allowed}", node)
            continue
        try:
            values[key] = of(value)
        except Refused:
            raise Refused(f"the `{key}` {allowed}", value) from None
    return SiteWaiver(location=Location(PurePosixPath(), node.line), **values)  # type: ignore[arg-type]  # each came out of its own reader


def _control(node: Node) -> str:
    # 2.1 is a number to YAML, and to CIS as well; 1.10 is the number 1.1 to YAML alone.
    if not isinstance(node, Scalar) or isinstance(node.value, bool) or not re.fullmatch(r"[\w./-]+", node.text):
        raise Refused
    return node.text


def _reason(node: Node) -> str:
    text = " ".join(_text(node).split())
    if text.strip(" .!").lower() in _NO_REASONS or not any(character.isalpha() for character in text):
        raise Refused
    return text


def _date(node: Node) -> str:
    from datetime import date

    text = _text(node)
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        raise Refused
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise Refused from None


def _host_pattern(node: Node) -> str:
    text = _text(node)
    if not text or not text.isprintable() or any(character.isspace() for character in text):
        raise Refused
    return text


def _text(node: Node) -> str:
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return node.value
    raise Refused("" if isinstance(node, Scalar) else "a single value", node)


_MANDATORY = ("control", "reason")
_WAIVER_KEYS: dict[str, Kind] = {
    "control": Kind("the id of a control or its CIS number, such as 1.2.9 or cis-1.9/1.2.9", _control),
    "reason": Kind("a sentence that says why", _reason),
    "expires": Kind("a date such as 2027-06-30", _date),
    "role": words({role.value: role for role in Role}),
    "host": Kind("a shell pattern for host names", _host_pattern),
}

SWITCH = Kind("true or false", _boolean)
A_PATH = or_null(Kind("an absolute path without `..`", _path))
A_VERSION = or_null(Kind("a K3s version such as v1.28.5+k3s1 or 1.28", _version))
SOME_NAMESPACES = Kind("a list of namespace names", _namespaces)
EVENT_RATE_LIMIT = Kind(
    f"{OFF}, or a mapping of `qps` and `burst`, each a whole number, 1 to {_MOST_EVENTS}", _event_rate_limit
)
SOME_WAIVERS = Kind(
    "a list of mappings, each with `control`, `reason` and perhaps `expires`, `role` and `host`", _waivers
)
