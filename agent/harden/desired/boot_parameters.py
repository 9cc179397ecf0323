"""Kernel parameters that other files override at the next boot."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.linux.sysctl_order import SysctlFile, SysctlReader, at_boot, excluded, same_value
from agent.base.model import File, Location
from agent.base.repair import Edit
from agent.base.value import Value
from agent.harden.guide.sysctls import PARAMETERS_FILE, SYSCTLS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from agent.base.linux.sysctl_order import SysctlAssignment
    from agent.base.model import Resource
    from agent.harden.guide.sysctls import SysctlRow


class Override(Value):
    """What keeps a kernel parameter from the guide's value at the next boot."""

    message: str
    expected: str
    location: Location
    new: str
    """The text of the line that corrects it; empty: the line is removed."""
    found: str = ""

    def edit(self, line: str) -> Edit:
        """Return the correction of this line of the file."""
        return Edit(self.location, line.strip(), self.new)


def files_after_apply(
    files: Iterable[SysctlFile], desired: Iterable[Resource], *, is_refused: bool
) -> tuple[SysctlFile, ...]:
    """Return the files as they are once apply has written its own; `is_refused` if it leaves another file there.

    Before the first apply, the missing file must not look like an override.
    """
    if is_refused:
        return tuple(files)
    ours = (resource for resource in desired if isinstance(resource, File) and resource.id == PARAMETERS_FILE)
    others = (file for file in files if str(file.path) != PARAMETERS_FILE)
    return (*others, *(SysctlFile(file.path, file.content) for file in ours))


def overrides(
    files: Sequence[SysctlFile], reader: SysctlReader, waived: Container[str], *, is_refused: bool
) -> dict[str, Override]:
    """Return by kernel parameter what overrides it, given the files after apply."""
    keys = [row.key for row in SYSCTLS]
    outcome = at_boot(files, keys, reader)
    removed = excluded(files, keys) if reader is SysctlReader.SYSTEMD else {}
    is_unset = is_refused and all(file.is_readable for file in files)
    found = {}
    for row in SYSCTLS:
        line = outcome[row.key]
        override = _by_line(row, line) if line is not None else _unset(row, removed.get(row.key), is_unset=is_unset)
        if override is not None and row.key not in waived:
            found[row.key] = override
    return found


def _by_line(row: SysctlRow, line: SysctlAssignment) -> Override | None:
    if same_value(line.value, row.value):
        return None
    message = f"the next boot sets {row.key} to {line.value or 'an empty value'}"
    if line.is_rejected:
        message = f"{row.key} keeps the kernel's default at the next boot: `{line.value}` is not a valid value"
    return Override(message, row.value, line.location, f"{row.key}={row.value}", line.value)


def _unset(row: SysctlRow, removed: Location | None, *, is_unset: bool) -> Override | None:
    if not row.written:
        return None
    message = f"the next boot leaves {row.key} at the kernel's default"
    if removed is not None:
        return Override(message, row.value, removed, "", f"-{row.key}")
    if is_unset:
        message = f"no file sets {row.key} at the next boot, which leaves it at the kernel's default"
        location = Location(PurePosixPath(PARAMETERS_FILE))
        return Override(message, row.value, location, f"{row.key}={row.value}")
    return None
