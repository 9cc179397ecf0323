"""What breaks in a running cluster when this program hardens it: one value for each object. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from agent.base.errors import ExitCode
from agent.base.model import StrEnum
from agent.base.repair import Instruction, Repair
from agent.base.value import Value

if TYPE_CHECKING:
    from agent.cluster.kubernetes.running_objects import ObjectName
    from agent.harden.settings.waivers import AcceptedBreak
    from agent.k3s.allow_rule import AllowRule


class Topic(StrEnum):
    """What breaks an object."""

    POD_SECURITY = "Pod Security"
    NETWORK_POLICIES = "NetworkPolicies"
    SERVICE_ACCOUNTS = "default ServiceAccounts"
    ADMISSION = "admission plugins"
    POLICIES = "admission policies"


class When(StrEnum):
    """When an object breaks."""

    NOW = "now"
    """It is broken already."""
    AT_ONCE = "at once"
    NEXT_CONNECTION = "when the connection is opened again"
    RESTART = "at K3s' next restart"
    NEXT_PODS = "when its pods are created again"
    CREATED = "when it is created again"


class Reason(Value):
    """Why an object breaks."""

    field: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.field}: found {self.found}, expected {self.expected}"


class Break(Value):
    """An object that breaks, or of which that could not be determined."""

    object: ObjectName
    topic: Topic
    when: When
    reasons: tuple[Reason, ...]
    repair: Repair
    allow: tuple[AllowRule, ...] = ()
    """The rules that the remediation adds."""
    condition: str = ""
    """When it breaks, if not always."""
    is_certain: bool = True
    """False if it could not be determined whether it breaks."""
    is_new: bool = True
    """Whether it breaks by hardening that is not in effect yet."""
    owner: str = ""
    """What creates or installs it, such as a Helm release, if that is known."""
    accepted: AcceptedBreak | None = None
    """The entry of the settings that accepts it."""
    is_accepted: bool = False
    """Whether that entry has not expired."""


class Impact(Value):
    """All objects that break."""

    server: str
    """Where the API server was reached."""
    breaks: tuple[Break, ...]
    notes: tuple[str, ...] = ()
    """Assumptions, and what else to know."""
    allow: tuple[AllowRule, ...] = ()
    """The rules of the settings with those that the repairs add, one for each ports of the same pods."""

    unknown: tuple[AcceptedBreak, ...] = ()
    """The entries of the settings whose object the cluster does not have."""

    @property
    def open(self) -> tuple[Break, ...]:
        """The objects that the settings do not accept."""
        return tuple(entry for entry in self.breaks if not entry.is_accepted)

    @property
    def in_effect(self) -> int:
        """The number of objects that the hardening in effect breaks, now or when their pods are created again."""
        return len({entry.object for entry in self.open if entry.is_certain and not entry.is_new})

    @property
    def counts(self) -> dict[str, int]:
        """The number of objects that break, by time, and of those that could not be determined, or are accepted."""
        found = Counter(str(entry.when) if entry.is_certain else UNDETERMINED for entry in self.open)
        found[ACCEPTED] = len(self.breaks) - len(self.open)
        return {name: found[name] for name in (*map(str, When), UNDETERMINED, ACCEPTED)}

    @property
    def exit_code(self) -> ExitCode:
        """Whether something breaks, or could not be determined. An object that exists is not broken."""
        broken = {entry.when for entry in self.open} - {When.CREATED}
        return ExitCode.NOT_COMPLIANT if broken else ExitCode.COMPLIANT


UNDETERMINED = "could not be determined"
ACCEPTED = "accepted"


def advice(text: str, alternative: str = "") -> Repair:
    """Return what a person has to do, or what is enough instead."""
    return Repair((Instruction(text),), alternative=advice(alternative) if alternative else None)
