"""The words that all other modules speak: modes, owners, roles, versions and the resources of a host.

Desired, observed and remembered state are the same types, so apply, check, diff and revert share one comparison.
Nothing here can touch a disk: paths are PurePosixPath, as a user of the host sees them (never with --root before them).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePosixPath
from typing import NamedTuple

_ALL_BITS = 0o7777
_PERMISSIONS_OF = "mode of "
"""Apart from a path and from a kernel parameter's key, neither of which begins so."""


class FileMode(int):
    """Permission bits of a file or directory, 0 to 0o7777; always built from an octal literal."""

    def __new__(cls, bits: int) -> FileMode:
        """Raises ValueError for what is no permission bits."""
        if not 0 <= bits <= _ALL_BITS:
            raise ValueError(f"not permission bits: {bits:#o}")
        return super().__new__(cls, bits)

    def __str__(self) -> str:
        return f"{int(self):04o}"

    def __repr__(self) -> str:
        return f"FileMode(0o{int(self):o})"


PRIVATE_FILE = FileMode(0o600)
"""Of a file that its owner alone reads and writes."""
PUBLIC_FILE = FileMode(0o644)
"""Of a file that all read, and its owner alone writes."""


class Owner(NamedTuple):
    """Numeric owner and group. In a --root tree made by an ordinary user, that user stands for 0:0 (see Host)."""

    uid: int
    gid: int

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"


ROOT = Owner(0, 0)


class Role(str, Enum):
    """What K3s runs as on this host; "agent" is K3s' word for a worker node."""

    SERVER = "server"
    AGENT = "agent"

    def __str__(self) -> str:
        return self.value


class Component(str, Enum):
    """A part of Kubernetes that K3s runs in its own process."""

    API_SERVER = "kube-apiserver"
    CONTROLLER_MANAGER = "kube-controller-manager"
    SCHEDULER = "kube-scheduler"
    KUBELET = "kubelet"
    KUBE_PROXY = "kube-proxy"

    def __str__(self) -> str:
        return self.value

    @property
    def config_key(self) -> str:
        """The key of K3s' configuration that hands it arguments."""
        return f"{self.value}-arg"


class Version(NamedTuple):
    """A K3s version. Decisions rest on the minor alone, since all K3s releases so far have the major 1."""

    major: int
    minor: int
    patch: int
    build: str = ""

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read `v1.24.17+k3s1`, `1.24.17` or `1.24`; raises ValueError on anything else."""
        match = re.fullmatch(r"v?(1)\.(\d{1,3})(?:\.(\d{1,3}))?([-+][\w.+-]+)?", text.strip(), re.ASCII)
        if match is None:
            raise ValueError(f"not a K3s version: {text!r}")
        return cls(int(match[1]), int(match[2]), int(match[3] or 0), match[4] or "")

    @property
    def family(self) -> str:
        """Major and minor, such as 1.34."""
        return f"{self.major}.{self.minor}"

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}.{self.patch}{self.build}"


NEWEST_KNOWN = Version(1, 37, 0)
"""The newest minor that the rows of the guide were written for."""

OLDEST_COVERED = Version(1, 23, 0)
"""The oldest minor that the guide is for. An older K3s gets this one's rows."""


class VersionRange(NamedTuple):
    """Minors `first` to `last`, both included; None is unbounded."""

    first: int | None = None
    last: int | None = None

    def includes(self, version: Version) -> bool:
        """Whether the version's minor is in the range."""
        return (self.first is None or version.minor >= self.first) and (self.last is None or version.minor <= self.last)

    def overlaps(self, other: VersionRange) -> bool:
        """Whether any version is in both ranges."""
        return not (
            (self.last is not None and other.first is not None and self.last < other.first)
            or (other.last is not None and self.first is not None and other.last < self.first)
        )

    def __str__(self) -> str:
        match self:
            case (None, None):
                return "all versions"
            case (first, None):
                return f"v1.{first} and newer"
            case (None, last):
                return f"v1.{last} and older"
            case (first, last):
                return f"v1.{first} to v1.{last}" if first != last else f"v1.{first}"


ALL_VERSIONS = VersionRange()

WITH_POD_SECURITY_POLICY = VersionRange(last=24)
WITHOUT_POD_SECURITY_POLICY = VersionRange(first=25)
"""Kubernetes removed it: from then on the API server exits at the plugin's name, and refuses objects of the kind."""

BOTH_ROLES = frozenset(Role)
SERVERS = frozenset({Role.SERVER})


class Applies(NamedTuple):
    """The hosts that a row of the guide is for."""

    roles: frozenset[Role] = BOTH_ROLES
    versions: VersionRange = ALL_VERSIONS

    def to(self, role: Role, version: Version) -> bool:
        """Whether the row is for a host of this role and K3s version."""
        return role in self.roles and self.versions.includes(version)

    def overlaps(self, other: Applies) -> bool:
        """Whether some host gets both rows."""
        return bool(self.roles & other.roles) and self.versions.overlaps(other.versions)

    def __str__(self) -> str:
        roles = "servers and agents" if self.roles == BOTH_ROLES else f"{next(iter(self.roles))}s only"
        return f"{roles}, {self.versions}"


ON_SERVERS = Applies(SERVERS)
"""Servers of all versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """A directory with an exact mode and owner; what it holds is not its business."""

    path: PurePosixPath
    mode: FileMode
    owner: Owner = ROOT

    @property
    def id(self) -> str:
        """The name that plans, reports and the journal use."""
        return str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A regular file with exact content, mode and owner.

    `immutable` (chattr +i) is only ever observed: two files are equal whatever it says.
    """

    path: PurePosixPath
    content: bytes
    mode: FileMode
    owner: Owner = ROOT
    immutable: bool = field(default=False, compare=False)

    @property
    def id(self) -> str:
        """The name that plans, reports and the journal use."""
        return str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePermissions:
    """The mode of an existing file that another program owns and writes: content and owner are not looked at."""

    path: PurePosixPath
    mode: FileMode

    @property
    def id(self) -> str:
        """The name that plans, reports and the journal use."""
        return f"{_PERMISSIONS_OF}{self.path}"

    @staticmethod
    def path_of(resource_id: str) -> PurePosixPath | None:
        """The path of the file whose permissions have this id; None for the id of anything else."""
        return PurePosixPath(resource_id[len(_PERMISSIONS_OF) :]) if resource_id.startswith(_PERMISSIONS_OF) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl:
    """A live kernel value, as text: "0" is a value. Keys use sysctl(8)'s dots."""

    key: str
    value: str

    @property
    def id(self) -> str:
        """The name that plans, reports and the journal use."""
        return self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """Nothing is there, or nothing should be."""

    id: str


class Location(NamedTuple):
    """A file, or a line of it. Only presenters format it."""

    path: PurePosixPath
    line: int = 0
    """Counted from 1; 0 is the file as a whole."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else str(self.path)


class FixOwner(str, Enum):
    """The owner of a fix."""

    APPLY = "apply"
    OPERATOR = "operator"
    K3S = "k3s"
    NONE = "none"

    def __str__(self) -> str:
        return self.value


class Restart(Enum):
    """What has to restart before a remediation takes effect."""

    NOT_NEEDED = "not needed"
    K3S = "K3s"
    DAEMON_RELOAD_AND_K3S = "systemd's manager configuration, then K3s"


@dataclass(frozen=True)
class OwnCommand:
    """A verb of k3s-harden. Presenters add sudo and the options of the current run."""

    verb: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShellCommand:
    """A command line of another program, complete as it is to be pasted."""

    line: str


@dataclass(frozen=True)
class Instruction:
    """A step that no command does: a sentence in the imperative, without its final period."""

    text: str
    location: Location | None = None
    """The file, or the line of it, that the step edits."""


@dataclass(frozen=True)
class Remediation:
    """Steps that fix one problem, in order."""

    steps: tuple[OwnCommand | ShellCommand | Instruction, ...] = ()
    owner: FixOwner = FixOwner.OPERATOR
    restart: Restart = Restart.NOT_NEEDED
    alternative: Remediation | None = None
    """Another way to the same result, by hand."""


NO_REMEDIATION = Remediation(owner=FixOwner.NONE)
"""Nothing has to be done."""


class Times(NamedTuple):
    """When a file was last written (mtime), and when anything of it last changed, mode and owner too (ctime).

    In seconds since the epoch. A package or a copy brings the first along; the second is of this host.
    """

    written: float
    changed: float


class Obstacle(NamedTuple):
    """Something of another kind is in the place of a managed file or directory: `kind` is "symlink", "FIFO", …"""

    id: str
    kind: str


class Unreadable(NamedTuple):
    """What is there cannot be told; `reason` says why."""

    id: str
    reason: str


Resource = Directory | File | FilePermissions | Sysctl
"""What the guide can want of a host."""

State = Directory | File | FilePermissions | Sysctl | Absent
"""What a change starts from and leads to, and what the journal remembers."""

Observed = Directory | File | FilePermissions | Sysctl | Absent | Obstacle | Unreadable
"""What a look at the host can show."""
