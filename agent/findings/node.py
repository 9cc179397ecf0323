"""What the host itself is, where that limits what can be done or is worth a word."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agent.findings.registry import INSTALL, UNINSTALL, Trouble, finding, instruction, shell_command
from agent.guide.files import POLICY_FILE
from agent.model import NEWEST_KNOWN, OLDEST_COVERED, Location, OwnCommand, Remediation, Role
from agent.node.gate import DROPIN, UNIT
from agent.report import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.situation import Situation

_SAY_VERSION = instruction("say --k3s-version")


@finding(Level.NOTE)
def version_assumed(seen: Situation) -> Iterator[Trouble]:
    """The K3s version cannot be told, so the newest family of the guide was taken.

    The families differ: K3s v1.24 and older want PodSecurityPolicies, v1.25 and newer must not have them.
    """
    if not (seen.facts.version_is_known or seen.k3s_files.had_pod_security_policies):
        yield Trouble(f"the K3s version is not known; {seen.facts.version} is assumed", remediation=_SAY_VERSION)


@finding(Level.WARNING)
def other_family_assumed(seen: Situation) -> Iterator[Trouble]:
    """The K3s version cannot be told, and the newest family that was taken is not the one this host was hardened for.

    policy.yaml has or had PodSecurityPolicies, which K3s v1.24 and older want. An apply takes them, and their plugin,
    from such a K3s.
    """
    if seen.k3s_files.had_pod_security_policies:
        yield Trouble(
            f"the K3s version is not known; {seen.facts.version} is assumed, but an earlier run was for v1.24 or older",
            location=Location(seen.facts.data_dir / POLICY_FILE),
            remediation=_SAY_VERSION,
        )


@finding(Level.NOTE)
def version_newer(seen: Situation) -> Iterator[Trouble]:
    """This K3s is newer than the newest version that the rows were written for; the newest rows apply."""
    if seen.facts.version.minor > NEWEST_KNOWN.minor:
        yield Trouble(
            f"K3s {seen.facts.version} is newer than this release knows; the rows for v1.{NEWEST_KNOWN.minor} apply",
            remediation=instruction("look for a newer k3s-harden"),
        )


@finding(Level.WARNING)
def version_older(seen: Situation) -> Iterator[Trouble]:
    """This K3s is older than any that the guide covers; the oldest rows apply.

    A version that YAML or a shell has cut short looks like that, too: 1.30 as a number is 1.3.
    """
    version = seen.facts.version
    if version.minor < OLDEST_COVERED.minor:
        yield Trouble(
            f"K3s {version} is older than the guide covers; the rows for v{OLDEST_COVERED.family} apply",
            expected=f"v{OLDEST_COVERED.family} or newer",
            found=str(version),
            remediation=instruction("correct --k3s-version, or `k3s-version` in the settings, or upgrade K3s"),
        )


@finding(Level.NOTE)
def rancher_managed(seen: Situation) -> Iterator[Trouble]:
    """Rancher writes this node's K3s configuration, so none is written here: two writers would undo each other.

    The arguments belong in the Cluster object; `render rancher-cluster` prints them.
    """
    if seen.facts.rancher_managed:
        role = "" if seen.facts.role is Role.SERVER else " (for the whole cluster, this agent included)"
        yield Trouble(
            f"Rancher manages this node: K3s' arguments and Pod Security belong in its Cluster object{role}",
            remediation=Remediation(
                (OwnCommand("render", ("rancher-cluster", f"--k3s-version {seen.facts.version.family}")),)
            ),
        )


@finding(Level.ERROR)
def read_only_etc(seen: Situation) -> Iterator[Trouble]:
    """/etc cannot be written, as on an immutable system: what belongs there has to come with the image."""
    if seen.facts.platform.etc_is_read_only and any(change.id.startswith("/etc/") for change in seen.plan.changes):
        yield Trouble(
            "/etc is read-only, and files are missing there",
            remediation=instruction("run k3s-harden apply --root on the image, or make /etc writable"),
        )


@finding(Level.ERROR, blocks_gate=False)
def gate_half_missing(seen: Situation) -> Iterator[Trouble]:
    """The gate has two halves, k3s-harden.service and a drop-in of each service that starts K3s, and one is missing.

    Without the unit, or where it is masked, the drop-in waits for a sign that nobody gives: K3s does not start from
    the next boot on. Until then the sign of an earlier success lets it start ungated. Without the drop-in K3s always
    starts ungated.
    """
    unit, mask, dropins = seen.gate.unit, seen.gate.mask, seen.gate.dropins
    if unit is None:
        state = f"masked by {mask}" if mask else "missing"
        for service, path in dropins.items():
            yield Trouble(
                f"{service} starts ungated until the next boot, and then not at all: its gate is {state}",
                expected=UNIT,
                location=Location(path),
                remediation=replace(
                    shell_command(f"sudo systemctl unmask {UNIT}") if mask else INSTALL, alternative=UNINSTALL
                ),
            )
        return
    for service in (unit.path.name for unit in seen.facts.units):
        if service.endswith(".service") and service not in dropins:
            yield Trouble(
                f"{service} starts without the gate",
                expected=f"{service}.d/{DROPIN}",
                location=Location(unit),
                remediation=Remediation((OwnCommand("install", (f"--unit {service}",)),)),
            )


@finding(Level.WARNING)
def gate_before_mount(seen: Situation) -> Iterator[Trouble]:
    """K3s' data directory is elsewhere than the gate's unit says, so the gate does not wait until it is mounted.

    On a file system of its own, one that is mounted late, it would still be missing when the gate runs at boot: what
    the gate writes then lies below the mount point, and K3s starts on what was never hardened, or not at all.
    """
    gate, data_dir = seen.gate, seen.facts.data_dir
    # A path stands for the mounts of all directories above it, too (systemd.unit(5)).
    if gate.unit is not None and not any(path.is_relative_to(data_dir) for path in gate.mounts):
        yield Trouble(
            f"the gate does not wait for the mount of {data_dir}",
            expected=f"RequiresMountsFor={data_dir}",
            found=f"RequiresMountsFor={' '.join(map(str, gate.mounts))}",
            location=Location(gate.unit),
            remediation=INSTALL,
        )


@finding(Level.WARNING)
def not_readable(seen: Situation) -> Iterator[Trouble]:
    """Something could not be read, so what it says is not in this report: permissions, or a file of another kind."""
    for complaint in seen.unreadable:
        yield Trouble(
            complaint, remediation=instruction("run as root" if "Permission denied" in complaint else "look at it")
        )


@finding(Level.WARNING)
def restart_needed(seen: Situation) -> Iterator[Trouble]:
    """K3s runs since before a file was changed that it reads at its start only, so the change has no effect yet."""
    if seen.k3s_files.changed_since_start:
        yield Trouble(
            f"K3s runs since before the last change of {' and '.join(seen.k3s_files.changed_since_start)}",
            remediation=shell_command(f"sudo systemctl restart {seen.facts.service.removesuffix('.service')}"),
        )
