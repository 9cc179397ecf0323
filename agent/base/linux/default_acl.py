"""Default access control lists of directories in the format of the kernel. Pure.

Source: Linux, include/uapi/linux/posix_acl_xattr.h, and acl(5).
"""

from __future__ import annotations

OWNER_ONLY = bytes.fromhex("02000000 01000700ffffffff 04000000ffffffff 20000000ffffffff")
"""user::rwx, group::---, other::---. A new file gets at most 0600, or 0700 if its program requests execution.

A new directory gets 0700, and the same list.
"""


def describe_default_acl(acl: bytes) -> str:
    """Describe a list in a few words."""
    if not acl:
        return "none"
    return "for the owner only" if acl == OWNER_ONLY else "another access control list"
