"""Evidence that was read on a host: modes and owners of files, and the configuration files that K3s wrote.

MissingFile and UnknownFile are different: unreadable evidence is never treated as a value. Of files that contain
secrets, only the parts that a check needs are kept.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePosixPath

    from agent.base.errors import InputError
    from agent.base.linux.reach import FoundFile
    from agent.k3s.component_configuration import EtcdValue


class FileQuery(NamedTuple):
    """The files that a check asks for."""

    paths: tuple[str, ...]
    """Relative to the data directory, or absolute; with the patterns of files.FileCheck."""
    except_names: tuple[str, ...] = ()
    directories: bool = False
    """Whether the paths are directories."""
    access: bool = False
    """Whether access control lists and the directories above are read, too."""
    contents: bool = False
    """Whether the paths are directories of which the whole content is asked for."""
    secret: bool = False
    """Whether files can be secret, so that the other names of one that others can read matter."""


class AbsentFile(Value):
    """A path where nothing exists, and where somebody may be able to create a file; or a symlink to /dev/null."""

    path: PurePosixPath
    above: tuple[FoundFile, ...]
    """The directories of the path that exist, from the root on."""


class UnknownCause(Enum):
    """Why a file is unknown."""

    DENIED = "the kernel denied access to this user"
    DANGLING = "it is a symlink to nothing"
    INVALID = "its content is invalid"
    OTHER = "it could not be read"


class UnknownFile(Value):
    """A file that exists, or may exist, and that could not be read or has invalid content."""

    path: PurePosixPath
    reason: str
    """One line."""
    cause: UnknownCause = UnknownCause.OTHER


class MissingFile(Value):
    """A path where nothing exists."""

    path: PurePosixPath


class Matches(Value):
    """Files that one path of a check matches, in the order of their paths."""

    pattern: PurePosixPath
    """The path of the check, absolute on the host."""
    found: tuple[FoundFile, ...] = ()
    unknown: tuple[UnknownFile, ...] = ()
    absent: tuple[AbsentFile, ...] = ()
    """Only if the query requests access."""
    number: int = 0
    """The number of files and directories in a directory whose whole content a query requests.

    `found` then has the directory itself first, the targets of symlinks that lead out of it, and of the rest only what
    root does not own, or what its group or others can write.
    """


class EtcdConfiguration(Value):
    """The configuration that K3s wrote for its etcd."""

    path: PurePosixPath
    values: Mapping[str, EtcdValue]
    """As etcd_configuration.values returns them."""


class EncryptionConfiguration(Value):
    """An encryption configuration: the one that K3s wrote, or one of the operator."""

    path: PurePosixPath
    providers: tuple[str, ...]
    """As providers_of_secrets returns them."""
    key: str = ""
    """As key_of_secrets returns it."""
    problem: InputError | None = None
    """Why the API server exits at it."""


class CollectedEvidence(Value):
    """All evidence of one assessment."""

    node: str
    """The host's name in lower case; empty if none is set."""
    files: Mapping[FileQuery, tuple[Matches, ...]]
    """One element for each path of a query, in their order."""
    etcd: EtcdConfiguration | MissingFile | UnknownFile
    encryption: EncryptionConfiguration | MissingFile | UnknownFile
    shared_keys: frozenset[tuple[str, str]] = frozenset()
    """Paths below the data directory of a certificate, and of another file with its key."""
    with_credentials: frozenset[str] = frozenset()
    """Paths of the configuration of registries, if it has passwords or tokens."""
    audit_log: PurePosixPath | None = None
    """The audit log without symlinks; None if the API server writes none to a file."""
    image_verifiers: tuple[PurePosixPath, ...] = ()
    """The programs that containerd asks before it pulls an image."""
