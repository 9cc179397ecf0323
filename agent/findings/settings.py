"""Findings about the settings of the site, its waivers, and the record of the last successful run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.repair import Instruction, Run, RunVerb, moved_away
from agent.base.report import Trait
from agent.base.value import replace
from agent.findings.config_edits import setting_to
from agent.findings.registry import Problem, error, instruction, no, steps, warning
from agent.harden.settings.schema import DEFAULT_SETTINGS
from agent.harden.settings.stages import last_recording_day
from agent.k3s.roles_and_versions import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.harden.situation import Situation

_MOVE = f"move the settings that it should make to {DEFAULT_SETTINGS}"
UNDELIVERED = "notification-undelivered"

_REPORTED_DAYS_BEFORE = 14
"""A waiver is reported from this number of days before its expiry."""


@warning(repair="correct the settings; then run `sudo k3s-harden check`")
def recorded_settings_used(situation: Situation) -> Iterator[Problem]:
    """The gate cannot use the settings, so it uses those of the last successful run.

    A mistake in the settings does not block K3s at the next boot of its node. All other verbs refuse such settings.
    Without a record the gate blocks K3s.
    """
    used = situation.substitute
    if used is not None:
        location = used.problem.location if isinstance(used.problem, InputError) else None
        message = f"{used.problem.message}; the gate uses the settings that were recorded on {used.day}"
        correct = used.problem.repair.steps or (Instruction("correct the settings", location),)
        fix = steps(*correct, RunVerb("check"))
        yield Problem(message, location=location, repair=fix)


@warning(
    repair="move what it sets to /etc/k3s-harden/config.yaml, and give it a name that does not end in .yaml or .yml"
)
def settings_ignored(situation: Situation) -> Iterator[Problem]:
    """A YAML file in /etc/k3s-harden is not read, because it is not config.yaml and no setting names it."""
    for path in situation.ignored_settings:
        fix = replace(steps(moved_away(path)), risk=_MOVE)
        message = f"the file is ignored: the settings are in {DEFAULT_SETTINGS}"
        yield Problem(message, expected=str(DEFAULT_SETTINGS), location=Location(path), repair=fix)


@warning(repair="remove or extend the waiver, then run apply")
def expired_waiver_applied(situation: Situation) -> Iterator[Problem]:
    """A waiver has expired since the last successful run, and the gate still applies it.

    The expiry does not block K3s at the next boot of its node. No other verb applies the waiver.
    """
    if situation.today.is_plausible:
        for waiver in situation.waivers.applied_but_expired(situation.today.date):
            message = f"the waiver for {waiver.control} expired at the end of {waiver.expires}"
            yield Problem(f"{message}; the gate still applies it", found=waiver.expires, location=waiver.location)


@warning(repair="remove or extend the waiver")
def waiver_expired(situation: Situation) -> Iterator[Problem]:
    """A waiver for this host, or the acceptance of an object of the cluster, has expired.

    Its control counts as a failure again, and `impact` names its object again.
    """
    waivers = situation.waivers
    for waiver in waivers.expired({waiver.control for waiver in waivers.all}):
        message = f"the waiver for {waiver.control} expired at the end of {waiver.expires}"
        yield Problem(message, found=waiver.expires, location=waiver.location)
    if situation.facts.role is Role.SERVER:
        for accepted in situation.settings.accepted_breaks:
            if accepted.is_expired(waivers.scope.today):
                message = f"the acceptance of {accepted.object} expired at the end of {accepted.expires}"
                yield Problem(message, found=accepted.expires, location=accepted.location)


@warning(repair="make the control compliant, or extend the waiver")
def waiver_expires_soon(situation: Situation) -> Iterator[Problem]:
    """A waiver for this host expires within 14 days. Its control then has to be compliant."""
    scope = replace(situation.waivers.scope, today=situation.today.date)
    applying = [waiver for waiver in situation.waivers.all if scope.applies(waiver)]
    if not applying or not situation.today.is_plausible:
        return
    from datetime import date, timedelta

    limit = (date.fromisoformat(situation.today.date) + timedelta(days=_REPORTED_DAYS_BEFORE)).isoformat()
    lasting = {waiver.control for waiver in applying if not waiver.expires or waiver.expires >= limit}
    for waiver in applying:
        if waiver.control not in lasting:
            message = f"the waiver for {waiver.control} expires at the end of {waiver.expires}"
            yield Problem(message, found=waiver.expires, location=waiver.location)


@error(
    repair="remove the stage from the settings, then run apply; or set a later day",
    blocks_gate=no("The last day of a stage must not block K3s at the next boot of its node."),
    prevents_start=no("The configuration is valid."),
    traits=Trait.LIMITS_ASSESSMENT | Trait.REPEATED_BY_DRIFT,
)
def stage_expired(situation: Situation) -> Iterator[Problem]:
    """The last day of a stage has passed, and a part of the hardening is still postponed.

    The stage stays in effect until the settings change.
    """
    for stage in situation.stages:
        if stage.is_over(situation.waivers.scope.today):
            fix = steps(setting_to(situation, stage.setting, ""), RunVerb("apply"))
            message = f"`{stage}` ended on {stage.until}"
            yield Problem(message, expected="no stage", found=str(stage), repair=fix, resource=stage.setting)


@error(
    repair="set `stages.until` to a nearer day",
    blocks_gate=no("A rule about the settings must not block K3s at the next boot of its node."),
    prevents_start=no("The configuration is valid."),
    traits=Trait.LIMITS_ASSESSMENT | Trait.REPEATED_BY_DRIFT,
)
def stage_too_long(situation: Situation) -> Iterator[Problem]:
    """The last day of the stages is later than `waivers-must` allows for a waiver.

    The stages stay in effect, and their controls are not waived in an assessment.
    """
    needs, scope = situation.settings.waivers_must, situation.waivers.scope
    for stage in situation.stages:
        if needs is not None and needs.is_too_late(stage.until, scope.today):
            within = f"a day within {needs.expire_within} days, as `waivers-must` requires"
            fix = steps(setting_to(situation, "stages.until", needs.last_day(scope.today)))
            message = f"`{stage}` lasts too long"
            yield Problem(message, expected=within, found=stage.until, repair=fix, resource=stage.setting)


@warning(repair="set a nearer day, or remove `traffic.record-until`")
def recording_not_in_effect(situation: Situation) -> Iterator[Problem]:
    """The day up to which traffic is recorded has passed, or is more than 92 days ahead, so nothing is recorded."""
    until, today = situation.settings.traffic_record_until, situation.today.date
    latest = last_recording_day(today)
    if until is not None and not today <= until <= latest:
        key, is_over = "traffic.record-until", until < today
        message = f"no traffic is recorded: `{key}` {'has passed' if is_over else 'is too far'}"
        fix = steps(setting_to(situation, key, "" if is_over else latest))
        yield Problem(message, expected=f"{today} to {latest}", found=until, repair=fix, resource=key)


@warning(repair="set the clock, such as by time synchronisation")
def clock_implausible(situation: Situation) -> Iterator[Problem]:
    """The clock of this host is behind the last successful run or this release, so no waiver expires."""
    if not situation.today.is_plausible and any(waiver.expires for waiver in situation.waivers.all):
        message = "the clock of this host is not plausible, so waivers are applied without regard to their expiry"
        yield Problem(message, expected=f"{situation.today.not_before} or later", found=situation.today.date)


@warning(repair="run `k3s --version`, and correct what keeps it from working")
def recorded_version_used(situation: Situation) -> Iterator[Problem]:
    """K3s did not print its version, so the version of the last successful run is used."""
    facts = situation.facts
    if facts.detected_version.recorded:
        recorded = f"{facts.version}, which was recorded on {facts.detected_version.recorded}, is used"
        fix = steps(Run("k3s --version"), Instruction("correct what keeps it from working"))
        yield Problem(f"K3s did not print its version; {recorded}", repair=fix)


@warning(
    repair="put the program below a directory that only root can change, with mode 0755", traits=Trait.NOT_NOTIFIED
)
def notify_command_unusable(situation: Situation) -> Iterator[Problem]:
    """The command of `drift.notify` is not run, so the site gets no notifications of the drift check.

    The program must exist, and only root may be able to change it and the directories above it. The user that runs it
    has no privileges, and sees neither /home nor /root nor /tmp.
    """
    found = situation.notifications
    if found is not None and found.problem:
        message = f"the site is not notified, because {found.command} cannot be used: {found.problem}"
        fix = instruction(
            "put the program below a directory that only root can change, with mode 0755, or correct `drift.notify`"
        )
        yield Problem(message, location=Location(found.command), repair=fix)


@warning(repair="read the reason with `journalctl -u 'k3s-harden-notify@*'`", traits=Trait.NOT_NOTIFIED)
def notification_undelivered(situation: Situation) -> Iterator[Problem]:
    """The command of `drift.notify` did not accept a notification of the drift check.

    Its unit tries five times in 40 minutes, and again after each later drift check.
    """
    found = situation.notifications
    if found is not None and found.waits_since:
        message = f"the site was not notified: {found.command} has not accepted the notification of {found.waits_since}"
        fix = steps(Run("sudo journalctl -u 'k3s-harden-notify@*'"))
        yield Problem(message, location=Location(found.file), repair=fix)
