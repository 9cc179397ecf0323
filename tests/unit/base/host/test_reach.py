"""Who reaches a file, compared with the kernel on random states: modes, owners, access control lists, links, mounts."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePosixPath

import pytest

from agent.base.linux.reach import READ, WRITE, FoundFile, reached, replacers
from agent.base.model import FileMode, Owner
from tests.programs_here import ran

NUMBER = int(os.environ.get("REACH_STATES", "500"))
"""States; 25 take a second."""
FIRST = int(os.environ.get("REACH_SEED", "0"))


@pytest.mark.root
def test_reach_agrees_with_the_kernel() -> None:
    script = (sys.executable, "-m", "tests.reach_states", str(FIRST), str(NUMBER))
    apart = ("unshare", "--mount", "--propagation", "private")
    done = ran(*apart, *script, cwd=Path(__file__).parents[4], timeout=60 + NUMBER)
    if done.returncode and "unshare" in done.stderr:
        pytest.skip(f"no mount namespace: {done.stderr}")
    assert (done.returncode, done.stdout.rpartition(", ")[2]) == (0, "0 wrong\n"), done.stdout + done.stderr


def found(path: str, mode: int, owner: tuple[int, int] = (0, 0), *entries: tuple[str, int, int]) -> FoundFile:
    return FoundFile(PurePosixPath(path), FileMode(mode), Owner(*owner), entries or None)


MEMBERS_OF_TWO = [found("/d", 0o755, (0, 777), ("owning group", 0, 5), ("group", 888, 4), ("others", 0, 5))]
USER_BY_LIST = [found("/d", 0o750, (0, 0), ("user", 1000, 1), ("owning group", 0, 5), ("others", 0, 0))]
ALL_BUT_A_GROUP = [found("/d", 0o705, (1001, 777)), found("/d/d", 0o710, (0, 777))]
FOR_888 = found("/d/file", 0o640, (0, 888))
FOR_OTHERS = found("/d/d/file", 0o604)
ROOT_BY_LIST = found("/d/file", 0o600, (0, 0), ("user", 0, 6), ("owning group", 0, 0), ("others", 0, 0))


@pytest.mark.parametrize(
    ("file", "way", "who"),
    [
        (FOR_888, MEMBERS_OF_TWO, ["groups 777 and 888"]),
        (FOR_888, USER_BY_LIST, ["user 1000 in group 888"]),
        (FOR_OTHERS, ALL_BUT_A_GROUP, ["user 1001 in group 777"]),
        (ROOT_BY_LIST, [found("/d", 0o755)], []),
    ],
)
def test_who_reads_a_file_only_as_a_member_of_groups(file: FoundFile, way: list[FoundFile], who: list[str]) -> None:
    assert [str(access.who) for access in reached(file, READ, way) if access.closed is None] == who


def test_the_owner_of_a_sticky_directory_replaces_as_a_member_of_a_group() -> None:
    way = [found("/data", 0o750, (0, 999)), found("/data/sticky", 0o1777, (1001, 888))]
    assert {str(access.who) for access in replacers(way) if access.closed is None} == {"user 1001 in group 999"}
    assert not [*reached(found("/data/sticky/file", 0o600), WRITE, way)]
