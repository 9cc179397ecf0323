"""The machine of the system tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A new machine with Debian's kernel values in files, without K3s and k3s-harden."""
    with Machine(tmp_path) as new:
        yield new
