"""A node for one test: own mounts, network, processes, host name and control groups on this machine's kernel.

Its root is an overlay in memory over the real root, with empty K3s and sysctl directories. A guardian process outside
waits for the end of a pipe, which closes when this process ends in any way; then all processes of the node are killed
and its control groups are removed. After `lifetime` seconds the node ends too.

The kernel values kernel.* and vm.* have no namespace. A node has private copies of the six that the kubelet reads,
mounted over the real ones. With `real_kernel` it has the real ones instead, which are locked and restored.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests import control_groups
from tests.process_root import ProcessRoot

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT = Path(__file__).parents[2]
NAME = "node-1"
ADDRESS = "10.99.0.1"
"""The address of the only network interface besides lo."""
HARDENED = {
    "kernel.keys.root_maxbytes": "25000000",
    "kernel.keys.root_maxkeys": "1000000",
    "kernel.panic": "10",
    "kernel.panic_on_oops": "1",
    "vm.overcommit_memory": "1",
    "vm.panic_on_oom": "0",
}
"""The values of the six kernel keys with which a kubelet with protect-kernel-defaults starts."""
LIFETIME = 3600
"""Seconds. A node that tests share lives as long as the tier, which takes twice as long on a busy machine."""

_HIDDEN = (
    "/etc/cni",
    "/etc/containerd",
    "/etc/k3s-harden",
    "/etc/kubernetes",
    "/etc/rancher",
    "/etc/sysctl.conf",
    "/etc/sysctl.d/*",
    "/etc/systemd/system/k3s*",
    "/opt/cni",
    "/usr/lib/sysctl.d/*",
    "/usr/local/lib/sysctl.d/*",
    "/var/lib/cni",
    "/var/lib/k3s-harden",
    "/var/lib/kubelet",
    "/var/lib/rancher",
)
"""Paths that a development machine can have and a new node does not have."""

# The variables `place`, `shown`, `hidden`, `name`, `address`, `lifetime`, `values` and `groups` are set before it.
_FIRST_PROCESS = r"""
umask 022
read -r number rest </proc/self/stat
mount -t tmpfs -o mode=0755 node "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" node "$place/root"
cd "$place/root"
mount -t proc proc proc
mount -t sysfs sys sys
mount --rbind /dev dev
# K3s does not start with its default snapshotter on an overlay.
mount -t tmpfs -o mode=0755 lib var/lib
for path in $shown; do mount --rbind "$path" ".$path"; done
mkdir before
pivot_root . before
for pattern in $hidden; do rm -rf $pattern; done
mkdir -p -m 0755 /etc/sysctl.d /run /var/lib/rancher /var/lib/kubelet
for path in /run /var/lib/rancher /var/lib/kubelet; do mount -t tmpfs -o mode=0755 node $path; done
mount -t tmpfs -o mode=0755 groups /sys/fs/cgroup
eval "$groups"
mkdir -m 0755 /run/kernel /run/lock
echo "$values" | while read -r key value; do
    [ -n "$key" ] || continue
    echo "$value" >"/run/kernel/$key"
    mount --bind "/run/kernel/$key" "/proc/sys/$(echo "$key" | tr . /)"
done
hostname "$name"
printf '127.0.0.1 localhost\n%s %s\n' "$address" "$name" >/etc/hosts
ip link set lo up
ip link add eth0 type veth peer name outside
ip address add "$address/24" dev eth0
ip link set outside up
ip link set eth0 up
ip route add default via "${address%.*}.254" dev eth0
umount -l /before
rmdir /before
# The kubelet requires a root from which mounts reach the pods.
mount --make-rshared /
echo "$number"
timeout "$lifetime" cat >/dev/null || :
"""


class Namespaces(ProcessRoot):
    """A node as a context manager. `number` is the id of its first process."""

    def __init__(
        self, place: Path, *, real_kernel: bool = False, lifetime: int = LIFETIME, name: str = NAME, ip: str = ADDRESS
    ) -> None:
        self.place = place
        self.name = name
        self.ip = ip
        self.number = 0
        self._real_kernel = RealKernel() if real_kernel else None
        self._lifetime = lifetime

    def __enter__(self) -> Namespaces:
        if self._real_kernel is not None:
            self._real_kernel.__enter__()
        self.place.mkdir(parents=True, exist_ok=True)
        values = {} if self._real_kernel else {key: read_kernel(key) for key in HARDENED}
        variables = {
            "place": str(self.place),
            "shown": " ".join(_shown()),
            "hidden": " ".join(_HIDDEN),
            "name": self.name,
            "address": self.ip,
            "lifetime": str(self._lifetime),
            "values": "\n".join(f"{key} {value}" for key, value in values.items()),
        }
        self._guardian = subprocess.Popen(
            (sys.executable, "-m", "tests.k8s.namespaces"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
            env={**os.environ, **variables},
            start_new_session=True,
        )
        assert self._guardian.stdout is not None
        line = self._guardian.stdout.readline()
        if not line:
            Namespaces.__exit__(self)
            raise RuntimeError("cannot create the namespaces of a node: the reason is above")
        self.number = int(line)
        return self

    def __exit__(self, *_: object) -> None:
        self._guardian.communicate(timeout=60)
        if self._real_kernel is not None:
            self._real_kernel.__exit__()

    def set_kernel(self, values: Mapping[str, str]) -> None:
        """Set kernel values of the node."""
        for key, value in values.items():
            assert key in HARDENED
            self.path(f"/proc/sys/{key.replace('.', '/')}").write_text(f"{value}\n", encoding="ascii")

    def run(
        self,
        *words: str | Path,
        timeout: float = 60,
        check: bool = False,
        text: str = "",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on the node with `text` as its input."""
        return subprocess.run(
            self._words(words),
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
            env=_environment(env),
        )

    def start(self, *words: str | Path, log: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a program on the node; its output goes to a file outside of the node."""
        with log.open("wb") as output:
            return subprocess.Popen(
                self._words(words),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(env),
            )

    def start_python(
        self, module: str, *words: str, log: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a module of this checkout on the node."""
        return self.start(sys.executable, "-m", module, *words, log=log, env=env)

    def harden(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run k3s-harden of this checkout."""
        return self.run(sys.executable, "-c", "from agent.cli import main; main()", *words, timeout=timeout)

    def _words(self, words: tuple[str | Path, ...]) -> list[str]:
        namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        return ["nsenter", f"--target={self.number}", *namespaces, "--", *map(str, words)]


class RealKernel:
    """The kernel values of this machine: locked for other test runs, and restored even if this process is killed."""

    def __enter__(self) -> RealKernel:
        # The tests in tests/system lock the same file.
        self._turn = os.open("/proc/sys/kernel/panic", os.O_RDONLY)
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        self._before = {key: read_kernel(key) for key in HARDENED}
        restore = "; ".join(f"echo {value} >/proc/sys/{key.replace('.', '/')}" for key, value in self._before.items())
        self._guardian = subprocess.Popen(
            ("sh", "-c", f"cat >/dev/null; {restore}"),
            stdin=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[self._turn],
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._guardian.communicate(timeout=20)
        os.close(self._turn)
        assert {key: read_kernel(key) for key in HARDENED} == self._before, "the kernel values were not restored"


def read_kernel(key: str) -> str:
    """Return a kernel value of this machine."""
    return Path("/proc/sys", key.replace(".", "/")).read_text(encoding="ascii").strip()


def on_cgroup_v1() -> bool:
    """Return whether containers of this machine use control groups v1."""
    return not Path("/sys/fs/cgroup/cgroup.controllers").exists()


def _environment(added: Mapping[str, str] | None) -> dict[str, str]:
    clean = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/root",
    }
    return {**clean, **(added or {})}


def _shown() -> list[str]:
    """Return the required mounts that the overlay would hide, because they are on other file systems than the root."""
    needed = {Path("/usr"), CHECKOUT, Path(sys.prefix), Path(sys.base_prefix)}
    root = Path("/").stat().st_dev
    return [str(path) for path in sorted(needed) if path.stat().st_dev != root]


def _guard() -> None:
    """Start the first process of a node in its own control groups, wait for its end, and remove the groups."""
    groups = control_groups.create(f"k3s-harden-test-{os.getpid()}")
    mounts = "\n".join(hierarchy.mount_command() for hierarchy in control_groups.hierarchies())
    new = ("--mount", "--propagation", "private", "--uts", "--ipc", "--net", "--pid", "--cgroup")
    # The root of a control group namespace is the group of the process that creates it.
    entered = "".join(f"echo $$ >{group}/cgroup.procs; " for group in groups)
    enter_and_create = f'set -eu; {entered}exec unshare {" ".join(new)} --fork --kill-child sh -c "$1"'
    try:
        subprocess.run(
            ("sh", "-c", enter_and_create, "sh", f"set -eu; {_FIRST_PROCESS}"),
            env={**os.environ, "groups": mounts},
            check=False,
        )
    finally:
        control_groups.remove(groups)


if __name__ == "__main__":
    _guard()
