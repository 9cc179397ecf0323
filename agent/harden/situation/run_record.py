"""What a run takes from the record of the last successful run, and what it records itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agent import __released__
from agent.base.value import Value
from agent.harden.changes.last_run import LastRun, RecordedSettings
from agent.harden.node.version import RecordedVersion

if TYPE_CHECKING:
    from agent.base.host import Host
    from agent.harden.node.facts import HostFacts
    from agent.harden.node.site_files import Site
    from agent.harden.settings.waivers import Waivers


class Today(Value):
    """The day of the run, and the earliest day that is plausible."""

    date: str
    """By the clock of this host, YYYY-MM-DD in UTC."""
    not_before: str
    """The day of the last successful run or of this release, the later one."""

    @property
    def is_plausible(self) -> bool:
        """Whether the clock can be right. Before time synchronisation it can be years behind."""
        return self.date >= self.not_before


def date_for_waivers(host: Host, last: LastRun) -> Today:
    """Return the day of this run."""
    return Today(time.strftime("%Y-%m-%d", time.gmtime(host.now())), max(last.day, __released__))


def recorded_versions(last: LastRun) -> dict[str, RecordedVersion]:
    """Return the K3s versions that the last run recorded, by role."""
    return {
        role: RecordedVersion(version, last.day, last.programs.get(role, "")) for role, version in last.versions.items()
    }


def expiry_day(last: LastRun, now: Today, *, for_gate: bool) -> str:
    """Return the day on which the expiry of waivers is tested; empty if no waiver expires.

    None expires if the clock is not plausible. In the gate, a waiver that applied in the last successful run applies
    still, because no operator can extend it when the node boots.
    """
    day = now.date if now.is_plausible else ""
    return min(day, last.day) if for_gate and last.day else day


def next_record(site: Site, facts: HostFacts, last: LastRun, day: str) -> LastRun:
    """Return what a successful run records. Settings keep the day of the run that recorded them first."""
    recorded = RecordedSettings(day, site.path, site.files)
    if last.settings is not None and last.settings[1:] == recorded[1:]:
        recorded = last.settings
    role, printed = facts.role.value, facts.version_printed
    by_role, programs = {**last.versions}, {**last.programs}
    if printed is not None:
        by_role[role], programs[role] = printed.version, printed.identity
    elif facts.version_is_known and not facts.version_recorded:
        by_role[role], programs[role] = facts.version, ""
    return LastRun(day, by_role, recorded, {name: program for name, program in programs.items() if program})


def day_to_record(last: LastRun, now: Today, waivers: Waivers, *, for_gate: bool) -> str:
    """Return the day that a successful run records.

    The gate never moves the day back, and not forward while it applies an expired waiver. Other verbs correct a day in
    the future, which a wrong clock has caused.
    """
    if for_gate and (waivers.applied_but_expired(now.date) or not now.is_plausible):
        return last.day
    return now.date if now.date >= __released__ else last.day
