"""Findings about kernel parameters: their values after the next boot, and what the kubelet requires."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.linux.sysctl_order import SYSCTL_CONF, SysctlReader, at_boot, same_value
from agent.base.model import Absent, Location, Sysctl
from agent.base.repair import Answer, Decide, Edit, Repair, Run, RunVerb
from agent.base.report import Trait
from agent.findings.config_edits import setting_to, without, without_argument
from agent.findings.registry import Problem, error, k3s_exits, no, note, steps, warning, written_by_apply, yes
from agent.harden.desired.dropin_options import options_to_set
from agent.harden.guide.k3s_options import PROTECT_KERNEL_DEFAULTS
from agent.harden.guide.sysctls import PARAMETERS_FILE, SYSCTLS
from agent.harden.plan.plan import describe_state
from agent.k3s.roles_and_versions import Component

_SITE = PurePosixPath("/etc/sysctl.d/90-site.conf")
_OUTSIDE = "/etc/sysctl.d/90-k3s-container.conf"
_AFTER_BOOT = "on the booted host, run `sudo k3s-harden check`"

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.base.model import Observed
    from agent.base.repair import Step
    from agent.harden.guide.sysctls import SysctlRow
    from agent.harden.situation import Situation


@error(
    blocks_gate=no("The running kernel has the expected value, and the gate checks it again at the next boot."),
    prevents_start=no("The kubelet compares the running value only."),
    repair="set the value of the guide, or delete the line",
)
def sysctl_overridden(situation: Situation) -> Iterator[Problem]:
    """Another file overrides 90-kubelet.conf at the next boot, so a kernel parameter loses its expected value.

    systemd-sysctl reads the files of all sysctl.d directories sorted by name, and the last line for a key takes effect
    (sysctl.d(5)). A file of the same name in a directory of higher precedence, or a link to /dev/null, replaces
    90-kubelet.conf. On hosts without systemd, the order of procps applies.
    """
    for override in situation.boot_overrides.values():
        fix, resource = steps(override.edit(situation.line_at(override.location))), ""
        if str(override.location.path) == PARAMETERS_FILE:
            fix, resource = written_by_apply(situation, PARAMETERS_FILE), PARAMETERS_FILE
        yield Problem(override.message, override.expected, override.found, override.location, fix, resource)


@warning(repair="set the value of the guide, or delete the line")
def sysctl_conf_disagrees(situation: Situation) -> Iterator[Problem]:
    """/etc/sysctl.conf sets a value that differs from the guide. `sysctl --system` applies it; systemd does not.

    A person or an installer that runs that command changes the running kernel until the next boot.
    """
    if situation.facts.platform.boot_reader is SysctlReader.PROCPS:
        return
    keys = [row.key for row in SYSCTLS]
    systemd, procps = (
        at_boot(situation.boot_files, keys, reader) for reader in (SysctlReader.SYSTEMD, SysctlReader.PROCPS)
    )
    for row in SYSCTLS:
        line = None if row.key in situation.waivers.kernel_parameters else procps[row.key]
        if (
            line is None
            or line.location.path != SYSCTL_CONF
            or same_value(line.value, row.value)
            or line == systemd[row.key]
        ):
            continue
        message = f"`sysctl --system` sets {row.key} to {line.value}"
        fix = steps(Edit(line.location, situation.line_at(line.location).strip(), f"{row.key} = {row.value}"))
        yield Problem(message, expected=row.value, found=line.value, location=line.location, repair=fix)


@k3s_exits(
    "With protect-kernel-defaults the kubelet exits if one of six kernel parameters differs.",
    repair="run `sudo k3s-harden apply`, or set the value by hand if apply does not write it",
)
def kernel_parameter(situation: Situation) -> Iterator[Problem]:
    """The kubelet rejects the value of a kernel parameter.

    With protect-kernel-defaults the kubelet compares six parameters when it starts, and exits if one differs. K3s exits
    with it, and systemd restarts K3s forever. apply writes four of the six; the kernel's defaults of the other two are
    the expected values.
    """
    protected = _protected(situation)
    will_protect = protected is None and _will_protect(situation)
    for row, now in _differing(situation):
        waiver = situation.waivers.kernel_parameters.get(row.key)
        if waiver is None and protected is not None:
            message = f"K3s does not start: the kubelet rejects {row.key}"
            yield Problem(message, row.value, describe_state(now), protected, _set(situation, row, now), row.key)
        # The kubelet does not have waivers, so the drop-in that apply will write counts, too.
        if waiver is not None and (protected is not None or will_protect):
            when = "does not start" if protected is not None else "will not start after apply"
            yield _waived(situation, row, when, describe_state(now), waiver.location)


@error(
    blocks_gate=no("The running kernel has the expected value, and the gate checks it again at the next boot."),
    prevents_start=no("The kubelet compares the running value only."),
    repair="set `protect-kernel-defaults: false` in the settings, or remove the waiver",
)
def waived_parameter_at_boot(situation: Situation) -> Iterator[Problem]:
    """The kubelet will reject a waived kernel parameter after the next boot.

    apply does not set a waived parameter. The running value is the expected one, for example because an earlier apply
    set it. The next boot sets another value, or leaves the kernel's default. The kubelet does not have waivers: with
    protect-kernel-defaults it then exits, and K3s exits with it. If another program than systemd-sysctl sets the value,
    such as TuneD, set it in a file in /etc/sysctl.d, too.
    """
    waived = situation.waivers.kernel_parameters
    if not waived or (_protected(situation) is None and not _will_protect(situation)):
        return
    differing = {row.key for row, _ in _differing(situation)}
    lines = at_boot(situation.boot_files, list(waived), situation.facts.platform.boot_reader)
    for row in SYSCTLS:
        if row.key not in waived or row.key in differing:
            continue
        line, waiver = lines[row.key], waived[row.key]
        value = row.default if line is None or line.is_rejected else line.value
        if same_value(value, row.value):
            continue
        unless = f" unless another program sets {row.key}" if line is None else ""
        when, location = f"will not start after the next boot{unless}", line.location if line else waiver.location
        yield _waived(situation, row, when, f"{value} after the next boot", location)


@error(
    blocks_gate=yes("Workloads run on a kernel that does not meet the control."),
    prevents_start=no("Without protect-kernel-defaults the kubelet does not exit."),
    repair="set the value with `sysctl -w` and in a file in /etc/sysctl.d",
)
def kernel_default_changed(situation: Situation) -> Iterator[Problem]:
    """A kernel parameter that apply does not write differs from the kernel's default, which is the expected value."""
    if _protected(situation) is not None:
        return
    for row, now in _differing(situation):
        if not row.written and row.key not in situation.waivers.kernel_parameters:
            message = f"{row.key} does not have the kernel's default"
            fix = _set(situation, row, now)
            yield Problem(message, expected=row.value, found=describe_state(now), repair=fix, resource=row.key)


@error(
    blocks_gate=yes("Workloads would run on a kernel that does not meet the control."),
    prevents_start=no(
        "Without protect-kernel-defaults the kubelet does not exit. With it, kernel-parameter is reported."
    ),
    repair="set the parameters on the machine that runs the container; then run `sudo k3s-harden apply`",
)
def kernel_read_only(situation: Situation) -> Iterator[Problem]:
    """Kernel parameters differ and /proc/sys is read-only, as in a container of systemd-nspawn or LXC.

    apply and the gate then change nothing: the kubelet would reject the kernel. The parameters belong to the machine
    that runs the container. A waiver for each of them, with `protect-kernel-defaults: false`, accepts its values.
    """
    if situation.facts.platform.kernel_is_read_only and (rows := _settable(situation)):
        message = "/proc/sys is read-only, so kernel parameters cannot be set here"
        found = ", ".join(describe_state(situation.observed[row.key]) for row in rows)
        fix = _outside(situation)
        yield Problem(message, ", ".join(f"{row.key}={row.value}" for row in rows), found, repair=fix)


@note(repair=_AFTER_BOOT, traits=Trait.NOT_CHECKED)
def no_kernel_here(situation: Situation) -> Iterator[Problem]:
    """The host tree has no /proc/sys, as in the build of an image. Its files set kernel parameters at each boot."""
    if not situation.facts.platform.has_kernel:
        yield Problem("/proc/sys is missing, so running kernel parameters were not checked")


def _differing(situation: Situation) -> Iterator[tuple[SysctlRow, Observed]]:
    """Yield the kernel parameters of the guide whose running value differs from it."""
    for row in SYSCTLS:
        now = situation.observed.get(row.key)
        if now is not None and not (isinstance(now, Sysctl) and same_value(now.value, row.value)):
            yield row, now


def _protected(situation: Situation) -> Location | None:
    """Return the location that enables protect-kernel-defaults. An argument of the kubelet overrides K3s' option."""
    config, key = situation.facts.merged_config, PROTECT_KERNEL_DEFAULTS.key
    arguments = config.argument(Component.KUBELET, key)
    value = arguments[-1] if arguments else config.scalar(key)
    return value.location if value is not None and PROTECT_KERNEL_DEFAULTS.meets.accepts(value.text) else None


def _waived(situation: Situation, row: SysctlRow, when: str, found: str, location: Location) -> Problem:
    """Return the case of a waived kernel parameter that the kubelet rejects."""
    message = f"K3s {when}: the kubelet rejects {row.key}, which is waived, so apply does not set it"
    key, at = PROTECT_KERNEL_DEFAULTS.key, _protected(situation)
    edits: tuple[Step, ...] = ()
    if at is not None and at.path != situation.facts.dropin_path:
        is_argument = situation.facts.merged_config.argument(Component.KUBELET, key)
        kubelet = Component.KUBELET.config_key
        edits = without_argument(situation, kubelet, key, at) if is_argument else without(situation, key, at)
    if situation.settings.protect_kernel_defaults:
        edits = (setting_to(situation, key, "false"), *edits)
    return Problem(message, row.value, found, location, steps(*edits, RunVerb("apply")), row.key)


def _set(situation: Situation, row: SysctlRow, now: Observed) -> Repair:
    """Return the remediation for a kernel parameter whose running value differs."""
    if isinstance(now, Absent):
        no = "K3s does not start if it protects the defaults of the kernel"
        answers = (Answer("Yes", "boot it", ()), Answer("No", no, ()))
        return steps(Decide(f"Is there a kernel for this host that has {row.key}?", answers))
    if situation.facts.platform.kernel_is_read_only:
        return _outside(situation)
    if row.written:
        return written_by_apply(situation, row.key)
    line = f"{row.key}={row.value}"
    return steps(Run(f"sudo sysctl -w {line}"), Edit(Location(_SITE), new=line))


def _outside(situation: Situation) -> Repair:
    """Return how to set all parameters that differ outside of this container, or of the mount that is read-only."""
    lines = " ".join(f"{row.key}={row.value}" for row in _settable(situation))
    where = "on the machine that runs this container" if situation.facts.platform.container else "where it is writable"
    command = f"printf '%s\\n' {lines} | sudo tee {_OUTSIDE} && sudo sysctl -p {_OUTSIDE}"
    return steps(Run(command, where=where), RunVerb("apply"))


def _settable(situation: Situation) -> list[SysctlRow]:
    """Return the parameters that differ, are not waived, and that this kernel has."""
    waived = situation.waivers.kernel_parameters
    return [row for row, now in _differing(situation) if row.key not in waived and not isinstance(now, Absent)]


def _will_protect(situation: Situation) -> bool:
    """Return whether apply will write protect-kernel-defaults into the drop-in."""
    if situation.facts.rancher_managed:
        return False
    return any(option.row is PROTECT_KERNEL_DEFAULTS for option in options_to_set(situation.settings, situation.facts))
