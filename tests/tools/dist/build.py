"""Reproducible build of the release files: the same commit and tools produce the same bytes.

The wheel is built first; the other files are made from its contents.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from agent import __version__
from tests.programs_here import ran
from tests.tools.dist.packages import package
from tests.tools.dist.payload import gather
from tests.tools.dist.single_file import interpreters, single_file
from tests.tools.dist.tools import CHECKOUT, CannotBuildError

SUMS = "SHA256SUMS"


def build(directory: Path) -> list[Path]:
    """Build into a directory, whose old files are removed; return the files, the one with their checksums last."""
    epoch = build_time()
    with tempfile.TemporaryDirectory() as name:
        staging = Path(name)
        wheel = build_wheel(staging, epoch)
        alone = staging / f"k3s-harden-{__version__}.pyz"
        alone.write_bytes(single_file(gather(wheel), epoch, interpreters()))
        package(wheel, staging, epoch)
        made = sorted(staging.iterdir())
        write_checksums(made, staging)
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.iterdir():
            old.unlink()
        for file in (*made, staging / SUMS):
            target = directory / file.name
            target.write_bytes(file.read_bytes())
            target.chmod(0o755 if file == alone else 0o644)
    return [directory / file.name for file in made] + [directory / SUMS]


def write_checksums(files: Iterable[Path], directory: Path) -> None:
    """Write the checksums of these files to a file that `sha256sum --check` reads."""
    sums = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    (directory / SUMS).write_text(sums, encoding="utf-8")


def build_time() -> int:
    """Return the time that all archives contain, in seconds: SOURCE_DATE_EPOCH, or that of the commit."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        given = ran("git", "-C", CHECKOUT, "log", "-1", "--format=%ct").stdout.strip()
    if not given.isdecimal():
        raise CannotBuildError("the time of the commit is unknown: this is not a git checkout; set SOURCE_DATE_EPOCH")
    return int(given)


def build_wheel(directory: Path, epoch: int) -> Path:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
    run = ran(sys.executable, "-m", "hatchling", "build", "--directory", directory, cwd=CHECKOUT, env=environment)
    if run.returncode:
        raise CannotBuildError(f"hatchling cannot build the wheel:\n{run.stderr.strip()}")
    (wheel,) = directory.glob("*.whl")
    return wheel
