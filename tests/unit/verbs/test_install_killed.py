"""`install` and `uninstall`, killed at each call that writes and before each call of systemctl."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from agent.host.process import LARGEST_OUTPUT, Completed
from agent.node import gate
from agent.settings.schema import Overrides
from agent.situation import Request
from agent.verbs import install
from tests.fake import fake_host, in_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent.host import Host

pytestmark = pytest.mark.root

EARLIER_UNITS = Path(__file__).parents[2] / "data/earlier_units"
PROGRAM = PurePosixPath("/opt/k3s-harden")
REQUEST = Request(Overrides(role="server", k3s_version="1.34"))
UNITS = "etc/systemd/system"
K3S_UNIT = "[Service]\nExecStart=/usr/local/bin/k3s server\n"
WRITING = ("rename", "unlink", "mkdir", "rmdir")
"""And open(2), if it creates a file."""
DROPIN = f"k3s.service.d/{gate.DROPIN}"

Files = dict[str, str]


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
        """Run systemctl."""
        del timeout, largest_output
        if argv[1] == "daemon-reload":
            self.reload()
        if argv[1] != "show":
            return Completed(0, "", "")
        return Completed(0, "\n".join(map(self._show, argv[argv.index("--") + 1 :])), "")

    def _show(self, unit: str) -> str:
        loaded, disk = self.loaded, self.disk
        used = {name: text for name, text in loaded.items() if name == unit or name.startswith(f"{unit}.d/")}
        # As with systemd 247, the first drop-in of a service goes unnoticed.
        is_stale = any(disk.get(name) != text for name, text in used.items())
        dropins = " ".join(f"/{UNITS}/{name}" for name in used if name != unit)
        state = "loaded" if unit in loaded else "not-found"
        return (
            f"Id={unit}\nLoadState={state}\nNeedDaemonReload={'yes' if is_stale else 'no'}\n"
            f"DropInPaths={dropins if unit in loaded else ''}\n"
        )

    def reload(self) -> None:
        """Read all unit files."""
        time.sleep(0.01)  # more than the clock of file times takes for a tick
        self.loaded_file.write_text(json.dumps(self.disk))
        (self.root / "run/systemd/systemd-units-load").touch()
        time.sleep(0.01)

    @property
    def loaded(self) -> Files:
        """The unit files that systemd uses."""
        return dict(json.loads(self.loaded_file.read_text()))

    @property
    def disk(self) -> Files:
        """The unit files on the disk."""
        top = self.root / UNITS
        return {
            str(path.relative_to(top)): path.read_text()
            for path in sorted(top.rglob("*"))
            if path.suffix in {".service", ".conf", ".timer"} and not path.name.startswith(".")
        }

    @property
    def host(self) -> Host:
        """The host as the program sees it."""
        return fake_host(self.root, programs=self, is_live=True)  # type: ignore[arg-type]

    def run(self, verb: Callable[[Host, install.Wanted], Any]) -> None:
        """Run a verb to its end."""
        host = self.host
        verb(host, install.wanted(host, REQUEST, ("k3s-east.service",), PROGRAM))

    def run_killed(self, verb: Callable[[Host, install.Wanted], Any], moment: int) -> bool:
        """Run a verb in a process of its own that is killed at this call; False if it ended before."""
        child = os.fork()
        if not child:
            code = 1
            try:
                _kill_at(self, moment)
                self.run(verb)
                code = 0
            finally:
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        assert os.waitstatus_to_exitcode(status) in {0, -signal.SIGKILL}
        return os.WIFSIGNALED(status)

    def starts(self) -> tuple[str, str]:
        """What a start of K3s does now, and what it does after a reload or a boot."""
        disk = self.disk
        return _start(self.loaded, disk), _start(disk, disk)

    def temporary_files(self) -> list[Path]:
        """What a run has left."""
        return [path for path in self.root.rglob("*") if re.fullmatch(r"\..*\.k3s-harden", path.name)]


def _start(used: Files, disk: Files) -> str:
    dropin = used.get(DROPIN)
    if dropin is None:
        return "ungated"
    if "k3s-harden@" in dropin:
        # systemd drops an instance that has ended, and reads the template again.
        return "gated" if gate.TEMPLATE in disk else "blocked"
    return "gated" if "/run/k3s-harden/ready" in used.get(gate.UNIT, disk.get(gate.UNIT, "")) else "blocked"


def _kill_at(machine: Machine, moment: int) -> None:
    """Kill this process before its call of this number that writes, or asks systemctl to do something."""
    left = moment

    def counted(real: Callable[..., Any], counts: Callable[..., bool] = lambda *_, **__: True) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the call that it replaces
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


class Story(NamedTuple):
    """A verb to kill, and what a start of K3s may do after that."""

    verb: Callable[[Host, install.Wanted], Any]
    prepare: Callable[[Machine], None]
    during: frozenset[str]
    after: str


def nothing(_: Machine) -> None:
    """Only K3s is installed."""


def earlier_release(machine: Machine) -> None:
    """The gate of the release before the template is in force."""
    shutil.copytree(EARLIER_UNITS, machine.root / UNITS, dirs_exist_ok=True)


def installed(machine: Machine) -> None:
    """The gate is in force."""
    machine.run(install.install)


STORIES = {
    "first installation": Story(install.install, nothing, frozenset({"ungated", "gated"}), "gated"),
    "upgrade": Story(install.install, earlier_release, frozenset({"gated"}), "gated"),
    "removal": Story(install.uninstall, installed, frozenset({"ungated", "gated"}), "ungated"),
    "removal of an earlier release": Story(
        install.uninstall, earlier_release, frozenset({"ungated", "gated"}), "ungated"
    ),
}


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory in memory."""
    with in_memory() as directory:
        yield directory


@pytest.mark.parametrize("name", STORIES)
def test_a_kill_never_blocks_k3s_and_the_next_run_completes(place: Path, name: str) -> None:
    """K3s starts as before or as afterwards; `check` names a stale systemd; the next run reloads and cleans up."""
    story = STORIES[name]
    whole = Machine(place / "whole")
    whole.reload()
    story.prepare(whole)
    whole.reload()
    whole.run(story.verb)
    ended = whole.disk
    wrong: list[str] = []
    left_temporary_files = left_stale = False
    for moment in range(2000):
        machine = Machine(place / "killed")
        machine.reload()
        story.prepare(machine)
        machine.reload()
        was_killed = machine.run_killed(story.verb, moment)
        now, next_boot = machine.starts()
        found = gate.detect(machine.host)
        left_temporary_files |= bool(machine.temporary_files())
        if not {now, next_boot} <= story.during:
            wrong.append(f"{moment}: K3s is {now} now and {next_boot} at the next boot")
        has_gate = bool(found.unit or found.template or found.dropins)
        if machine.loaded.get(DROPIN) != machine.disk.get(DROPIN) and has_gate:
            left_stale = True
            if not found.is_stale:
                wrong.append(f"{moment}: check does not name the stale systemd")
        machine.run(story.verb)
        if machine.starts() != (story.after, story.after) or machine.disk != ended:
            wrong.append(
                f"{moment}: after the next run K3s is {machine.starts()}, {machine.disk.keys() ^ ended.keys()}"
            )
        if gate.detect(machine.host).is_stale or machine.temporary_files():
            wrong.append(f"{moment}: the next run leaves {machine.temporary_files()}, or a stale systemd")
        shutil.rmtree(machine.root)
        if not was_killed:
            break
    assert (moment >= 10, left_stale) == (True, True)
    assert left_temporary_files or story.verb is install.uninstall
    assert not wrong, "\n".join(wrong)


def test_install_starts_what_the_gate_of_an_earlier_release_blocked(tmp_path: Path) -> None:
    """Only that release would have started it, so it would stay down."""
    machine = Machine(tmp_path / "host")
    earlier_release(machine)
    machine.reload()
    waiting = machine.root / "run/k3s-harden/waiting.k3s"
    waiting.parent.mkdir()
    waiting.touch()
    asked = []

    def run(argv: Sequence[str], *, timeout: float, largest_output: int = LARGEST_OUTPUT) -> Completed:
        asked.append(list(argv[1:]))
        return machine(argv, timeout=timeout, largest_output=largest_output)

    host = fake_host(machine.root, programs=run, is_live=True)  # type: ignore[arg-type]
    install.install(host, install.wanted(host, REQUEST, (), PROGRAM))
    assert asked[-1] == ["start", "--no-block", "k3s.service"]
    assert asked.index(["daemon-reload"]) < len(asked) - 1
    assert not waiting.exists()
