"""Attempts to break out of a pod with / of its node at /host, by its program after somebody took it over.

An image has this file in place of a module that a report as JSON needs; see taken_over.py. Each attempt runs in its own
process, and prints a line: its name, a tab, and what it reached. Nothing or another tab follows if it was refused.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

BUS, FIFO, AS_ROOT = "/run/dbus/system_bus_socket", "/run/initctl", "/srv/as-root"
ABSTRACT = "\0of-the-node"
OUTPUT, MESSAGES, SHARED = "/run/k3s/output", "/run/messages", "/dev/shm/of-root"  # noqa: S108 - of the node
"""A FIFO with the output of a container, a socket for datagrams of everybody, and a file of root."""
LOCKS = ("/run/k3s-harden.lock", "/run/xtables.lock", "/var/lib/rancher/k3s/server/db/state.db-shm")
SHARED_MEMORY = 0x6B3373
"""The key of a segment (shmget(2))."""
SUPERVISOR, KUBELET = 6443, 10250
OF_ROOT, OF_EVERYBODY = "/var/lib/kubelet/of-root", "/var/lib/kubelet/of-everybody"
"""A file and a directory on the file system of the pod's file for its last message, which the pod can write."""
TARGETS = "/srv/targets"
"""A file with the id of the process that is attacked, the address of the node, the handles of OF_ROOT and OF_EVERYBODY,
and a terminal. A handle is the number of a file and its generation, which a pod can also guess."""

_HOST = Path("/host")
_LIBC = ctypes.CDLL(None, use_errno=True)
_KEY = "var/lib/rancher/k3s/server/tls/client-admin.key"
_SEARCHED = ("etc", "run", "srv", "tmp", "var/lib/kubelet", "var/lib/rancher")
_KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
_KERNEL_FILES = ("/proc/sys/kernel/panic", "/proc/sysrq-trigger", "/sys/power/state", "/sys/kernel/uevent_helper")
_SEIZE, _NEW_USER, _REMOUNT = 0x4206, 0x10000000, 0x1020
_SEND_SIGNAL, _SET_UP_RING, _OPEN_PROCESS, _COPY_DESCRIPTOR = 424, 425, 434, 438
_OPEN_FILE_LOCK, _WAIT_FOR_OPEN_FILE_LOCK = 37, 38
_SIZE_OF_LOG = 10
_TIME = 2
"""Seconds until an attempt that waits is refused."""
NAME_TO_HANDLE_AT, _OPEN_BY_HANDLE_AT = (303, 304) if os.uname().machine == "x86_64" else (264, 265)


def call(function: str, *words: object) -> int:
    done: int = getattr(_LIBC, function)(*words)
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def of_node(path: str) -> Path:
    return _HOST / path.lstrip("/")


def process(name: str = "") -> Path:
    """Return a file about the process that is attacked."""
    return _HOST / "proc" / targets()[0] / name


def targets() -> list[str]:
    return of_node(TARGETS).read_text(encoding="ascii").split()


def sockets(*, of_everybody: bool) -> Iterator[str]:
    """Yield the sockets that everybody can write, or all others, that accept a connection."""
    for directory, below, names in (found for top in _SEARCHED for found in os.walk(_HOST / top)):
        below[:] = [name for name in below if name != "rootfs"]  # the root directory of a container
        for path in (Path(directory, name) for name in names):
            with suppress(FileNotFoundError):
                mode = path.lstat().st_mode
                if stat.S_ISSOCK(mode) and bool(mode & stat.S_IWOTH) == of_everybody and connects(path):
                    yield str(path).removeprefix(str(_HOST))


def connects(path: Path) -> bool:
    """Return whether a socket accepts a connection; its path can be too long for an address."""
    directory = os.open(path.parent, os.O_PATH)
    for kind in _KINDS:
        with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as client:
            client.settimeout(1)
            client.connect(f"/proc/self/fd/{directory}/{path.name}")
            return True
    return False


def bus_as_root() -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(of_node(BUS)))
        return "root" if client.recv(20) == b"0" else ""


def abstract_socket() -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(ABSTRACT)
    return "connected"


def ports() -> Iterator[str]:
    for port in (SUPERVISOR, KUBELET):
        with suppress(OSError), socket.create_connection((targets()[1], port), timeout=2):
            yield str(port)


def signal_by_descriptor() -> int:
    return call("syscall", _SEND_SIGNAL, os.open(process(), os.O_RDONLY), int(signal.SIGCONT), None, 0)


def mounts() -> Iterator[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    for point in sorted({Path(line.split()[4].replace("\\040", " ")) for line in lines}):
        with suppress(OSError):
            if point.is_dir():
                created = point / "of-a-pod"
                created.touch(exist_ok=False)
                created.unlink()
            elif point.is_file():
                os.close(os.open(point, os.O_WRONLY))
            else:
                continue
            yield str(point)


def kernel_files() -> Iterator[str]:
    for path in (f"{top}{name}" for top in ("", _HOST) for name in _KERNEL_FILES):
        with suppress(OSError):
            os.close(os.open(path, os.O_WRONLY))
            yield path


def control_group() -> Path:
    groups = [_HOST / "sys/fs/cgroup" / name for name in ("", "pids")]
    created = next(group for group in groups if (group / "cgroup.procs").exists()) / "of-a-pod"
    created.mkdir()
    created.rmdir()
    return created


def open_by_handle(handle: str, flags: int) -> int:
    """Open a file of the node through a mount that the pod can write."""
    mount = os.open("/dev/termination-log", os.O_RDONLY)
    return call("syscall", _OPEN_BY_HANDLE_AT, mount, bytes.fromhex(handle), flags)


def directory_by_handle() -> str:
    directory = open_by_handle(targets()[3], os.O_RDONLY | os.O_DIRECTORY)
    os.close(os.open("of-a-pod", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    os.unlink("of-a-pod", dir_fd=directory)
    return "written"


def set_user() -> str:
    """Run a static program of the node that belongs to root and has the mode 4755."""
    done = subprocess.run((of_node(AS_ROOT), "cat", "/proc/self/status"), capture_output=True, check=True)
    _, effective, *_ = done.stdout.split(b"Uid:")[1].split()
    return "root" if effective == b"0" else ""


def read_without_waiting(path: str) -> bytes:
    """Read what is in a FIFO or terminal, or fail after some time."""
    descriptor, deadline = os.open(of_node(path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY), time.monotonic() + _TIME
    while time.monotonic() < deadline:
        with suppress(BlockingIOError):
            return os.read(descriptor, 20)
        time.sleep(0.05)
    return b""


def lock(number: int, operation: Callable[[int, int], object], how: int) -> str:
    operation(os.open(of_node(LOCKS[number]), os.O_RDONLY), how)
    return LOCKS[number]


def lock_range(descriptor: int, how: int) -> None:
    """Lock a whole file for other writers: struct flock of fcntl(2)."""
    fcntl.fcntl(descriptor, how, struct.pack("@hhqqi", fcntl.F_RDLCK, 0, 0, 0, 0))


def lease() -> int:
    return fcntl.fcntl(os.open(of_node(OF_ROOT), os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)


def socket_by_a_pair() -> int:
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return one.sendto(b"a", str(of_node(MESSAGES)))


def memory_by_system_call() -> int:
    content = ctypes.create_string_buffer(8)
    (start,) = {line.split("-")[0] for line in process("maps").read_text().splitlines()[:1]}
    own, other = (struct.pack("@PN", address, 8) for address in (ctypes.addressof(content), int(start, 16)))
    return call("process_vm_readv", int(process().name), own, ctypes.c_ulong(1), other, ctypes.c_ulong(1), 0)


def descriptor_of_a_process() -> int:
    return call("syscall", _COPY_DESCRIPTOR, call("syscall", _OPEN_PROCESS, int(process().name), 0), 0, 0)


def priority() -> str:
    number = int(process().name)
    os.setpriority(os.PRIO_PROCESS, number, os.getpriority(os.PRIO_PROCESS, number))
    return "set"


def affinity() -> str:
    os.sched_setaffinity(int(process().name), os.sched_getaffinity(0))
    return "set"


def device_node() -> str:
    os.mknod("/dev/of-a-pod", stat.S_IFCHR | 0o600, os.makedev(1, 11))
    return "created"


ATTEMPTS: dict[str, Callable[[], object]] = {
    "socket of root": lambda: " ".join(sockets(of_everybody=False)),
    "socket of everybody": lambda: " ".join(sockets(of_everybody=True)),
    "bus as root": bus_as_root,
    "abstract socket": abstract_socket,
    "port": lambda: " ".join(ports()),
    "signal": lambda: os.kill(int(process().name), signal.SIGCONT),
    "signal by descriptor": signal_by_descriptor,
    "ptrace": lambda: call("ptrace", _SEIZE, int(process().name), None, None),
    "memory": lambda: os.open(process("mem"), os.O_RDWR),
    "variables": lambda: process("environ").read_bytes()[:20],
    "root of a process": lambda: len(list(process("root").iterdir())),
    "namespace": lambda: call("setns", os.open(_HOST / "proc/1/ns/mnt", os.O_RDONLY), 0),
    "user namespace": lambda: call("unshare", _NEW_USER),
    "chroot": lambda: os.chroot(_HOST),
    "remount": lambda: call("mount", b"none", os.fsencode(_HOST), None, _REMOUNT, None),
    "mount": lambda: " ".join(mounts()),
    "kernel": lambda: " ".join(kernel_files()),
    "control group": control_group,
    "file by handle": lambda: open_by_handle(targets()[2], os.O_WRONLY),
    "directory by handle": directory_by_handle,
    "fifo": lambda: os.write(os.open(of_node(FIFO), os.O_WRONLY | os.O_NONBLOCK), b"\n"),
    "device": lambda: os.open(of_node("/dev/kmsg"), os.O_WRONLY),
    "set-user-ID program": set_user,
    "terminal": lambda: read_without_waiting(targets()[4]),
    "file in /dev/shm": lambda: of_node(SHARED).read_text(encoding="ascii"),
    "output of a container": lambda: read_without_waiting(OUTPUT),
    "lock of the gate": lambda: lock(0, fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB),
    "shared lock of the gate": lambda: lock(0, fcntl.flock, fcntl.LOCK_SH),
    "lock of iptables": lambda: lock(1, fcntl.flock, fcntl.LOCK_SH | fcntl.LOCK_NB),
    "lock of the database": lambda: lock(2, lock_range, fcntl.F_SETLK),
    "lock of the database, waiting": lambda: lock(2, lock_range, fcntl.F_SETLKW),
    "lock of an open file": lambda: lock(2, lock_range, _OPEN_FILE_LOCK),
    "lock of an open file, waiting": lambda: lock(2, lock_range, _WAIT_FOR_OPEN_FILE_LOCK),
    "lease": lease,
    "file by handle for reading": lambda: open_by_handle(targets()[2], os.O_RDONLY),
    "socket by a pair": socket_by_a_pair,
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0),
    "ring": lambda: call("syscall", _SET_UP_RING, 1, ctypes.create_string_buffer(120)),
    "memory by a system call": memory_by_system_call,
    "descriptor of a process": descriptor_of_a_process,
    "file of a process": lambda: os.open(process("fd/0"), os.O_RDONLY),
    "directory of a process": lambda: len(list(process("cwd").iterdir())),
    "priority": priority,
    "affinity": affinity,
    "limits": lambda: resource.prlimit(int(process().name), resource.RLIMIT_NOFILE),
    "network of the node": lambda: call("setns", os.open(_HOST / "proc/1/ns/net", os.O_RDONLY), 0),
    "host name": lambda: socket.sethostname(socket.gethostname()),
    "device node": device_node,
    "kernel log": lambda: call("klogctl", _SIZE_OF_LOG, None, 0),
    "shared memory": lambda: call("shmget", SHARED_MEMORY, ctypes.c_size_t(0), 0),
    "key": lambda: (_HOST / _KEY).read_text(encoding="ascii").splitlines()[0],
}


def main() -> None:
    if os.geteuid():
        # The file of the program permits the capability; a program that confines itself has it already.
        call("capset", struct.pack("=Ii", 0x20080522, 0), struct.pack("=2I16x", 1 << 2, 1 << 2))
    for name, attempt in ATTEMPTS.items():
        child = os.fork()
        if not child:
            try:
                reached = str(attempt())
            except Exception as error:  # noqa: BLE001 - any error is a refusal
                reached = f"\t{error!r}"
            os.write(1, f"{name}\t{reached}\n".encode())
            os._exit(0)
        os.waitpid(child, 0)
    os._exit(0)


if __name__ == "_hashlib":
    main()
