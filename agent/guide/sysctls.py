"""The kernel parameters that kubelet requires: it compares six, of which the guide sets four."""

from __future__ import annotations

from agent.guide import headings
from agent.guide.control import GuideControl, Origin
from agent.model import EVERYWHERE


class SysctlRow(GuideControl):
    """A kernel parameter.

    kubelet compares for equality, so a stricter value is not accepted either
    (kubernetes, pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables).
    """

    key: str
    """With dots, as in sysctl(8)."""
    value: str
    """As the kernel prints it."""
    written: bool
    """Whether the value is written to the parameters file and to the running kernel, or only verified."""


_FAILS = (
    "With protect-kernel-defaults, kubelet compares the value when it starts and exits if it differs. K3s exits too,"
    " and systemd restarts K3s every five seconds."
)
_HIDES = (
    "Without protect-kernel-defaults, kubelet sets the value itself, which hides until the next boot that the host does"
    " not set it."
)
_BY_HAND = (
    "Put the line '{key}={value}' into {file} and run 'sudo sysctl --system'. Then 'sysctl {key}' must print {value};"
    " otherwise a file that sorts later overrides it at boot."
)
PARAMETERS_FILE = "/etc/sysctl.d/90-kubelet.conf"
"""The guide's file. It sorts before 99-sysctl.conf, through which /etc/sysctl.conf can override it."""


def _written(key: str, value: str, *, title: str, why: str, risk: str) -> SysctlRow:
    return SysctlRow(
        id=key,
        key=key,
        value=value,
        written=True,
        title=title,
        why=f"{why} {_FAILS} {_HIDES}",
        origin=Origin(headings.KERNEL_PARAMETERS),
        risk=risk,
        by_hand=_BY_HAND.format(key=key, value=value, file=PARAMETERS_FILE),
        deviation="",
        applies=EVERYWHERE,
    )


def _verified(key: str, value: str, *, title: str, why: str) -> SysctlRow:
    return SysctlRow(
        id=key,
        key=key,
        value=value,
        written=False,
        title=title,
        why=f"{why} {_FAILS}",
        origin=Origin(
            headings.KERNEL_PARAMETERS, beyond="kubelet (kubernetes, component-helpers/node/util/sysctl/sysctl.go)"
        ),
        risk=(
            "A site that raised the value for its own programs must choose between that and protect-kernel-defaults:"
            " kubelet does not accept a higher value."
        ),
        by_hand=(
            f"{value} is the kernel's default. Find the file that changes it with"
            f" 'grep -rs {key.rpartition('.')[2]} /etc/sysctl.conf /etc/sysctl.d /run/sysctl.d /usr/lib/sysctl.d',"
            f" remove the line and run 'sudo sysctl -w {key}={value}'."
        ),
        deviation=(
            "The guide does not name it. kubelet compares it like the other four, so it is verified. It is not written,"
            " because the kernel's default is correct, and products that wrote it had to revert that."
        ),
        applies=EVERYWHERE,
    )


SYSCTLS: tuple[SysctlRow, ...] = (
    _written(
        "vm.panic_on_oom",
        "0",
        title="Running out of memory kills a process, not the host",
        why=(
            "With 0, the kernel's OOM killer ends one process when memory runs out, as kubelet's eviction and the pods'"
            " OOM scores expect. With 1 or 2, one container that uses too much memory causes a panic of the node."
        ),
        risk=(
            "A host that should reboot when memory runs out, as some clustered databases require, continues without the"
            " process that was killed."
        ),
    ),
    _written(
        "vm.overcommit_memory",
        "1",
        title="Memory requests are always granted",
        why=(
            "With 1, the kernel grants every allocation and accounts memory when it is used, so kubelet's cgroup limits"
            " and eviction decide. With 0 (heuristic) and 2 (strict), the kernel refuses an allocation because of the"
            " total on the host. This affects arbitrary programs, and fork() of a large process first."
        ),
        risk=(
            "A program that relies on malloc() failing is killed later, when it uses the memory. A host that uses 2 for"
            " a database loses that guarantee."
        ),
    ),
    _written(
        "kernel.panic",
        "10",
        title="The host reboots 10 seconds after a panic",
        why=(
            "With 0, the node stays down after a panic. With 10, it reboots by itself after 10 seconds, which is enough"
            " time for the message to reach a console or a crash kernel."
        ),
        risk=(
            "A node that panics at every boot reboots in a loop instead of stopping for analysis. A longer delay for a"
            " console or for fencing is lost."
        ),
    ),
    _written(
        "kernel.panic_on_oops",
        "1",
        title="A kernel oops causes a panic",
        why=(
            "After an oops, the state of the kernel is undefined: locks may never be released, and memory may be"
            " corrupt, on a host that isolates containers. With 1, an oops causes a panic, and kernel.panic then"
            " causes a reboot."
        ),
        risk=(
            "A faulty driver whose oopses only appeared in the log now reboots the node. Search the kernel log for"
            " 'Oops' before the change."
        ),
    ),
    _verified(
        "kernel.keys.root_maxkeys",
        "1000000",
        title="root may hold a million kernel keys",
        why="Each container that runs as root uses a key. When the quota is reached, no further container can start.",
    ),
    _verified(
        "kernel.keys.root_maxbytes",
        "25000000",
        title="root's kernel keys may take 25 MB",
        why=(
            "Limits the payload of root's keys, in bytes: 25 for each key of kernel.keys.root_maxkeys. When the quota"
            " is reached, no further container can start."
        ),
    ),
)
"""In the guide's order; the two that the guide does not name are last."""

KERNEL_DEFAULTS = {"vm.overcommit_memory": "0", "kernel.panic": "0"}
"""Values that a kernel has if no file sets them, where the guide has another one.

kernel.panic_on_oops is not listed: kernels of some distributions are built with 1 (CONFIG_PANIC_ON_OOPS).
"""
