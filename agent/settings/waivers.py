"""Which of a site's waivers count on this host today, and which kernel parameters they are for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.guide.sysctls import SYSCTLS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from agent.model import Role
    from agent.settings.value_kinds import SiteWaiver


class Scope(NamedTuple):
    """Where and when a waiver has to count: `node` is the host name in small letters, `today` YYYY-MM-DD in UTC."""

    role: Role
    node: str
    today: str

    def includes(self, waiver: SiteWaiver) -> bool:
        """Whether the waiver is for this host, expired or not; a pattern fits the whole host name or its first part."""
        from fnmatch import fnmatchcase

        names = (self.node, self.node.partition(".")[0])
        fits = not waiver.host or any(fnmatchcase(name, waiver.host.lower()) for name in names)
        return fits and waiver.role in (None, self.role)

    def counts(self, waiver: SiteWaiver) -> bool:
        """Whether the waiver is for this host, and its last day is not over."""
        return self.includes(waiver) and not self.is_over(waiver)

    def is_over(self, waiver: SiteWaiver) -> bool:
        """Whether the last day that it counts is over."""
        return waiver.expires != "" and waiver.expires < self.today


def kernel_parameters(waivers: Iterable[SiteWaiver], scope: Scope) -> dict[str, SiteWaiver]:
    """The waivers that count for a kernel parameter of the guide, by its key: `apply` leaves these alone."""
    keys = {row.id: row.key for row in SYSCTLS}
    found: dict[str, SiteWaiver] = {}
    for waiver in waivers:
        if waiver.control in keys and scope.counts(waiver):
            found.setdefault(keys[waiver.control], waiver)
    return found


def expired(waivers: Iterable[SiteWaiver], ids: Collection[str], scope: Scope) -> tuple[SiteWaiver, ...]:
    """The waivers of these controls that are for this host and whose last day is over, with no other in their place."""
    waivers = tuple(waivers)
    waived = {waiver.control for waiver in waivers if scope.counts(waiver)}
    return tuple(
        waiver
        for waiver in waivers
        if waiver.control in ids and waiver.control not in waived and scope.includes(waiver) and scope.is_over(waiver)
    )


def since(waiver: SiteWaiver) -> str:
    """The first day, YYYY-MM-DD, on which an expired waiver counts no more."""
    from datetime import date, timedelta

    return (date.fromisoformat(waiver.expires) + timedelta(days=1)).isoformat()
