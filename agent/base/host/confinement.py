"""Confinement of this process in a pod: it can read every file of the node, and write none."""

from __future__ import annotations

import os
import struct

from agent.base.errors import HostError

_CAPABILITY_VERSION_3, _DAC_READ_SEARCH = 0x20080522, 1 << 2
_NO_NEW_PRIVS = 38
# linux/landlock.h; the system calls have the same numbers on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF, _PATH_BENEATH = 444, 445, 446, 1
_WRITE_FILE, _ALL_CHANGES, _TRUNCATE = 1 << 1, 0x1FF2, 1 << 14


def confine() -> None:
    """Keep only CAP_DAC_READ_SEARCH, and give up writing, also where every user can; Linux before 5.13 permits that.

    Raises HostError without the capability, which the image permits to its program.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), struct.pack("=2I16x", *2 * [_DAC_READ_SEARCH])
    if libc.capset(header, sets):
        raise HostError(
            "cannot read all files: this process does not have the capability DAC_READ_SEARCH",
            "use the image of this version, and the manifest that its `render assessment-job` prints",
        )
    for changes in (_ALL_CHANGES | _TRUNCATE, _ALL_CHANGES):
        rules = libc.syscall(_CREATE_RULESET, struct.pack("=Q", changes), ctypes.c_size_t(8), 0)
        if rules >= 0:
            null = os.open(os.devnull, os.O_PATH)  # the standard input of other programs
            libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", _WRITE_FILE, null), 0)
            libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
            libc.syscall(_RESTRICT_SELF, rules, 0)
            break
