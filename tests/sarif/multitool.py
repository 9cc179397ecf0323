"""Microsoft's SARIF Multitool, which has the rules of GitHub code scanning: installed by npm, pinned by hash."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests import npm_packages

HERE = Path(__file__).parent


def lacking() -> str:
    """Return why the tool cannot run here, or an empty string."""
    if platform.machine() != "x86_64":
        return "needs x86-64, for which SARIF Multitool is built"
    return npm_packages.lacking()


def installed() -> Path:
    program = npm_packages.installed(HERE) / "node_modules/@microsoft/sarif-multitool-linux/Sarif.Multitool"
    program.chmod(0o755)  # its install script only makes the program executable
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
