"""What is handed out: the same bytes from the same commit, with what each has to bring, running where it is to run."""

from __future__ import annotations

import ast
import gzip
import hashlib
import io
import lzma
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple
from zipfile import ZipFile

import psutil
import pytest
import yaml

from agent import __version__, k3s_units
from tests.dist.manual import manual
from tests.dist.single_file import interpreters
from tests.dist.tools import CHECKOUT
from tests.docs import commands, program_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Built once, and by one worker.
pytestmark = pytest.mark.xdist_group("dist")

EPOCH = 1_700_000_000
MAINTAINER_SCRIPTS = sorted(
    file for kind in ("deb", "rpm") for file in (CHECKOUT / ".ci/dist" / kind).iterdir() if file.suffix != ".py"
)
HOST = ("--role", "server", "--k3s-version", "1.34")


class Member(NamedTuple):
    """A file or directory of a package. `owner` is user:group."""

    mode: int
    owner: str
    data: bytes = b""


def build(directory: Path, checkout: Path = CHECKOUT, umask: int = 0o022, **environment: str) -> Path:
    """Build as `make dist` does; gives the directory back."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.dist", directory],
        cwd=checkout,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), **environment},
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return directory


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A disposable host tree."""
    subprocess.run([CHECKOUT / ".ci/disposable-host", tmp_path / "host"], check=True)
    return tmp_path / "host"


def the(directory: Path, pattern: str) -> Path:
    (file,) = directory.glob(pattern)
    return file


# --- all of it ---


def test_the_same_commit_gives_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    """Another directory, another day, another user's habits: nothing of them is in what is built."""
    copy = tmp_path / "elsewhere"
    ignored = shutil.ignore_patterns(".git", ".cache", ".venv*", ".run", ".hypothesis", "*_cache", "dist", "__pycache__")
    shutil.copytree(CHECKOUT, copy, symlinks=True, ignore=lambda where, names: {*ignored(where, names)} - {"tests/dist"})
    shutil.copytree(CHECKOUT / "tests/dist", copy / "tests/dist", ignore=ignored)
    shutil.copytree(CHECKOUT / ".ci/dist", copy / ".ci/dist")
    (copy / ".cache").mkdir()
    (copy / ".cache/dist").symlink_to(CHECKOUT / ".cache/dist")
    for file in copy.rglob("*.py"):
        os.utime(file, (0, 0))
    again = build(tmp_path / "again", copy, umask=0o077, TZ="Pacific/Auckland", LC_ALL="C", HOME="/nonexistent")
    assert (again / "SHA256SUMS").read_text() == (dist / "SHA256SUMS").read_text()


def test_the_checksums_are_those_of_all_files(dist: Path) -> None:
    """What sha256sum --check reads names each file that lies beside it, and is right."""
    said = dict(reversed(line.split("  ")) for line in (dist / "SHA256SUMS").read_text().splitlines())
    assert said == {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in dist.iterdir() if file.name != "SHA256SUMS"
    }
    assert {file.suffix for file in dist.iterdir()} == {".deb", ".rpm", ".whl", ".gz", ".pyz", ""}


def test_the_wheel_holds_the_package_and_nothing_else(dist: Path) -> None:
    """Every file of agent/, the units as files of their own, and no tests, caches or links."""
    with ZipFile(the(dist, "*.whl")) as wheel:
        held = {name: wheel.read(name) for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == {f"agent/{path}": data for path, data in package_files()}
    assert "agent/units/k3s-harden.service" in held


def package_files() -> Iterator[tuple[PurePosixPath, bytes]]:
    """The files of agent/ and, in place of its link, those of systemd/."""
    for top, prefix in ((CHECKOUT / "agent", "."), (CHECKOUT / "systemd", "units")):
        for file in top.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts and not file.relative_to(top).is_relative_to("units"):
                yield PurePosixPath(prefix) / file.relative_to(top), file.read_bytes()


def test_the_source_archive_builds_the_same_wheel(dist: Path, tmp_path: Path) -> None:
    """Who starts from the archive, with no git and no links, gets what we hand out."""
    with tarfile.open(the(dist, "*.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=the(tmp_path, "k3s_harden-*/"),
        env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)},
        capture_output=True,
        check=True,
    )
    assert the(tmp_path, "*.whl").read_bytes() == the(dist, "*.whl").read_bytes()


# --- the single file ---


def alone(dist: Path, *words: str | Path, by: Sequence[str | Path] = ()) -> subprocess.CompletedProcess[str]:
    """Run the single file with an empty environment, where nothing can be written."""
    command = [*by, the(dist, "*.pyz"), *words]
    return subprocess.run(command, env={}, cwd="/proc", capture_output=True, text=True, check=False)


@pytest.mark.parametrize("interpreter", interpreters(), ids=lambda one: str(one.version))
def test_the_single_file_does_its_job_on_each_python(dist: Path, tree: Path, interpreter: object) -> None:
    """No pip, no HOME, no PATH, no place for temporary files: apply converges, and check says so."""
    by = (getattr(interpreter, "path"), "-I")  # noqa: B009
    done = alone(dist, "apply", "--root", tree, *HOST, by=by)
    assert done.returncode == 0, done.stderr
    assert (tree / "etc/sysctl.d/90-kubelet.conf").exists()
    assert alone(dist, "check", "--root", tree, *HOST, by=by).returncode == 0
