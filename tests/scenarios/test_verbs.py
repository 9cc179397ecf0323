"""Every verb, option and exit code, as users and their scripts know them."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import typer

from agent.cli import Rendering, app
from agent.errors import ExitCode
from agent.findings import KINDS
from agent.guide.controls import CONTROLS
from agent.present import Format
from tests.scenarios.host_tree import (
    AUDIT,
    CHECKOUT,
    CONFIG,
    DROPIN,
    KERNEL_FILE,
    LOCK,
    POLICY,
    PSA,
    SCHEMA,
    SETTINGS,
    STATE,
    HostTree,
    parsed,
    run,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scenarios.conftest import Hardened

SEEN_VERBS = ("apply", "check", "diff")
"""The verbs that look at a host and know what they want of it."""


# --- the exit codes ---


def test_0_is_for_a_host_as_wanted(hardened: Hardened) -> None:
    """Every verb that finds nothing to do or to complain about says 0, and so does one that did what was to be done."""
    host = hardened()
    assert [host.run(verb).code for verb in SEEN_VERBS] == [0, 0, 0]
    assert host.run("revert").code == 0
    assert host.run("apply").code == 0


def test_1_is_for_an_error_with_nothing_changed(host: HostTree) -> None:
    """A state directory that cannot be made leaves the host alone: what cannot be undone is not done."""
    host.write("/var/lib/k3s-harden", "a file in the way")
    before = host.entries(with_state=True)
    done = host.run("apply")
    assert done.code == 1
    assert done.stderr.startswith("k3s-harden: cannot ")
    assert host.entries() == {path: entry for path, entry in before.items() if path != STATE}


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-verb",),
        ("check", "--no-such-option"),
        ("check", "too", "much"),
        ("check", "--role", "worker"),
        ("check", "--role", "server", "--k3s-version", "latest"),
        ("check", "--role", "server", "--k3s-version", ""),
        ("check", "--role", "server", "--k3s-version", "2.1"),
        ("check", "--role", "server", "--data-dir", "k3s"),
        ("check", "--role", "server", "--data-dir", "/srv/../k3s"),
        ("check", "--role", "server", "--data-dir", "/"),
        ("check", "--format", "xml"),
        ("check", "--config", "/no/such/file"),
        ("check", "--root", "/no/such/directory"),
        ("check", "--root", "/etc/passwd"),
        ("revert", "--role", "server"),
        ("render",),
        ("render", "everything"),
        ("explain", "no-such-control"),
        ("service-accounts", "--timeout", "0"),
        ("service-accounts", "--timeout", "soon"),
        (),
    ],
    ids=" ".join,
)
def test_2_is_for_wrong_usage(arguments: tuple[str, ...]) -> None:
    """It is said on the error stream, without a traceback, and nothing is printed as if it were a result."""
    done = run(*arguments)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_2_is_for_a_host_whose_role_cannot_be_told(host: HostTree) -> None:
    """A guess could keep K3s from starting, so the role is asked for, with the option that says it."""
    host.options = ("--k3s-version", "1.34")
    done = host.run("apply")
    assert done.code == 2
    assert "--role server or --role agent" in done.stderr
    host.unit("server", "--debug")
    host.unit("agent", "--debug")
    done = host.run("apply")
    assert done.code == 2
    assert "k3s-agent.service and k3s.service" in done.stderr
    assert STATE not in host.entries(with_state=True)


def test_3_is_for_a_host_that_is_not_as_wanted(host: HostTree, hardened: Hardened) -> None:
    """`check` and `diff` find differences; `apply` finds what it may not change."""
    assert (host.run("check").code, host.run("diff").code) == (3, 3)
    done = hardened()
    done.write("/etc/sysctl.d/99-site.conf", "kernel.panic=0\n")
    assert [done.run(verb).code for verb in SEEN_VERBS] == [3, 3, 3]


def test_4_is_for_a_host_that_is_only_partly_as_wanted(host: HostTree) -> None:
    """What is left is named, and what could be done was done."""
    host.write(AUDIT, "somebody's own\n")
    seen = host.seen("apply")
    assert seen.code == 4
    assert {AUDIT} == {name for name, status in seen.items.items() if status not in {"as wanted", "changed"}}
    assert host[POLICY].exists()
    assert host.seen("apply").code == 4


@pytest.fixture
def held_lock(host: HostTree) -> int:
    """The lock of the host, held as another run would hold it."""
    lock = host.write(LOCK, "4711\n", 0o600)
    descriptor = os.open(lock, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_5_is_for_a_lock_that_another_run_holds(host: HostTree, held_lock: int) -> None:
    """Both verbs that write give up after a bounded wait, and name the holder; readers need no lock."""
    command = [sys.executable, "-m", "agent"]
    options = ["--root", str(host.root)]
    before = host.entries()
    waiting = [
        subprocess.Popen([*command, *verb, *options], cwd=CHECKOUT, stderr=subprocess.PIPE, text=True)
        for verb in (["apply", *host.options], ["revert"])
    ]
    try:
        assert host.run("check").code == 3
        for process in waiting:
            _, complaint = process.communicate(timeout=60)
            assert process.returncode == 5
            assert "process 4711 holds it" in complaint
    finally:
        for process in waiting:
            process.kill()
    assert host.entries() == before
    os.close(held_lock)
    assert host.run("apply").code == 0


def test_a_run_waits_for_the_lock_of_one_that_ends(host: HostTree, held_lock: int) -> None:
    """Two runs at the same time both succeed: the second begins when the first has ended."""
    command = [sys.executable, "-m", "agent", "apply", "--root", str(host.root), *host.options]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        os.close(held_lock)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_each_exit_code_has_a_scenario() -> None:
    """6 needs a kernel that refuses root, so it is shown in the system tier."""
    shown = {int(match[1]) for name in globals() if (match := re.match(r"test_(\d)_is_for_", name))}
    assert shown | {6} == set(map(int, ExitCode))


# --- the options ---


def test_each_option_of_each_verb_has_a_scenario() -> None:
    """A new option needs a test here or in a neighbouring file that uses it."""
    group = typer.main.get_command(app)
    sources = "".join(path.read_text() for path in sorted(CHECKOUT.glob("tests/**/test_*.py")))
    for verb, command in group.commands.items():  # type: ignore[attr-defined]
        for parameter in command.params:
            options = [name for name in parameter.opts if name.startswith("--")]
            assert not options or f'"{options[0]}"' in sources, f"{verb} {options}"


def test_quiet_says_nothing_of_what_is_well(hardened: Hardened) -> None:
    """A timer that runs `check -q` mails only when something is wrong."""
    host = hardened()
    for verb in (*SEEN_VERBS, "revert"):
        assert host.run(verb, "-q", "--format", "plain").stdout == ("" if verb != "revert" else host_said(host))
        host.run("apply")
    host.append(AUDIT, "# by hand\n")
    loud, quiet = host.run("check"), host.run("check", "--quiet")
    assert quiet.code == loud.code == 3
    assert quiet.stdout.splitlines() == loud.stdout.splitlines()[1:]
