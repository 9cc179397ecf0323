"""Commands of the README and of other pages, which guests run."""

from __future__ import annotations

import re

from tests.vm.image import CHECKOUT


def commands(heading: str, number: int = 0) -> str:
    """Return a shell block under a heading of the README, the first by default. Raises ValueError if there is none."""
    return block("README.md", f"### {heading}", number)


def block(page: str, heading: str, number: int = 0) -> str:
    """Return a shell block under a heading of a page, as `commands` does."""
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    section = text.partition(f"\n{heading}\n")[2].partition("\n#")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    if number >= len(blocks):
        raise ValueError(f"no commands under {heading!r} in {page}")
    return str(blocks[number])
