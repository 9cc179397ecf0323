"""Findings about what K3s needs of the kernel: control groups, modules, and /dev/kmsg."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from agent.base.linux.file_systems import Missing
from agent.base.model import Location
from agent.base.repair import Answer, Decide, Edit, Repair, Restart, Run
from agent.findings.machine.reason import may_fail, stops_k3s
from agent.findings.registry import Problem, instruction, steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.harden.node.machine.kernel_facts import NeededModule
    from agent.harden.situation import Situation

_UNIFIED = ("cpu", "cpuset", "memory", "pids")
_LEGACY = ("memory", "pids")
_REBOOT = Run("sudo reboot")
_MEMORY = "cgroup_memory=1 cgroup_enable=memory"


def _booted_with(parameters: str) -> Repair:
    """Return how the kernel gets parameters at each boot."""
    firmware = Run(f"sudo sed -i '1s/$/ {parameters}/' $(ls /boot/firmware/cmdline.txt /boot/cmdline.txt | head -1)")
    grub = Run(f"sudo sed -i 's/^GRUB_CMDLINE_LINUX=[\"]/&{parameters} /' /etc/default/grub")
    written = Run("sudo update-grub || sudo grub2-mkconfig -o /boot/grub2/grub.cfg")
    answers = (
        Answer("GRUB", "it writes its menu again", (grub, written, _REBOOT)),
        Answer("The firmware of a Raspberry Pi", "it reads the first line of the file", (firmware, _REBOOT)),
    )
    return steps(Decide("What boots this host?", answers))


def _runs_pods(situation: Situation) -> bool:
    return not situation.facts.merged_config.boolean("disable-agent")


@stops_k3s("enable the controllers on the command line of the kernel, and boot again")
def cgroup_controller_missing(situation: Situation) -> Iterator[Problem]:
    """The kernel does not offer a controller of control groups that K3s requires.

    With version 2, K3s requires cpu, cpuset, memory and pids; with version 1, memory and pids.
    """
    groups = situation.machine.kernel.control_groups
    if groups is None or not _runs_pods(situation):
        return
    needed = _UNIFIED if groups.is_unified else _LEGACY
    missing = [name for name in needed if name not in groups.controllers]
    if missing:
        container = situation.facts.platform.container
        delegate = instruction(f"delegate the controllers to this container: configure {container} on its machine")
        expected = f"the controllers {', '.join(needed)}"
        found = f"{' '.join(sorted(filter(None, groups.controllers))) or 'none'} in {groups.source}"
        fix = delegate if container else _booted_with(_MEMORY)
        yield Problem(f"control groups lack {' and '.join(missing)}", expected, found, repair=fix)


@may_fail("append `cgroup_enable=cpuset` to the command line of the kernel")
def cgroup_cpuset_missing(situation: Situation) -> Iterator[Problem]:
    """Control groups of version 1 lack the controller cpuset. K3s logs a warning and starts."""
    groups = situation.machine.kernel.control_groups
    if groups is not None and not groups.is_unified and "cpuset" not in groups.controllers and _runs_pods(situation):
        fix = _booted_with("cgroup_enable=cpuset")
        yield Problem("control groups lack cpuset", "cpuset", f"no cpuset in {groups.source}", repair=fix)


@may_fail("append `cgroup_memory=1 cgroup_enable=memory` to the first line of cmdline.txt")
def cgroup_memory_not_enabled(situation: Situation) -> Iterator[Problem]:
    """The command line of a Raspberry Pi's kernel does not enable the controller memory, which K3s requires.

    The firmware disables it by default and reads only the first line of cmdline.txt. On a running host, the finding
    cgroup-controller-missing reports what the kernel has.
    """
    line = situation.machine.kernel.boot_line
    if line is None or "cgroup_enable=memory" in line.first_line.split():
        return
    message, found = "the kernel's command line does not enable the memory controller", "no cgroup_enable=memory"
    if "cgroup_enable=memory" in line.other_lines.split():
        message = "the firmware reads only the first line, which does not enable the memory controller"
        found = "it is in another line"
    location = Location(line.path, 1)
    fix = steps(Edit(location, line.first_line, f"{line.first_line} {_MEMORY}"))
    yield Problem(message, f"{_MEMORY} in the first line", found, location, fix)


@stops_k3s("install the kernel's package of modules, and boot again")
def kernel_module_missing(situation: Situation) -> Iterator[Problem]:
    """The kernel lacks a module that this node's configuration of K3s requires, or cannot load it.

    A module is there if it is loaded, built into the kernel, or listed in modules.dep of the running kernel and not
    disabled by modprobe.d. If no file decides, nothing is reported.
    """
    yield from _missing_modules(situation, lambda needed: needed.is_certain and needed.stops_k3s)


@may_fail("install the kernel's package of modules, and boot again")
def kernel_module_missing_for_agent(situation: Situation) -> Iterator[Problem]:
    """The kernel lacks a module that an agent needs unless its server configures another network.

    Agents get the flannel back end and the use of network policies from their server.
    """
    yield from _missing_modules(situation, lambda needed: not needed.is_certain and needed.stops_k3s)


@may_fail("install the kernel's package of modules, and restart K3s")
def network_policies_void(situation: Situation) -> Iterator[Problem]:
    """The kernel lacks a module without which K3s enforces no NetworkPolicy.

    K3s' controller keeps addresses in sets of the kernel. Without them, K3s only logs a warning and runs: every pod is
    reachable from everywhere, whatever the policies are. An agent uses no controller if its server disables it.
    """
    yield from _missing_modules(situation, lambda needed: not needed.stops_k3s)


def _missing_modules(situation: Situation, is_meant: Callable[[NeededModule], bool]) -> Iterator[Problem]:
    for needed in situation.machine.kernel.missing_modules:
        if is_meant(needed) and needed.missing is not None:
            name = needed.module.name
            message = f"the kernel cannot use the module {name}, which {needed.purpose} needs"
            expected = f"{name} loaded, built in, or installed"
            yield Problem(message, expected, needed.missing.value, repair=_module_fix(situation, needed))


def _module_fix(situation: Situation, needed: NeededModule) -> Repair:
    name = needed.module.name
    load = Run(f"sudo modprobe {shlex.quote(name)}")
    if needed.missing is Missing.DISABLED:
        line = f"^ *install +{name.replace('_', '[-_]')} "
        files = f"grep -rlE '{line}' /etc/modprobe.d /usr/lib/modprobe.d"
        return steps(Run(f"sudo sed -ri 's/{line}/# &/' $({files})"), load)
    if needed.missing in {Missing.OTHER_KERNEL, Missing.LOCKED}:
        return steps(_REBOOT)
    package = {
        "dnf install": "kernel-modules-extra-$(uname -r)",
        "apt-get install": "linux-modules-extra-$(uname -r)",
        "zypper install": "kernel-default",
    }.get(situation.machine.package_manager)
    if needed.missing is Missing.NOT_INSTALLED and package is not None:
        return steps(Run(f"sudo {situation.machine.package_manager} {package}"), load)
    return instruction(f"boot a kernel that has {name} ({needed.module.option})")


@stops_k3s("give the container the device /dev/kmsg")
def kmsg_not_readable(situation: Situation) -> Iterator[Problem]:
    """/dev/kmsg is missing or cannot be opened, so the kubelet exits. Containers such as those of LXC lack it."""
    problem = situation.machine.kernel.kmsg_problem
    if problem and _runs_pods(situation):
        fix = steps(Run("sudo mknod -m 600 /dev/kmsg c 1 11"))
        if situation.facts.platform.container:
            fix = instruction(
                "on the machine that runs this container: pass the device /dev/kmsg to it (LXC:"
                " lxc.mount.entry = /dev/kmsg dev/kmsg none bind,optional,create=file), and start it again"
            )
        yield Problem("/dev/kmsg cannot be opened", expected="a readable device", found=problem, repair=fix)


_IDS_OF_A_POD = 65536
_INVALID_ID = 2**32 - 1
_LAST_FIRST = 2**32 - (1 + 110) * _IDS_OF_A_POD
"""The last beginning that leaves the kubelet a range for each of 110 pods, the default of `max-pods`."""
_FIRST_WITH_CHECK = 38
"""The minor version whose kubelet exits; older ones give a pod IDs of the host or ones that the kernel rejects."""


@stops_k3s("make the range of the user `kubelet` smaller in /etc/subuid and in /etc/subgid")
def subordinate_ids_invalid(situation: Situation) -> Iterator[Problem]:
    """A range of the user `kubelet` in /etc/subuid or /etc/subgid reaches 4294967295, which the kernel cannot map.

    The kubelet of v1.38 and newer exits. If the user and the program `getsubids` exist, it takes the users and groups
    of pods with `hostUsers: false` from this range.
    """
    if situation.facts.version.minor < _FIRST_WITH_CHECK or not _runs_pods(situation):
        return
    for ids in situation.machine.kernel.kubelet_ranges:
        if ids.first + ids.count > _INVALID_ID:
            first = min(ids.first, _LAST_FIRST)
            old = f"{ids.owner}:{ids.first}:{ids.count}"
            new = f"{ids.owner}:{first}:{(_INVALID_ID - first) // _IDS_OF_A_POD * _IDS_OF_A_POD}"
            fix = steps(Edit(ids.location, old, new), restart=Restart.K3S)
            yield Problem("the range of the user `kubelet` is too large", new, old, ids.location, fix)
