"""Microsoft's SARIF Multitool, which has the rules of GitHub code scanning: installed by npm, pinned by hash."""

from __future__ import annotations

import fcntl
import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent
_CACHE = HERE.parents[1] / ".cache/sarif"
_PINS = ("package.json", "package-lock.json")


def lacking() -> str:
    """Return why the tool cannot run here, or an empty string."""
    if platform.machine() != "x86_64":
        return "needs x86-64, for which SARIF Multitool is built"
    return "" if shutil.which("npm") else "needs npm: apt-get install -y npm"


def installed() -> Path:
    """Return the program; npm installs it once for each version."""
    _CACHE.mkdir(parents=True, exist_ok=True)
    program = _CACHE / "node_modules/@microsoft/sarif-multitool-linux/Sarif.Multitool"
    with (_CACHE.parent / "sarif.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        current = all(
            (_CACHE / name).exists() and (_CACHE / name).read_bytes() == (HERE / name).read_bytes() for name in _PINS
        )
        if not (current and program.exists()):
            for name in _PINS:
                shutil.copyfile(HERE / name, _CACHE / name)
            # Its install script only makes the program executable.
            command = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(_CACHE))
            run = subprocess.run(command, cwd=_CACHE, capture_output=True, text=True, check=False)
            if run.returncode:
                (_CACHE / _PINS[0]).unlink()
                raise RuntimeError(f"npm cannot install SARIF Multitool:\n{run.stderr.strip()}")
            program.chmod(0o755)
    return program


def complaints(logs: Iterable[Path], output: Path) -> list[str]:
    """Return the violations of GitHub code scanning's rules, as rule and message; `output` is a file to write."""
    command = (
        *(str(installed()), "validate", *map(str, logs)),
        *("--rule-kind", "Ghas", "--config", str(HERE / "github.xml")),
        *("--level", "Error;Warning;Note", "--kind", "Fail", "--output", str(output), "--log", "ForceOverwrite"),
    )
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode or not output.exists():
        # The tool fails to format the messages of some rules.
        return [run.stdout.strip() or run.stderr.strip()]
    (only,) = json.loads(output.read_text(encoding="utf-8-sig"))["runs"]
    return [f"{result['ruleId']}: {result['message']}" for result in only.get("results", [])]
