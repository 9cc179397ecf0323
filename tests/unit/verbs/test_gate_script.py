"""The shell script in the drop-ins of K3s' services, run with stand-ins for systemctl and sleep."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fake import mounted

if TYPE_CHECKING:
    from collections.abc import Iterator

UNITS = Path(__file__).parents[3] / "systemd"
SERVICES = ("k3s", "k3s-agent")
TOOLS = ("mkdir", "mv", "rm", "systemctl", "sleep")

# `systemctl start` simulates the gate: the file `gate` contains its result and creates the mark of success.
SYSTEMCTL = """\
#!/bin/sh
echo "$*" >>{place}/asked
case "$*" in
    start*) . {place}/gate ;;
    show*NRestarts*) /bin/cat {place}/restarts ;;
    show*SuccessExitStatus*) /bin/cat {place}/statuses ;;
    is-enabled*) /bin/cat {place}/enabled; test "$(/bin/cat {place}/enabled)" = enabled ;;
esac
"""
PASSES = ": >{run}/passed.k3s"
FAILS = "exit 1"
SKIPPED = "exit 0"


def script(service: str) -> str:
    """Return the script that systemd runs for this service, unescaped by the rules of systemd.service(5)."""
    text = (UNITS / f"{service}.service.d/10-k3s-harden.conf").read_text().replace("\\\n", " ")
    found: list[str] = re.findall(r"^ExecStartPre=/bin/sh -c '(.*)'$", text, re.MULTILINE)
    return found[0].replace("$$", "$").replace("%n", f"{service}.service").replace("%N", service)


class Starts:
    """Starts of K3s below a directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.run = place / "run"
        self.tools = place / "tools"
        self.tools.mkdir()
        for name in TOOLS[:3]:
            (self.tools / name).symlink_to(shutil.which(name) or "/")
        self.tool("systemctl", SYSTEMCTL.format(place=place))
        self.tool("sleep", f"#!/bin/sh\necho sleep >>{place}/asked\n")
        (place / "restarts").write_text("1\n")
        (place / "enabled").write_text("enabled\n")
        (place / "statuses").write_text("\n\n\n")

    def tool(self, name: str, text: str) -> None:
        """Replace a program."""
        (self.tools / name).unlink(missing_ok=True)
        (self.tools / name).write_text(text)
        (self.tools / name).chmod(0o755)

    def start(self, gate: str) -> int:
        """Start K3s with a gate that runs these commands, and return the exit code of ExecStartPre=."""
        (self.place / "gate").write_text(gate.format(run=self.run) + "\n")
        (self.place / "asked").write_text("")
        text = script("k3s").replace("/run/k3s-harden", str(self.run)).replace("seconds=55", "seconds=5")
        return subprocess.run(["/bin/sh", "-c", text], env={"PATH": str(self.tools)}, check=False).returncode

    def asked(self, what: str) -> int:
        """Return how often the last start ran this command."""
        return sum(line.startswith(what) for line in (self.place / "asked").read_text().splitlines())

    def files(self) -> set[str]:
        """Return the names of the files that are left."""
        return {path.name for path in self.run.iterdir()}


@pytest.fixture
def starts(tmp_path: Path) -> Starts:
    """A host on which K3s never started."""
    return Starts(tmp_path)


def test_all_services_have_the_same_gate() -> None:
    """Only the timers differ: agents have no ServiceAccounts to patch."""
    server, agent = ((UNITS / f"{name}.service.d/10-k3s-harden.conf").read_text() for name in SERVICES)
    assert server.partition("\n[Service]\n")[2] == agent.partition("\n[Service]\n")[2]
    assert server.replace(" k3s-harden-service-accounts.timer", "") == agent


def test_the_unit_without_instance_equals_the_template() -> None:
    """`k3s-harden.service` and the template are one unit."""
    assert (UNITS / "k3s-harden.service").read_text() == (UNITS / "k3s-harden@.service").read_text()


@pytest.mark.parametrize("service", SERVICES)
def test_the_script_is_valid_shell(service: str) -> None:
    """systemd passes it on unchanged: it contains no quote that ends it, and only the specifiers %n and %N."""
    text = script(service)
    assert "'" not in text
    assert "%" not in text
    assert "\\" not in text
    done = subprocess.run(["/bin/sh", "-n", "-c", text], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("listed", "expected"),
    [("143 SIGTERM\n\n\n", 1), ("1\n2\n\n", 3), ("1 2\n\n3 4\n", 5), (" ".join(map(str, range(1, 256))), -9)],
)
def test_a_blocked_start_ends_with_a_status_in_no_list_of_the_service(
    starts: Starts, listed: str, expected: int
) -> None:
    """systemd applies SuccessExitStatus= and the lists of Restart= to the command; SIGKILL is the last resort."""
    (starts.place / "statuses").write_text(listed)
    assert starts.start(FAILS) == expected


def test_k3s_starts_after_its_gate_has_passed(starts: Starts) -> None:
    """The script removes the mark of success."""
    assert starts.start(PASSES) == 0
    assert starts.files() == set()


@pytest.mark.parametrize("gate", [FAILS, SKIPPED, f"{PASSES}; exit 1", "kill -KILL $$"])
def test_k3s_is_blocked_by_a_gate_that_fails_or_creates_no_mark(starts: Starts, gate: str) -> None:
    """An earlier mark is ignored. The start after the repair succeeds."""
    starts.run.mkdir()
    (starts.run / "passed.k3s").touch()
    assert starts.start(gate) == 1
    assert "blocked.k3s" in starts.files()
    assert starts.asked("sleep") == 0
    assert starts.start(gate) == 1
    assert starts.asked("sleep") == 5
    assert starts.start(PASSES) == 0
    assert starts.files() == set()


def test_apply_ends_the_pause(starts: Starts) -> None:
    """The next start removes the file."""
    starts.start(FAILS)
    starts.tool("sleep", f"#!/bin/sh\necho sleep >>{starts.place}/asked; : >{starts.run}/retry.k3s\n")
    assert starts.start(FAILS) == 1
    assert starts.asked("sleep") == 1


@pytest.mark.root
def test_each_attempt_has_a_pause_if_its_files_cannot_be_written(starts: Starts) -> None:
    """Attempts without a pause would reach systemd's start limit, after which K3s is not started any more."""
    starts.run.mkdir()
    with mounted(starts.run, "size=4k,nr_inodes=1,mode=0755"):
        for _ in range(2):
            assert starts.start(FAILS) == 1
            assert starts.asked("sleep") == 5
            assert starts.start(PASSES) == 1, "the mark cannot be written"
    assert starts.start(PASSES) == 0


def test_a_release_lets_one_start_pass(starts: Starts) -> None:
    """The gate does not run at this start."""
    starts.run.mkdir()
    (starts.run / "release.k3s").touch()
    assert starts.start(FAILS) == 0
    assert starts.asked("start") == 0
    assert starts.files() == {"released.k3s"}
    assert starts.start(FAILS) == 1


@pytest.mark.parametrize(
    ("before", "after", "stops"),
    [
        ("enabled", "disabled", True),
        ("enabled", "enabled", False),
        ("disabled", "disabled", False),
        ("enabled", "", False),
        ("", "disabled", False),
    ],
)
def test_a_service_that_was_disabled_while_it_was_blocked_is_stopped(
    starts: Starts, before: str, after: str, *, stops: bool
) -> None:
    """A service that was never enabled, or whose state is unknown, is not stopped."""
    (starts.place / "enabled").write_text(f"{before}\n")
    starts.start(FAILS)
    (starts.place / "enabled").write_text(f"{after}\n")
    assert starts.start(FAILS) == 1
    assert starts.asked("stop --no-block k3s.service") == stops


def test_a_start_by_hand_does_not_wait(starts: Starts) -> None:
    """After an earlier block has ended, the first attempt fails immediately again."""
    starts.start(FAILS)
    (starts.place / "restarts").write_text("0\n")
    assert starts.start(FAILS) == 1
    assert starts.asked("sleep") == 0


def broken(starts: Starts) -> Iterator[str]:
    """Yield each program of the script, broken in each way."""
    for name in TOOLS:
        real = (starts.tools / name).read_bytes() if name in TOOLS[3:] else None
        for text in ("#!/bin/sh\nexit 1\n", "#!/bin/sh\nkill -KILL $$\n", ""):
            starts.tool(name, text)
            if not text:
                (starts.tools / name).unlink()
            yield name
        if real is None:
            (starts.tools / name).unlink(missing_ok=True)
            (starts.tools / name).symlink_to(shutil.which(name) or "/")
        else:
            starts.tool(name, real.decode())


@pytest.mark.parametrize("was_blocked", [True, False])
def test_k3s_stays_blocked_if_any_program_of_the_script_fails_or_is_killed(
    starts: Starts, *, was_blocked: bool
) -> None:
    """A failing gate blocks K3s even if an earlier mark is left. The next start recovers."""
    for name in broken(starts):
        shutil.rmtree(starts.run, ignore_errors=True)
        starts.run.mkdir()
        (starts.run / "passed.k3s").touch()
        if was_blocked:
            (starts.run / "blocked.k3s").write_text("enabled\n")
        assert starts.start(FAILS) == 1, name
        assert starts.asked("stop") == 0, name
    assert starts.start(FAILS) == 1
    assert starts.start(PASSES) == 0
