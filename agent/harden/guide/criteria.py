"""Criteria for values of K3s options and component arguments."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from posixpath import normpath

from agent.base.value import Value
from agent.k3s.go_values import FALSE, TRUE, accepted, duration, integer


class Criterion(Value, ABC):
    """A requirement for a value. str() describes the values that meet it."""

    @abstractmethod
    def accepts(self, value: str) -> bool:
        """Return whether this value meets the control."""

    @abstractmethod
    def __str__(self) -> str: ...

    @property
    def predicate(self) -> str:
        """The criterion as the predicate of a sentence about the value."""
        return f"is {self}"

    @property
    def required(self) -> tuple[str, ...]:
        """The names that a list must contain: all of them, or at least one."""
        return ()

    def suggestion(self, value: str) -> str:  # noqa: ARG002 - only lists keep a part of it
        """Return a value that meets the criterion and keeps parts of this one; empty if the site has to choose."""
        return ""

    def on_host(self, data_dir: str) -> Criterion:  # noqa: ARG002 - only Equals has the field
        """Return the criterion with the field {data_dir} filled in."""
        return self


def _split(value: str) -> list[str]:
    return [name for name in value.split(",") if name]


def _joined(names: list[str]) -> str:
    return ",".join(dict.fromkeys(names))


class Boolean(Criterion):
    """A boolean, in any spelling that Go's strconv.ParseBool accepts."""

    expected: bool

    def accepts(self, value: str) -> bool:
        return value in (TRUE if self.expected else FALSE)

    def __str__(self) -> str:
        return "true" if self.expected else "false"

    def suggestion(self, value: str) -> str:  # noqa: ARG002 - there is one good value
        return str(self)


class AtLeast(Criterion):
    """A whole number that is not less than `least`, as Go reads it: 0x1e and 036 are 30."""

    least: int
    example: int = 0
    """A suggested number, if `least` is not one."""

    def accepts(self, value: str) -> bool:
        number = accepted(integer, value)
        return number is not None and number >= self.least

    def __str__(self) -> str:
        return f"{self.least} or more"

    def suggestion(self, value: str) -> str:  # noqa: ARG002 - a number is replaced
        return str(max(self.least, self.example))


class Duration(Criterion):
    """A Go duration of a second or longer; zero disables the limit, and with less each request can fail."""

    example: str
    """The value that the guide sets."""

    def accepts(self, value: str) -> bool:
        return (accepted(duration, value) or 0) >= duration("1s")

    def __str__(self) -> str:
        return f"a duration of a second or longer, such as {self.example}"

    def suggestion(self, value: str) -> str:  # noqa: ARG002 - a duration is replaced
        return self.example


class DurationFrom(Duration):
    """A Go duration that is not shorter than the example."""

    def accepts(self, value: str) -> bool:
        return (accepted(duration, value) or 0) >= duration(self.example)

    def __str__(self) -> str:
        return f"a duration of {self.example} or longer"


_NOT_STORED = ("/dev/", "/proc/", "//")
"""Directories whose files keep nothing, and what POSIX does not define."""


class AbsolutePath(Criterion):
    """The absolute path of a file; neither `-`, which sends a log to standard output, nor a device is one."""

    what: str
    """The kind of file, with its article."""

    def accepts(self, value: str) -> bool:
        return value.startswith("/") and not value.endswith("/") and not normpath(value).startswith(_NOT_STORED)

    def __str__(self) -> str:
        return f"the absolute path of {self.what}"


class _Names(Criterion):
    """A comma-separated list that is compared with these names."""

    names: tuple[str, ...]

    described = says = ""
    """The values that meet it, and the predicate. `{every}`, `{any}` and `{each}` are the names, joined."""

    def __str__(self) -> str:
        return self._worded(self.described)

    @property
    def predicate(self) -> str:
        return self._worded(self.says)

    def _worded(self, text: str) -> str:
        return text.format(every=" and ".join(self.names), any=" or ".join(self.names), each=", ".join(self.names))


class ListIncludes(_Names):
    """A comma-separated list that contains at least these names, in any order."""

    described, says = "a comma-separated list with {every}", "contains {every}"

    def accepts(self, value: str) -> bool:
        return set(self.names) <= set(value.split(","))

    @property
    def required(self) -> tuple[str, ...]:
        return self.names

    def suggestion(self, value: str) -> str:
        return _joined([*_split(value), *self.names])


class ListIncludesOneOf(_Names):
    """A comma-separated list that contains at least one of these names."""

    described, says = "a comma-separated list with {any}", "contains {any}"

    def accepts(self, value: str) -> bool:
        return not set(self.names).isdisjoint(value.split(","))

    @property
    def required(self) -> tuple[str, ...]:
        return self.names


class ListExcludes(_Names):
    """A comma-separated list that contains none of these names."""

    described, says = "a list without {every}", "does not contain {any}"

    def accepts(self, value: str) -> bool:
        return set(self.names).isdisjoint(value.split(","))

    def suggestion(self, value: str) -> str:
        return _joined([name for name in _split(value) if name not in self.names])


class ListSubsetOf(_Names):
    """A comma-separated list of one or more of these names, and no others."""

    described, says = "a comma-separated list of some of {each}, and no others", "contains only {each}"

    def accepts(self, value: str) -> bool:
        return set(value.split(",")) <= set(self.names)

    def suggestion(self, value: str) -> str:
        return _joined([name for name in _split(value) if name in self.names] or [*self.names])


class EachHttps(Criterion):
    """A comma-separated list of URLs with TLS."""

    def accepts(self, value: str) -> bool:
        return all(url.strip().startswith("https://") for url in value.split(","))

    def __str__(self) -> str:
        return "only URLs with https"


class RunsController(_Names):
    """A list of controllers with which one runs that is on by default; `names` are its name and its aliases."""

    described = says = "leaves {any} on"

    def accepts(self, value: str) -> bool:
        listed = value.split(",")
        is_off = any(f"-{name}" in listed for name in self.names)
        return not is_off and ("*" in listed or not {*listed}.isdisjoint(self.names))

    def suggestion(self, value: str) -> str:
        return _joined([name for name in _split(value) if name[1:] not in self.names] or ["*"])


class ModernTls(Criterion):
    """A version of TLS from 1.2 on, or an empty value, which means 1.2 (component-base, ciphersuites_flag.go)."""

    def accepts(self, value: str) -> bool:
        return value in ("", "VersionTLS12", "VersionTLS13")

    def __str__(self) -> str:
        return "VersionTLS12 or VersionTLS13"


class NotEmpty(Criterion):
    """Any value that is not empty."""

    def accepts(self, value: str) -> bool:
        return value != ""

    def __str__(self) -> str:
        return "set"


class EachNotEmpty(NotEmpty):
    """One or more values, none of which is empty."""

    def accepts(self, value: str) -> bool:
        return all(value.split(","))


class NotGiven(Criterion):
    """No value: the argument must not be set, or be empty, which is the same for the name of a file."""

    def accepts(self, value: str) -> bool:
        return not value

    def __str__(self) -> str:
        return "not set"


_LOOPBACK = ("127.0.0.1", "::1")


class Loopback(Criterion):
    """An IP address that only the host itself can reach, with or without a port."""

    def accepts(self, value: str) -> bool:
        if value in _LOOPBACK:
            return True
        octet = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
        pattern = rf"127(?:\.{octet}){{3}}(?::\d{{1,5}})?|::1|\[::1\](?::\d{{1,5}})?"
        return re.fullmatch(pattern, value, re.ASCII) is not None

    def __str__(self) -> str:
        return "127.0.0.1 or ::1"


class LeavesGateOn(Criterion):
    """A comma-separated list of feature gates that does not disable this gate, which is beta and enabled by default.

    AllBeta=false disables all beta gates that the list does not name, and of two entries for one gate the last counts
    (kubernetes, staging/src/k8s.io/component-base/featuregate/feature_gate.go).
    """

    gate: str

    def accepts(self, value: str) -> bool:
        entries = (entry.partition("=") for entry in value.split(",") if entry)
        gates = {gate.strip(): text.strip() for gate, _, text in entries}
        return gates.get(self.gate, gates.get("AllBeta", "true")) in TRUE

    def __str__(self) -> str:
        return f"without {self.gate}=false"

    @property
    def predicate(self) -> str:
        return f"does not contain {self.gate}=false"

    def suggestion(self, value: str) -> str:
        return _joined([entry for entry in _split(value) if self.accepts(entry)])


class TurnsOnNone(_Names):
    """A comma-separated list of NAME=BOOLEAN that turns on none of these names; a name without a value is turned on."""

    described, says = "a list that does not turn on {any}", "does not turn on {any}"

    def accepts(self, value: str) -> bool:
        entries = (entry.partition("=") for entry in _split(value))
        values = {name.strip(): text.strip() if sign else "true" for name, sign, text in entries}
        return not any(values.get(name, "false") in TRUE for name in self.names)

    def suggestion(self, value: str) -> str:
        return _joined([entry for entry in _split(value) if self.accepts(entry)])


class Equals(Criterion):
    """Exactly this text, which may contain the field {data_dir}."""

    text: str

    def accepts(self, value: str) -> bool:
        return value == self.text

    def __str__(self) -> str:
        return self.text

    def suggestion(self, value: str) -> str:  # noqa: ARG002 - there is one good value
        return self.text

    def on_host(self, data_dir: str) -> Equals:
        return Equals(self.text.replace("{data_dir}", data_dir))
