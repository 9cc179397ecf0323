"""A container that boots systemd in a second or two, for tests that need no kernel of their own.

It has the kernel of this machine, and files in the place of its kernel values; see tests/vm/image.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests import control_groups
from tests.vm.image import Image
from tests.vm.instance import BOOT_TIMEOUT, DOWN_TIMEOUT, ENVIRONMENT, NO_CLOUD_INIT, Done, Instance, as_user, checked

# Processes in a namespace for process IDs end with it, and it ends with this process.
_IN_NAMESPACES = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"),
)
# The lower directories of an overlay are in the order from the top down. systemd-nspawn leaves directories in
# /run/systemd.
_START = """\
for group in $GROUPS; do echo $$ >"$group/cgroup.procs" || exit; done
mkdir -p /run/systemd && mount -t tmpfs -o mode=755 none /run/systemd || exit
mount -t overlay -o "lowerdir=$LAYERS,upperdir=$DIRECTORY/upper,workdir=$DIRECTORY/work" none "$DIRECTORY/root" || exit
mount --bind "$DIRECTORY/lib" "$DIRECTORY/root/var/lib" || exit
exec systemd-nspawn "$@"
"""


class Container(Instance):
    """A container with its own disk, the uppermost of the layers; off until boot()."""

    IS_BOOTED = "systemctl show --property=Version | grep -q Version="
    """A command that succeeds as soon as the init answers. Before, systemctl can find itself in a chroot: no error."""

    def __init__(self, directory: Path, image: Image, layers: Sequence[Path] = ()) -> None:
        super().__init__(directory, image.suite)
        self.layers = (directory / "upper", *(layers or (image.tree,)))
        self._directory = directory
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._groups: list[Path] = []
        for name in ("upper", "work", "root"):
            (directory / name).mkdir()
        # Not on the overlay, on which the overlayfs snapshotter of K3s does not work.
        below = layers[0].parent / "lib" if layers else image.tree / "var/lib"
        subprocess.run(("cp", "--archive", str(below), str(directory / "lib")), check=True)

    @property
    def is_on(self) -> bool:
        """Whether the container runs."""
        return self._nspawn is not None and self._nspawn.poll() is None

    def start_boot(self, seed: Path | None = None) -> None:
        """Start systemd, with an optional directory as cloud-init's seed, and wait until commands can run."""
        self._start(self._systemd(seed, "multi-user.target"))

    def resume(self) -> None:
        """Start systemd without K3s, as a container is saved without its processes."""
        self._start(self._systemd(None, "basic.target"))
        self.run("systemctl is-system-running --wait", check=False)

    def _systemd(self, seed: Path | None, target: str) -> list[str]:
        return [
            *(["--bind-ro", f"{seed}:/var/lib/cloud/seed/nocloud"] if seed else []),
            *("--boot", f"systemd.unit={target}", *([] if seed else [NO_CLOUD_INIT])),
        ]

    def _start(self, init: Sequence[str]) -> None:
        """Start an init, given by the last options of systemd-nspawn, and wait until it answers."""
        name = f"k3s-harden-{os.getpid()}-{time.monotonic_ns()}"
        options = [
            *("--directory", str(self._directory / "root"), "--machine", name),
            *("--hostname=node", "--private-network", "--keep-unit", "--register=no"),
            *("--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe"),
            *("--bind=/dev/kmsg", "--capability=CAP_SYSLOG"),
            *init,
        ]
        self._groups = control_groups.create(name)
        with self.console_log.open("wb") as console:
            self._nspawn = subprocess.Popen(
                (*_IN_NAMESPACES, "sh", "-c", _START, "sh", *options),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env={
                    **os.environ,
                    "LAYERS": ":".join(map(str, self.layers[1:])),
                    "DIRECTORY": str(self._directory),
                    "GROUPS": " ".join(map(str, self._groups)),
                    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
                },
            )
        deadline = time.monotonic() + BOOT_TIMEOUT
        while not self._answers():
            if not self.is_on or time.monotonic() > deadline:
                self.fail("the init did not start")
            time.sleep(0.05)

    def _answers(self) -> bool:
        """Return whether the init runs in the container and has an answer."""
        assert self._nspawn is not None
        for nspawn in _children(self._nspawn.pid):
            for process in filter(_is_first, _children(nspawn)):
                self._leader = process
                if self.run(self.IS_BOOTED, check=False).code == 0:
                    return True
        return False

    def shut_down(self) -> None:
        self.run("systemctl --no-block poweroff")
        self._wait_for_end()

    def cut_power(self) -> None:
        if self._nspawn is not None:
            self._nspawn.kill()
            self._wait_for_end()

    def _wait_for_end(self) -> None:
        assert self._nspawn is not None
        try:
            self._nspawn.wait(DOWN_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.fail("still on after the shutdown")
        self._nspawn = None
        control_groups.remove(self._groups)

    def remove_disk(self) -> None:
        shutil.rmtree(self._directory)

    def inside(self, words: Sequence[str]) -> list[str]:
        """Return the words of a command on this machine that runs a command in the container."""
        return ["nsenter", f"--target={self._leader}", "--all", "--", "env", "-i", *ENVIRONMENT, *words]

    def run(
        self,
        command: str | Sequence[str],
        *,
        check: bool = True,
        timeout: float = 120,
        stdin: bytes = b"",
        user: str = "root",
    ) -> Done:
        """Run a program, or a string with sh. Raises GuestError if it fails, unless `check` is False."""
        words = self.inside(as_user(command, user))
        try:
            answer = subprocess.run(words, input=stdin, capture_output=True, check=False, timeout=timeout)
        except subprocess.TimeoutExpired:
            self.fail(f"still running after {timeout:g} s: {command}")
        code = answer.returncode if answer.returncode >= 0 else 128 - answer.returncode
        done = Done(code, answer.stdout.decode(errors="replace"), answer.stderr.decode(errors="replace"))
        return checked(self, command, done) if check else done


def _children(process: int) -> list[int]:
    try:
        return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()))
    except OSError:  # the process has ended meanwhile
        return []


def _is_first(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return False
    return next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1] == "1"
