"""The kinds of question that a control asks of a host, each with what the answer has to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agent.guide.criteria import Criterion
    from agent.guide.files import DirectoryRow
    from agent.guide.sysctls import SysctlRow
    from agent.model import Component, FileMode


class Permissions(NamedTuple):
    """No file may have a permission bit beyond `most`.

    `paths` are relative to the data directory or absolute. `*` in the last part stands for any name, `**` for every
    file below, at any depth, and `**/` before the last part for any depth; names in `except_names` are left out.
    `directories` says that the paths are directories.
    """

    paths: tuple[str, ...]
    most: FileMode
    except_names: tuple[str, ...] = ()
    directories: bool = False


class Ownership(NamedTuple):
    """Everything at these paths, written as in Permissions, belongs to root:root."""

    paths: tuple[str, ...]
    except_names: tuple[str, ...] = ()
    directories: bool = False


WHY_OWNERSHIP = "Whoever owns a file can give it any mode."
"""Why a control asks for the owner of a file beside its mode."""


class Flag(NamedTuple):
    """A component's argument has a value that `criterion` accepts, whoever set it: the operator, or K3s itself.

    `unset_passes` says whether the component's own default meets the control. Names have no dashes in front.
    """

    component: Component
    name: str
    criterion: Criterion
    unset_passes: bool = False


class EtcdSetting(NamedTuple):
    """A key of the configuration that K3s writes for its etcd, dots leading into mappings.

    A criterion may hold the field {data_dir}.
    """

    key: str
    criterion: Criterion
    unset_passes: bool = False


class EncryptionProviders(NamedTuple):
    """The first provider in K3s' encryption configuration, which encrypts what is written, is one of these."""

    providers: tuple[str, ...]


class KernelParameter(NamedTuple):
    """A kernel parameter has the guide's value now, and will have it after the next boot."""

    row: SysctlRow


class GuideDirectory(NamedTuple):
    """A directory has the guide's exact mode, and belongs to root:root."""

    row: DirectoryRow


class SysctlPrecedence(NamedTuple):
    """No file that is read at boot takes a value of 90-kubelet.conf back."""


class AllOf(NamedTuple):
    """Each of these holds."""

    checks: tuple[Flag | EtcdSetting | Permissions | Ownership, ...]


class NotInK3s(NamedTuple):
    """K3s has nothing that this could be asked of; `reason` is a sentence that says why."""

    reason: str


class Manual(NamedTuple):
    """Only a person, or the API server, can tell; `look` says what to look at, in one sentence or command."""

    look: str


Check = (
    Permissions
    | Ownership
    | Flag
    | EtcdSetting
    | EncryptionProviders
    | KernelParameter
    | GuideDirectory
    | SysctlPrecedence
    | AllOf
    | NotInK3s
    | Manual
)
