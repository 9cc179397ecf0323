"""Types that all packages share: modes, owners, locations and the resources of a host.

Desired, observed and recorded state have the same types, so apply, check, diff and revert share one comparison.
Paths are PurePosixPath as seen on the host, without the prefix of --root.
"""

from __future__ import annotations

from enum import Enum
from pathlib import PurePosixPath
from typing import NamedTuple, Union

from agent.base.value import Value

_ALL_BITS = 0o7777


class FileMode(int):
    """Permission bits of a file or directory, 0 to 0o7777; always built from an octal literal."""

    def __new__(cls, bits: int) -> FileMode:
        """Check the bits. Raises ValueError if other bits are set."""
        if not 0 <= bits <= _ALL_BITS:
            raise ValueError(f"not permission bits: {bits:#o}")
        return super().__new__(cls, bits)

    def __str__(self) -> str:
        return f"{int(self):04o}"

    def __repr__(self) -> str:
        return f"FileMode(0o{int(self):o})"


PRIVATE_FILE = FileMode(0o600)
PRIVATE_DIRECTORY = FileMode(0o700)
"""Only the owner has access."""
PUBLIC_FILE = FileMode(0o644)
PUBLIC_DIRECTORY = FileMode(0o755)
EXECUTABLE_FILE = FileMode(0o755)
"""The owner can write, all users can read (and enter or execute)."""
GROUP_OR_OTHERS_WRITE = FileMode(0o022)
"""The bits with which others than the owner can write."""


class Owner(Value):
    """Numeric owner and group. In a --root tree of an ordinary user, that user is shown as 0:0 (see Host)."""

    uid: int
    gid: int

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"


ROOT = Owner(0, 0)


class StrEnum(str, Enum):
    """An enum whose members are texts, as enum.StrEnum, which Python 3.11 added."""

    def __str__(self) -> str:
        return str(self.value)


class _AtPath(Value):
    """A state of a path on the host."""

    path: PurePosixPath

    _name = "{}"

    @property
    def id(self) -> str:
        """Return the name in plans and reports."""
        return self._name.format(self.path)


class Directory(_AtPath):
    """A directory with an exact mode and owner. Its entries are not part of it."""

    mode: FileMode
    owner: Owner = ROOT


class File(_AtPath, not_compared=("immutable",)):
    """A regular file with exact content, mode and owner."""

    content: bytes
    mode: FileMode
    owner: Owner = ROOT
    immutable: bool = False
    """Whether chattr +i or +a is set. It is observed, never set, and not compared."""


class FilePermissions(_AtPath):
    """The mode of an existing file that another program writes. Content and owner are ignored."""

    mode: FileMode

    _name = "mode of {}"


class DefaultPermissions(_AtPath):
    """The default access control list of a directory, which limits the mode of each new file in it.

    See acl(5). Without a list, the umask of the program limits the mode.
    """

    acl: bytes
    """The list in the kernel's format; empty if there is none."""

    _name = "default permissions in {}"


class Sysctl(Value):
    """A kernel parameter with its live value as text. The key has dots, as in sysctl(8)."""

    key: str
    value: str

    @property
    def id(self) -> str:
        """Return the name in plans and reports."""
        return self.key


class Absent(_AtPath):
    """Nothing exists at a path. A kernel parameter that does not exist has no path below /proc/sys."""


class Location(NamedTuple):
    """A file, or a line of it. Only presenters format it."""

    path: PurePosixPath
    line: int = 0
    """Counted from 1; 0 is the file as a whole."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else str(self.path)


class Times(NamedTuple):
    """Timestamps of a file, in seconds since the epoch."""

    written: float
    """When the content last changed (mtime). Packages and copies preserve the time of their source."""
    changed: float
    """When content, mode or owner last changed on this host (ctime)."""


class UnexpectedKind(Value):
    """A file of an unexpected kind at the path of a managed file or directory."""

    id: str
    kind: str
    """Such as "symlink" or "FIFO"."""
    link: str = ""
    target: str = ""
    """The symlink above it that leads nowhere, and where it leads; empty for another obstacle."""


class Unreadable(Value):
    """A resource that could not be read."""

    id: str
    reason: str
    access_denied: bool = False
    """Whether the kernel denied access to this user."""


Resource = Union[Directory, File, FilePermissions, DefaultPermissions, Sysctl]
"""What a host can be required to have."""

State = Union[Directory, File, FilePermissions, DefaultPermissions, Sysctl, Absent]
"""What a change starts from and leads to, and what the journal records."""

Observed = Union[Directory, File, FilePermissions, DefaultPermissions, Sysctl, Absent, UnexpectedKind, Unreadable]
"""What reading a resource of the host can return."""
