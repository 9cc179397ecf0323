"""Build all release files in dist/ or another directory: `make dist`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.tools.dist.build import build
from tests.tools.dist.tools import CannotBuildError


def main() -> int:
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "dist")
    try:
        made = build(directory)
    except CannotBuildError as error:
        sys.stderr.write(f"cannot build: {error}\n")
        return 1
    sys.stdout.writelines(f"{file.stat().st_size / 1024:7.0f} KiB  {file}\n" for file in made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
