"""A machine with its own network, host name and control groups, too, for the components of Kubernetes.

A guardian process outside kills all its processes at its end, and removes its control groups.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from tests import control_groups
from tests.machine import HARDENED, KEPT, LIFETIME, Machine

NAME = "node-1"
ADDRESS = "10.99.0.1"
"""The address of the only network interface besides lo."""
REQUIRED = {**HARDENED, **KEPT}
"""The values of the six kernel keys with which a kubelet with protect-kernel-defaults starts."""

# The variables `name`, `address` and `groups` are set before it.
_NETWORK = r"""
mkdir -m 0755 /run/lock
mkdir -p -m 0755 /var/lib/rancher /var/lib/kubelet
for path in /var/lib/rancher /var/lib/kubelet; do mount -t tmpfs -o mode=0755 node $path; done
mount -t tmpfs -o mode=0755 groups /sys/fs/cgroup
eval "$groups"
hostname "$name"
printf '127.0.0.1 localhost\n%s %s\n' "$address" "$name" >/etc/hosts
ip link set lo up
ip link add eth0 type veth peer name outside
ip address add "$address/24" dev eth0
ip link set outside up
ip link set eth0 up
ip route add default via "${address%.*}.254" dev eth0
# The kubelet requires a root from which mounts reach the pods.
mount --make-rshared /
"""


class Namespaces(Machine):
    """A node as a context manager."""

    NAMESPACES: ClassVar[tuple[str, ...]] = (*Machine.NAMESPACES, "--uts", "--ipc", "--net", "--cgroup")
    ENVIRONMENT: ClassVar[Mapping[str, str]] = {
        **Machine.ENVIRONMENT,
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
    }

    def __init__(
        self, place: Path, *, real_kernel: bool = False, lifetime: int = LIFETIME, name: str = NAME, ip: str = ADDRESS
    ) -> None:
        super().__init__(place, real_kernel=real_kernel, lifetime=lifetime)
        self.name = name
        self.ip = ip

    def _variables(self) -> dict[str, str]:
        return {**super()._variables(), "name": self.name, "address": self.ip}

    def _first_process(self) -> tuple[str, ...]:
        return (sys.executable, "-m", "tests.k8s.namespaces")

    def start_python(
        self, module: str, *words: str, log: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        return self.start(sys.executable, "-m", module, *words, log=log, env=env)


def on_cgroup_v1() -> bool:
    return not Path("/sys/fs/cgroup/cgroup.controllers").exists()


def _guard() -> None:
    """Start the first process of a node in its own control groups, wait for its end, and remove the groups."""
    groups = control_groups.create(f"k3s-harden-test-{os.getpid()}")
    mounts = "\n".join(hierarchy.mount_command() for hierarchy in control_groups.hierarchies())
    # The root of a control group namespace is the group of the process that creates it.
    entered = "".join(f"echo $$ >{group}/cgroup.procs; " for group in groups)
    new = " ".join((*Namespaces.NAMESPACES, "--propagation", "private", "--fork", "--kill-child"))
    script = Machine.script("mount -t sysfs sys sys", _NETWORK)
    try:
        subprocess.run(
            ("sh", "-c", f'set -eu; {entered}exec unshare {new} sh -c "$1"', "sh", script),
            env={**os.environ, "groups": mounts},
            check=False,
        )
    finally:
        control_groups.remove(groups)


if __name__ == "__main__":
    _guard()
