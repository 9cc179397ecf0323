"""The machine. Only this package reads and writes it.

A Host is a root directory and the functions that reach beyond files: run a program, list processes, read the clock.
Tests and --root trees use another Host.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import HostError, NotEmptyError, ReadOnlyEnvironmentError, RootRequiredError
from agent.base.host.directories import DirectoryEntry
from agent.base.host.process import LARGEST_OUTPUT, SEARCH_PATH, run_nothing
from agent.base.host.tree import Tree
from agent.base.model import Absent, DefaultPermissions, Directory, File, FilePermissions, Sysctl, Unreadable
from agent.base.repair import Instruction, Run
from agent.base.value import Value, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from agent.base.host.paths import RootDirectory
    from agent.base.host.probe import K3sProcess
    from agent.base.host.process import Completed, Runner
    from agent.base.host.sockets import Listener
    from agent.base.host.writable_tree import WritableTree
    from agent.base.linux.file_systems import TrackedConnection
    from agent.base.model import Observed, Resource, State

PROC_SYS = PurePosixPath("/proc/sys")
LOCK = PurePosixPath("/run/k3s-harden.lock")
LOCK_WAIT = 30.0
"""Seconds that a run waits for the lock; a complete run takes less than one second."""

_HOSTNAME = PurePosixPath("/etc/hostname")
"""The host name of a tree without a kernel: hostname(5)."""

_IN_EACH_SYSTEM = (PurePosixPath("/etc"), PurePosixPath("/usr"))

_RELABEL_TIMEOUT = 20.0
_NONE = "the directory does not exist"
_OUTSIDE = "run this outside of the sandbox or user namespace of this process"
_LOG_TIMEOUT = 5.0
_NOT_OF_THE_NODE = "mount / of the node there, with all mounts below, and its /proc without hidepid"


class Host(Value):
    """One machine, or a tree of files that will become one."""

    root: str
    run: Runner
    probe: Callable[[], tuple[K3sProcess, ...]]
    """Returns the running K3s processes in any order."""
    now: Callable[[], float]
    """The time in seconds since the epoch."""
    uid: int
    """The user that is shown as 0 below `root`: 0, or the id of the ordinary user who owns a --root tree."""
    gid: int
    """The group that is shown as 0 below `root`."""
    sleep: Callable[[float], None] = time.sleep
    listeners: Callable[[], tuple[Listener, ...]] = lambda: ()
    """The TCP sockets that accept connections."""
    connections: Callable[[], tuple[TrackedConnection, ...] | None] = lambda: None
    """The connections that the kernel tracks; None if they are not known."""
    is_live: bool = False
    """Whether this is the machine that runs this program, so that its kernel and its processes can be read."""
    pod_node: str = ""
    """The name of the Node, if this program runs in a pod on it; each use is a difference from a run on the node."""
    lock_wait: float = LOCK_WAIT
    """Seconds to wait for the lock."""
    opened: RootDirectory | None = None
    """The directory `root` of a --root tree, opened once."""

    @classmethod
    def real(cls) -> Host:
        """Return this machine."""
        from agent.base.host.connection_tracking import tracked_connections
        from agent.base.host.probe import k3s_processes
        from agent.base.host.process import run
        from agent.base.host.sockets import tcp_listeners

        return cls(
            root="/",
            run=run,
            probe=k3s_processes,
            now=time.time,
            uid=0,
            gid=0,
            listeners=tcp_listeners,
            connections=tracked_connections,
            is_live=True,
        )

    @classmethod
    def tree_at(cls, root: str, hidden: str = "") -> Host:
        """Return the host tree below the absolute path `root`. The current user is shown as root in it.

        Files in the directory `hidden` cannot be read: in a pod, something else is mounted there.

        The directory is opened here, and only here. Raises HostError if it does not exist or cannot be opened.
        """
        uid, gid = os.geteuid(), os.getegid()
        opened = Tree("/", uid, gid).enter(PurePosixPath(root))
        if opened is None:
            there = Tree("/", uid, gid).stat(PurePosixPath(root))
            found = f"it is a {there.kind}, not a directory" if isinstance(there, DirectoryEntry) else _NONE
            raise HostError(f"cannot open {root}: {found}")
        opened.hidden = hidden
        return cls(root=root, run=run_nothing, probe=lambda: (), now=time.time, uid=uid, gid=gid, opened=opened)

    @classmethod
    def mounted_node(cls, root: str, node: str) -> Host:
        """Return this machine, seen from a pod in which its root directory is mounted at `root`.

        Raises HostError if the pod does not show this machine.
        """
        from functools import partial

        from agent.base.host.probe import k3s_processes
        from agent.base.host.process import run_static

        tree = cls.tree_at(root, hidden="/dev")
        # Only the /proc of this machine has a number for this process.
        own, first = (PurePosixPath("/proc", name) for name in ("self", "1/mountinfo"))
        if tree.tree.link_target(own) is None or not tree.tree.exists(first):
            problem = "its /proc does not list the processes of this machine"
            raise HostError(f"cannot open {root}: {problem}", Instruction(_NOT_OF_THE_NODE))
        run, probe = partial(run_static, root), partial(k3s_processes, f"{root}/proc")
        return replace(tree, run=run, probe=probe, uid=0, gid=0, is_live=True, pod_node=node)

    @property
    def runs_as_root(self) -> bool:
        """Return whether this program can read what only root can read."""
        return os.geteuid() == 0 or bool(self.pod_node)

    def refuse_ordinary_user(self, verb: str) -> None:
        """Raise HostError if the current user is not root and this is not a --root tree."""
        if self.is_live and not self.runs_as_root:
            raise RootRequiredError(f"cannot {verb}: changing the host requires root")

    @property
    def user(self) -> str:
        """Return the user who runs this program, for records; with sudo, also the user who called it."""
        behind = os.environ.get("SUDO_USER", "")
        return f"{behind}, by sudo as user {os.getuid()}" if behind else f"user {os.getuid()}"

    def log(self, message: str) -> None:
        """Write a line to the system log, which systemd's journal collects, if the host has logger(1)."""
        logger = self.trusted_tool("logger")
        if logger is not None:
            words = [str(logger), "--tag", "k3s-harden", "--priority", "authpriv.warning", "--", message]
            self.run(words, timeout=_LOG_TIMEOUT)

    @cached_property
    def tree(self) -> Tree:
        """Return the files of the host."""
        return Tree(self.root, self.uid, self.gid, self.opened)

    @property
    def own_tree(self) -> Tree:
        """Return the files of the host for programs of the current user, who is trusted like root."""
        return Tree(self.root, os.geteuid(), os.getegid(), self.opened)

    @property
    def writable_tree(self) -> WritableTree:
        """Return the files of the host, to change them."""
        from agent.base.host.writable_tree import WritableTree

        return WritableTree(self.root, self.uid, self.gid, self.opened)

    @property
    def machine_tree(self) -> WritableTree:
        """Return the files of the machine that runs this program, for paths given on the command line."""
        from agent.base.host.writable_tree import WritableTree

        return WritableTree("/", os.geteuid(), os.getegid())

    @property
    def is_this_machine(self) -> bool:
        """Return whether the root directory is that of this process."""
        return self.opened is None or os.path.samestat(os.fstat(self.opened.descriptor), os.stat("/"))

    @property
    def is_empty(self) -> bool:
        """Return whether there is neither /etc nor /usr, as below the mount point of an image that is not mounted."""
        return not any(self.tree.exists(path) for path in _IN_EACH_SYSTEM)

    @property
    def has_kernel(self) -> bool:
        """Return whether kernel parameters can be read. An image that is being built has none."""
        return isinstance(self.tree.observe(PROC_SYS), Directory)

    @property
    def name(self) -> str:
        """Return the host name in lower case, which K3s uses as the node name; empty if none is set."""
        if self.pod_node:
            return self.pod_node.lower()  # the kernel would answer with the name of the pod
        live = self.sysctl("kernel.hostname")
        name = live.value if isinstance(live, Sysctl) else ""
        if not name:
            with suppress(HostError):
                lines = self.tree.read_text(_HOSTNAME).splitlines()
                name = next((line.strip() for line in lines if line.strip() and not line.startswith("#")), "")
        return name.lower()

    def tool(self, name: str) -> PurePosixPath | None:
        """Return the path of a program in process.SEARCH_PATH, or None."""
        return next(self._tools(name), None)

    def trusted_tool(self, name: str) -> PurePosixPath | None:
        """Return the path of a program in process.SEARCH_PATH that no user other than root can change, or None."""
        return next((path for path in self._tools(name) if not self.tree.trust_problem(path)), None)

    def _tools(self, name: str) -> Iterator[PurePosixPath]:
        return filter(self.tree.exists, (PurePosixPath(directory, name) for directory in SEARCH_PATH))

    @cached_property
    def _answers(self) -> dict[tuple[str, ...], Completed | HostError]:
        """Cached results of programs, by command line."""
        return {}

    def ask_once(self, argv: Sequence[str], *, timeout: float, largest_output: int = LARGEST_OUTPUT) -> Completed:
        """Run a program, or return its cached result: a verb observes the host up to three times.

        Raises HostError as `run` does.
        """
        words = tuple(argv)
        if words not in self._answers:
            try:
                self._answers[words] = self.run(words, timeout=timeout, largest_output=largest_output)
            except HostError as error:
                self._answers[words] = error
        answer = self._answers[words]
        if isinstance(answer, HostError):
            raise answer
        return answer

    def lend_answers(self, copy: Host) -> None:
        """Share the cached results of this host with a copy of it."""
        vars(copy).update(_answers=self._answers)

    def observe(self, resource: State) -> Observed:
        """Return the current state of a resource: of its path, of its permissions or of its kernel parameter."""
        if isinstance(resource, Sysctl):
            return self.sysctl(resource.key)
        if isinstance(resource, FilePermissions):
            return self.tree.permissions(resource.path)
        if isinstance(resource, DefaultPermissions):
            return self.tree.default_permissions(resource.path)
        return self.tree.observe(resource.path)

    def observe_all(self, resources: Iterable[Resource]) -> dict[str, Observed]:
        """Return the current state of each resource and of each directory above it, by id."""
        observed: dict[str, Observed] = {}
        for resource in resources:
            observed[resource.id] = self.observe(resource)
            if isinstance(resource, (Directory, File)):
                for parent in resource.path.parents:
                    if str(parent) not in observed:
                        observed[str(parent)] = self.tree.observe(parent)
        return observed

    def sysctl(self, key: str) -> Sysctl | Absent | Unreadable:
        """Return the live value of a kernel parameter, with white space reduced to single blanks."""
        path = _proc_path(key)
        try:
            data = self.tree.read(path)
        except HostError as error:
            return Unreadable(id=key, reason=error.message)
        if data is None:
            return Absent(path)
        return Sysctl(key=key, value=" ".join(data.decode(errors="replace").split()))

    def put(self, state: State) -> None:
        """Write a state. The caller observes the resource again afterwards.

        Absent removes a file, or a directory if it is empty. Raises NotEmptyError for a directory that is not, and
        HostError if the host refuses the operation; a file is then unchanged, except for a failed SELinux label.
        """
        if isinstance(state, File):
            self.writable_tree.write(state)
            self._relabel(state.path)
        elif isinstance(state, Directory):
            self.writable_tree.make_directory(state)
            self._relabel(state.path)
        elif isinstance(state, FilePermissions):
            self.writable_tree.set_permissions(state)
        elif isinstance(state, DefaultPermissions):
            self.writable_tree.set_default_permissions(state)
        elif isinstance(state, Sysctl):
            self._set(state)
        else:
            self._remove(state.path)

    def lock(self, wait: float | None = None) -> AbstractContextManager[None]:
        """Hold the lock of this host. Raises LockHeldError after `wait` seconds, by default `lock_wait`."""
        from agent.base.host.writable_tree import locked

        return locked(self.writable_tree, LOCK, wait=self.lock_wait if wait is None else wait)

    def _remove(self, path: PurePosixPath) -> None:
        if not isinstance(self.tree.observe(path), Directory):
            self.writable_tree.remove_file(path)
        elif not self.writable_tree.remove_directory(path):
            raise NotEmptyError(f"cannot remove {path}: it contains other files, or is a mount point")

    def _set(self, parameter: Sysctl) -> None:
        try:
            self.writable_tree.overwrite(_proc_path(parameter.key), f"{parameter.value}\n".encode())
        except HostError as error:
            cause = error.__cause__
            if isinstance(cause, PermissionError) and self.runs_as_root:
                # The kernel refuses root only in a container or a user namespace.
                raise ReadOnlyEnvironmentError(error.message, Instruction(_OUTSIDE)) from error
            raise

    def _relabel(self, path: PurePosixPath) -> None:
        """Set the SELinux label of the policy. A renamed file keeps the label of the process that created it."""
        if not self.is_live or not os.path.exists("/sys/fs/selinux/enforce"):
            return
        restorecon = self.trusted_tool("restorecon")
        if restorecon is None:
            return
        done = self.run([str(restorecon), str(path)], timeout=_RELABEL_TIMEOUT)
        if done.code:
            from shlex import quote

            reason = (done.stderr.strip().splitlines() or [f"restorecon exited with {done.code}"])[-1]
            again = Run(f"sudo restorecon -v {quote(str(path))}")
            raise HostError(f"cannot set the SELinux label of {path}: {reason}", again)


def _proc_path(key: str) -> PurePosixPath:
    return PROC_SYS.joinpath(*key.split("."))
