"""The machine that the tests of this tier work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A new machine with Debian's kernel values, and no trace of K3s or of k3s-harden."""
    with Machine(tmp_path) as new:
        yield new
