"""Test tiers: skip what this machine does not support, and list the tiers at the end of a run.

A tier is a directory: unit (a fake host), scenarios (the real program on host trees), project (the files of a release
and of this repository), browser (a real Chromium), system (root, a new machine), release (package managers), vm (a real
boot), k8s (the real components of Kubernetes). tools is no tier: it has what `make` builds with.
A test that requires more than Python has a marker, and is skipped if the requirement is missing.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import fake, npm_packages
from tests.browser import chromium
from tests.k8s import binaries as kubernetes
from tests.programs_here import without_private_mounts, works
from tests.release import rpm_root
from tests.sarif import multitool
from tests.vm import image as guest_image
from tests.vm import suite

# Tests send signals. A background job of a shell ignores SIGINT, and with nohup also SIGHUP; its children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

TIERS = ("unit", "scenarios", "project", "browser", "system", "release", "vm", "k8s")
_ON_REQUEST = {
    "release": "installs packages, which takes minutes: make package-test",
    "vm": "boots guests, which takes minutes: make vm-test",
    "k8s": "builds and starts Kubernetes, which takes minutes: make k8s-test",
}
"""Markers of tests that run only if the marker is selected."""
_OTHERS: dict[str, Callable[[], str]] = {
    "promtool": lambda: "" if shutil.which("promtool") else "needs promtool: apt-get install -y prometheus",
    "release": rpm_root.lacking,
    "vm": guest_image.lacking,
    "deb": suite.without_package,
    "k8s": kubernetes.lacking,
    "sarif": multitool.lacking,
    "npm": npm_packages.lacking,
}

_WITHOUT_GROUP = re.compile(r"@[^@\]]+$")
"""The group that pytest-xdist appends to the id of a test."""

# The same examples in each run, so that a failure is reproducible; --hypothesis-profile=explore tries more, and
# `few` less: another version of Python fails at syntax and library calls, which few examples reach.
# No deadline and no check of the generation speed: both fail on a busy machine.
_ANY_SPEED: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("repeat", derandomize=True, **_ANY_SPEED)
settings.register_profile("few", max_examples=10, derandomize=True, **_ANY_SPEED)
settings.register_profile("explore", max_examples=2000, print_blob=True, **_ANY_SPEED)
settings.load_profile("repeat")


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A directory in memory if possible, because many short runs call fsync often."""
    with fake.in_memory() as directory:
        yield directory


@cache
def _lacking(marker: str) -> str:
    """Return why tests with the marker cannot run here, or an empty string."""
    if marker == "root":
        if os.geteuid() != 0:
            return "needs root"
        return without_private_mounts()
    if marker == "strace":
        if shutil.which("strace") is None:
            return "needs strace: apt-get install -y strace"
        if not works("strace", "--output=/dev/null", "true"):
            return "needs strace, and this kernel does not allow tracing"
    if marker == "browser" and chromium.installed() is None:
        return "needs Chromium: apt-get install -y chromium"
    return _OTHERS[marker]() if marker in _OTHERS else ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests that this machine cannot run, and run virtual machines on two workers, as each uses a processor."""
    selected = config.getoption("markexpr")
    guests = 0
    for item in items:
        for marker in {mark.name for mark in item.iter_markers()}:
            reason = _ON_REQUEST[marker] if marker in _ON_REQUEST and marker not in selected else _lacking(marker)
            if reason:
                # Before a condition of the test itself: pytest gives the reason of the first.
                item.add_marker(pytest.mark.skipif(reason=reason), append=False)
        if item.get_closest_marker("own_kernel") is not None:
            item.add_marker(pytest.mark.xdist_group(f"guest-{guests % 2}"))
            guests += 1
        if getattr(config.option, "loadgroup", False):
            _keep_together(item)


def _keep_together(item: pytest.Item) -> None:
    """Add the group of a test to its id, by which pytest-xdist sends the tests of a group to one worker.

    pytest-xdist 3.8 does so itself, but in an attribute that pytest 9.2 does not read any more.
    """
    structured = getattr(item, "_id", None)
    groups = sorted({mark.args[0] for mark in item.iter_markers("xdist_group")})
    if structured is not None and groups:
        setattr(item, "_id", type(structured).parse(f"{item.nodeid}@{'_'.join(groups)}"))  # noqa: B010 - only in pytest 9.2


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line per tier: the number of tests that ran, and why others did not.

    The file named by SKIPPED gets the ids of skipped tests, which `make test TESTS=@FILE` runs on another machine.
    """
    ran: Counter[str] = Counter()
    skipped: set[str] = set()
    left_out: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            tier = report.nodeid.removeprefix("tests/").partition("/")[0]
            if outcome == "skipped":
                reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
                reason = reason.removeprefix("Skipped: ")
                left_out.setdefault(tier, Counter())[reason] += 1
                if reason not in _ON_REQUEST.values():
                    skipped.add(_WITHOUT_GROUP.sub("", report.nodeid))
            elif report.when == "call" or outcome in {"failed", "error"}:
                ran[tier] += 1
    if "SKIPPED" in os.environ:
        Path(os.environ["SKIPPED"]).write_text("".join(f"{test}\n" for test in sorted(skipped)), encoding="utf-8")
    terminalreporter.write_line("")
    for tier in TIERS:
        parts = [f"{ran[tier]} tests run"] if ran[tier] else []
        parts += [f"{number} not run: {reason}" for reason, number in left_out.get(tier, Counter()).most_common()]
        terminalreporter.write_line(f"tier {tier:<10} {' · '.join(parts) or 'no tests selected'}")
