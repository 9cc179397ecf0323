"""The page docs/howto/first-hour.md: what a new user types on a booted Debian, and what is then printed."""

from __future__ import annotations

import json
import os
import re

import pytest

from tests.vm.conftest import Packages
from tests.vm.image import CHECKOUT
from tests.vm.node import STAND_IN_HOME, Node
from tests.vm.readme import commands

pytestmark = pytest.mark.vm

PAGE = CHECKOUT / "docs/howto/first-hour.md"
_HOME = "/home/admin"
_INTRODUCTION = """\
# The first hour

<!-- Written by tests/vm/test_first_hour.py with WRITE_PAGES=1, on a booted Debian with a stand-in for K3s. -->

From the checkout to the first report for an auditor, on a new Debian server: each command, and what it prints, where
`…` stands for what is left out. [Step by step](by-hand.md) explains them.

"""
_STEPS = (
    "k3s-harden diff --role server",
    "sudo k3s-harden apply --role server",
    "sudo k3s-harden install",
    "curl -sfL https://get.k3s.io | sh -",
    "sudo k3s-harden check",
    "sudo k3s-harden assess",
    "sudo k3s-harden assess --output ~/evidence.html",
    "sudo k3s-harden assess --output ~/evidence.json",
)
_MOST = 12
"""Commands of the page."""
_FIRST, _WIDTH, _LEFT_OUT = 3, 156, "…"


def _shown(printed: str) -> str:
    """Return the first lines, and from the result on the others, without what differs between two runs."""
    text = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?( UTC|Z)?", "2027-03-01 04:12 UTC", printed)
    whole = ("result ", _HOME)
    lines = [
        line if len(line) <= _WIDTH or line.startswith(whole) else f"{line[:_WIDTH]} {_LEFT_OUT}"
        for line in text.splitlines()
    ]
    result = next((at for at, line in enumerate(lines) if line.startswith("result ")), len(lines))
    left = [_LEFT_OUT] * (result > _FIRST)
    return "\n".join((*lines[: min(result, _FIRST)], *left, *lines[result:]))


def test_the_page_has_the_commands_of_the_first_hour_and_what_they_print(bare: Node, packages: Packages) -> None:
    """A step that a command proposes is the next one of the page, so that nobody has to search."""
    bare.put(f"{_HOME}/{packages.single_file.name}", packages.single_file.read_bytes())
    bare.run(f"cd {_HOME}; {commands('By hand', 1).splitlines()[-1]}", user="admin")
    *checkout, _, _ = commands("By hand").splitlines()
    installer = f"sudo {STAND_IN_HOME}/install.sh server"
    parts, previous = ["```sh\n" + "\n".join(checkout) + "\n```"], ""
    for step in _STEPS:
        done = bare.run(f"cd {_HOME}; {installer if step.startswith('curl ') else step}", user="admin", check=False)
        assert done.code in (0, 3), (step, done.err)
        printed = "" if step.startswith("curl ") else _shown(done.out)
        parts.append(f"```console\n$ {step}\n{printed}".rstrip() + "\n```")
        if step in ("sudo k3s-harden install", "sudo k3s-harden assess"):
            assert step in previous, (step, previous)
        previous = done.out
    assert len(checkout) + len(_STEPS) <= _MOST
    assert bare.read(f"{_HOME}/evidence.html").startswith("<!DOCTYPE html>")
    assert json.loads(bare.read(f"{_HOME}/evidence.json"))["verb"] == "assess"
    page = _INTRODUCTION + "\n\n".join(parts) + "\n"
    if os.environ.get("WRITE_PAGES"):
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page
