"""A machine with the kernel and programs of this one, and with its own files and processes.

Its root is an overlay in memory over the real root, with a new PID namespace. The six kernel values that the kubelet
compares have no namespace: files are mounted over them, so that other processes neither see nor change the values of a
test. With `real_kernel` they are the real ones. The first process of the namespace waits for the end of a pipe, which
closes when this process ends in any way, and then restores the real ones.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.process_root import ProcessRoot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CHECKOUT = Path(__file__).parents[2]
CACHE = CHECKOUT / ".cache"
PROGRAM = (sys.executable, "-c", "from agent.cli import main; main()")
NOBODY = 65534

START = {"vm.overcommit_memory": "0", "vm.panic_on_oom": "0", "kernel.panic": "0", "kernel.panic_on_oops": "0"}
"""Debian's values, with which a new machine starts."""
HARDENED = {"vm.overcommit_memory": "1", "vm.panic_on_oom": "0", "kernel.panic": "10", "kernel.panic_on_oops": "1"}

_HIDDEN = (
    "/etc/k3s-harden",
    "/etc/rancher",
    "/etc/sysctl.conf",
    "/etc/systemd/system/k3s*",
    "/usr/local/bin/k3s",
    "/usr/local/bin/kubectl",
    "/usr/bin/kubectl",
    "/var/lib/k3s-harden",
    "/var/lib/rancher",
    "/etc/sysctl.d/*",
    "/usr/lib/sysctl.d/*",
    "/usr/local/lib/sysctl.d/*",
)
"""Paths that exist on some development machines and not on a new machine."""

# Standard input is the pipe whose end stops the machine. The id of the first process is read from the old /proc, which
# shows ids of the outer namespace.
_FIRST_PROCESS = r"""
set -eu
umask 022
read -r number rest </proc/self/stat
keys='vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops'
saved=$(cd /proc/sys && for key in $keys; do echo "$key $(cat $key)"; done)
place=$1 shown=$2 hidden=$3 real=$4
mount -t tmpfs -o mode=0755 machine "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" machine "$place/root"
cd "$place/root"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
# The overlayfs snapshotter of K3s does not work on an overlay.
mount -t tmpfs -o mode=0755 lib var/lib
for path in $shown; do mount --rbind "$path" ".$path"; done
[ "$real" ] || for key in $keys kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    mkdir -p "$place/values/${key%/*}"
    case $key in *maxkeys) echo 1000000 ;; *maxbytes) echo 25000000 ;; *) echo 0 ;; esac >"$place/values/$key"
    mount --bind "$place/values/$key" "proc/sys/$key"
done
mkdir before
pivot_root . before
# What still runs would write after the values are back: it is ended first.
restore() {
    [ $$ != 1 ] || kill -KILL -1 || :
    echo "$saved" | while read -r key value; do echo "$value" >$key || :; done
}
# A test may hide /proc/sys, or make it read-only: from here it stays as it was.
cd /before/proc/sys
[ -z "$real" ] || trap restore EXIT
for pattern in $hidden; do rm -rf $pattern; done
mkdir -p -m 0755 /etc/sysctl.d /run
mount -t tmpfs -o mode=0755 run /run
umount -l /before
rmdir /before
echo "$number"
read -r line || :
"""


class FoundPath(NamedTuple):
    """Kind, mode and owner of a path, and its content or link target."""

    kind: str
    mode: int
    uid: int
    gid: int
    content: bytes


class Machine(ProcessRoot):
    """A machine as a context manager. `number` is the id of its first process."""

    def __init__(self, place: Path, *, real_kernel: bool = False) -> None:
        self.place = place
        self.number = 0
        self._real_kernel = real_kernel

    def __enter__(self) -> Machine:
        # Locked until the values are restored, so that two test runs take turns. The file is not changed.
        self._turn = os.open("/proc/sys/kernel/panic", os.O_RDONLY)
        if self._real_kernel:
            fcntl.flock(self._turn, fcntl.LOCK_EX)
        first = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "sh", "-c", _FIRST_PROCESS, "sh")
        self._first = subprocess.Popen(
            [*first, str(self.place), " ".join(_shown()), " ".join(_HIDDEN), "real" if self._real_kernel else ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            pass_fds=[self._turn],
        )
        assert self._first.stdout is not None
        line = self._first.stdout.readline()
        if not line:
            self.__exit__()
            raise RuntimeError("cannot build a machine to harden: the output of its first process is above")
        self.number = int(line)
        self._before = self.live_values()
        self.set_live(START)
        return self

    def __exit__(self, *_: object) -> None:
        self._first.communicate(timeout=20)
        if self._real_kernel:
            found = {key: Path("/proc/sys", key.replace(".", "/")).read_text(encoding="ascii").strip() for key in START}
            assert found == self._before, "the kernel values of this machine were not restored"
        os.close(self._turn)

    def entry(self, inside: str | Path) -> FoundPath | None:
        """Return the entry of a path, or None."""
        path = self.path(inside)
        if not os.path.lexists(path):
            return None
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            kind, content = "link", str(path.readlink()).encode()
        elif stat.S_ISREG(found.st_mode):
            kind, content = "file", path.read_bytes()
        else:
            kind, content = "directory" if stat.S_ISDIR(found.st_mode) else "other", b""
        return FoundPath(kind, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, content)

    def tree(self, *tops: str) -> dict[str, FoundPath]:
        """Return all entries at and below these paths."""
        return dict(self._walk(tops))

    def _walk(self, tops: Iterable[str]) -> Iterator[tuple[str, FoundPath]]:
        for top in tops:
            entry = self.entry(top)
            if entry is not None:
                yield top, entry
                if entry.kind == "directory":
                    yield from self._walk(f"{top}/{path.name}" for path in sorted(self.path(top).iterdir()))

    def live_values(self) -> dict[str, str]:
        """Return the kernel values that the program writes."""
        return {key: self._live(key).read_text(encoding="ascii").strip() for key in START}

    def set_live(self, values: Mapping[str, str]) -> None:
        """Set kernel values. Only the four keys that are restored are allowed."""
        for key, value in values.items():
            assert key in START
            self._live(key).write_text(f"{value}\n", encoding="ascii")

    def _live(self, key: str) -> Path:
        return self.path(f"/proc/sys/{key.replace('.', '/')}")

    def run(
        self, *words: str, user: int = 0, umask: int = 0o022, check: bool = False, measured: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on the machine; its coverage is measured."""
        return subprocess.run(
            self._words(words, user),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=50,
            check=check,
            env=_environment(measured=measured),
            umask=umask,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a program on the machine."""
        return subprocess.Popen(
            self._words(words, 0),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=_environment(),
        )

    @staticmethod
    def kill(started: subprocess.Popen[str]) -> None:
        """Kill with SIGKILL what start() started; nsenter(1), its parent, only waits for it."""
        for number in Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text(encoding="ascii").split():
            os.kill(int(number), signal.SIGKILL)
        started.communicate()

    def harden(self, *words: str, user: int = 0, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
        """Run k3s-harden."""
        return self.run(*PROGRAM, *words, user=user, umask=umask, measured=not user)

    def mount(self, *words: str) -> None:
        """Mount a file system."""
        self.run("mount", *words, check=True)

    def make_read_only(self, directory: str) -> None:
        """Make a directory read-only, as a container engine does."""
        self.mount("--bind", directory, directory)
        self.mount("-o", "remount,bind,ro", directory)

    def let_anybody_run_python(self) -> None:
        """Open the directories above the interpreter and the checkout, which can be below a private /root."""
        for lowest in (Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve(), CHECKOUT):
            for parent in lowest.parents:
                path = self.path(parent)
                if path.stat().st_dev == self.path("/").stat().st_dev:
                    path.chmod(path.stat().st_mode | 0o111)

    def _words(self, words: tuple[str, ...], user: int) -> list[str]:
        enter = ["nsenter", f"--target={self.number}", "--mount", "--pid"]
        become = [f"--reuid={user}", f"--regid={user}", "--clear-groups", "--inh-caps=-all"]
        return [*enter, *(["setpriv", *become] if user else []), *words]


def _environment(*, measured: bool = False) -> dict[str, str]:
    """Return the environment as sudo leaves it, without byte code, which would be a change."""
    clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"}
    coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_PROCESS")}
    return clean | (coverage if measured else {})


def _shown() -> list[str]:
    """Return the mounts that the overlay must not hide: other file systems, and the coverage directory."""
    needed = {Path("/usr"), CHECKOUT, Path(sys.prefix), Path(sys.base_prefix)}
    root = Path("/").stat().st_dev
    other = [str(path) for path in sorted(needed) if path.stat().st_dev != root]
    return [*other, str(CACHE)] if CACHE.is_dir() else other
