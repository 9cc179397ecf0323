"""Verbs without options on `/`: without Typer, and with the same result as through Typer."""

from __future__ import annotations

import sys

import pytest

from agent.cli.commands import COMMANDS
from tests.machine import Machine

pytestmark = pytest.mark.root

MODULES = """
import sys
before = set(sys.modules)
from agent.cli import main
try:
    main()
finally:
    print(*sorted(set(sys.modules) - before), file=sys.stderr)
"""
OTHERS = ("assess-node", "explain", "fleet", "impact", "service-accounts", "upgrade-node")
"""They need another machine than this one, or their answer is too long for it."""
SETTINGS = "role: server\nk3s-version: 1.34\n"
VERBS = [name for name, command in COMMANDS.items() if command.needs_no_words and name not in OTHERS]
SLOW = {"click", "psutil", "rich", "ssl", "typer", "yaml"}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_without_options_runs_without_typer_and_has_the_same_result(verb: str, machine: Machine) -> None:
    """Each option repeats the default, so it changes nothing but the reader of the command line.

    Without the setting, publish does nothing with its only option either. record-traffic has none.
    """
    options = {
        "gate": ("--role", "auto"),
        "confirm": ("--service", ""),
        "publish": ("--remove",),
        "record-traffic": ("--",),
    }
    option = options.get(verb, ("--root", "/"))
    machine.write("/etc/k3s-harden/config.yaml", SETTINGS)
    assert machine.harden("apply", "--root", "/").returncode == 0
    machine.harden(verb, *option)  # the first run of drift has another result than the next ones
    by_typer = machine.harden(verb, *option)
    bare = machine.run(sys.executable, "-c", MODULES, verb)
    assert (bare.returncode, bare.stdout) == (by_typer.returncode, by_typer.stdout)
    loaded = bare.stderr.splitlines()[-1].split()
    assert SLOW.isdisjoint(loaded)
    # Only reports about controls refer to other frameworks than CIS.
    assert verb in ("assess", "drift") or not [name for name in loaded if "framework" in name]


def test_the_gate_reads_its_service_from_the_environment(machine: Machine) -> None:
    """As in k3s-harden@.service. An agent's service has another role than the settings."""
    words = ("env", "K3S_HARDEN_SERVICE=k3s-agent.service", sys.executable, "-c", MODULES, "gate")
    by_environment = machine.run(*words)
    by_option = machine.harden("gate", "--service", "k3s-agent.service")
    assert by_environment.stdout == by_option.stdout
    assert by_environment.returncode == by_option.returncode
