"""The kernel parameters that kubelet insists on: four that the guide writes, six that kubelet compares."""

from __future__ import annotations

from dataclasses import dataclass

from agent.guide import headings
from agent.guide.control import Control, Origin


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SysctlRow(Control):
    """A kernel parameter, with sysctl(8)'s dots in `key` and its one right value as the kernel prints it.

    `written` rows are put into the kernel-parameters-file and into the running kernel; the others are only verified.
    kubelet compares for equality: a "better" value is as wrong as any other
    (kubernetes, pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables).
    """

    key: str
    value: str
    written: bool


_FAILS = (
    "With protect-kernel-defaults, kubelet compares it once, at its start, and exits on any other value; K3s exits with"
    " it, and systemd starts K3s again every five seconds, for ever."
)
_HIDES = (
    "Without protect-kernel-defaults, kubelet writes the value itself, which hides until the next boot that the host"
    " would not have it."
)
_BY_HAND = (
    "Put the line '{key}={value}' into {file} and run 'sudo sysctl --system'; then 'sysctl {key}' must still print"
    " {value}, or a file that sorts later wins at boot."
)
PARAMETERS_FILE = "/etc/sysctl.d/90-kubelet.conf"
"""Where the guide keeps the written ones; it sorts before 99-sysctl.conf, by which /etc/sysctl.conf can win over it."""


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
            "A site that raised it for its own key-heavy programs has to choose between that and"
            " protect-kernel-defaults: kubelet takes no higher value either."
        ),
        by_hand=(
            f"{value} is the kernel's own default: find the file that changes it with"
            f" 'grep -rs {key.rpartition('.')[2]} /etc/sysctl.conf /etc/sysctl.d /run/sysctl.d /usr/lib/sysctl.d',"
            f" take the line out and run 'sudo sysctl -w {key}={value}'."
        ),
        deviation=(
            "The guide does not name it. kubelet compares it like the other four, so it is verified; it is not written,"
            " because the kernel's default is right, and products that wrote it had to take that back."
        ),
    )


SYSCTLS: tuple[SysctlRow, ...] = (
    _written(
        "vm.panic_on_oom",
        "0",
        title="Out of memory kills a process, not the host",
        why=(
            "When memory runs out, 0 lets the kernel's OOM killer end one process, which is what kubelet's eviction and"
            " the pods' OOM scores are built for; 1 or 2 would panic the node with all its pods because of one"
            " greedy container."
        ),
        risk=(
            "A host that was meant to reboot rather than run short of memory (some clustered databases ask for that)"
            " goes on without the process that was killed."
        ),
    ),
    _written(
        "vm.overcommit_memory",
        "1",
        title="Memory requests are always granted",
        why=(
            "With 1 the kernel grants every allocation and charges memory when it is used, so the cgroup limits and"
            " eviction that kubelet keeps decide who may have it. The heuristic 0 and the strict 2 refuse an allocation"
            " by a sum over the whole host, which hits a program at random, and hits fork() of a large process first."
        ),
        risk=(
            "A program that counts on malloc() failing is killed later instead, when it touches the memory. Hosts that"
            " run 2 for a database lose that guarantee."
        ),
    ),
    _written(
        "kernel.panic",
        "10",
        title="The host reboots 10 seconds after a panic",
        why=(
            "A kernel that has panicked stays dead for ever with 0, while its pods are lost and its leases run out."
            " 10 seconds leave time for the message to reach a console or a crash kernel, then the node comes back by"
            " itself."
        ),
        risk=(
            "A node that panics at every boot reboots in a loop instead of standing still to be looked at, and a longer"
            " delay that was chosen for a console or for fencing is gone."
        ),
    ),
    _written(
        "kernel.panic_on_oops",
        "1",
        title="A kernel oops is a panic",
        why=(
            "After an oops the kernel goes on in a state nobody can vouch for: locks may be held for ever and memory"
            " may be wrong, on a machine that isolates other people's containers. 1 turns it into a panic, and"
            " kernel.panic turns that into a reboot."
        ),
        risk=(
            "A faulty driver whose oopses were only lines in the log now reboots the node. Look for 'Oops' in the"
            " kernel's log before the change."
        ),
    ),
    _verified(
        "kernel.keys.root_maxkeys",
        "1000000",
        title="root may hold a million kernel keys",
        why="Each container that runs as root takes a key, and at the quota no further container can start.",
    ),
    _verified(
        "kernel.keys.root_maxbytes",
        "25000000",
        title="root's kernel keys may take 25 MB",
        why=(
            "Limits the payload of root's keys, in bytes: 25 for each key of kernel.keys.root_maxkeys. At the quota no"
            " further container can start."
        ),
    ),
)
"""All six, in the guide's order; the two that it does not name come last."""
