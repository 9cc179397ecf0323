"""Who reaches a file: by modes, owners and access control lists of it, and of the directories of all its names. Pure.

The rules are those of the kernel (Linux, fs/namei.c and fs/posix_acl.c), for every process that is not root's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import PurePosixPath
from typing import NamedTuple

from agent.base.linux.file_systems import REGULAR_FILE
from agent.base.model import GROUP_OR_OTHERS_WRITE, FileMode, Owner
from agent.base.value import Value

AccessList = tuple[tuple[str, int, int], ...]
"""Kind ("user", "group", "owning group", "others"), user or group, and permissions (rwx) of each entry."""

READ, WRITE, ENTER = 0o4, 0o2, 0o1
REPLACE = WRITE | ENTER
"""The permissions on a directory with which entries are added and replaced."""
ALL = READ | WRITE | ENTER
_ALL_ENTER = ENTER << 3 | ENTER
_STICKY = 0o1000


class Party(NamedTuple):
    """A process other than root's: of any user, or of one user, who can be a member of groups."""

    user: int | None = None
    groups: tuple[int, ...] = ()

    def __str__(self) -> str:
        names = " and ".join(map(str, self.groups))
        members = f"group{'s' if len(self.groups) > 1 else ''} {names}" if names else ""
        user = f"user {self.user}" if self.user is not None else ""
        return " in ".join(filter(None, (user, members))) or "others"


OTHERS = Party()


class FoundFile(Value, not_compared=("kind", "links")):
    """A file or directory, or a directory through which its path leads.

    Mode and owner are those of a symlink's target, because K3s uses the target.
    """

    path: PurePosixPath
    mode: FileMode
    owner: Owner
    acl: AccessList | None = None
    """The access control list; None if it has only a mode, or if no access was asked for."""
    above: tuple[FoundFile, ...] = ()
    """The directories that lead to it, from the root on; empty if no access was asked for."""
    other_names: tuple[tuple[PurePosixPath, tuple[FoundFile, ...]], ...] = ()
    """Further names by hard links and mounts that matter, each with the directories that lead to it."""
    unfound: str = ""
    """Why not all of its names are known."""
    is_real: bool = True
    """Whether a directory is part of the real path; otherwise it has a symlink that the path follows."""
    kind: str = REGULAR_FILE
    links: int = 1


class Access(Value):
    """A party has a permission on a file or directory."""

    who: Party
    item: FoundFile
    closed: FoundFile | None
    """The first directory of its path that the party cannot enter, if it can enter those of no name."""
    name: PurePosixPath
    """A name by which it is reached."""


def parties(item: FoundFile) -> Iterator[Party]:
    """Yield whom the owner, the mode and the list of a file name, and others.

    The owning group is only named if it has permissions that others do not have, or that another group does not have.
    """
    if item.owner.uid:
        yield Party(item.owner.uid)
    for kind, number, _ in item.acl or ():
        if kind == "group" or (kind == "user" and number):
            yield Party(number) if kind == "user" else Party(groups=(number,))
    yield OTHERS
    owning = Party(groups=(item.owner.gid,))
    granted = sum(right for right in (READ, WRITE, ENTER) if permits(owning, item, right))
    if any(kind == "group" for kind, _, _ in item.acl or ()) or granted & ~item.mode & ALL:
        yield owning


def permits(who: Party, item: FoundFile, wanted: int) -> bool:
    """Return whether a party has permissions on a file or directory, or can get them: an owner can change the mode."""
    if who == OTHERS:
        return item.mode & wanted == wanted
    if who.user is not None and who.user == item.owner.uid:
        return True
    listed = item.acl or (("owning group", 0, item.mode >> 3 & ALL),)
    by_user = [granted for kind, number, granted in listed if kind == "user" and number == who.user]
    by_group = [
        granted
        for kind, number, granted in listed
        if (kind == "group" and number in who.groups) or (kind == "owning group" and item.owner.gid in who.groups)
    ]
    return any(granted & wanted == wanted for granted in by_user or by_group or [item.mode & ALL])


def reached(item: FoundFile, wanted: int, above: Sequence[FoundFile] | None = None) -> Iterator[Access]:
    """Yield the parties that have permissions on a file or directory; `above` are the directories of its path.

    Those that it names come first, whether they reach it or not. Of the others that only the directories name, those
    follow that reach it although nobody else does; at last, the first of the users and members of several groups, and
    the owner as a member of groups.
    """
    ways = [
        (item.path, real(item.above) if above is None else above),
        *((name, real(way)) for name, way in item.other_names),
    ]
    accesses = [_access(who, item, ways) for who in parties(item) if permits(who, item, wanted)]
    yield from accesses
    if any(access.closed is None and access.who == OTHERS for access in accesses):
        return
    named = {who for _, way in ways for directory in way for who in _narrow(directory)}
    further = [
        _access(who, item, ways) for who in sorted(named - {*parties(item)}, key=str) if permits(who, item, wanted)
    ]
    yield from (access for access in further if access.closed is None)
    is_by_group = any(access.closed is None and access.who.groups for access in (*accesses, *further))
    mixed = [_access(who, item, ways) for who in _members({*named, *parties(item)}) if permits(who, item, wanted)]
    first = {access.who.user == item.owner.uid: access for access in reversed(mixed) if access.closed is None}
    yield from (access for is_owner, access in first.items() if is_owner or not is_by_group)


def replacers(way: Sequence[FoundFile], *, is_absent: bool = False) -> Iterator[Access]:
    """Yield the parties that can replace a file, or create an absent one, by a directory of the way to it.

    In a sticky directory only its owner replaces the entries of others, and everybody who can write it creates some.
    """
    for position, directory in enumerate(way):
        if not directory.mode & GROUP_OR_OTHERS_WRITE and directory.acl is None and directory.owner.uid == 0:
            continue
        only_owner = directory.mode & _STICKY and not (is_absent and position == len(way) - 1)
        above = [parent for parent in way[:position] if parent.path in directory.path.parents]
        for access in reached(directory, REPLACE, above):
            if not only_owner or access.who.user == directory.owner.uid:
                yield access


def _narrow(directory: FoundFile) -> Iterable[Party]:
    """Return whom a directory names, if its mode permits not everybody to enter."""
    return () if directory.mode & _ALL_ENTER == _ALL_ENTER and directory.acl is None else parties(directory)


def _members(named: Iterable[Party]) -> Iterator[Party]:
    """Yield users as members of one group, of two and of all, and other members of two and of all."""
    # Root's own group is in none of them: whoever is in it is counted alone.
    groups = sorted({group for who in named for group in who.groups if group})
    users = sorted({who.user for who in named if who.user is not None})
    for number in sorted({1, 2, len(groups)}):
        for chosen in combinations(groups, number) if number else ():
            yield from (Party(user, chosen) for user in ((None, *users) if number > 1 else users))


def _access(who: Party, item: FoundFile, ways: Sequence[tuple[PurePosixPath, Sequence[FoundFile]]]) -> Access:
    # The root of a --root tree has the mode of a working directory, such as that of mktemp(1), and closes nothing.
    below = ([directory for directory in way if directory.path.name] for _, way in ways)
    closing = [next((directory for directory in way if not permits(who, directory, ENTER)), None) for way in below]
    number = closing.index(None) if None in closing else 0
    return Access(who, item, closing[number], ways[number][0])


def is_closed(way: Iterable[FoundFile]) -> bool:
    """Return whether somebody may be unable to enter one of the directories of a path without symlinks."""
    return any((~directory.mode & _ALL_ENTER or directory.acl) and directory.path.name for directory in real(way))


def real(way: Iterable[FoundFile]) -> list[FoundFile]:
    """Return the directories of the path without symlinks, which alone can close it."""
    return [directory for directory in way if directory.is_real]
