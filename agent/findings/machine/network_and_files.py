"""Findings about what keeps K3s' program from running, and the network and file systems that it finds on this host."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from agent.base.model import Location
from agent.base.repair import Answer, Decide, Edit, Instruction, Restart, Run
from agent.findings.config_edits import replaced
from agent.findings.machine.reason import may_fail, stops_k3s
from agent.findings.registry import Problem, edit_of_k3s_config, instruction, steps
from agent.harden.node.machine.identity_and_network_facts import ONLINE
from agent.harden.node.machine.kernel_facts import uses_overlayfs
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.base.linux.file_systems import Mount
    from agent.harden.node.machine.program_and_storage_facts import DataDirectory
    from agent.harden.situation import Situation

_ADDRESS_OPTIONS = ("node-ip", "flannel-iface", "vpn-auth", "vpn-auth-file")
"""Options with which K3s does not look for the interface of the default route (k3s, pkg/cli/agent/agent.go)."""


@stops_k3s("add a default route, or set `node-ip`")
def default_route_missing(situation: Situation) -> Iterator[Problem]:
    """There is no default route and no `node-ip`, so K3s cannot determine the address of the node.

    From v1.37.2 on, K3s waits 60 seconds for a route before it exits (k3s-io/k3s #14527). While systemd answers that
    the network is not complete, nothing is reported: K3s starts after it.
    """
    network, config = situation.machine.network, situation.facts.merged_config
    if network.has_default_route is not False or not network.is_up:
        return
    if not any(found is not None and found.text for found in map(config.scalar, _ADDRESS_OPTIONS)):
        message = "this host has no default route, and K3s' configuration has no `node-ip`"
        expected = f"a default route when {ONLINE} is reached, or `node-ip`"
        fix = steps(
            Run("sudo ip link add dummy0 type dummy", "sudo ip link delete dummy0"),
            Run("sudo ip link set dummy0 up"),
            Run("sudo ip addr add 203.0.113.254/31 dev dummy0"),
            Run("sudo ip route add default via 203.0.113.255 dev dummy0 metric 1000"),
            restart=Restart.K3S,
        )
        yield Problem(message, expected, "no default route", repair=fix)


@stops_k3s("stop the other program, or configure another port")
def port_in_use(situation: Situation) -> Iterator[Problem]:
    """Another program listens on a TCP port that K3s needs.

    Ports follow K3s' configuration. A program in the control group of K3s' service does not count.
    """
    for conflict in situation.machine.network.conflicts:
        port, owner = conflict.port, conflict.owner
        message = f"port {port.number}, on which {port.user} listens, is in use"
        other = f"{port.change} in K3s' configuration" if port.change else "another host"
        answers = (
            Answer("Yes", "it ends now; disable its service, too", (Run(f"sudo kill {owner.pid}"),)),
            Answer("No", f"K3s needs {other}", ()),
        )
        fix = steps(Decide(f"May process {owner.pid} ({owner.name}) end?", answers))
        yield Problem(message, f"{port.number}/tcp free", f"process {owner.pid} ({owner.name})", repair=fix)


@may_fail("make the firewall trust the networks of pods and services")
def firewall_blocks_pods(situation: Situation) -> Iterator[Problem]:
    """A firewall is enabled whose rules do not mention the networks of pods and services. K3s starts; its pods fail."""
    firewall = situation.machine.network.firewall
    if firewall is None:
        return
    if firewall.name == "firewalld":
        commands = [
            f"sudo firewall-cmd --permanent --zone=trusted --add-source={network}" for network in firewall.untrusted
        ]
        commands += ["sudo firewall-cmd --permanent --add-port=6443/tcp", "sudo firewall-cmd --reload"]
    else:
        commands = [f"sudo ufw allow from {network} to any" for network in firewall.untrusted]
        commands += ["sudo ufw allow 6443/tcp"]
    message = f"{firewall.name} is enabled and does not trust the networks of pods and services"
    fix = steps(*map(Run, commands))
    yield Problem(message, f"a rule for {' and '.join(firewall.untrusted)}", "no rule", repair=fix)


@stops_k3s("install K3s' program for this architecture again")
def k3s_program_unusable(situation: Situation) -> Iterator[Problem]:
    """K3s' program is a directory, not executable, no program, or a program for another architecture.

    A download that ended early, or a page with an error in the place of the program, has the same effect.
    """
    program = situation.machine.program
    if program.problem:
        message = f"systemd cannot start {program.path}: {program.problem}"
        fix = steps(
            Run(f"file {shlex.quote(str(program.path))}"),
            Instruction("install K3s again, with the program for this architecture"),
        )
        yield Problem(message, "an executable program for this machine", program.problem, Location(program.path), fix)


@stops_k3s("sudo restorecon -v /usr/local/bin/k3s")
def k3s_program_label(situation: Situation) -> Iterator[Problem]:
    """SELinux is enforcing, and K3s' program has the label of a home or temporary directory, from which it was moved.

    systemd may not execute such a file. cp(1) sets the label of the new directory, and mv(1) keeps the old one.
    """
    program = situation.machine.program
    if program.selinux_type:
        message = f"SELinux does not let systemd start {program.path}"
        expected = "the type bin_t or container_runtime_exec_t"
        fix = steps(Run(f"sudo restorecon -v {shlex.quote(str(program.path))}"))
        yield Problem(message, expected, program.selinux_type, Location(program.path), fix)


@may_fail("install the package k3s-selinux")
def selinux_policy_missing(situation: Situation) -> Iterator[Problem]:
    """SELinux is enforcing without the policy of k3s-selinux. K3s starts, but its files and pods have wrong labels."""
    if situation.machine.program.lacks_selinux_policy:
        manager = situation.machine.package_manager or "dnf install"
        message = "SELinux is enforcing, and its policy does not contain K3s"
        fix = steps(
            Instruction("add the repository of k3s-selinux, as in K3s' documentation"),
            Run(f"sudo {manager} k3s-selinux"),
        )
        yield Problem(message, "the package k3s-selinux", "no labels for /var/lib/rancher/k3s", repair=fix)


@may_fail("allow K3s' data directory in the rules of fapolicyd")
def fapolicyd_blocks_k3s(situation: Situation) -> Iterator[Problem]:
    """fapolicyd is enabled and enforcing, and no rule mentions K3s' data directory, whose programs it then refuses.

    The profile of the STIG for RHEL enables it.
    """
    rules = situation.machine.program.fapolicyd_rules
    if rules is not None:
        directory = situation.facts.data_dir
        allow = f"allow perm=any all : dir={directory}/"
        message = f"fapolicyd does not let K3s execute the programs below {directory}"
        fix = steps(
            Run(f"echo {shlex.quote(allow)} | sudo tee {rules}/80-k3s.rules"),
            Run("sudo systemctl restart fapolicyd"),
        )
        yield Problem(message, f"a rule with dir={directory}/", "no such rule", Location(rules), fix)


@stops_k3s("sudo systemctl disable nm-cloud-setup.service nm-cloud-setup.timer")
def nm_cloud_setup_enabled(situation: Situation) -> Iterator[Problem]:
    """nm-cloud-setup is enabled, and K3s' unit refuses to start beside it: it removes the routes of pods."""
    location, units = situation.machine.program.nm_cloud_setup, "nm-cloud-setup.service nm-cloud-setup.timer"
    if location is not None:
        message = "K3s' unit does not start while nm-cloud-setup.service is enabled"
        reboot = (Run("sudo reboot"),) if situation.machine.is_live else ()
        fix = steps(Run(f"sudo systemctl disable {units}"), *reboot)
        yield Problem(message, "nm-cloud-setup.service disabled", "enabled", location, fix)


_LEAST_FREE = 0.05
"""The share of free space at which K3s' kubelet evicts pods: nodefs.available<5% (k3s, pkg/daemons/agent)."""
_NO_SPACE = 1024 * 1024
"""Bytes. With less, K3s can write neither its programs nor its database."""
_UNPACKED = 200 * 1024 * 1024
"""Bytes. The programs in K3s 1.23 and newer need more than this when they are unpacked."""
_NOT_FOR_OVERLAYFS = frozenset({"overlay", "nfs", "nfs4"})


@stops_k3s("mount the file system of the data directory with `exec`")
def data_dir_noexec(situation: Situation) -> Iterator[Problem]:
    """The file system of K3s' data directory is mounted with `noexec`, so K3s cannot execute the programs it unpacks.

    K3s' program unpacks itself into `data/` below its data directory and executes what it unpacked. It looks below
    /var/lib/rancher/k3s first, also if `data-dir` names another directory.
    """
    for directory in situation.machine.storage.directories:
        if directory.mount is not None and "noexec" in directory.mount.options:
            yield _mounted_with("noexec", "exec", directory, directory.mount, situation)


@stops_k3s("mount the file system of the data directory with `rw`")
def data_dir_read_only(situation: Situation) -> Iterator[Problem]:
    """The file system of K3s' data directory is read-only, so K3s can neither unpack its programs nor store data."""
    for directory in situation.machine.storage.directories:
        mount = directory.mount
        if directory.path == situation.facts.data_dir and mount is not None and "ro" in mount.options:
            yield _mounted_with("ro", "rw", directory, mount, situation)


def _mounted_with(option: str, needed: str, directory: DataDirectory, mount: Mount, situation: Situation) -> Problem:
    point = shlex.quote(mount.point)
    keep = Instruction(f"replace `{option}` by `{needed}` for {mount.point} in /etc/fstab or in its mount unit")
    now = (Run(f"sudo mount -o remount,{needed} {point}"),) if situation.machine.is_live else ()
    message = f"the file system of {directory.path} is mounted with `{option}`"
    fix = steps(
        *now,
        keep,
        alternative=instruction(
            "set `data-dir` in K3s' configuration to a directory on another file system, and move the data there",
            restart=Restart.K3S,
        ),
    )
    return Problem(message, f"{mount.point} mounted with `{needed}`", option, repair=fix)


@stops_k3s("free space or inodes on the file system of the data directory")
def data_dir_full(situation: Situation) -> Iterator[Problem]:
    """The file system of K3s' data directory has no space or no inodes for the programs that K3s unpacks."""
    for directory in situation.machine.storage.directories:
        space = directory.space
        if directory.path != situation.facts.data_dir or space is None or directory.mount is None:
            continue
        needed = _NO_SPACE if directory.has_programs else _UNPACKED
        if space.inodes and not space.free_inodes:
            yield _lacks_space(directory, directory.mount, "full", "no free inodes", "free inodes")
        elif space.free < needed:
            free, least = f"{space.free // 2**20} MiB free", f"at least {needed // 2**20} MiB"
            yield _lacks_space(directory, directory.mount, "full", free, least)


@may_fail("free space on the file system of the data directory")
def data_dir_nearly_full(situation: Situation) -> Iterator[Problem]:
    """Less than 5 % of the data directory's file system is free, so the kubelet evicts pods (DiskPressure)."""
    for directory in situation.machine.storage.directories:
        space, mount = directory.space, directory.mount
        if directory.path != situation.facts.data_dir or space is None or mount is None or not space.size:
            continue
        is_full = space.free < (_NO_SPACE if directory.has_programs else _UNPACKED)
        sets_eviction = situation.facts.merged_config.argument(Component.KUBELET, "eviction-hard")
        if not is_full and space.available < _LEAST_FREE * space.size and not sets_eviction:
            free = f"{100 * space.available / space.size:.1f} % free"
            yield _lacks_space(directory, mount, "nearly full", free, "at least 5 %")


def _lacks_space(directory: DataDirectory, mount: Mount, state: str, found: str, expected: str) -> Problem:
    point = shlex.quote(mount.point)
    commands = (
        Run(f"df -h {point}"),
        Run(f"sudo du -xh --max-depth=2 {point} | sort -h | tail"),
    )
    fix = steps(*commands, Instruction(f"free space on {mount.point}, or enlarge it"))
    return Problem(f"the file system of {directory.path} is {state}", expected=expected, found=found, repair=fix)


@stops_k3s("set `snapshotter: native`, or a data directory on another file system")
def snapshotter_unsupported(situation: Situation) -> Iterator[Problem]:
    """The file system of containerd's images does not support the overlayfs snapshotter, which K3s uses by default.

    These are overlay itself, NFS, and XFS without the types of files in directories (`ftype=0`).
    """
    storage, config = situation.machine.storage, situation.facts.merged_config
    mount = storage.images
    if mount is None or config.boolean("disable-agent") or not uses_overlayfs(config):
        return
    lacks_types = storage.images_lack_file_types
    if mount.kind in _NOT_FOR_OVERLAYFS or lacks_types:
        images = situation.facts.data_dir / "agent/containerd"
        message = f"the overlayfs snapshotter does not work on the file system of {images}"
        found = f"{mount.kind}{' with ftype=0' if lacks_types else ''} at {mount.point}"
        set_now, at = config.scalar("snapshotter"), Location(situation.facts.configuration.path)
        new = Edit(at, new="snapshotter: native")
        fix = edit_of_k3s_config(replaced(situation, set_now.location, set_now.text, "native") if set_now else new)
        yield Problem(message, "a file system such as ext4, or XFS with ftype=1", found, repair=fix)
