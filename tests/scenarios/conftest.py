"""Host trees for the scenarios: one of each kind is made in a session, and every test gets its own copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from tests.scenarios.host_tree import HostTree, copied, disposable
from tests.scenarios.loaded_program import LoadedProgram

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Hardened(Protocol):
    """Makes a host on which `apply` was run."""

    def __call__(self, role: str = "server", version: str = "1.34") -> HostTree:
        """A copy of its own for the test."""


@pytest.fixture(scope="session")
def program() -> Iterator[LoadedProgram]:
    """The program, loaded once."""
    with LoadedProgram() as loaded:
        yield loaded


@pytest.fixture(scope="session")
def pristine(program: LoadedProgram, tmp_path_factory: pytest.TempPathFactory) -> HostTree:
    """A newly installed host, not to be changed."""
    return disposable(tmp_path_factory.mktemp("pristine") / "host", program)


@pytest.fixture(scope="session")
def templates() -> dict[tuple[str, str], HostTree]:
    """Hardened hosts by role and K3s version, not to be changed."""
    return {}


@pytest.fixture
def host(pristine: HostTree, tmp_path: Path) -> HostTree:
    """A newly installed host; options say that it is to be a server of K3s 1.34."""
    return copied(pristine, tmp_path / "host")


@pytest.fixture
def hardened(
    pristine: HostTree,
    templates: dict[tuple[str, str], HostTree],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Hardened:
    """Make a host on which `apply` was run, once in a test."""

    def make(role: str = "server", version: str = "1.34") -> HostTree:
        if (role, version) not in templates:
            made = copied(pristine, tmp_path_factory.mktemp(f"{role}-{version}") / "host")
            made.options = ("--role", role, "--k3s-version", version)
            done = made.run("apply")
            assert done.code == 0, done
            templates[role, version] = made
        return copied(templates[role, version], tmp_path / "hardened")

    return make
