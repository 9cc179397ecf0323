"""The reader of checklists of STIG Manager (NUWCDIVNPT), installed by npm."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests import npm_packages

_HERE = Path(__file__).parent


def read(checklist: Path) -> Any:
    """Return what STIG Manager reads from a .cklb file. Raises CalledProcessError if it rejects the file."""
    modules = npm_packages.installed(_HERE) / "node_modules"
    package = modules / "@nuwcdivnpt/stig-manager-client-modules/index.js"
    command = ("node", str(_HERE / "read.mjs"), str(package), str(checklist))
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
