"""Objects of the kernel: modules that it has or can load, connections that it tracks, and rules of its filter."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agent.base.model import StrEnum
from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable


class KernelModule(Value):
    """A kernel module, and the option of the kernel's configuration that builds it."""

    name: str
    option: str


class Missing(StrEnum):
    """Why a module cannot be used."""

    NOT_BUILT = "the kernel was built without it"
    NOT_INSTALLED = "the files of its modules do not contain it"
    OTHER_KERNEL = "the modules of the running kernel are not installed; another kernel was installed since the boot"
    DISABLED = "modprobe.d disables it"
    LOCKED = "kernel.modules_disabled forbids to load modules until the next boot"


def in_kernel_configuration(text: str, option: str) -> str:
    """Return the value of an option in the kernel's configuration: `y`, `m`, or `n` if it is not set."""
    return next((value for value in "ym" if f"\n{option}={value}\n" in text), "n")


def lists_module(listing: str, name: str) -> bool:
    """Return whether modules.builtin or modules.dep lists a module; file names can have `-` for `_`."""
    pattern = rf"(?:^|/){name.replace('_', '[-_]')}\.ko(?:\.\w+)?(?::|$)"
    return re.search(pattern, listing, re.MULTILINE) is not None


def disabled(lines: Iterable[str], name: str) -> bool:
    """Return whether a line of modprobe.d(5) replaces loading by a program that does nothing.

    `blacklist` is not such a line: it only hides aliases.
    """
    for line in lines:
        command, module, program, *_ = (*line.split(), "", "", "")
        if command == "install" and module.replace("-", "_") == name:
            return program.rpartition("/")[2] in {"false", "true", "nologin"}
    return False


class TrackedConnection(NamedTuple):
    """A connection. The addresses are those before and after NAT: who opened it, and what answers."""

    protocol: str
    client: str
    target: str
    port: int
    """The port of the target."""


class FilterRule(NamedTuple):
    """A rule of the packet filter's table `filter`."""

    chain: str
    target: str
    source: str
    """Without the length of the prefix; empty if the rule is about all."""
    destination: str
    comment: str
    conditions: str
    """Those that are not about an address."""

    @property
    def is_for_all(self) -> bool:
        """Whether it has no condition."""
        return not (self.source or self.destination or self.conditions)
