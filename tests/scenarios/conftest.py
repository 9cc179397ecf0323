"""Fixtures of host trees: each kind is created once per session, and each test gets its own copy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.scenarios.host_tree import HostTree, copied, disposable
from tests.scenarios.loaded_program import LoadedProgram


class Hardened(Protocol):
    """A factory of hosts on which `apply` was run."""

    def __call__(self, role: str = "server", version: str = "1.34") -> HostTree:
        """Return a copy for the test."""


@pytest.fixture(scope="session")
def program() -> Iterator[LoadedProgram]:
    with LoadedProgram() as loaded:
        yield loaded


@pytest.fixture(scope="session")
def pristine(program: LoadedProgram, tmp_path_factory: pytest.TempPathFactory) -> HostTree:
    """A newly installed host; tests must not change it."""
    return disposable(tmp_path_factory.mktemp("pristine") / "host", program)


@pytest.fixture(scope="session")
def templates() -> dict[tuple[str, str], HostTree]:
    """Hardened hosts by role and K3s version; tests must not change them."""
    return {}


@pytest.fixture
def host(pristine: HostTree, tmp_path: Path) -> HostTree:
    """A newly installed host. Its options select a server of K3s 1.34."""
    return copied(pristine, tmp_path / "host")


@pytest.fixture
def hardened(
    pristine: HostTree,
    templates: dict[tuple[str, str], HostTree],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Hardened:
    """Return a function that creates a host on which `apply` was run; each test can call it once."""

    def make(role: str = "server", version: str = "1.34") -> HostTree:
        if (role, version) not in templates:
            made = copied(pristine, tmp_path_factory.mktemp(f"{role}-{version}") / "host")
            made.options = ("--role", role, "--k3s-version", version)
            done = made.run("apply")
            assert done.code == 0, done
            templates[role, version] = made
        return copied(templates[role, version], tmp_path / "hardened")

    return make
