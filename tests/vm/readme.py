"""Commands of the README, which guests run."""

from __future__ import annotations

import re

from tests.vm.image import CHECKOUT


def commands(heading: str, number: int = 0) -> str:
    """Return a shell block under a heading of the README, the first by default. Raises ValueError if there is none."""
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    section = readme.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    if number >= len(blocks):
        raise ValueError(f"no commands under {heading!r} in the README")
    return str(blocks[number])
