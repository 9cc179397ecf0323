"""Findings about the gate: missing parts, and starts of K3s that it blocked or that passed without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.linux.unit_files import PACKAGED_UNITS
from agent.base.model import Location
from agent.base.repair import DAEMON_RELOAD, Answer, Decide, Instruction, Repair, Run, RunVerb, moved_away
from agent.base.report import Trait
from agent.base.value import replace
from agent.findings.registry import (
    APPLY,
    INSTALL,
    UNINSTALL,
    Problem,
    error,
    instruction,
    no,
    note,
    quoted,
    rm_command,
    steps,
    warning,
    yes,
)
from agent.harden.gate import gate_units
from agent.harden.gate.gate_state import BYPASS, OBSERVES, UNCONFIRMED, UNGATED, UNHARDENED, file_of_service
from agent.harden.node.service_units import DROPIN, TEMPLATE, gate_instance
from agent.k3s.options import Word

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.harden.situation import Situation
    from agent.k3s.services import K3sUnit

_GATE_ONLY = no("It concerns the gate. If the gate runs, it has checked the host.")
_K3S_IS_FINE = no("K3s itself is not affected.")
_MOST_DAYS = 30
_ENFORCE_TEXT = "run `sudo k3s-harden impact`, then `sudo k3s-harden apply`, or `sudo k3s-harden install --enforce`"


@error(
    blocks_gate=_GATE_ONLY,
    prevents_start=no("Only the gate does: without its unit, the drop-in blocks K3s."),
    repair="run `sudo k3s-harden install`, with --unit for a service without drop-in, or unmask the unit",
    traits=Trait.GAP_IN_GATE,
)
def gate_half_missing(situation: Situation) -> Iterator[Problem]:
    """One of the two parts of the gate is missing: the unit k3s-harden@.service, or the drop-in of a K3s service.

    Without the unit, or if it is masked, the drop-in blocks K3s. Without the drop-in, K3s starts without the gate, and
    so it does by hand, by cron, or in any other way than by ExecStart= of a service with the gate. That is found while
    it runs.
    """
    template, mask, dropins = situation.gate.template, situation.gate.mask, situation.gate.dropins
    if template is None:
        for service, path in dropins.items():
            if mask is not None and mask.name not in (TEMPLATE, gate_instance(service)):
                continue
            state = f"masked by {mask}" if mask else "missing"
            unmask = _command(f"sudo systemctl unmask {mask.name}") if mask else INSTALL
            yield Problem(
                f"{service} does not start: its gate is {state}",
                expected=str(gate_units.START) if situation.gate.is_openrc else TEMPLATE,
                location=Location(path),
                repair=replace(unmask, alternative=UNINSTALL),
            )
        return
    for service in (unit.path.name for unit in situation.facts.units):
        if service in dropins or service.endswith(".service") is situation.gate.is_openrc:
            continue
        expected = str(gate_units.CONFIGURATION) if situation.gate.is_openrc else f"{service}.d/{DROPIN}"
        fix = INSTALL if situation.gate.is_openrc else steps(RunVerb("install", (f"--unit {service}",)))
        mask = situation.gate.masked_dropins.get(service)
        fix, place = (fix, template) if mask is None else (steps(rm_command(mask), DAEMON_RELOAD), mask)
        yield Problem(f"{service} starts without the gate", expected, location=Location(place), repair=fix)
    reported = {unit.path.name for unit in situation.facts.units} - {*dropins}
    reported |= {service for service, _, _ in _unguarded(situation)}
    for unit in () if situation.gate.is_openrc else situation.facts.other_units:
        message, expected = f"{unit} has started K3s without the gate", "ExecStart= of k3s.service or k3s-NAME.service"
        stop = Instruction(f"stop this K3s, and let {expected} start it, for which install adds the gate")
        if unit not in reported:
            yield Problem(message, expected, location=Location(template), repair=steps(stop))


@error(
    blocks_gate=_GATE_ONLY,
    prevents_start=_K3S_IS_FINE,
    repair="name the later drop-in so that it sorts before that of the gate, or run `sudo k3s-harden install`",
    traits=Trait.GAP_IN_GATE,
)
def gate_bypassed(situation: Situation) -> Iterator[Problem]:
    """A K3s service has the drop-in of the gate, but does not run its command, so K3s starts without the gate.

    An empty `ExecStartPre=` in a later drop-in removes the commands before it, and another command there can undo
    what the gate judged. A later drop-in with SuccessExitStatus= makes a failure a success. Or the drop-in of the gate
    was edited and does not start the gate's unit any more, or that unit runs another command, sees other files, or
    succeeds if its command fails. On a running host, this is what systemd has loaded.
    """
    gate = situation.gate
    for command in gate.replaced:
        path = command.location.path
        message = "the gate succeeds without a successful `k3s-harden gate`"
        fix = _restored(path) if path == gate.template else steps(moved_away(path))
        yield Problem(message, "k3s-harden gate", command.text, command.location, fix)
    for service, unit, path in _unguarded(situation):
        settings = unit.settings
        later = (*settings.resets[-1:], *(command.location for command in settings.before_start[-1:]))
        others = (place for place in later if place.path not in (path, unit.path) and place.path.suffix == ".conf")
        by = next(others, Location(path))
        names = [quoted(name) for name in (by.path, by.path.with_name(f"00-{by.path.name}"))]
        fix = steps(DAEMON_RELOAD) if _is_stale(situation) else _restored(path)
        earlier = Run(f"sudo mv {' '.join(names)}", undo=f"sudo mv {' '.join(reversed(names))}")
        yield Problem(
            f"{service} starts without the gate: its ExecStartPre= is not the last one that runs",
            expected=f"systemctl start {gate_instance(service)}",
            location=by,
            repair=steps(earlier, DAEMON_RELOAD) if by.path != path else fix,
        )


def _unguarded(situation: Situation) -> Iterator[tuple[str, K3sUnit, PurePosixPath]]:
    """Yield each service that does not run the command of its drop-in, with its unit and that drop-in."""
    gate = situation.gate
    for unit in situation.facts.units:
        service, path = unit.path.name, gate.dropins.get(unit.path.name)
        if path is None or gate.is_openrc:
            continue
        starts_gate = ("start k3s-harden@%N.service", f"start {gate_instance(service)}")
        for text, location in unit.settings.before_start[-1:] or [Word("", Location(path))]:
            # systemd ignores the failure of a command with the prefix -.
            if location.path != path or text.startswith("-") or not any(start in text for start in starts_gate):
                yield service, unit, path


@error(
    blocks_gate=yes("It would change files that another K3s reads at its start."),
    prevents_start=_K3S_IS_FINE,
    repair="disable the service that is left over, or give each its own `--config` and `--data-dir`",
)
def start_contested(situation: Situation) -> Iterator[Problem]:
    """Another service of K3s starts or runs with the same configuration file, and needs other content in its drop-in.

    A server and an agent do, and two servers whose options differ. The service that starts first is not affected.
    """
    path = situation.facts.dropin_path
    for rival in situation.rivals:
        message = f"{rival} starts or runs with the same configuration, and needs other content in {path}"
        disable = Run(f"sudo systemctl disable --now {rival}", undo=f"sudo systemctl enable --now {rival}")
        answers = (
            Answer("No", "it ends, and does not start again", (disable,)),
            Answer("Yes", "each service needs its own `--config` and `--data-dir`", ()),
        )
        fix = steps(Decide(f"Is {rival} needed?", answers))
        yield Problem(message, location=Location(path), repair=fix)


@error(
    blocks_gate=_GATE_ONLY,
    prevents_start=_K3S_IS_FINE,
    repair=(
        "install the program again, restrict it to root, or run `sudo k3s-harden install` with the right --program"
    ),
    traits=Trait.GAP_IN_GATE,
)
def gate_program_unusable(situation: Situation) -> Iterator[Problem]:
    """The program that the gate runs is missing or not executable, or a user other than root can change it.

    A program that cannot run blocks K3s. One that others can change gives them the rights of root.
    """
    for program, problem in situation.gate.unusable.items():
        message = f"the gate cannot use its program {program}: {problem.problem}"
        fix = steps(*problem.steps) if problem.steps else replace(INSTALL, alternative=UNINSTALL)
        yield Problem(message, location=Location(program), repair=fix)


@warning(repair="run `sudo k3s-harden install`, or install the package again if it has the file")
def gate_unit_differs(situation: Situation) -> Iterator[Problem]:
    """The gate's unit, or its drop-in of a K3s service, is not the one of this version of k3s-harden.

    It was edited, or another version installed it. `install` replaces it, and keeps a backup.
    """
    gate = situation.gate
    reported = {command.location.path for command in gate.replaced}
    reported |= {path for _, _, path in _unguarded(situation)}
    for difference in gate.differences:
        path = difference.location.path
        if path not in reported:
            message = "the gate is not the one of this version: another version installed this file, or it was edited"
            expected = difference.expected.strip()
            yield Problem(message, expected, difference.found.strip(), difference.location, _restored(path))


def _restored(path: PurePosixPath) -> Repair:
    """Return the remediation for a file of the gate, which `install` or the package writes again."""
    if path.is_relative_to(PACKAGED_UNITS):
        return instruction("install the package k3s-harden again, which restores the file", Location(path))
    return INSTALL


@error(
    blocks_gate=_GATE_ONLY,
    prevents_start=_K3S_IS_FINE,
    repair="run `sudo systemctl daemon-reload`",
    traits=Trait.GAP_IN_GATE,
)
def gate_not_loaded(situation: Situation) -> Iterator[Problem]:
    """systemd still uses older unit files than those on the disk, so K3s can start without the gate.

    An installation that was interrupted leaves this state, and so does an edit without `systemctl daemon-reload`.
    """
    if _is_stale(situation):
        message = "systemd has not read the current unit files of K3s and its gate"
        yield Problem(message, repair=steps(DAEMON_RELOAD))


def _is_stale(situation: Situation) -> bool:
    return situation.gate.is_stale or any(unit.settings.needs_reload for unit in situation.facts.units)


@warning(repair="run `sudo k3s-harden install`")
def gate_before_mount(situation: Situation) -> Iterator[Problem]:
    """The gate does not wait for the mount of K3s' data directory, because its unit names another directory.

    If the directory is on a file system of its own, the gate can run before it is mounted. It then writes below the
    mount point, and K3s starts on a directory that is not hardened.
    """
    gate, data_dir = situation.gate, situation.facts.data_dir
    if gate.is_openrc:
        return  # it starts services after all mounts
    # A path includes the mounts of all directories above it (systemd.unit(5)).
    if gate.template is not None and not any(path.is_relative_to(data_dir) for path in gate.mounts):
        message = f"the gate does not wait for the mount of {data_dir}"
        found = f"RequiresMountsFor={' '.join(map(str, gate.mounts))}"
        yield Problem(message, f"RequiresMountsFor={data_dir}", found, Location(gate.template), INSTALL)


@note(repair="read the reason with `systemctl status` of the gate's unit", traits=Trait.OF_LAST_START)
def start_blocked(situation: Situation) -> Iterator[Problem]:
    """The gate refused the last start of a K3s service. systemd tries again about once a minute.

    The status of the gate's unit has the reason. systemd ends the attempts if the service is stopped, or reaches its
    StartLimitBurst=. In the second case `apply` starts it once the host is compliant.
    """
    for service in situation.gate.exceptions.blocked:
        yield Problem(
            f"the gate blocked the last start of {service}",
            location=Location(file_of_service(service, UNGATED)),
            repair=_command(
                f"sudo tail /var/log/{service}.log"
                if situation.gate.is_openrc
                else f"systemctl status {gate_instance(service)}"
            ),
        )


@error(
    blocks_gate=no("It reports an earlier start. The gate checks the host again at the next start."),
    prevents_start=_K3S_IS_FINE,
    repair="run `sudo k3s-harden apply`",
    traits=Trait.GAP_IN_GATE | Trait.OF_LAST_START,
)
def started_without_gate(situation: Situation) -> Iterator[Problem]:
    """Root let a K3s service start without its gate (k3s-harden bypass).

    It is reported until a run of apply or of the gate finds the host compliant.
    """
    for service, by in situation.gate.exceptions.bypassed.items():
        message = f"{service} started without its gate"
        found = f"bypassed by {by}"
        yield Problem(message, found=found, location=Location(file_of_service(service, UNGATED)), repair=APPLY)


@error(
    blocks_gate=no("It reports an earlier start. The gate judges the next one again."),
    prevents_start=_K3S_IS_FINE,
    repair="find out what changed K3s' files or systemd's environment during the start; then restart K3s",
    traits=Trait.GAP_IN_GATE,
)
def started_unhardened(situation: Situation) -> Iterator[Problem]:
    """K3s runs a component with other arguments than those that the gate judged, or the gate has not judged this start.

    k3s-harden-started@.service compares them with what K3s has logged for this start. Something changed K3s' files or
    variables after the gate had read them. It is reported until the next start of the service.
    """
    risk = "find out what changed K3s' files or systemd's environment during the start"
    for service, difference in situation.gate.exceptions.unhardened.items():
        message = f"{service} does not run as its gate judged"
        found = "; ".join(difference.splitlines())
        fix = replace(steps(Run(f"sudo systemctl restart {service}")), risk=risk)
        yield Problem(message, found=found, location=Location(file_of_service(service, UNHARDENED)), repair=fix)


@note(repair="run `sudo k3s-harden assess --cluster`, which asks the components")
def start_not_confirmed(situation: Situation) -> Iterator[Problem]:
    """K3s logged no arguments within ten minutes, so its start could not be compared with what the gate judged.

    K3s writes no such lines to the journal with the option `log`.
    """
    for service, reason in situation.gate.exceptions.unconfirmed.items():
        message = f"the last start of {service} could not be compared with what the gate judged: {reason}"
        fix = steps(RunVerb("assess", ("--cluster",)))
        yield Problem(message, location=Location(file_of_service(service, UNCONFIRMED)), repair=fix)


@warning(
    repair="run `sudo k3s-harden apply`, which ends the bypass on a compliant host",
    traits=Trait.GAP_IN_GATE | Trait.OF_LAST_START,
)
def bypass_in_effect(situation: Situation) -> Iterator[Problem]:
    """Root lets a K3s service start without its gate (k3s-harden bypass).

    The bypass ends with the next start, or with --for at its time, at a boot, or when a run of apply or of the gate
    finds the host compliant. Removing its file ends it, too.
    """
    for service, bypass in situation.gate.exceptions.bypasses.items():
        starts = "each" if bypass.is_for_each else "the next"
        message = f"{starts} start of {service} passes without its gate, if it is before {bypass.until}"
        found = f"bypassed by {bypass.by}"
        yield Problem(message, found=found, location=Location(file_of_service(service, BYPASS)), repair=APPLY)


@warning(repair=_ENFORCE_TEXT, traits=Trait.OPENS_GATE)
def gate_observes(situation: Situation) -> Iterator[Problem]:
    """The gate hardens nothing and blocks nothing, because its package was installed on a cluster that ran.

    The first successful apply ends this, and so does `install --enforce`. From day 30 on it is an error.
    """
    if situation.gate.exceptions.observes_since and _days(situation) < _MOST_DAYS:
        yield _observing(situation)


@error(
    blocks_gate=no("The gate observes, so it blocks nothing."),
    prevents_start=_K3S_IS_FINE,
    repair=_ENFORCE_TEXT,
    traits=Trait.OPENS_GATE,
)
def gate_observes_too_long(situation: Situation) -> Iterator[Problem]:
    """The gate has observed for 30 days or longer, so K3s still starts unhardened."""
    if situation.gate.exceptions.observes_since and _days(situation) >= _MOST_DAYS:
        yield _observing(situation)


def _observing(situation: Situation) -> Problem:
    since = situation.gate.exceptions.observes_since
    message = f"the gate observes since {since}: K3s starts even if this host is not hardened"
    impact = (RunVerb("impact"),) if situation.machine.is_live else ()  # a host tree has no cluster to read
    fix = steps(*impact, RunVerb("apply"), alternative=steps(RunVerb("install", ("--enforce",))))
    return Problem(message, "a gate that blocks an unhardened K3s", location=Location(OBSERVES), repair=fix)


def _days(situation: Situation) -> int:
    from datetime import date

    since = date.fromisoformat(situation.gate.exceptions.observes_since)
    return (date.fromisoformat(situation.today.date) - since).days


def _command(line: str) -> Repair:
    return steps(Run(line))
