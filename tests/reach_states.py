"""Random states of a file, its names and their directories, and who reaches it: by the kernel, and by `reach`.

Run as root in a mount namespace of its own: `unshare --mount python -m tests.reach_states SEED NUMBER`. Prints each
state about which the two differ.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path, PurePosixPath

from agent.assess.checks.evidence import FileQuery
from agent.assess.evidence.file_evidence import FileFinder
from agent.base.host import Host
from agent.base.linux.reach import READ, WRITE, Party, reached, replacers

USERS = (1000, 1001)
GROUPS = (777, 888, 999)
STRANGER = 60000
_MEMBERSHIPS = tuple(chosen for number in range(len(GROUPS) + 1) for chosen in combinations(GROUPS, number))
PARTIES = (*(Party(user, groups) for user in (None, *USERS) for groups in _MEMBERSHIPS), Party(groups=(0,)))
"""Others and each user that a state names, as members of each of its groups, of several and of none."""
_NOBODY = 2**32 - 1
_DIRECTORY_MODES = (0o700, 0o700, 0o711, 0o710, 0o750, 0o755, 0o755, 0o775, 0o777, 0o1777, 0o705, 0o2750)
_FILE_MODES = (0o600, 0o600, 0o644, 0o640, 0o660, 0o666, 0o604, 0o000)


class State:
    """A file below a directory of its own, with all that decides who reaches it."""

    def __init__(self, number: int, top: Path) -> None:
        self.chance = random.Random(number)  # noqa: S311 - reproducible states
        self.shown: list[str] = []
        self.names: list[Path] = []
        self.mounts: list[Path] = []
        self.top = top / f"state-{number}"
        self.top.mkdir(mode=0o755)
        here = self._directories(self.top / "data", self.chance.randint(1, 3))
        self.path = here / "file"
        self.path.write_text("secret\n")
        self._grant(self.path, _FILE_MODES)
        self.names.append(self.path)
        self.used = self.path
        kind = self.chance.choice(("", "", "link", "mount", "file mount", "symlink", "directory symlink"))
        if kind:
            self._further(kind)

    def _directories(self, top: Path, number: int) -> Path:
        here = top
        here.mkdir()
        for level in range(number):
            if level:
                here = here / f"d{level}"
                here.mkdir()
            self._grant(here, _DIRECTORY_MODES)
        return here

    def _further(self, kind: str) -> None:
        other = self._directories(self.top / "other", self.chance.randint(1, 2)) / "name"
        if kind == "link":
            os.link(self.path, other)
            self.names.append(other)
        elif kind == "symlink":
            other.symlink_to(self.path)
            self.used = other
            self.names.append(other)
        elif kind == "directory symlink":
            other.symlink_to(self.path.parent)
            self.used = other / self.path.name
            self.names.append(self.used)
        elif kind == "file mount":
            other.touch()
            self._mount(self.path, other)
            self.names.append(other)
        else:
            source = self.chance.choice([parent for parent in self.path.parents if self.top in parent.parents])
            other.mkdir()
            self._mount(source, other)
            self.names.append(other / self.path.relative_to(source))
        self.shown.append(f"{kind} at {self.names[-1]}")

    def _mount(self, source: Path, point: Path) -> None:
        subprocess.run(["mount", "--bind", str(source), str(point)], check=True)
        self.mounts.append(point)

    def _grant(self, path: Path, modes: tuple[int, ...]) -> None:
        chance = self.chance
        mode = chance.choice(modes) if chance.random() < 0.8 else chance.randrange(0o1000)
        owner = chance.choice((0, 0, 0, 0, *USERS)), chance.choice((0, 0, 0, *GROUPS))
        os.chown(path, *owner)
        path.chmod(mode)
        entries: list[tuple[int, int, int]] = []
        if chance.random() < 0.3:
            users = [(2, chance.randrange(8), user) for user in (0, *USERS) if chance.random() < 0.5]
            groups = [(8, chance.randrange(8), group) for group in GROUPS if chance.random() < 0.5]
            own = chance.randrange(8)
            mask = (0x10, chance.choice((7, 7, chance.randrange(8))), _NOBODY)
            entries = [(1, mode >> 6 & 7, _NOBODY), *users, (4, own, _NOBODY), *groups, mask, (0x20, mode & 7, _NOBODY)]
            data = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
            os.setxattr(path, "system.posix_acl_access", data)
        self.shown.append(f"{path} {mode:04o} {owner} {entries}")

    def predicted(self) -> dict[str, set[Party]]:
        """Return who can read and who can write the file, as `reach` has it; writing includes replacing."""
        query = FileQuery((str(self.used),), access=True, secret=True)
        (file,) = FileFinder(Host.real()).matches(PurePosixPath(self.used), query).found
        assert not file.unfound, file.unfound
        writes = (*reached(file, WRITE), *replacers(file.above))
        return {"read": _open(reached(file, READ)), "write": _open(writes)}

    def by_the_kernel(self) -> dict[str, set[Party]]:
        """Return the same, as the kernel has it: each party tries."""
        found: dict[str, set[Party]] = {"read": set(), "write": set()}
        for party in PARTIES:
            for verb in _as(party, self):
                found[verb].add(party)
        return found

    def remove(self) -> None:
        for point in self.mounts:
            subprocess.run(["umount", str(point)], check=True)
        subprocess.run(["rm", "-r", str(self.top)], check=True)

    def tried(self) -> Iterator[str]:
        """Yield what this process can do."""
        for name in self.names:
            self._take_what_is_own(name)
            for verb, flags in (("read", os.O_RDONLY), ("write", os.O_WRONLY)):
                try:
                    os.close(os.open(name, flags))
                    yield verb
                except OSError:
                    pass
        entries = [parent for name in {self.path, self.used} for parent in (name, *name.parents)]
        for entry in {entry for entry in entries if self.top in entry.parents}:
            for by in [entry, *self._elsewhere(entry)]:
                try:
                    by.rename(by.with_name("moved"))
                except OSError:
                    continue
                by.with_name("moved").rename(by)
                yield "write"

    def _elsewhere(self, entry: Path) -> Iterator[Path]:
        if self.mounts and self.names[-1] != self.mounts[0]:
            source = Path(str(self.path).removesuffix(str(self.names[-1].relative_to(self.mounts[0]))))
            if source in entry.parents:
                yield self.mounts[0] / entry.relative_to(source)

    def _take_what_is_own(self, name: Path) -> None:
        """Give the owner all permissions, as an owner can do at any time."""
        for path in (*reversed(name.parents), name):
            try:
                found = path.stat()
                if found.st_uid == os.geteuid():
                    path.chmod(found.st_mode & 0o7777 | 0o700)
            except OSError:
                return


def _open(accesses: object) -> set[Party]:
    return {access.who for access in accesses if access.closed is None}  # type: ignore[attr-defined]


def _as(party: Party, state: State) -> set[str]:
    """Try as a party: without effective user 0, the kernel takes the capabilities."""
    os.setgroups(party.groups)
    os.setegid(party.groups[0] if party.groups else STRANGER)
    os.seteuid(STRANGER if party.user is None else party.user)
    try:
        return {*state.tried()}
    finally:
        os.seteuid(0)
        os.setegid(0)


def main(first: int, number: int) -> None:
    """Try states, and print those that are judged wrongly."""
    differing = reachable = 0
    with tempfile.TemporaryDirectory(dir="/srv") as directory:
        top = Path(directory)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "states", directory], check=True)
        top.chmod(0o755)
        for seed in range(first, first + number):
            state = State(seed, top)
            predicted, actual = state.predicted(), state.by_the_kernel()
            for verb, truth in actual.items():
                reachable += bool(truth)
                wrong = predicted[verb] - truth
                if bool(predicted[verb]) != bool(truth) or wrong:
                    differing += 1
                    difference = f"{verb} by {sorted(map(str, truth))}; predicted {sorted(map(str, predicted[verb]))}"
                    sys.stdout.write("\n    ".join((f"state {seed}: {difference}", *state.shown)) + "\n")
            state.remove()
        subprocess.run(["umount", directory], check=True)
    sys.stdout.write(f"{number} states, {reachable} reached, {differing} wrong\n")
    sys.exit(differing > 0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
