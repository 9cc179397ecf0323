"""The kernel parameters that kubelet compares: six, of which the guide sets four.

kubelet compares them for equality, so it does not accept a stricter value either (kubernetes,
pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables).
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.base import package_data
from agent.harden.guide import guide_row
from agent.harden.guide.guide_row import GuideControl, Origin, Texts
from agent.k3s.roles_and_versions import EVERYWHERE


class SysctlRow(GuideControl):
    """A kernel parameter, from a record of kernel_parameters.txt, which has its texts."""

    key: str
    """With dots, as in sysctl(8)."""
    value: str
    """As the kernel prints it."""
    written: bool
    """Whether the value is written to the parameters file and to the running kernel, or only verified."""
    default: str
    """What a kernel has if no file sets it. kernel.panic_on_oops has `value`: some kernels are built with 1."""
    texts: Texts

    @property
    def _texts(self) -> Texts:
        return self.texts

    @property
    def why(self) -> str:
        """The rationale, with the effect of protect-kernel-defaults."""
        return " ".join((super().why, _FAILS, *((_HIDES,) if self.written else ())))


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


def _row(record: Mapping[str, str]) -> SysctlRow:
    key, value = record["control"], record["value"]
    is_written = record.get("written") != "no"
    by_hand = (
        f"Put the line '{key}={value}' into {PARAMETERS_FILE} and run 'sudo sysctl --system'. Then 'sysctl {key}' must"
        f" print {value}; otherwise a file that sorts later overrides it at boot."
        if is_written
        else f"{value} is the kernel's default. Find the file that changes it with"
        f" 'grep -rs {key.rpartition('.')[2]} /etc/sysctl.conf /etc/sysctl.d /run/sysctl.d /usr/lib/sysctl.d',"
        f" remove the line and run 'sudo sysctl -w {key}={value}'."
    )
    return SysctlRow(
        key,
        Origin(guide_row.KERNEL_PARAMETERS, beyond=record.get("beyond", "")),
        by_hand,
        EVERYWHERE,
        key,
        value,
        written=is_written,
        default=record.get("default", value),
        texts=Texts(record["title"], record["rationale"], record["risk"], record.get("deviation", "")),
    )


SYSCTLS = tuple(map(_row, package_data.records("k3s", "cis", "kernel_parameters.txt")))
"""In the guide's order; the two that the guide does not name are last."""
