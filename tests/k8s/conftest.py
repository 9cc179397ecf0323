"""The components under test. `make k8s-test` builds them; K3S=/path/to/k3s runs the tests with a real K3s instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.k8s import binaries as programs
from tests.k8s.outcome import Trials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.k8s.binaries import Binaries


@pytest.fixture(scope="session")
def binaries() -> Binaries:
    """Return the programs, built first if the cache does not have them."""
    return programs.ready()


@pytest.fixture(scope="session")
def trials(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    """A node on which single components are started; see tests/k8s/outcome.py."""
    if programs.real_k3s():
        pytest.skip("starts single components, which K3s cannot do: run it without K3S=")
    with Trials(tmp_path_factory.mktemp("trials"), binaries) as shared:
        yield shared
