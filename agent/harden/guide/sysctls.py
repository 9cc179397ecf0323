"""The kernel parameters of the guide, and those that kubelet compares: six, of which the guide sets four."""

from __future__ import annotations

from agent.harden.guide import guide_row
from agent.harden.guide.guide_row import GuideControl, Origin
from agent.k3s.roles_and_versions import EVERYWHERE


class SysctlRow(GuideControl):
    """A kernel parameter."""

    key: str
    """With dots, as in sysctl(8)."""
    value: str
    """As the kernel prints it."""
    written: bool
    """Whether the value is written to the parameters file and to the running kernel, or only verified."""
    compared: bool
    """Whether kubelet compares the value for equality, so that a stricter one is not accepted either.

    (kubernetes, pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables)
    """

    @property
    def why(self) -> str:
        """The rationale, with the effect of protect-kernel-defaults."""
        effects = (_FAILS, *((_HIDES,) if self.written else ())) if self.compared else ()
        return " ".join((super().why, *effects))


_FAILS = (
    "With protect-kernel-defaults, kubelet compares the value when it starts and exits if it differs. K3s exits too,"
    " and systemd restarts K3s every five seconds."
)
_HIDES = (
    "Without protect-kernel-defaults, kubelet sets the value itself, which hides until the next boot that the host does"
    " not set it."
)
PARAMETERS_FILE = "/etc/sysctl.d/90-kubelet.conf"
"""The guide's file. It sorts before 99-sysctl.conf, through which /etc/sysctl.conf can override it."""


_KUBELET = "kubelet (kubernetes, component-helpers/node/util/sysctl/sysctl.go)"


def _written(key: str, value: str, beyond: str = "") -> SysctlRow:
    """Return a parameter of the guide, all of which kubelet compares, or of another source, which is `beyond`."""
    by_hand = (
        f"Put the line '{key}={value}' into {PARAMETERS_FILE} and run 'sudo sysctl --system'. Then 'sysctl {key}' must"
        f" print {value}; otherwise a file that sorts later overrides it at boot."
    )
    origin = Origin(guide_row.KERNEL_PARAMETERS, beyond=beyond)
    return SysctlRow(key, origin, by_hand, EVERYWHERE, key, value, written=True, compared=not beyond)


def _verified(key: str, value: str) -> SysctlRow:
    by_hand = (
        f"{value} is the kernel's default. Find the file that changes it with"
        f" 'grep -rs {key.rpartition('.')[2]} /etc/sysctl.conf /etc/sysctl.d /run/sysctl.d /usr/lib/sysctl.d',"
        f" remove the line and run 'sudo sysctl -w {key}={value}'."
    )
    origin = Origin(guide_row.KERNEL_PARAMETERS, beyond=_KUBELET)
    return SysctlRow(key, origin, by_hand, EVERYWHERE, key, value, written=False, compared=True)


SYSCTLS: tuple[SysctlRow, ...] = (
    _written("vm.panic_on_oom", "0"),
    _written("vm.overcommit_memory", "1"),
    _written("kernel.panic", "10"),
    _written("kernel.panic_on_oops", "1"),
    _verified("kernel.keys.root_maxkeys", "1000000"),
    _verified("kernel.keys.root_maxbytes", "25000000"),
)
"""In the guide's order; the two that the guide does not name are last."""

KERNEL_DEFAULTS = {"vm.overcommit_memory": "0", "kernel.panic": "0"}
"""Values that a kernel has if no file sets them, where the guide has another one.

kernel.panic_on_oops is not listed: kernels of some distributions are built with 1 (CONFIG_PANIC_ON_OOPS).
"""
