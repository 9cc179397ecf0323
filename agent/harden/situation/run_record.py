"""What a run takes from the record of the last successful run, and what it records itself."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import PurePosixPath

from agent import __released__
from agent.base.host import Host
from agent.base.value import Value, replace
from agent.harden.changes.journal import Journal
from agent.harden.changes.last_run import LastRun, RecordedSettings
from agent.harden.guide.guide_files import DROPIN_NAME
from agent.harden.node.facts import HostFacts
from agent.harden.node.site_files import Site
from agent.harden.node.version import RecordedVersion
from agent.harden.settings.schema import Settings
from agent.harden.settings.waivers import Waivers
from agent.k3s.roles_and_versions import Role

_FOLLOWED = "-"
"""Recorded instead of a configuration if nothing was unknown. Releases that followed more recorded an empty text."""


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


def settings_of_predecessor(host: Host, settings: Settings, last: LastRun) -> Settings | None:
    """Return the settings with the K3s configuration of an earlier release for a service that is not followed any more.

    That release let K3s start, so the upgrade must not block it. Its journal has the drop-in that it wrote. None if
    there is none, or if the setting `k3s-config` exists.
    """
    if settings.k3s_config is not None or not last.day or last.k3s_config == _FOLLOWED:
        return None
    path = PurePosixPath(last.k3s_config.partition(" ")[2]) if last.k3s_config else _configured(host)
    role = Role(*last.versions) if len(last.versions) == 1 else None
    return None if path is None else replace(settings, k3s_config=path, role=settings.role or role)


def is_for(last: LastRun, facts: HostFacts) -> bool:
    """Return whether the recorded configuration is for the commands of these facts, which are not followed."""
    commands = _commands(facts)
    return commands != [] and (not last.k3s_config or last.k3s_config.partition(" ")[0] == _fingerprint(commands))


def is_of_predecessor(last: LastRun) -> bool:
    """Return whether a release that followed more let K3s start, and this one has not seen everything since."""
    return last.day != "" and not last.k3s_config


def _configured(host: Host) -> PurePosixPath | None:
    """Return the main configuration file beside whose drop-ins the newest run wrote that of this program."""
    journal = Journal(host)
    for run in reversed(journal.runs()):
        for change in journal.changes(run):
            path = PurePosixPath(change.id)
            if path.name == DROPIN_NAME and path.parent.suffix == ".d" and host.tree.exists(path):
                return path.parent.with_suffix("")
    return None


def _commands(facts: HostFacts) -> list[str]:
    """Return the services that are not followed, each with the words of its command."""
    found = [f"{other.unit}\0{word.text}\0" for other in facts.other_programs for word in other.command]
    unit = facts.unit
    if unit is not None and unit.config_problem:
        found += [f"{unit.path}\0{text}\0" for text in (*(w.text for w in unit.settings.words), unit.config_problem)]
    return found


def _fingerprint(commands: Iterable[str]) -> str:
    import hashlib

    return hashlib.sha256("".join(commands).encode(errors="surrogateescape")).hexdigest()


def expiry_day(last: LastRun, now: Today, *, for_gate: bool) -> str:
    """Return the day on which the expiry of waivers is tested; empty if no waiver expires.

    None expires if the clock is not plausible. In the gate, a waiver that applied in the last successful run applies
    still, because no operator can extend it when the node boots.
    """
    day = now.date if now.is_plausible else ""
    return min(day, last.day) if for_gate and last.day else day


def next_record(site: Site, settings: Settings, facts: HostFacts, last: LastRun, day: str) -> LastRun:
    """Return what a successful run records. Settings keep the day of the run that recorded them first.

    `settings` are those of the site, or those of settings_of_predecessor.
    """
    recorded = RecordedSettings(day, site.path, site.files)
    if last.settings is not None and last.settings == replace(recorded, day=last.settings.day):
        recorded = last.settings
    role, printed = facts.role.value, facts.detected_version.printed
    by_role, programs = {**last.versions}, {**last.programs}
    if printed is not None:
        by_role[role], programs[role] = printed.version, printed.identity
    elif facts.version_is_known and not facts.detected_version.recorded:
        by_role[role], programs[role] = facts.version, ""
    is_recorded = settings.k3s_config is not None and site.settings.k3s_config is None
    config = f"{_fingerprint(_commands(facts))} {settings.k3s_config}" if is_recorded else _FOLLOWED
    return LastRun(day, by_role, recorded, {name: program for name, program in programs.items() if program}, config)


def day_to_record(last: LastRun, now: Today, waivers: Waivers, *, for_gate: bool) -> str:
    """Return the day that a successful run records.

    The gate never moves the day back, and not forward while it applies an expired waiver. Other verbs correct a day in
    the future, which a wrong clock has caused.
    """
    if for_gate and (waivers.applied_but_expired(now.date) or not now.is_plausible):
        return last.day
    return now.date if now.date >= __released__ else last.day
