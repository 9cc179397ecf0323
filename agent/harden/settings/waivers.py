"""Waivers of a site, and which of them apply to this host today. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import PurePosixPath

from agent.base.model import Location
from agent.base.value import Value, replace
from agent.harden.guide.sysctls import SYSCTLS
from agent.k3s.roles_and_versions import Role

_SENTENCE = 3
"""Words."""


class SiteWaiver(Value):
    """A control whose failure a site accepts."""

    control: str
    """Control ID, CIS number, or benchmark/number."""
    reason: str
    expires: str = ""
    """The last day on which the waiver applies, YYYY-MM-DD in UTC; empty if it never expires."""
    role: Role | None = None
    """The role that it is for; None is both."""
    host: str = ""
    """A shell pattern of the host names that it is for; empty is all."""
    location: Location = Location(PurePosixPath())
    approved_by: str = ""
    """Who accepts the failure; empty if the site does not say."""
    stage: str = ""
    """The setting of the stage that it comes from; empty for a waiver of the site."""

    def __str__(self) -> str:
        approver, day = self.approved_by or "-", self.expires or "never"
        return f"{self.control}: {self.reason}; approved by {approver}; expires {day}"


class AcceptedBreak(Value):
    """An object of the cluster that a site lets break."""

    object: str
    """As `impact` names it: NAMESPACE/KIND/NAME, or KIND/NAME."""
    reason: str
    expires: str
    """The last day, YYYY-MM-DD in UTC."""
    approved_by: str = ""
    location: Location = Location(PurePosixPath())
    """Its line in the settings."""

    def is_expired(self, today: str) -> bool:
        """Return whether the last day has passed. `today` is YYYY-MM-DD in UTC."""
        return self.expires < today

    def __str__(self) -> str:
        return f"{self.object}: {self.reason}; approved by {self.approved_by or '-'}; expires {self.expires}"


class WaiverNeeds(Value):
    """What a site requires of each waiver."""

    expire_within: int | None = None
    """Days from today to the last day on which it applies; None is no limit."""
    approver: bool = False
    """Whether it has to name who accepts the failure."""

    def __str__(self) -> str:
        days = "" if self.expire_within is None else f"expire-within: {self.expire_within}, "
        return f"{{{days}approver: {str(self.approver).lower()}}}"

    def missing_in(self, waiver: SiteWaiver) -> str:
        """Return what a waiver lacks on any day; empty if nothing."""
        if self.expire_within is not None and not waiver.expires:
            return "`expires` is missing"
        if self.approver and not waiver.approved_by:
            return "`approved-by` is missing"
        return "" if len(waiver.reason.split()) >= _SENTENCE else "`reason` is not a sentence"

    def last_day(self, today: str) -> str:
        """Return the last day that it allows; empty if any. Days are YYYY-MM-DD, or empty if there is none."""
        from datetime import date, timedelta

        if self.expire_within is None or not today:
            return ""
        return (date.fromisoformat(today) + timedelta(days=self.expire_within)).isoformat()

    def is_too_late(self, last: str, today: str) -> bool:
        """Return whether a last day is later than allowed."""
        return last > (self.last_day(today) or last)


class WaiverScope(Value):
    """The host and day that waivers are tested against."""

    role: Role
    node: str
    """The host name in lower case."""
    today: str
    """YYYY-MM-DD, in UTC."""

    def includes(self, waiver: SiteWaiver) -> bool:
        """Return whether the waiver is for this host, expired or not.

        A pattern matches the whole host name or its first label.
        """
        from fnmatch import fnmatchcase

        names = (self.node, self.node.partition(".")[0])
        matches = not waiver.host or any(fnmatchcase(name, waiver.host.lower()) for name in names)
        return matches and waiver.role in (None, self.role)

    def applies(self, waiver: SiteWaiver) -> bool:
        """Return whether the waiver is for this host and has not expired."""
        return self.includes(waiver) and not self.is_expired(waiver)

    def is_expired(self, waiver: SiteWaiver) -> bool:
        """Return whether the last day of the waiver has passed."""
        return waiver.expires != "" and waiver.expires < self.today


class Waivers(Value):
    """All waivers of a site, with the host and day that they are tested against."""

    all: tuple[SiteWaiver, ...]
    scope: WaiverScope

    @cached_property
    def kernel_parameters(self) -> Mapping[str, SiteWaiver]:
        """The first waiver that applies to each kernel parameter of the guide, by key. `apply` skips these keys."""
        keys = {row.id: row.key for row in SYSCTLS}
        found: dict[str, SiteWaiver] = {}
        for waiver in self.all:
            if waiver.control in keys and self.scope.applies(waiver):
                found.setdefault(keys[waiver.control], waiver)
        return found

    def covering(self, *controls: str) -> SiteWaiver | None:
        """Return the first waiver that applies to one of these controls, by their IDs."""
        return next((waiver for waiver in self.all if waiver.control in controls and self.scope.applies(waiver)), None)

    def expired(self, ids: Collection[str]) -> tuple[SiteWaiver, ...]:
        """Return the expired waivers for these controls on this host, unless another waiver applies."""
        waived = {waiver.control for waiver in self.all if self.scope.applies(waiver)}
        return tuple(
            waiver
            for waiver in self.all
            if waiver.control in ids
            and waiver.control not in waived
            and self.scope.includes(waiver)
            and self.scope.is_expired(waiver)
        )

    def applied_but_expired(self, day: str) -> tuple[SiteWaiver, ...]:
        """Return the waivers that apply although they have expired on this day, which the gate postpones."""
        on_day = replace(self.scope, today=day)
        return tuple(waiver for waiver in self.all if self.scope.applies(waiver) and on_day.is_expired(waiver))
