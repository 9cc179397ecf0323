"""The machine of the system tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A new machine with Debian's kernel values in files, without K3s and k3s-harden."""
    with Machine(tmp_path) as new:
        yield new


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory if possible, because many short runs call fsync often."""
    memory = "/dev/shm"  # noqa: S108 - mkdtemp creates the name below it
    directory = Path(tempfile.mkdtemp(dir=memory)) if os.access(memory, os.W_OK) else tmp_path
    yield directory
    if directory != tmp_path:
        shutil.rmtree(directory)
