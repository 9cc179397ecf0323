"""Packages, keys and systems for the tests of releases."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.release.distributions import Distribution
from tests.release.keys import Keys, temporary_keys
from tests.release.rpm_root import RpmRoot
from tests.tools.dist.build import build
from tests.tools.dist.packages import package

OLDER_VERSION = "0.0.1"


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of the working tree."""
    directory = tmp_path_factory.mktemp("dist")
    build(directory)
    return directory


@pytest.fixture(scope="session")
def older(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("older")
    (wheel,) = dist.glob("*.whl")
    package(wheel, directory, epoch=0, version=OLDER_VERSION)
    return directory


@pytest.fixture(scope="session")
def rpm(dist: Path) -> Path:
    (file,) = dist.glob("*.rpm")
    return file


@pytest.fixture(scope="session")
def keys() -> Iterator[Keys]:
    """GPG keys in a directory of their own."""
    with temporary_keys() as found:
        yield found


@pytest.fixture
def new_root() -> Iterator[Callable[[Distribution], RpmRoot]]:
    """Return a function that makes a system of a distribution."""
    # In memory, because the root file system of a container cannot be an upper layer.
    with tempfile.TemporaryDirectory(prefix="k3s-harden-", dir="/dev/shm") as name:
        yield partial(RpmRoot, Path(name))


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A directory and the URL by which a web server serves it."""
    directory = tmp_path / "served"
    directory.mkdir()
    handler = partial(_QuietHandler, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield directory, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
