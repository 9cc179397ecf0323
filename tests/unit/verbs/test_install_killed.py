"""install and uninstall, killed at each writing call and before each call of systemctl."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any, Callable, NamedTuple

import pytest

from agent.base.host import Host
from agent.base.host.process import LARGEST_OUTPUT, Completed
from agent.harden.gate import installed_gate
from agent.harden.node.service_units import DROPIN as DROPIN_NAME
from agent.harden.node.service_units import OLDER_DROPIN as OLDER_DROPIN_NAME
from agent.harden.node.service_units import TEMPLATE
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.verbs import install
from agent.verbs.installation import Installation, installation_for
from tests.fake import fake_host
from tests.tree import Entry, Tree

pytestmark = pytest.mark.root

PROGRAM = PurePosixPath("/opt/k3s-harden")
REQUEST = Request(Overrides(role="server", k3s_version="1.34"))
UNITS = "etc/systemd/system"
K3S_UNIT = "[Service]\nExecStart=/usr/local/bin/k3s server\n"
WRITING = ("rename", "unlink", "mkdir", "rmdir")
"""Functions of os that write; also open() if it creates a file."""
DROPIN = f"k3s.service.d/{DROPIN_NAME}"
OLDER_DROPIN = f"k3s.service.d/{OLDER_DROPIN_NAME}"

Files = dict[str, str]
Verb = Callable[[Host, Installation], Any]


class Machine:
    """A host below a directory, and a systemd that uses unit files as they were at its last reload."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.loaded_file = root.parent / f"{root.name}.loaded"
        for program in (PROGRAM, "/usr/bin/systemctl"):
            (root / str(program)[1:]).parent.mkdir(parents=True, exist_ok=True)
            (root / str(program)[1:]).touch(0o755)
        for directory in ("run/systemd/system", UNITS):
            (root / directory).mkdir(parents=True)
        (root / UNITS / "k3s.service").write_text(K3S_UNIT)

    def __call__(self, argv: Sequence[str], *, timeout: float, largest_output: int = LARGEST_OUTPUT) -> Completed:
        del timeout, largest_output
        if argv[1] == "daemon-reload":
            self.reload()
        if argv[1] != "show":
            return Completed(0, "", "")
        return Completed(0, "\n".join(map(self._show, argv[argv.index("--") + 1 :])), "")

    def _show(self, unit: str) -> str:
        loaded, disk = self.loaded, self.disk
        used = {name: text for name, text in loaded.items() if name == unit or name.startswith(f"{unit}.d/")}
        # systemd 247 does not detect the first drop-in of a service.
        is_stale = any(disk.get(name) != text for name, text in used.items())
        dropins = " ".join(f"/{UNITS}/{name}" for name in used if name != unit)
        state = "loaded" if unit in loaded else "not-found"
        return (
            f"Id={unit}\nLoadState={state}\nNeedDaemonReload={'yes' if is_stale else 'no'}\n"
            f"DropInPaths={dropins if unit in loaded else ''}\n"
        )

    def reload(self) -> None:
        time.sleep(0.01)  # longer than the resolution of file times
        self.loaded_file.write_text(json.dumps(self.disk))
        (self.root / "run/systemd/systemd-units-load").touch()
        time.sleep(0.01)

    @property
    def loaded(self) -> Files:
        return dict(json.loads(self.loaded_file.read_text()))

    @property
    def disk(self) -> Files:
        top = self.root / UNITS
        return {
            str(path.relative_to(top)): path.read_text()
            for path in sorted(top.rglob("*"))
            if path.suffix in {".service", ".conf", ".timer"} and not path.name.startswith(".")
        }

    @property
    def files(self) -> dict[str, Entry]:
        """Return all files but backups; directories that a killed run has left empty stay."""
        return {path: entry for path, entry in Tree(self.root).tree("/etc", "/usr").items() if entry.kind == "file"}

    @property
    def host(self) -> Host:
        return fake_host(self.root, programs=self, is_live=True)  # type: ignore[arg-type]

    def run(self, verb: Verb) -> None:
        host = self.host
        verb(host, installation_for(host, REQUEST, ("k3s-east.service",), PROGRAM))

    def run_after(self, verb: Verb, other: Verb) -> None:
        """Run a verb that waits for the lock while another one runs."""

        class WaitingHost(Host):
            def lock(host, wait: float | None = None) -> AbstractContextManager[None]:  # noqa: N805 - not the machine
                self.run(other)
                return super().lock(wait)

        host = WaitingHost(**vars(self.host))
        verb(host, installation_for(host, REQUEST, ("k3s-east.service",), PROGRAM))

    def run_killed(self, verb: Verb, call: int) -> bool:
        """Run a verb in a process that is killed at this call; return False if it ended before."""
        child = os.fork()
        if not child:
            code = 1
            try:
                _kill_at(self, call)
                self.run(verb)
                code = 0
            finally:
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        assert os.waitstatus_to_exitcode(status) in {0, -signal.SIGKILL}
        return os.WIFSIGNALED(status)

    def starts(self) -> tuple[str, str]:
        """Return the result of a start of K3s now, and after a reload or a boot."""
        disk = self.disk
        return _start(self.loaded, disk), _start(disk, disk)

    def temporary_files(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if re.fullmatch(r"\..*\.k3s-harden", path.name)]


def _start(used: Files, disk: Files) -> str:
    dropins = [name for name in (DROPIN, OLDER_DROPIN) if name in used]
    if len(dropins) != 1:
        return "gated twice" if dropins else "ungated"
    # systemd unloads an instance that has ended, and reads the template again.
    return "gated" if TEMPLATE in disk else "blocked"


def _kill_at(machine: Machine, call: int) -> None:
    """Kill this process before its n-th call that writes or makes systemd reload."""
    left = call

    def counted(real: Callable[..., Any], counts: Callable[..., bool] = lambda *_, **__: True) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            if counts(*args, **kwargs):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in WRITING:
        setattr(os, name, counted(getattr(os, name)))
    os.open = counted(os.open, lambda _, flags, *__, **___: bool(flags & os.O_CREAT))
    machine.reload = counted(machine.reload)  # type: ignore[method-assign]


class Scenario(NamedTuple):
    """A verb to kill, and the allowed results of a start of K3s after that."""

    verb: Verb
    prepare: Callable[[Machine], None]
    during: frozenset[str]
    after: str


def nothing(_: Machine) -> None:
    """Only K3s is installed."""


def installed(machine: Machine) -> None:
    machine.run(install.install)


def other_version(machine: Machine) -> None:
    """Install a gate whose files have another content."""
    installed(machine)
    for name in (TEMPLATE, DROPIN):
        file = machine.root / UNITS / name
        file.write_text(f"{file.read_text()}[Service]\nEnvironment=A=1\n")


def earlier_name(machine: Machine) -> None:
    """Install a gate whose drop-in has the name of earlier releases."""
    other_version(machine)
    for service in ("k3s", "k3s-agent", "k3s-east"):
        directory = machine.root / UNITS / f"{service}.service.d"
        (directory / DROPIN_NAME).rename(directory / OLDER_DROPIN_NAME)


SCENARIOS = {
    "first installation": Scenario(install.install, nothing, frozenset({"ungated", "gated"}), "gated"),
    "upgrade": Scenario(install.install, other_version, frozenset({"gated"}), "gated"),
    "upgrade that renames the drop-in": Scenario(install.install, earlier_name, frozenset({"gated"}), "gated"),
    "removal of an earlier release": Scenario(
        install.uninstall, earlier_name, frozenset({"ungated", "gated"}), "ungated"
    ),
    "removal": Scenario(install.uninstall, installed, frozenset({"ungated", "gated"}), "ungated"),
}


@pytest.mark.parametrize(
    ("verb", "other", "expected"),
    [(install.uninstall, install.install, "ungated"), (install.install, install.uninstall, "gated")],
    ids=["uninstall", "install"],
)
@pytest.mark.parametrize("is_installed", [False, True])
def test_a_verb_that_waits_for_the_opposite_one_completes_after_it(
    in_memory: Path, verb: Verb, other: Verb, expected: str, *, is_installed: bool
) -> None:
    """What it writes or removes is known only when it has the lock."""
    machine = Machine(in_memory / "host")
    machine.reload()
    if is_installed:
        machine.run(install.install)
    machine.run_after(verb, other)
    assert machine.starts() == (expected, expected)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_never_blocks_k3s_and_the_next_run_completes(in_memory: Path, name: str) -> None:
    """K3s starts as before or after the verb. check reports a missing reload, and the next run cleans up."""
    scenario = SCENARIOS[name]
    whole = Machine(in_memory / "whole")
    whole.reload()
    scenario.prepare(whole)
    whole.reload()
    whole.run(scenario.verb)
    ended = whole.files
    wrong: list[str] = []
    left_temporary_files = left_stale = False
    for call in range(2000):
        machine = Machine(in_memory / "killed")
        machine.reload()
        scenario.prepare(machine)
        machine.reload()
        was_killed = machine.run_killed(scenario.verb, call)
        now, next_boot = machine.starts()
        found = installed_gate.detect_gate(machine.host)
        left_temporary_files |= bool(machine.temporary_files())
        if not {now, next_boot} <= scenario.during:
            wrong.append(f"{call}: K3s is {now} now and {next_boot} at the next boot")
        has_gate = bool(found.unit or found.template or found.dropins)
        is_stale = any(machine.loaded.get(name) != machine.disk.get(name) for name in (DROPIN, OLDER_DROPIN))
        if is_stale and has_gate:
            left_stale = True
            if not found.is_stale:
                wrong.append(f"{call}: check does not name the stale systemd")
        machine.run(scenario.verb)
        if machine.starts() != (scenario.after, scenario.after) or machine.files != ended:
            wrong.append(f"{call}: after the next run K3s is {machine.starts()}, {machine.files.keys() ^ ended.keys()}")
        if installed_gate.detect_gate(machine.host).is_stale or machine.temporary_files():
            wrong.append(f"{call}: the next run leaves {machine.temporary_files()}, or a stale systemd")
        shutil.rmtree(machine.root)
        if not was_killed:
            break
    assert (call >= 10, left_stale) == (True, True)
    assert left_temporary_files or scenario.verb is install.uninstall
    assert not wrong, "\n".join(wrong)
