"""The commands and files of docs/howto/mirror.md, for repositories at another URL."""

from __future__ import annotations

from tests.tools.dist.tools import CHECKOUT

_URL = "https://mirror.example.com"


KEY_OF_RPM = "/etc/pki/rpm-gpg/k3s-harden.asc"


def mirror_block(heading: str, url: str) -> str:
    """Return the first code block below a heading that starts so, with this URL. Raises ValueError if there is none."""
    text = (CHECKOUT / "docs/howto/mirror.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    found = section.partition("```")[2].partition("\n")[2].partition("```")[0]
    if _URL not in found:
        raise ValueError(f"no block with {_URL} below {heading!r}")
    return found.replace(_URL, url)
