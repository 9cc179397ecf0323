"""Start-up time of each release file compared with the wheel: `python -m tests.dist.start_up [RUNS]`.

All use the same Python and run in turn. The unit is processor time, on which other load has less influence.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Union

from tests.dist import reading
from tests.dist.build import build
from tests.dist.payload import gather
from tests.dist.single_file import single_file
from tests.dist.tools import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Sequence

_RUNS = 20
_HOST = ("--role", "server", "--k3s-version", "1.34")

Command = tuple[Union[str, Path], ...]


def main() -> None:
    """Build, install everything in a temporary directory, and print medians and their ratios."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else _RUNS
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        host = directory / "host"
        subprocess.run([CHECKOUT / ".ci/disposable-host", host], check=True)
        programs = _installed(directory)
        subprocess.run([*programs["wheel"], "apply", "--root", host, *_HOST], check=True, stdout=subprocess.DEVNULL)
        for words in (("--version",), ("check", "--root", host, *_HOST)):
            _measure(programs, words, runs)


def _installed(directory: Path) -> dict[str, Command]:
    """Install each kind for the Python that runs this; return the commands."""
    made = build(directory / "dist")
    files = {file.suffix: file for file in made}
    venv.create(directory / "venv", with_pip=True)
    pip = (directory / "venv/bin/pip", "--disable-pip-version-check", "install", "--quiet")
    pins = CHECKOUT / "tests/requirements-run.txt"
    subprocess.run([*pip, "--require-hashes", "--requirement", pins], check=True)
    subprocess.run([*pip, "--no-deps", files[".whl"]], check=True)
    libraries = list((directory / "venv/lib").glob("python*/site-packages"))
    python = Path(sys.executable).resolve()
    source_only = directory / "source-only"
    source_only.write_bytes(single_file(gather(files[".whl"]), 0x5E000000, ()))
    programs: dict[str, Command] = {
        "wheel": (directory / "venv/bin/k3s-harden",),
        "single file": (_run_by(python, files[".pyz"]),),
        "single file, source only": (_run_by(python, source_only),),
    }
    for kind, read in ((".deb", reading.deb), (".rpm", reading.rpm)):
        root = directory / kind
        reading.lay_out(read(files[kind]), root, python, libraries)
        subprocess.run([python, "-m", "compileall", "-q", root / "usr/lib/k3s-harden"], check=True)
        programs[kind] = (root / "usr/bin/k3s-harden",)
    return programs


def _run_by(python: Path, file: Path) -> Path:
    """Return a copy of the single file whose shell script finds this Python first."""
    copy = file.with_name(f"{file.name}-here")
    copy.write_bytes(file.read_bytes().replace(b"/usr/bin/$python", bytes(python)))
    copy.chmod(0o755)
    return copy


def _measure(programs: dict[str, Command], words: Sequence[str | Path], runs: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(runs):
        for name, command in programs.items():
            before = _processor_time()
            subprocess.run([*command, *words], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(_processor_time() - before)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    sys.stdout.write(f"k3s-harden {words[0]}, median of {runs}, Python {sys.version.split()[0]}\n")
    for name, median in medians.items():
        sys.stdout.write(f"  {name:26} {median * 1000:6.1f} ms  {median / medians['wheel']:.2f}\n")


def _processor_time() -> float:
    """Return the processor time of all finished child processes in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
