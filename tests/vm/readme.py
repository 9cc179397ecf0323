"""Commands of the README, which guests run."""

from __future__ import annotations

from tests.vm.image import CHECKOUT


def commands(heading: str) -> str:
    """Return the first shell block under a heading of the README. Raises ValueError if there is none."""
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    section = readme.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    found = section.partition("```sh\n")[2].partition("```")[0]
    if not found:
        raise ValueError(f"no commands under {heading!r} in the README")
    return found
