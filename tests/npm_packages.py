"""Packages of npm that tests use, pinned by hash: a folder of tests has package.json and package-lock.json."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

_CACHE = Path(__file__).parents[1] / ".cache"
_PINS = ("package.json", "package-lock.json")


def lacking() -> str:
    """Return why nothing can be installed here, or an empty string."""
    return "" if shutil.which("npm") else "needs npm: apt-get install -y npm"


def installed(pins: Path) -> Path:
    """Return the directory with node_modules of the packages that a folder pins; npm installs them once."""
    cache = _CACHE / pins.name
    cache.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{pins.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        current = all(
            (cache / name).exists() and (cache / name).read_bytes() == (pins / name).read_bytes() for name in _PINS
        )
        if not (current and (cache / "node_modules").exists()):
            for name in _PINS:
                shutil.copyfile(pins / name, cache / name)
            command = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(cache))
            run = subprocess.run(command, cwd=cache, capture_output=True, text=True, check=False)
            if run.returncode:
                (cache / _PINS[0]).unlink()
                raise RuntimeError(f"npm cannot install {pins.name}:\n{run.stderr.strip()}")
    return cache
