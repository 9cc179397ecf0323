"""A machine with the kernel and programs of this one, and with files and processes of its own.

Its root is an overlay in memory over the real root, with empty directories of K3s and sysctl.d. The six kernel values
that the kubelet compares have no namespace: files are mounted over them, so that other processes neither see nor change
the values of a test. With `real_kernel` they are the real ones, which are locked and restored. The machine ends at the
end of a pipe, which closes when this process ends in any way, or after its lifetime.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import ClassVar

from tests.tree import Tree

CHECKOUT = Path(__file__).parents[1]
CACHE = CHECKOUT / ".cache"
PROGRAM = (sys.executable, "-c", "from agent.cli import main; main()")
NOBODY = 65534
SERVER = ("--role", "server", "--k3s-version", "1.34")
OLDER_SERVER = ("--role", "server", "--k3s-version", "1.24")

START = {"vm.overcommit_memory": "0", "vm.panic_on_oom": "0", "kernel.panic": "0", "kernel.panic_on_oops": "0"}
"""Debian's values, with which a new machine starts."""
HARDENED = {"vm.overcommit_memory": "1", "vm.panic_on_oom": "0", "kernel.panic": "10", "kernel.panic_on_oops": "1"}
KEPT = {"kernel.keys.root_maxbytes": "25000000", "kernel.keys.root_maxkeys": "1000000"}
"""What the kubelet requires besides, and each kernel has."""
LIFETIME = 3600
"""Seconds. A machine that tests share lives as long as the tier, which takes twice as long on a busy machine."""
PATIENCE = 180
"""Seconds until a program that does not end fails its test; a busy machine takes many times as long as an idle one."""

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
    "/usr/bin/kubectl",
    "/usr/lib/sysctl.d/*",
    "/usr/local/bin/k3s",
    "/usr/local/bin/kubectl",
    "/usr/local/lib/sysctl.d/*",
)
"""Paths that a development machine can have and a new machine does not have; /var/lib is empty."""

# The first process. Its input is the pipe; the variables are set before it. The id is read from the old /proc, which
# shows ids of the outer namespace.
_OVERLAY = r"""
set -eu
umask 022
read -r number rest </proc/self/stat
mount -t tmpfs -o mode=0755 machine "$place"
mkdir "$place/upper" "$place/work" "$place/root" "$place/values"
mount -t overlay -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" machine "$place/root"
cd "$place/root"
mount -t proc proc proc
mount --rbind /dev dev
# The overlayfs snapshotter of K3s does not work on an overlay.
mount -t tmpfs -o mode=0755 lib var/lib
for path in $shown; do mount --rbind "$path" ".$path"; done
echo "$values" | while read -r key value; do
    [ -n "$key" ] || continue
    echo "$value" >"$place/values/$key"
    mount --bind "$place/values/$key" "proc/sys/$(echo "$key" | tr . /)"
done
"""
_PIVOT = r"""
mkdir before
pivot_root . before
for pattern in $hidden; do rm -rf $pattern; done
mkdir -p -m 0755 /etc/sysctl.d /run
mount -t tmpfs -o mode=0755 run /run
umount -l /before
rmdir /before
"""
_WAIT = r"""
echo "$number"
timeout "$lifetime" cat >/dev/null || :
"""


class Machine(Tree):
    """A machine as a context manager. `number` is the id of its first process."""

    NAMESPACES: ClassVar[tuple[str, ...]] = ("--mount", "--pid")
    ENVIRONMENT: ClassVar[Mapping[str, str]] = {
        # As sudo leaves it, without byte code, which would be a change.
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def __init__(self, place: Path, *, real_kernel: bool = False, lifetime: int = LIFETIME) -> None:
        self.place = place
        self.number = 0
        self._real_kernel = RealKernel() if real_kernel else None
        self._lifetime = lifetime

    def __enter__(self) -> Machine:
        held = self._real_kernel.__enter__().held if self._real_kernel else ()
        self.place.mkdir(parents=True, exist_ok=True)
        self._first = subprocess.Popen(
            self._first_process(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
            env={**os.environ, **self._variables()},
            start_new_session=True,
            pass_fds=held,
        )
        assert self._first.stdout is not None
        line = self._first.stdout.readline()
        if not line:
            Machine.__exit__(self)
            raise RuntimeError("cannot build a machine: the output of its first process is above")
        self.number = int(line)
        self.root = Path(f"/proc/{self.number}/root")
        if self._real_kernel:
            self.set_kernel(self._values())
        return self

    def __exit__(self, *_: object) -> None:
        self._first.communicate(timeout=60)
        if self._real_kernel:
            self._real_kernel.__exit__()

    def _values(self) -> Mapping[str, str]:
        return {**START, **KEPT}

    def _variables(self) -> dict[str, str]:
        values = {} if self._real_kernel else self._values()
        return {
            "place": str(self.place),
            "shown": " ".join(_shown()),
            "hidden": " ".join(_HIDDEN),
            "lifetime": str(self._lifetime),
            "values": "\n".join(f"{key} {value}" for key, value in values.items()),
        }

    def _first_process(self) -> tuple[str, ...]:
        words = ("unshare", *self.NAMESPACES, "--propagation", "private", "--fork")
        return (*words, "sh", "-c", self.script("mount --rbind /sys sys"))

    @staticmethod
    def script(before_pivot: str, after_pivot: str = "") -> str:
        """Return the shell script of the first process with further mounts."""
        return f"{_OVERLAY}{before_pivot}{_PIVOT}{after_pivot}{_WAIT}"

    def kernel_values(self) -> dict[str, str]:
        return {key: self._value(key).read_text(encoding="ascii").strip() for key in START}

    def set_kernel(self, values: Mapping[str, str]) -> None:
        for key, value in values.items():
            assert key in {**START, **KEPT}
            self._value(key).write_text(f"{value}\n", encoding="ascii")

    def _value(self, key: str) -> Path:
        return self.path(f"/proc/sys/{key.replace('.', '/')}")

    def run(  # noqa: PLR0913 - as subprocess.run
        self,
        *words: str | Path,
        user: int = 0,
        umask: int = 0o022,
        timeout: float = PATIENCE,
        check: bool = False,
        text: str = "",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._words(words, user),
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=check,
            env={**self.ENVIRONMENT, **(env or {})},
            umask=umask,
        )

    def start(
        self, *words: str | Path, log: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        with log.open("wb") if log else nullcontext(subprocess.PIPE) as output:
            return subprocess.Popen(
                self._words(words),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                env={**self.ENVIRONMENT, **(env or {})},
            )

    @staticmethod
    def kill(started: subprocess.Popen[str]) -> None:
        """Kill with SIGKILL what start() started; nsenter(1), its parent, only waits for it."""
        for number in Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text(encoding="ascii").split():
            os.kill(int(number), signal.SIGKILL)
        started.communicate()

    def harden(
        self, *words: str, user: int = 0, umask: int = 0o022, timeout: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """Run k3s-harden of this checkout; its coverage is measured."""
        measured = {} if user else {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_PR")}
        return self.run(*PROGRAM, *words, user=user, umask=umask, timeout=timeout, env=measured)

    def mount(self, *words: str) -> None:
        self.run("mount", *words, check=True)

    def make_read_only(self, directory: str) -> None:
        self.mount("--bind", directory, directory)
        self.mount("-o", "remount,bind,ro", directory)

    def let_anybody_run_python(self) -> None:
        """Open the directories above the interpreter and the checkout, which can be below a private /root."""
        for lowest in (Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve(), CHECKOUT):
            for parent in lowest.parents:
                path = self.path(parent)
                if path.stat().st_dev == self.path("/").stat().st_dev:
                    path.chmod(path.stat().st_mode | 0o111)

    def _words(self, words: tuple[str | Path, ...], user: int = 0) -> list[str]:
        become = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--inh-caps=-all")
        enter = ("nsenter", f"--target={self.number}", *self.NAMESPACES, "--")
        return [*enter, *(become if user else ()), *map(str, words)]


class RealKernel:
    """The kernel values of this machine: locked for other test runs, and restored even if this process is killed."""

    held: tuple[int, ...] = ()
    """A descriptor. The values are restored after the last process that has it."""

    def __enter__(self) -> RealKernel:
        # The file is not changed.
        self._turn = os.open("/proc/sys/kernel/panic", os.O_RDONLY)
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        self._before = {key: read_kernel(key) for key in (*START, *KEPT)}
        restore = "; ".join(f"echo {value} >/proc/sys/{key.replace('.', '/')}" for key, value in self._before.items())
        self._guardian = subprocess.Popen(
            ("sh", "-c", f"cat >/dev/null; {restore}"),
            stdin=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[self._turn],
        )
        assert self._guardian.stdin is not None
        self.held = (self._guardian.stdin.fileno(),)
        return self

    def __exit__(self, *_: object) -> None:
        self._guardian.communicate(timeout=20)
        os.close(self._turn)
        assert {key: read_kernel(key) for key in self._before} == self._before, "the kernel values were not restored"


def read_kernel(key: str) -> str:
    return Path("/proc/sys", key.replace(".", "/")).read_text(encoding="ascii").strip()


def _shown() -> list[str]:
    """Return the mounts that the overlay must not hide: other file systems, and the coverage directory."""
    needed = {Path("/usr"), CHECKOUT, Path(sys.prefix), Path(sys.base_prefix)}
    root = Path("/").stat().st_dev
    other = [str(path) for path in sorted(needed) if path.stat().st_dev != root]
    return [*other, str(CACHE)] if CACHE.is_dir() else other
