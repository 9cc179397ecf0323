"""Confinement of this process in a pod: it can read the files of the node, and act on none of them."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

from agent.base.errors import HostError
from agent.base.repair import Instruction

_CAPABILITY_VERSION_3, _DAC_READ_SEARCH = 0x20080522, 1 << 2
_SET_SECCOMP, _FILTER, _NO_NEW_PRIVS = 22, 2, 38
# linux/landlock.h; the system calls have the same numbers on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF, _PATH_BENEATH = 444, 445, 446, 1
_WRITE_FILE, _READ_FILE, _ALL_CHANGES, _TRUNCATE = 1 << 1, 1 << 2, 0x1FF2, 1 << 14

READ = {
    "dev": (),
    "run": ("credentials", "credstore", "k3s-harden", "modprobe.d", "openrc", "sysctl.d", "systemd"),
    "sys": ("fs",),
}
"""What is assessed in directories of a node where reading can act: on terminals, the output of containers, drivers."""

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* of linux/audit.h."""
_KEPT_COMMANDS = (fcntl.F_DUPFD, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL, fcntl.F_DUPFD_CLOEXEC)
RESTRICTED = (
    ("flock", (73, 32), 0, ()),
    ("fcntl", (72, 25), 1, _KEPT_COMMANDS),
    ("socket", (41, 198), 0, (socket.AF_INET, socket.AF_INET6)),
    ("socketpair", (53, 199), 0, ()),  # sendto(2) sends from its end to the socket of another process
    ("open_by_handle_at", (304, 265), 0, ()),
    ("io_uring_setup", (425, 425), 0, ()),  # its requests do not pass the filter
)
"""System calls that act on a file that is open for reading, or reach a process through a socket's file.

Each with its numbers on these architectures, an argument, and the values of it that are permitted.
"""
_FOREIGN_NUMBERS = 0x40000000
"""System calls of x32, on the same architecture, have numbers from here on."""
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ALLOW, and SECCOMP_RET_ERRNO with EPERM
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06


def confine(root: str) -> None:
    """Keep only CAP_DAC_READ_SEARCH, read only below `root` and in the image, and give up all that changes something.

    Linux before 5.13 permits to write where every user can, and to read devices and FIFOs. Raises HostError without the
    capability, which the image permits to its program, and if the kernel does not restrict system calls.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), struct.pack("=2I16x", *2 * [_DAC_READ_SEARCH])
    if libc.capset(header, sets):
        raise HostError(
            "cannot read all files: this process does not have the capability DAC_READ_SEARCH",
            Instruction("use the image of this version, and the manifest that its `render assessment-job` prints"),
        )
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    for changes in (_ALL_CHANGES | _TRUNCATE, _ALL_CHANGES):
        rules = libc.syscall(_CREATE_RULESET, struct.pack("=Q", changes | _READ_FILE), ctypes.c_size_t(8), 0)
        if rules >= 0:
            permitted = dict.fromkeys(_readable(root), _READ_FILE)
            permitted[os.devnull] = _READ_FILE | _WRITE_FILE  # the standard input of other programs
            for path, access in permitted.items():
                with suppress(OSError):
                    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
                    libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", access, descriptor), 0)
                    os.close(descriptor)
            libc.syscall(_RESTRICT_SELF, rules, 0)
            os.close(rules)
            break
    program = filter_of(os.uname().machine)
    filtered = ctypes.create_string_buffer(program)
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(filtered))
    if libc.prctl(_SET_SECCOMP, _FILTER, described, 0, 0):
        reason = os.strerror(ctypes.get_errno())
        raise HostError(
            f"cannot restrict the system calls of this process: {reason}", Instruction("use a kernel with seccomp")
        )


def _readable(root: str) -> Iterator[str]:
    """Yield the directories of the image and those below `root`, as far as they are assessed."""
    for top, restricted in (("/", {root.split("/")[1]: ()}), (root, READ)):
        with suppress(OSError):
            yield from (f"{top.rstrip('/')}/{name}" for name in os.listdir(top) if name not in restricted)
    yield from (f"{root}/{top}/{name}" for top, names in READ.items() for name in names)


def filter_of(machine: str) -> bytes:
    """Return the program for the kernel that refuses the restricted system calls, and all of other architectures.

    See linux/filter.h, and struct seccomp_data in linux/seccomp.h. On other machines all system calls are refused.
    """
    number, architecture, argument = 0, 4, 16
    rows = [(_LOAD, 0, 0, architecture), (_EQUAL, 1, 0, _ARCHITECTURES.get(machine, 0)), (_RETURN, 0, 0, _REFUSE)]
    rows += [(_LOAD, 0, 0, number), (_AT_LEAST, 0, 1, _FOREIGN_NUMBERS), (_RETURN, 0, 0, _REFUSE)]
    for _, numbers, position, permitted in RESTRICTED:
        verdicts = [row for value in permitted for row in ((_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW))]
        verdicts = [(_LOAD, 0, 0, argument + 8 * position), *verdicts, (_RETURN, 0, 0, _REFUSE)]
        rows += [(_EQUAL, 0, len(verdicts), numbers[list(_ARCHITECTURES).index(machine)]), *verdicts]
    rows.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *row) for row in rows)
