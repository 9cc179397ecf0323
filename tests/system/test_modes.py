"""Modes and owners under any umask and from any earlier state."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pytest

from tests.machine import NOBODY, SERVER, Machine
from tests.tree import Entry

pytestmark = pytest.mark.root

PLACES = ("/etc/sysctl.d", "/etc/rancher", "/var/lib/rancher")
DATA = "/var/lib/rancher/k3s"
DIRECTORIES = (f"{DATA}/server", f"{DATA}/server/manifests", f"{DATA}/server/logs")
UMASKS = (0o000, 0o022, 0o027, 0o077)


class State(NamedTuple):
    """The earlier state of a managed path: whether it exists, its mode and its owner."""

    mode: int
    owner: int


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Entry]:
    """Return what apply creates on a new machine under the usual umask."""
    with Machine(tmp_path_factory.mktemp("expected")) as machine:
        assert machine.harden("apply", *SERVER).returncode == 0
        return machine.tree(*PLACES)


def clear(machine: Machine) -> None:
    for place in (*PLACES[1:], "/var/lib/k3s-harden"):
        shutil.rmtree(machine.path(place), ignore_errors=True)
    machine.path("/etc/sysctl.d/90-kubelet.conf").unlink(missing_ok=True)


def put_before(machine: Machine, expected: Mapping[str, Entry], state: State) -> None:
    """Create the managed directories and files in that state, with parents as K3s' installer creates them."""
    for path, entry in expected.items():
        where = machine.path(path)
        managed = path in DIRECTORIES or entry.kind == "file"
        mode, owner = (state.mode, state.owner) if managed else (entry.mode, entry.owner[0])
        if entry.kind == "directory":
            where.mkdir(exist_ok=True)
        else:
            where.write_bytes(entry.content)
        where.chmod(mode)
        os.chown(where, owner, owner)


def test_a_new_host_gets_the_same_modes_under_any_umask(machine: Machine, expected: Mapping[str, Entry]) -> None:
    for umask in UMASKS:
        clear(machine)
        assert machine.harden("apply", *SERVER, umask=umask).returncode == 0
        assert machine.tree(*PLACES) == expected, f"umask {umask:03o}"
        kept = machine.tree("/var/lib/k3s-harden")
        assert {(entry.kind, entry.mode) for entry in kept.values()} == {("directory", 0o700), ("file", 0o600)}


@pytest.mark.parametrize(
    ("state", "umasks"),
    [
        (State(0o755, 0), UMASKS),
        (State(0o777, 0), UMASKS),
        (State(0o777, NOBODY), UMASKS),
        (State(0o700, NOBODY), (0o077,)),
        (State(0o000, 0), (0o077,)),
        (State(0o1777, 0), (0o000,)),
        (State(0o2755, 0), (0o022,)),
    ],
    ids=lambda value: f"{value.mode:04o}-of-{value.owner}" if isinstance(value, State) else "",
)
def test_existing_paths_get_the_same_modes(
    machine: Machine, expected: Mapping[str, Entry], state: State, umasks: Sequence[int]
) -> None:
    for umask in umasks:
        clear(machine)
        put_before(machine, expected, state)
        run = machine.harden("apply", *SERVER, umask=umask)
        assert run.returncode == 0, run.stdout + run.stderr
        assert machine.tree(*PLACES) == expected, f"umask {umask:03o}"


@pytest.mark.parametrize("state", [State(0o777, 0), State(0o751, NOBODY)], ids=["0777", "of nobody"])
def test_revert_restores_the_earlier_modes(machine: Machine, expected: Mapping[str, Entry], state: State) -> None:
    put_before(machine, expected, state)
    before = machine.tree(*PLACES)
    machine.harden("apply", *SERVER)
    run = machine.harden("revert")
    assert run.returncode == 0, run.stdout + run.stderr
    assert machine.tree(*PLACES) == before


@pytest.mark.parametrize(("mode", "group"), [(0o711, 0), (0o750, 4), (0o2755, 4), (0o700, 0)])
def test_existing_parents_are_not_changed(machine: Machine, mode: int, group: int) -> None:
    parents = ("/etc/sysctl.d", "/etc/rancher", "/etc/rancher/k3s", "/var/lib/rancher", DATA)
    for parent in parents:
        path = machine.path(parent)
        path.mkdir(exist_ok=True)
        os.chown(path, 0, group)
        path.chmod(mode)
    before = {parent: machine.entry(parent) for parent in parents}
    assert machine.harden("apply", *SERVER, umask=0).returncode == 0
    assert {parent: machine.entry(parent) for parent in parents} == before
