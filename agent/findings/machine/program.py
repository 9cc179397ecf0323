"""Findings about what keeps K3s' program from running: its file, SELinux, fapolicyd, nm-cloud-setup."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from agent.base.model import Location
from agent.base.repair import Instruction, Run
from agent.findings.machine.reason import may_fail, stops_k3s
from agent.findings.registry import Problem, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.harden.situation import Situation


@stops_k3s(
    "k3s.service: Failed at step EXEC spawning /usr/local/bin/k3s: Exec format error; status=203/EXEC",
    on_trees=True,
    source="seen on the kernel: execve(2), systemd.exec(5); #837, #1874, #2699, #13273",
    repair="install K3s' program for this architecture again",
)
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


@stops_k3s(
    "k3s.service: Failed at step EXEC spawning /usr/local/bin/k3s: Permission denied; status=203/EXEC",
    on_trees=False,
    source="from source: SELinux policy of Fedora and RHEL; #2699",
    repair="sudo restorecon -v /usr/local/bin/k3s",
)
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


@may_fail(
    "pods fail with permission denied; avc: denied in the audit log",
    on_trees=True,
    source="from source: documentation of K3s, Advanced options, SELinux support; pkg/agent/containerd/config_linux.go",
    repair="install the package k3s-selinux",
)
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


@may_fail(
    "k3s-server: operation not permitted",
    on_trees=True,
    source="from source: fapolicyd.rules(5); #9008, rke2 #2848",
    repair="allow K3s' data directory in the rules of fapolicyd",
)
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


@stops_k3s(
    "k3s.service: Control process exited, code=exited, status=1/FAILURE, of ExecStartPre with nm-cloud-setup.service",
    on_trees=True,
    source="from source: install.sh before #12889; #3465, #7077",
    repair="sudo systemctl disable nm-cloud-setup.service nm-cloud-setup.timer",
)
def nm_cloud_setup_enabled(situation: Situation) -> Iterator[Problem]:
    """nm-cloud-setup is enabled, and K3s' unit refuses to start beside it: it removes the routes of pods."""
    location, units = situation.machine.program.nm_cloud_setup, "nm-cloud-setup.service nm-cloud-setup.timer"
    if location is not None:
        message = "K3s' unit does not start while nm-cloud-setup.service is enabled"
        reboot = (Run("sudo reboot"),) if situation.machine.is_live else ()
        fix = steps(Run(f"sudo systemctl disable {units}"), *reboot)
        yield Problem(message, "nm-cloud-setup.service disabled", "enabled", location, fix)
