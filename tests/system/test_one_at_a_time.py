"""Concurrent runs: one works, the others wait, and a killed holder releases the lock.

On a busy machine, a run that has waited for half a minute ends with 5.
"""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest

from tests.machine import HARDENED, OLDER_SERVER, PROGRAM, SERVER, START, Machine

pytestmark = pytest.mark.root

JOURNAL = "/var/lib/k3s-harden/journal"
PLACES = ("/etc/sysctl.d", "/etc/rancher", "/var/lib/rancher")


def records(machine: Machine) -> list[dict[str, Any]]:
    """Return the journal's records, oldest first; each must be complete and finished."""
    paths = sorted(machine.path(JOURNAL).iterdir())
    assert [path.suffix for path in paths] == [".json"] * len(paths)
    return [json.loads(path.read_bytes()) for path in paths]


def left_overs(machine: Machine) -> list[str]:
    return [path for path in machine.tree(*PLACES, "/var/lib/k3s-harden", "/run") if path.endswith(".k3s-harden")]


def start(machine: Machine, *words: str) -> subprocess.Popen[str]:
    return machine.start(*PROGRAM, *words)


def test_only_one_of_twenty_concurrent_applies_changes_the_host(machine: Machine) -> None:
    applies = [start(machine, "apply", *SERVER) for _ in range(20)]
    codes = set()
    while any(run.poll() is None for run in applies):
        seen = machine.harden("check", *SERVER)
        codes.add(seen.returncode)
        assert seen.stderr == ""
    output = [run.communicate()[0] for run in applies]
    assert {0} <= {run.returncode for run in applies} <= {0, 5}, output
    assert codes <= {0, 3}
    assert len(records(machine)) == 1
    assert sum("changed kernel.panic: 0 → 10" in text for text in output) == 1
    assert machine.kernel_values() == HARDENED
    assert left_overs(machine) == []
    assert machine.harden("check", *SERVER).returncode == 0


def test_concurrent_runs_with_different_options_take_turns(machine: Machine) -> None:
    """Each run starts from the state of the previous one: the journal is an unbroken chain."""
    before, values = machine.tree(*PLACES), machine.kernel_values()
    runs = [start(machine, "apply", *(SERVER, OLDER_SERVER)[number % 2]) for number in range(8)]
    output = [run.communicate()[0] for run in runs]
    # If another run gets the lock after this run's changes, this run reports the state after the other run.
    assert {run.returncode for run in runs} <= {0, 3, 4, 5}, output
    last: dict[str, Any] = {}
    for record in records(machine):
        for change in record["changes"]:
            name = next(
                value for key, value in change["after"].items() if key in {"file", "directory", "sysctl", "absent"}
            )
            assert change["before"] == last.get(name, change["before"])
            last[name] = change["after"]
    assert len(records(machine)) >= 2
    assert left_overs(machine) == []
    assert machine.harden("apply", *SERVER).returncode == 0
    assert machine.harden("revert").returncode == 0
    assert (machine.tree(*PLACES), machine.kernel_values()) == (before, values)


def test_ten_reports_to_one_file_are_complete(machine: Machine) -> None:
    report = machine.path("/srv/report.json")
    words = ("assess", "--format", "json", "--output", "/srv/report.json", *SERVER)
    alone = machine.harden(*words)
    runs = [start(machine, *words) for _ in range(10)]
    while any(run.poll() is None for run in runs):
        assert json.loads(report.read_bytes())["schema"] == 3
    output = [run.communicate()[0] for run in runs]
    assert {run.returncode for run in runs} <= {alone.returncode, 5}, output
    assert [path for path in machine.tree("/srv") if path.endswith(".k3s-harden")] == []


def test_thirty_mixed_runs_leave_complete_files(machine: Machine) -> None:
    before, values = machine.tree(*PLACES), machine.kernel_values()
    verbs_ = (
        ("apply", *SERVER),
        ("revert",),
        ("assess", "--format", "json", "--output", "/srv/report.json", *SERVER),
        ("drift", *SERVER),
        ("check", *SERVER),
    )
    runs = [start(machine, *verbs_[number % len(verbs_)]) for number in range(30)]
    output = [run.communicate()[0] for run in runs]
    assert {run.returncode for run in runs} <= {0, 3, 4, 5}, output
    assert "Traceback" not in "".join(output)
    for path in ("/srv/report.json", "/var/lib/k3s-harden/assessment.json"):
        assert json.loads(machine.path(path).read_bytes())["schema"] == 3
    assert left_overs(machine) == []
    assert [path for path in machine.tree("/srv") if path.endswith(".k3s-harden")] == []
    assert machine.harden("apply", *SERVER).returncode == 0
    assert machine.harden("revert").returncode == 0
    assert (machine.tree(*PLACES), machine.kernel_values()) == (before, values)


def test_a_waiting_run_continues_when_the_holder_is_killed(machine: Machine) -> None:
    machine.write("/run/k3s-harden.lock", "", mode=0o600)
    holder = machine.start("flock", "--no-fork", "/run/k3s-harden.lock", "sleep", "600")
    try:
        while machine.run("flock", "--nonblock", "/run/k3s-harden.lock", "true").returncode == 0:
            time.sleep(0.01)
        run = start(machine, "apply", *SERVER)
        time.sleep(1)
        assert run.poll() is None
        assert machine.kernel_values() == START
        assert machine.harden("check", *SERVER).returncode == 3, "a reader needs no lock"
    finally:
        machine.kill(holder)
    assert "compliant" in run.communicate()[0]
    assert run.returncode == 0
    assert machine.kernel_values() == HARDENED
