"""The page of the systems on which the program is tested.

A row is a run: it comes from the data that the tests of a tier use, with the command that runs them. Only the systems
that no test runs are listed here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.release.distributions import DISTRIBUTIONS
from tests.tools.dist.tools import CHECKOUT
from tests.tools.markdown import generated, page, prose, table
from tests.vm import suite

CHANGE, RELEASE = ".ci/run", "make release-test"
"""What runs a test: each change, or each release."""


class Platform(NamedTuple):
    """A system with one form of the program, and the command that tests both."""

    system: str
    architecture: str
    form: str
    tested: str
    command: str = ""
    runner: str = ""


def rows() -> Iterator[Platform]:
    """Yield all systems. A tier with others yields its own rows here."""
    for name, version in reversed(suite.SUITES.items()):
        form = "single file" if name in suite.SINGLE_FILE_SUITES else ".deb, single file"
        if name == suite.DEFAULT:
            yield Platform(f"Debian {version}", "x86_64", form, "container and virtual machine", "make vm-test", CHANGE)
        command = f"make vm-test SUITE={name} GUESTS=all"
        yield Platform(f"Debian {version}", "x86_64", form, "virtual machine", command, RELEASE)
    newest = f"Debian {suite.SUITES[suite.DEFAULT]}"
    yield Platform(f"{newest} with OpenRC", "x86_64", "single file", "container", "make vm-test", CHANGE)
    selinux = f"{newest} with SELinux, enforcing"
    yield Platform(selinux, "x86_64", ".deb", "virtual machine", "make vm-test", CHANGE)
    bundle, bare = "archive with its own Python", "without Python"
    yield Platform(newest, "x86_64", bundle, f"container {bare}, with a read-only /usr", "make vm-test", CHANGE)
    command = f"make vm-test SUITE={suite.DEFAULT} GUESTS=all"
    yield Platform(newest, "x86_64", "system extension", f"virtual machine {bare}", command, RELEASE)
    command, forms = "make vm-test ARCH=aarch64 SUITE=bookworm", f"single file, {bundle}"
    yield Platform("Debian 12", "arm64", forms, "container, emulated by QEMU", command, RELEASE)
    for distribution in DISTRIBUTIONS:
        tested = f"{distribution.manager} installs it beside packages with these names and versions"
        if distribution.installs is None:
            tested = f"{distribution.manager} refuses it: systemd {distribution.systemd}"
        yield Platform(distribution.name, "x86_64", ".rpm", tested, "make package-test", CHANGE)
    yield Platform("Ubuntu 22.04 and newer", "any", ".deb, single file", "declared only")
    forms = f"{bundle}, system extension"
    yield Platform("SLE Micro 6, Fedora CoreOS, Flatcar", "x86_64, arm64", forms, "declared only")
    yield Platform("Raspberry Pi OS 12 and newer", "arm64, armhf", ".deb, single file", "declared only")
    yield Platform("Alpine and other Linux with OpenRC and Python 3.9", "any", "single file", "declared only")
    yield Platform("other Linux with systemd 243 and Python 3.9", "any", "single file", "declared only")
    yield Platform(
        "other Linux with Python 3.9, such as RHEL 8 with its python3.11",
        "any",
        "single file, without the gate",
        "declared only",
    )


def platforms() -> str:
    """Return docs/reference/platforms.md."""
    heads = ("system", "architecture", "form", "tested by", "command", "run by")
    cells = [(*row[:4], *(f"`{word}`" if word else "" for word in row[4:])) for row in rows()]
    introduction = f"""
        A container has a real systemd and the kernel of the test machine; a virtual machine has its own kernel. No RPM
        distribution is booted: its package manager installs the .rpm in a root directory, beside packages without
        content that have the names and versions of the distribution. `{CHANGE}` runs for each change, `{RELEASE}`
        before each release. Debian testing is in neither.
        """
    suites = f"""
        Each runs on Debian {suite.SUITES[suite.DEFAULT]} for each change, and on all versions before each release.
        Those in the last column are left out where the .deb cannot be installed, on Debian
        {", ".join(suite.SUITES[name] for name in suite.SINGLE_FILE_SUITES)}.
        """
    title = "# Systems and what tests them"
    return page(
        (
            *(title, generated("the data of the tests"), prose(introduction), table(heads, cells)),
            *("## Tests that boot Debian", prose(suites), table(("file", "tests", "of the .deb"), _files())),
        )
    )


def _files() -> Iterator[tuple[str, str, str]]:
    for file in sorted(Path(CHECKOUT, "tests/vm").glob("test_*.py")):
        text = file.read_text(encoding="utf-8")
        summary = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
        of_deb = re.findall(r"^@pytest\.mark\.deb\ndef (\w+)", text, re.MULTILINE)
        yield f"[{file.name}](../../tests/vm/{file.name})", summary, ", ".join(f"`{name}`" for name in of_deb)
