"""apply, check and revert on `/` with the kernel's /proc/sys."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine import HARDENED, OLDER_SERVER, PROGRAM, SERVER, START, Machine

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("machine")]

AGENT = ("--role", "agent", "--k3s-version", "1.34")

PLACES = ("/etc", "/run", "/var/lib/rancher", "/var/lib/k3s-harden")
"""Directories of managed paths. A test with strace verifies that no others change."""

DATA = "/var/lib/rancher/k3s"
DROPIN = "/etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml"
PARAMETERS = "/etc/sysctl.d/90-kubelet.conf"

OF_EACH_NODE = {PARAMETERS: 0o644, DROPIN: 0o600}
OF_A_SERVER = {
    f"{DATA}/server": 0o700,
    f"{DATA}/server/manifests": 0o700,
    f"{DATA}/server/logs": 0o700,
    f"{DATA}/server/audit.yaml": 0o600,
    f"{DATA}/server/manifests/policy.yaml": 0o600,
}
FROM_25_ON = {f"{DATA}/server/psa.yaml": 0o600}

OURS = re.compile(r"(/etc/sysctl\.d/90-kubelet\.conf|/etc/rancher.*|/var/lib/rancher.*|/var/lib/k3s-harden.*)")

CHANGING_CALLS = (
    "open.*|creat|.*link(at)?|rename.*|mk(dir|nod).*|rmdir|u?mount.*|move_mount|.*chown.*|f?chmod.*|f?truncate.*|.*xattr.*"
    "|utime.*|futimesat|copy_file_range|sendfile.*|splice|fallocate|pwrite.*|write.*"
)
"""System calls that change files, directories and mounts, as a pattern; strace ignores unknown ones."""
READ_ONLY = re.compile(
    r"\d+ +(open\w*\((?!.*\bO_(WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE))|readlink|.?getxattr|writev?\([12]<)"
)
"""Calls that change only standard output or standard error."""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path, real_kernel=True) as new:
        yield new


def modes(machine: Machine) -> dict[str, int]:
    entries = {path: machine.entry(path) for path in OF_EACH_NODE | OF_A_SERVER | FROM_25_ON}
    return {path: entry.mode for path, entry in entries.items() if entry is not None}


def traced(machine: Machine, *words: str) -> list[str]:
    strace = "strace --follow-forks --seccomp-bpf --decode-fds --signal=none --output=/run/trace"
    run = machine.run(*strace.split(), f"--trace=/^({CHANGING_CALLS})$", *PROGRAM, *words)
    assert run.returncode in {0, 3}, run.stderr
    calls = [line for line in machine.path("/run/trace").read_text().splitlines() if "(" in line]
    assert len(calls) > 100, "strace saw less than the start of Python"
    return [line for line in calls if not READ_ONLY.match(line)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (SERVER, OF_EACH_NODE | OF_A_SERVER | FROM_25_ON),
        (OLDER_SERVER, OF_EACH_NODE | OF_A_SERVER),
        (AGENT, OF_EACH_NODE),
    ],
    ids=["server", "server-1.24", "agent"],
)
def test_apply_hardens_this_host_and_the_running_kernel(
    machine: Machine, words: tuple[str, ...], expected: dict[str, int]
) -> None:
    before = machine.tree(*PLACES)
    run = machine.harden("apply", *words)
    assert (run.returncode, run.stderr) == (0, "")
    assert machine.kernel_values() == HARDENED
    assert modes(machine) == expected
    after = machine.tree(*PLACES)
    new = {path for path in after if path not in before}
    assert {path for path in new if not OURS.fullmatch(path)} == {"/run/k3s-harden.lock"}
    assert {after[path].owner for path in new} == {(0, 0)}
    assert {path: after[path] for path in before} == before
    assert machine.harden("check", *words).returncode == 0
    assert machine.harden("diff", *words).returncode == 0


@pytest.mark.parametrize("words", [SERVER, AGENT], ids=["server", "agent"])
def test_revert_restores_everything(machine: Machine, words: tuple[str, ...]) -> None:
    machine.write(PARAMETERS, "# an administrator's\nkernel.panic = 5\n", mode=0o640)
    machine.set_kernel({"kernel.panic": "5"})
    before, values = machine.tree(*PLACES), machine.kernel_values()
    assert machine.harden("apply", "--force", *words).returncode == 0
    assert machine.kernel_values() == HARDENED
    assert machine.harden("apply", "--force", *words, "--k3s-version", "1.24").returncode == 0
    run = machine.harden("revert")
    assert (run.returncode, run.stderr) == (0, "")
    assert machine.kernel_values() == values
    after = machine.tree(*PLACES)
    left = {path for path in after if path not in before}
    # The administrator's file was replaced with --force; its backup is kept.
    assert {path for path in left if not path.startswith("/var/lib/k3s-harden/backups/")} == {
        "/run/k3s-harden.lock",
        "/var/lib/k3s-harden",
        "/var/lib/k3s-harden/backups",
    }
    assert {path: after[path] for path in before} == before


@pytest.mark.strace
def test_a_second_apply_makes_no_changes(machine: Machine) -> None:
    assert traced(machine, "apply", *SERVER) != []
    assert traced(machine, "apply", *SERVER) == []


@pytest.mark.strace
@pytest.mark.parametrize("hardened", [False, True], ids=["new", "hardened"])
@pytest.mark.parametrize("verb", ["check", "diff", "render"])
def test_reading_verbs_write_nothing(machine: Machine, verb: str, *, hardened: bool) -> None:
    if hardened:
        machine.harden("apply", *SERVER)
    words = ("policy", "--k3s-version", "1.34") if verb == "render" else SERVER
    assert traced(machine, verb, *words) == []


@pytest.mark.strace
def test_apply_changes_only_managed_paths(machine: Machine) -> None:
    touched = {path for line in traced(machine, "apply", *SERVER) for path in named(line)}
    values = {f"/proc/sys/{key.replace('.', '/')}" for key in START}
    assert {path for path in touched - values if not OURS.fullmatch(path)} == {"/run/k3s-harden.lock"}
    assert touched & values == values - {"/proc/sys/vm/panic_on_oom"}
    assert OF_EACH_NODE.keys() | OF_A_SERVER.keys() <= touched


def named(line: str) -> Iterator[str]:
    """Return the paths in a line of strace, with a temporary file as the path of its target."""
    for directory, name in re.findall(r"(?:\w+<(/[^>]*)>, )?\"([^\"]+)\"", line.partition(" = ")[0]):
        if " write(" not in line and " pwrite64(" not in line:
            temporary = re.fullmatch(r"\.(.*)\.\d+-[0-9a-f]+\.k3s-harden", name)
            yield os.path.normpath(f"{directory}/{temporary[1] if temporary else name}")
