"""The machine: the only code that reads or writes it.

A Host is a root directory and four ways to reach beyond files: run a program, look at processes, read the clock, and
who stands for root. Tests and image builds pass other ones; nothing is patched.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.errors import HostError, NotEmptyError, ReadOnlyEnvironmentError
from agent.host.lock import locked
from agent.host.probe import no_processes
from agent.host.process import SEARCH_PATH, run_nothing
from agent.host.tree import Tree
from agent.model import Absent, Directory, File, FilePermissions, Observed, Resource, State, Sysctl, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from agent.host.probe import Probe
    from agent.host.process import Runner

PROC_SYS = PurePosixPath("/proc/sys")
LOCK = PurePosixPath("/run/k3s-harden.lock")
LOCK_WAIT = 30.0
"""Seconds that a writing run waits for another one; a whole run takes less than one."""

_HOSTNAME = PurePosixPath("/etc/hostname")
"""hostname(5), for a tree without a kernel."""

_RELABEL_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine, or a tree of files that will become one. `now` and `sleep` count in seconds.

    `uid` and `gid` stand for 0:0 below `root`: (0, 0) for root, an ordinary user's own ids in a rehearsal.
    `is_live` says that it is the machine that runs this program: its programs may be run, and its systemd asked.
    `lock_wait` is how many seconds a run waits for its turn.
    """

    root: str
    run: Runner
    probe: Probe
    now: Callable[[], float]
    sleep: Callable[[float], None] = time.sleep
    uid: int
    gid: int
    is_live: bool = False
    lock_wait: float = LOCK_WAIT

    @classmethod
    def real(cls) -> Host:
        """This machine."""
        from agent.host.probe import k3s_processes
        from agent.host.process import run

        return cls(root="/", run=run, probe=k3s_processes, now=time.time, uid=0, gid=0, is_live=True)

    @classmethod
    def tree_at(cls, root: str) -> Host:
        """A host tree below `root`; whoever runs this stands for root in it."""
        uid, gid = os.geteuid(), os.getegid()
        return cls(root=root, run=run_nothing, probe=no_processes, now=time.time, uid=uid, gid=gid)

    @property
    def runs_as_root(self) -> bool:
        """Whether this program may do what root may."""
        return os.geteuid() == 0

    def refuse_ordinary_user(self, verb: str) -> None:
        """Raises HostError for one who may not change this machine; in a host tree, its owner may do all."""
        if self.is_live and not self.runs_as_root:
            raise HostError(f"cannot {verb}: this changes the host, which needs root", f"sudo k3s-harden {verb}")

    @property
    def tree(self) -> Tree:
        """Its files."""
        return Tree(self.root, self.uid, self.gid)

    @property
    def machine_tree(self) -> Tree:
        """The files of the machine that runs this program, for paths typed on its command line."""
        return Tree("/", os.geteuid(), os.getegid())

    @property
    def has_kernel(self) -> bool:
        """Whether kernel values can be looked at; an image that is being built has none."""
        return isinstance(self.tree.look(PROC_SYS), Directory)

    @property
    def name(self) -> str:
        """The host name in small letters, as K3s names a node after it; empty where none is set."""
        live = self.sysctl("kernel.hostname")
        name = live.value if isinstance(live, Sysctl) else ""
        if not name:
            with suppress(HostError):
                lines = (self.tree.read(_HOSTNAME) or b"").decode(errors="replace").splitlines()
                name = next((line.strip() for line in lines if line.strip() and not line.startswith("#")), "")
        return name.lower()

    def tool(self, name: str) -> PurePosixPath | None:
        """Where a program is installed, looked for in process.SEARCH_PATH; None if nowhere."""
        for directory in SEARCH_PATH:
            path = PurePosixPath(directory, name)
            if self.tree.exists(path):
                return path
        return None

    def is_read_only(self, path: PurePosixPath) -> bool:
        """Whether the file system of a directory refuses all writes; False where there is no such directory."""
        return self.tree.is_read_only(path)

    def observe(self, resource_id: str) -> Observed:
        """What is there now under the id of a resource: a path, a file's permissions, or a kernel parameter's key."""
        if resource_id.startswith("/"):
            return self.tree.look(PurePosixPath(resource_id))
        guarded = FilePermissions.path_of(resource_id)
        return self.sysctl(resource_id) if guarded is None else self.tree.permissions(guarded)

    def observe_all(self, resources: Iterable[Resource]) -> dict[str, Observed]:
        """What is there for each resource, and for each directory above it."""
        seen: dict[str, Observed] = {}
        for resource in resources:
            seen[resource.id] = self.observe(resource.id)
            if isinstance(resource, Directory | File):
                for parent in resource.path.parents:
                    if str(parent) not in seen:
                        seen[str(parent)] = self.tree.look(parent)
        return seen

    def sysctl(self, key: str) -> Sysctl | Absent | Unreadable:
        """The live value of a kernel parameter, inner white space folded."""
        try:
            data = self.tree.read(_proc_path(key))
        except HostError as error:
            return Unreadable(id=key, reason=error.message)
        if data is None:
            return Absent(id=key)
        return Sysctl(key=key, value=" ".join(data.decode(errors="replace").split()))

    def put(self, state: State) -> None:
        """Make it so; the caller looks again afterwards. Raises HostError, and then nothing is half-written.

        An Absent path is removed: a file always, a directory only when it is empty, else NotEmptyError.
        """
        match state:
            case File():
                self.tree.write(state)
                self._relabel(state.path)
            case Directory():
                self.tree.make_directory(state)
                self._relabel(state.path)
            case FilePermissions():
                self.tree.set_permissions(state)
            case Sysctl():
                self._set(state)
            case Absent():
                self._remove(PurePosixPath(state.id))

    def lock(self) -> AbstractContextManager[None]:
        """Hold the lock of this host; waits at most `lock_wait` seconds, then raises LockHeldError."""
        return locked(self.tree, LOCK, wait=self.lock_wait)

    def _remove(self, path: PurePosixPath) -> None:
        if not isinstance(self.tree.look(path), Directory):
            self.tree.remove_file(path)
        elif not self.tree.remove_directory(path):
            raise NotEmptyError(f"cannot remove {path}: it holds files that are not ours")

    def _set(self, wanted: Sysctl) -> None:
        try:
            self.tree.overwrite(_proc_path(wanted.key), f"{wanted.value}\n".encode())
        except HostError as error:
            cause = error.__cause__
            if isinstance(cause, PermissionError) and self.runs_as_root:
                # Root is refused only where the kernel is not ours: a container, a user namespace.
                raise ReadOnlyEnvironmentError(error.message, error.hint) from error
            raise

    def _relabel(self, path: PurePosixPath) -> None:
        """Give a new file the label that SELinux' policy has for its path; a renamed one keeps that of its maker."""
        if not self.is_live or not os.path.exists("/sys/fs/selinux/enforce"):
            return
        restorecon = self.tool("restorecon")
        if restorecon is not None:
            with suppress(HostError):
                self.run([str(restorecon), str(path)], timeout=_RELABEL_TIMEOUT)


def _proc_path(key: str) -> PurePosixPath:
    return PROC_SYS.joinpath(*key.split("."))
