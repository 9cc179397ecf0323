"""Kernel parameters: what the next boot will make of them, and what kubelet will say."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.desired.dropin_options import missing
from agent.findings.registry import Trouble, finding, instruction, written_by_apply
from agent.guide.k3s_options import PROTECT_KERNEL_DEFAULTS
from agent.guide.sysctls import PARAMETERS_FILE, SYSCTLS
from agent.linux.sysctl_order import SYSCTL_CONF, Reader, SysctlFile, at_boot, excluded
from agent.linux.sysctl_values import same_value
from agent.model import Absent, Component, File, Location, Sysctl
from agent.plan.plan import describe
from agent.report import Level
from agent.settings.waivers import first_day_without

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.guide.sysctls import SysctlRow
    from agent.model import Observed, Remediation
    from agent.situation import Situation


@finding(Level.ERROR, blocks_gate=False)
def sysctl_overridden(seen: Situation) -> Iterator[Trouble]:
    """Another file wins over 90-kubelet.conf at the next boot, so that the right value of today will not last.

    sysctl.d(5) reads the files of all its directories in the order of their names, and the last line for a key wins;
    a file with our name in a directory of higher priority, or a link to /dev/null, hides ours altogether. What is
    computed here is what systemd-sysctl (or procps, on hosts without systemd) does.
    """
    yield from overridden(seen).values()


def overridden(seen: Situation) -> dict[str, Trouble]:
    """By kernel parameter, what takes its value back at the next boot."""
    found = {}
    files = _with_ours(seen)
    keys = [row.key for row in SYSCTLS]
    outcome = at_boot(files, keys, seen.facts.platform.boot_reader)
    undone = excluded(files, keys) if seen.facts.platform.boot_reader is Reader.SYSTEMD else {}
    for row in SYSCTLS:
        if row.key in seen.waivers.kernel_parameters:
            continue
        line = outcome[row.key]
        if line is None and row.written and row.key in undone:
            found[row.key] = Trouble(
                f"the next boot leaves {row.key} at the kernel's own value",
                expected=row.value,
                found=f"-{row.key}",
                location=undone[row.key],
                remediation=instruction("delete that line: it takes ours back"),
            )
        elif line is None and row.written and _is_refused(seen) and all(file.is_readable for file in files):
            found[row.key] = Trouble(
                f"nothing sets {row.key} at the next boot, which leaves it at the kernel's own value",
                expected=row.value,
                location=Location(PurePosixPath(PARAMETERS_FILE)),
                remediation=instruction(f"add the line {row.key}={row.value}"),
            )
        if line is None or same_value(line.value, row.value):
            continue
        found[row.key] = Trouble(
            f"the next boot leaves {row.key} at the kernel's own value: it refuses {line.value}"
            if line.is_rejected
            else f"the next boot sets {row.key} to {line.value or 'nothing'}",
            expected=row.value,
            found=line.value,
            location=line.location,
            remediation=instruction(f"delete that line, or set it to {row.value}"),
        )
    return found


@finding(Level.WARNING)
def sysctl_conf_disagrees(seen: Situation) -> Iterator[Trouble]:
    """/etc/sysctl.conf has another value than the guide. systemd does not read it at boot, but `sysctl --system` does.

    Whoever runs that command, by hand or by an installer, changes the running kernel until the next boot.
    """
    if seen.facts.platform.boot_reader is Reader.PROCPS:
        return
    keys = [row.key for row in SYSCTLS]
    systemd, procps = (at_boot(_with_ours(seen), keys, reader) for reader in (Reader.SYSTEMD, Reader.PROCPS))
    for row in SYSCTLS:
        line = None if row.key in seen.waivers.kernel_parameters else procps[row.key]
        if (
            line is None
            or line.location.path != SYSCTL_CONF
            or same_value(line.value, row.value)
            or line == systemd[row.key]
        ):
            continue
        yield Trouble(
            f"`sysctl --system` would set {row.key} to {line.value}",
            expected=row.value,
            found=line.value,
            location=line.location,
            remediation=instruction(f"delete that line, or set it to {row.value}"),
        )


@finding(Level.ERROR)
def kernel_parameter(seen: Situation) -> Iterator[Trouble]:
    """kubelet, started with protect-kernel-defaults, compares six kernel parameters and exits if one differs.

    K3s exits with it, and systemd starts K3s again every few seconds, for ever. The guide writes four of the six; the
    other two have the right value on an unchanged kernel.
    """
    protected = _protected(seen)
    for row in SYSCTLS:
        now = seen.observed.get(row.key)
        if now is None or (isinstance(now, Sysctl) and same_value(now.value, row.value)):
            continue
        waiver = seen.waivers.kernel_parameters.get(row.key)
        if waiver is not None:
            # kubelet knows no waiver, so what apply would write counts, too.
            if protected or _will_protect(seen):
                yield Trouble(
                    f"K3s would not start: kubelet refuses {row.key}, and its waiver keeps apply from setting it"
                    if protected
                    else f"kubelet would refuse {row.key}, and its waiver keeps apply from setting it",
                    expected=row.value,
                    found=describe(now),
                    location=waiver.location,
                    remediation=instruction(
                        "set `protect-kernel-defaults: false` in the settings, or take the waiver out"
                    ),
                )
            continue
        if row.written and not protected:
            continue  # a difference like any other, which apply repairs
        yield Trouble(
            f"K3s would not start: kubelet refuses {row.key}" if protected else f"{row.key} is not as kubelet wants it",
            expected=row.value,
            found=describe(now),
            location=protected,
            remediation=_set(seen, row, now),
        )


@finding(Level.NOTE)
def kernel_parameter_waived(seen: Situation) -> Iterator[Trouble]:
    """A waiver in the settings keeps apply from writing a kernel parameter, into its file and into the kernel.

    What the kernel has stays, and so does what an earlier apply set, until the next boot.
    """
    for key, waiver in seen.waivers.kernel_parameters.items():
        now = seen.observed.get(key)
        until = f" until {waiver.expires}" if waiver.expires else ""
        yield Trouble(
            f"{key} is left alone{until}: {waiver.reason}",
            expected=next(row.value for row in SYSCTLS if row.key == key),
            found="" if now is None else describe(now),
            location=waiver.location,
        )


@finding(Level.NOTE)
def waiver_expired(seen: Situation) -> Iterator[Trouble]:
    """The waiver of a kernel parameter has had its last day, so apply writes the parameter again."""
    for waiver in seen.waivers.expired([row.id for row in SYSCTLS]):
        yield Trouble(
            f"the waiver of {waiver.control} counts no more since {first_day_without(waiver)}",
            found=waiver.expires,
            location=waiver.location,
            remediation=instruction("take it out, or give it a new date"),
        )


@finding(Level.NOTE)
def no_kernel_here(seen: Situation) -> Iterator[Trouble]:
    """The host tree has no /proc/sys, as an image that is being built: kernel values are left to its first boot."""
    if not seen.facts.platform.has_kernel:
        yield Trouble(
            "there is no /proc/sys here: live kernel values are left to the first boot",
            remediation=instruction("run k3s-harden apply or check on the booted host"),
        )


def _protected(seen: Situation) -> Location | None:
    """Where kubelet is told to insist on kernel parameters: an argument of its own has the last word over K3s' key."""
    config, key = seen.facts.merged_config, PROTECT_KERNEL_DEFAULTS.key
    own = config.scalar(key)
    for value, source in config.component_arguments(Component.KUBELET.config_key).get(key, ())[-1:] or (
        (own,) if own else ()
    ):
        return source if PROTECT_KERNEL_DEFAULTS.meets.accepts(value) else None
    return None


def _set(seen: Situation, row: SysctlRow, now: Observed) -> Remediation:
    """The remedy for a parameter that is not as kubelet wants it."""
    command = f"sysctl -w {row.key}={row.value}"
    if isinstance(now, Absent):
        return instruction("use a kernel that has the parameter")
    if seen.facts.platform.kernel_is_read_only:
        return instruction(
            f"on the machine that runs this container: {command}, and keep it in a file in /etc/sysctl.d"
        )
    if row.written:
        return written_by_apply(seen, row.key)
    return instruction(f"{command}, and keep it in a file in /etc/sysctl.d")


def _will_protect(seen: Situation) -> bool:
    """Whether K3s' configuration has protect-kernel-defaults once apply has written our part of it."""
    if seen.facts.rancher_managed:
        return False
    return any(option.row is PROTECT_KERNEL_DEFAULTS for option in missing(seen.settings, seen.facts))


def _is_refused(seen: Situation) -> bool:
    """Whether apply leaves something else in the place of our file of kernel parameters."""
    return any(refusal.id == PARAMETERS_FILE for refusal in seen.plan.refusals)


def _with_ours(seen: Situation) -> list[SysctlFile]:
    """The files as they will be once ours is in place: before the first apply, it is not what is missing that wins.

    What stands where ours belongs and is not replaced counts as it is.
    """
    if _is_refused(seen):
        return list(seen.sysctl_files)
    files = [file for file in seen.sysctl_files if str(file.path) != PARAMETERS_FILE]
    ours = (one for one in seen.desired if isinstance(one, File) and one.id == PARAMETERS_FILE)
    return files + [SysctlFile(one.path, one.content) for one in ours]
