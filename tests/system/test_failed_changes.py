"""Changes that fail: read-only mounts, full disks, immutable files, other kinds of files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import fake
from tests.machine import HARDENED, NOBODY, OLDER_SERVER, SERVER, START, Machine

pytestmark = pytest.mark.root

DATA = "/var/lib/rancher/k3s"
MANIFESTS = f"{DATA}/server/manifests"
POLICY = f"{MANIFESTS}/policy.yaml"
PARAMETERS = "/etc/sysctl.d/90-kubelet.conf"
DROPIN = "/etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml"
PLACES = ("/etc/sysctl.d", "/etc/rancher", "/var/lib/rancher", "/var/lib/k3s-harden")


@pytest.fixture
def real_machine(tmp_path: Path) -> Iterator[Machine]:
    """A new machine on the real kernel, whose /proc/sys can become read-only."""
    with Machine(tmp_path, real_kernel=True) as new:
        yield new


def left_overs(machine: Machine) -> list[str]:
    """Return all temporary files of the program."""
    return [path for path in machine.tree(*PLACES, "/run") if path.endswith(".k3s-harden")]


@pytest.mark.xdist_group("machine")
def test_with_read_only_kernel_values_that_are_not_compliant_nothing_is_changed(real_machine: Machine) -> None:
    """In a container with a read-only /proc/sys, each verb has the command for the machine that runs it.

    kubelet would exit with these values, so neither the files nor the drop-in are written.
    """
    real_machine.make_read_only("/proc/sys")
    parameters = "vm.overcommit_memory=1 kernel.panic=10 kernel.panic_on_oops=1"
    file = "/etc/sysctl.d/90-k3s-container.conf"
    command = f"printf '%s\\n' {parameters} | sudo tee {file} && sudo sysctl -p {file}"
    for verb, code in (("check", 3), ("apply", 6), ("gate", 6)):
        run = real_machine.harden(verb, *SERVER)
        assert (run.returncode, command in run.stdout) == (code, True), run
    assert real_machine.kernel_values() == START
    assert (real_machine.entry(PARAMETERS), real_machine.entry(DROPIN)) == (None, None)


@pytest.mark.xdist_group("machine")
def test_read_only_kernel_values_that_are_compliant_exit_0(real_machine: Machine) -> None:
    """A container on a hardened host does not need to write /proc/sys."""
    real_machine.set_kernel(HARDENED)
    real_machine.make_read_only("/proc/sys")
    run = real_machine.harden("apply", *SERVER)
    assert (run.returncode, run.stderr) == (0, "")
    assert real_machine.harden("check", *SERVER).returncode == 0


def test_a_read_only_etc_exits_4_and_other_changes_are_made(machine: Machine) -> None:
    machine.make_read_only("/etc")
    run = machine.harden("apply", *SERVER)
    assert run.returncode == 4
    assert "remount the file system read-write" in run.stdout
    assert f"failed {PARAMETERS}: cannot write {PARAMETERS}: Read-only file system" in run.stdout
    assert "failed /etc/rancher: cannot create /etc/rancher: Read-only file system" in run.stdout
    assert machine.kernel_values() == HARDENED
    assert machine.entry(POLICY) is not None
    assert left_overs(machine) == []
    assert "/etc: read-only" in machine.harden("check", "-v", *SERVER).stdout
    assert machine.harden("apply", *SERVER).returncode == 6


@pytest.mark.parametrize("place", ["/run", "/var/lib"])
def test_nothing_changes_if_the_run_cannot_be_recorded(machine: Machine, place: str) -> None:
    before = machine.tree(*PLACES)
    machine.make_read_only(place)
    run = machine.harden("apply", *SERVER)
    assert run.returncode == 6
    assert "Read-only file system" in run.stderr
    assert machine.kernel_values() == START
    assert machine.tree(*PLACES) == before


def fill(machine: Machine, directory: str) -> None:
    held = {path: entry for path, entry in machine.tree(directory).items() if path != directory}
    entry = machine.entry(directory)
    assert entry is not None
    machine.mount("-t", "tmpfs", "-o", f"size=64k,mode={entry.mode:o}", "small", directory)
    for path, old in held.items():
        if old.kind == "directory":
            machine.path(path).mkdir()
            machine.path(path).chmod(old.mode)
        else:
            machine.write(path, old.content, old.mode)
    fake.fill(machine.path(f"{directory}/filler"))


def test_a_full_disk_keeps_the_old_files(machine: Machine) -> None:
    machine.harden("apply", *OLDER_SERVER)
    before = machine.entry(POLICY)
    assert before is not None
    fill(machine, MANIFESTS)
    run = machine.harden("apply", *SERVER)
    assert run.returncode == 4
    assert f"failed {POLICY}: cannot write {POLICY}: No space left on device" in run.stdout
    assert f"next 1: {POLICY}: free space on the file system" in run.stdout
    assert machine.entry(POLICY) == before
    assert left_overs(machine) == []
    machine.path(f"{MANIFESTS}/filler").unlink()
    assert machine.harden("apply", *SERVER).returncode == 0
    assert machine.entry(POLICY) != before


def test_a_full_disk_below_the_journal_stops_the_run_before_its_changes(machine: Machine) -> None:
    machine.path("/var/lib/k3s-harden").mkdir(mode=0o700)
    fill(machine, "/var/lib/k3s-harden")
    before = machine.tree(*PLACES)
    run = machine.harden("apply", *SERVER)
    assert run.returncode == 1
    assert "No space left on device\n  fix: free space on the file system" in run.stderr
    assert machine.kernel_values() == START
    assert {path: entry for path, entry in machine.tree(*PLACES).items() if path in before} == before
    assert left_overs(machine) == []
    machine.path("/var/lib/k3s-harden/filler").unlink()
    assert machine.harden("apply", *SERVER).returncode == 0


def protect(machine: Machine, flag: str, path: str) -> None:
    if machine.run("chattr", flag, path).returncode:
        pytest.skip("chattr(1) is not here, or does not work on files in memory")


@pytest.mark.parametrize("flag", ["+i", "+a"])
def test_an_immutable_file_is_refused_with_the_chattr_command(machine: Machine, flag: str) -> None:
    path = machine.write(PARAMETERS, "kernel.panic=3\n")
    protect(machine, flag, PARAMETERS)
    run = machine.harden("apply", "--force", *SERVER)
    assert run.returncode == 4
    assert f"refused {PARAMETERS}: is an immutable file" in run.stdout
    assert f"chattr -i -a {PARAMETERS}" in run.stdout
    assert path.read_text() == "kernel.panic=3\n"
    assert machine.harden("check", *SERVER).returncode == 3
    machine.run("chattr", "-i", "-a", PARAMETERS, check=True)
    assert machine.harden("apply", "--force", *SERVER).returncode == 0


@pytest.mark.parametrize("path", ["/etc/sysctl.d", "/var/lib/k3s-harden"])
def test_the_error_about_an_immutable_directory_has_the_chattr_command(machine: Machine, path: str) -> None:
    machine.path(path).mkdir(mode=0o700, parents=True, exist_ok=True)
    protect(machine, "+i", path)
    run = machine.harden("apply", *SERVER)
    output = run.stdout + run.stderr
    assert run.returncode in (1, 4)
    assert f"{path} has attribute i or a" in output
    command = f"chattr -i -a {path}"
    assert command in output
    machine.run(*command.split(), check=True)
    assert machine.harden("apply", *SERVER).returncode == 0


@pytest.mark.parametrize(
    ("path", "mode", "owner"),
    [(DATA, 0o777, 0), (DATA, 0o755, NOBODY), ("/etc/rancher/k3s", 0o755, NOBODY), ("/etc/sysctl.d", 0o777, 0)],
)
def test_a_parent_that_others_can_write_is_refused(machine: Machine, path: str, mode: int, owner: int) -> None:
    for parent in [*reversed(Path(path).parents), Path(path)]:
        machine.path(parent).mkdir(exist_ok=True)
    machine.path(path).chmod(mode)
    os.chown(machine.path(path), owner, owner)
    run = machine.harden("apply", *SERVER)
    assert run.returncode == 4
    assert f"its parent directory {path} is not safe" in run.stdout
    commands = [f"chown root:root {path}", f"chmod go-w {path}"]
    assert [line.rpartition(": ")[2] for line in run.stdout.splitlines() if line.startswith("next ")][:2] == commands
    entry = machine.entry(path)
    assert entry is not None
    assert (entry.mode, entry.owner[0]) == (mode, owner)
    assert [name for name in machine.tree(path) if name != path and name.startswith(path)] in (
        [],
        [f"{path}/README.sysctl"],
    )
