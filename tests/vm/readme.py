"""The commands that the README gives for each way in: what the guests run is what a reader runs."""

from __future__ import annotations

import re

from tests.vm.image import CHECKOUT


def commands(heading: str) -> str:
    """The shell lines under a heading of the README."""
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^### {re.escape(heading)}\n(?:(?!^#).*\n)*?```sh\n(.*?)```", readme, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"no commands under {heading!r} in the README")
    return found[1]
