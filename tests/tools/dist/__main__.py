"""Build all release files in dist/ or another directory: `make dist`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.tools.dist.build import build
from tests.tools.dist.tools import printed

if __name__ == "__main__":
    sys.exit(printed(lambda: build(Path([*sys.argv[1:], "dist"][0])), "cannot build"))
