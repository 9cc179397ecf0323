"""The shell scripts in the drop-ins of K3s' services, run with stand-ins for systemctl and sleep."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake import mounted

UNITS = Path(__file__).parents[3] / "systemd"
SERVICES = ("k3s", "k3s-agent")
TOOLS = ("cp", "mkdir", "mv", "rm", "env", "systemctl", "sleep")

# `systemctl start` simulates the gate: the file `gate` contains its result, and sets what systemd shows of it.
SYSTEMCTL = """\
#!/bin/sh
echo "$*" >>{place}/asked
test -z "$SYSTEMD_OFFLINE" || exit 0
case "$*" in
    start*) . {place}/gate ;;
    show*RestartPreventExitStatus*) /bin/cat {place}/statuses ;;
    show*=ActiveState*) echo ActiveState=$(/bin/cat {place}/active) ;;
    show*=StateChangeTimestampMonotonic*) echo 100 ;;
    show*=ExecMainStartTimestampMonotonic*) /bin/cat {place}/ran ;;
    show*=ConditionResult,SubState,Result,ExecMainStatus*)
        echo ExecMainStatus=$(/bin/cat {place}/status)
        echo ConditionResult=$(/bin/cat {place}/condition)
        echo SubState=$(/bin/cat {place}/state)
        echo Result=$(/bin/cat {place}/result)
        ;;
esac
"""
PASSES = "cd {place}; echo yes >condition; echo dead >state; echo 0 >status; echo success >result; echo 101 >ran"
FAILS = "exit 1"
SKIPPED = "echo no >{place}/condition"


def scripts(service: str) -> list[str]:
    """Return the scripts that systemd runs for this service, unescaped by the rules of systemd.service(5)."""
    text = (UNITS / f"{service}.service.d/zzz-k3s-harden.conf").read_text().replace("\\\n", " ")
    found: list[str] = re.findall(r"^ExecStartPre=.*?/bin/sh -c '(.*)'$", text, re.MULTILINE)
    assert len(found) == 2
    return [one.replace("$$", "$").replace("%n", f"{service}.service").replace("%N", service) for one in found]


class Starts:
    """Starts of K3s below a directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.run = place / "run"
        self.ungated = self.run / "ungated.k3s"
        self.bypass = self.run / "bypass.k3s"
        self.tools = place / "tools"
        self.tools.mkdir()
        for name in TOOLS[:5]:
            (self.tools / name).symlink_to(shutil.which(name) or "/")
        self.tool("systemctl", SYSTEMCTL.format(place=place))
        self.tool("sleep", f"#!/bin/sh\necho sleep >>{place}/asked\n")
        (place / "statuses").write_text("\n")
        (place / "uptime").write_text("100.99 5.0\n")
        for name, text in (
            ("active", "inactive"),
            ("condition", "yes"),
            ("state", "dead"),
            ("status", "0"),
            ("result", "success"),
            ("ran", "99"),
        ):  # of an earlier success
            (place / name).write_text(text)

    def tool(self, name: str, text: str) -> None:
        (self.tools / name).unlink(missing_ok=True)
        (self.tools / name).write_text(text)
        (self.tools / name).chmod(0o755)

    def begin(self, number: int) -> subprocess.Popen[bytes]:
        """Start one of the commands of ExecStartPre=, which run one after the other."""
        text = scripts("k3s")[number].replace("/run/k3s-harden", str(self.run)).replace("seconds=55", "seconds=5")
        text = text.replace("PATH=/usr/sbin:/usr/bin:/sbin:/bin", f"PATH={self.tools}")
        text = text.replace("sleep 55", "sleep 5").replace("/proc/uptime", str(self.place / "uptime"))
        # Variables of K3s, with which systemctl would do nothing. The second command gets none.
        variables = {"PATH": "/srv", "SYSTEMD_OFFLINE": "1"} if number == 0 else {}
        return subprocess.Popen(["/bin/sh", "-c", text], env=variables, umask=0)

    def bypassed(self, text: str) -> None:
        self.run.mkdir()
        self.bypass.write_text(text)

    def prepare(self, gate: str) -> None:
        (self.place / "gate").write_text(gate.format(place=self.place) + "\n")
        (self.place / "asked").write_text("")

    def start(self, gate: str) -> int:
        """Start K3s with a gate that runs these commands, and return the exit code that decides."""
        self.prepare(gate)
        (self.place / "ran").write_text("99")
        self.begin(0).wait()
        return self.begin(1).wait()

    def asked(self, what: str) -> int:
        """Return how often the last start ran this command."""
        return sum(line.startswith(what) for line in (self.place / "asked").read_text().splitlines())

    def files(self) -> set[str]:
        return {path.name for path in self.run.iterdir()} if self.run.exists() else set()


@pytest.fixture
def starts(tmp_path: Path) -> Starts:
    """A host on which K3s never started."""
    return Starts(tmp_path)


@pytest.mark.parametrize("service", SERVICES)
def test_the_script_is_valid_shell(service: str) -> None:
    """systemd passes it on unchanged: it contains no quote that ends it, and only the specifiers %n and %N."""
    for text in scripts(service):
        assert "'" not in text
        assert "%" not in text
        assert "\\" not in text
        done = subprocess.run(["/bin/sh", "-n", "-c", text], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("listed", "expected"), [("\n", 1), ("1 2\n", 3), ("143 SIGTERM\n", 1), (" ".join(map(str, range(1, 256))), 199)]
)
def test_a_blocked_start_ends_with_a_status_after_which_systemd_tries_again(
    starts: Starts, listed: str, expected: int
) -> None:
    """It is not in RestartPreventExitStatus=, unless all are."""
    (starts.place / "statuses").write_text(listed)
    assert starts.start(FAILS) == expected


def test_a_gate_that_ran_before_this_start_lets_it_not_pass(starts: Starts) -> None:
    """It was started by hand and has not seen the process of K3s: a second one runs after it."""
    (starts.place / "active").write_text("activating")
    assert starts.start(f"test $(grep -c ^start {{place}}/asked) = 1 && {{{{ {PASSES}; exit 0; }}}}; exit 1") == 1
    assert starts.asked("start") == 2


def test_a_gate_of_an_earlier_start_lets_it_not_pass(starts: Starts) -> None:
    """A first command that runs nothing ends with 0, as with SHELLOPTS=noexec, or is killed. The second one decides."""
    assert starts.start(PASSES) == 0
    (starts.place / "ran").write_text("99")
    assert starts.begin(1).wait() == 1


def test_no_signal_or_status_of_the_service_is_a_success() -> None:
    """systemd would take it for a success of these commands, too. An empty value removes what files before it list."""
    for service in SERVICES:
        assert "\nSuccessExitStatus=\n" in (UNITS / f"{service}.service.d/zzz-k3s-harden.conf").read_text()


def test_a_start_that_is_stopped_during_the_gate_is_no_block(starts: Starts) -> None:
    """Its operator has stopped K3s, so apply must not start it."""
    starts.start(FAILS)
    waits = starts.place / "waits"
    os.mkfifo(waits)
    starts.prepare(f"read -r _ <{waits}")
    process = starts.begin(0)
    with waits.open("w"):  # opened as soon as the gate runs
        process.terminate()
        assert (process.wait(), starts.files()) == (1, set())


def test_k3s_starts_after_its_gate_has_passed(starts: Starts) -> None:
    """A start that passes needs no file, so it does not fail on a full or read-only /run."""
    assert starts.start(PASSES) == 0
    assert not starts.run.exists()


@pytest.mark.parametrize(
    "gate",
    [
        FAILS,
        SKIPPED,
        "kill -KILL $$",
        f"{PASSES}; echo 3 >{{place}}/status",
        f"{PASSES}; echo running >{{place}}/state",
        f"{PASSES}; echo exec-condition >{{place}}/result",
    ],
    ids=["fails", "skipped", "killed", "failure that a drop-in ignores", "not awaited", "ExecCondition="],
)
def test_k3s_is_blocked_by_a_gate_that_did_not_run_and_succeed(starts: Starts, gate: str) -> None:
    """An earlier success is ignored. The first attempt ends at once, the next ones after a pause."""
    assert starts.start(gate) == 1
    assert (starts.files(), starts.ungated.read_text(), starts.asked("sleep")) == ({"ungated.k3s"}, "", 0)
    # With UMask=0000 of K3s, everybody could bypass it.
    assert not (starts.run.stat().st_mode | starts.ungated.stat().st_mode) & 0o022
    assert starts.start(gate) == 1
    assert starts.asked("sleep") == 5
    assert starts.start(PASSES) == 0
    assert starts.files() == set()


@pytest.mark.parametrize(("does", "code"), [("", 1), ("echo 101 alice >{0.bypass}", 0)], ids=["apply", "bypass"])
def test_the_end_of_the_pause_ends_the_attempt(starts: Starts, does: str, code: int) -> None:
    """Both verbs end it by removing the file. After apply, systemd's next attempt runs the gate."""
    starts.start(FAILS)
    text = f"echo sleep >>{starts.place}/asked; {does.format(starts)}\n/bin/rm -f {starts.ungated}"
    starts.tool("sleep", f"#!/bin/sh\n{text}\n")
    assert starts.start(FAILS) == code
    assert (starts.asked("sleep"), starts.asked("start")) == (1, 1)


def test_a_stop_in_the_pause_ends_it_and_is_no_block(starts: Starts) -> None:
    """systemd ends the shell with SIGTERM. apply does not start this K3s, and the next start by hand does not wait."""
    starts.start(FAILS)
    starts.tool("sleep", f"#!/bin/sh\necho sleep >>{starts.place}/asked; kill -TERM $PPID\n")
    assert starts.start(FAILS) == 1
    assert (starts.asked("sleep"), starts.files()) == (1, set())


@pytest.mark.root
@pytest.mark.parametrize("options", ["size=4k,nr_inodes=1,mode=0755", "ro,mode=0755"], ids=["full", "read-only"])
def test_a_run_that_cannot_be_written_blocks_no_healthy_k3s(starts: Starts, options: str) -> None:
    """Attempts have a pause, since a loop would reach systemd's start limit, after which K3s is not started."""
    starts.run.mkdir()
    with mounted(starts.run, options):
        for _ in range(2):
            assert starts.start(FAILS) == 1
            assert starts.asked("sleep") == 1
            assert starts.start(PASSES) == 0


def test_a_bypass_lets_one_start_pass(starts: Starts) -> None:
    """The gate does not run at this start. The record of the bypass has the end, the user and the time."""
    starts.bypassed("101 alice, 2026-11-26T03:00:00Z\n")
    assert starts.start(FAILS) == 0
    assert starts.asked("start") == 0
    assert starts.files() == {"ungated.k3s"}
    assert "alice" in starts.ungated.read_text()
    assert starts.start(FAILS) == 1
    assert (starts.ungated.read_text(), starts.asked("sleep")) == ("", 0)


def test_a_bypass_for_a_time_lets_each_start_pass_until_it_ends(starts: Starts) -> None:
    """Each start is recorded. The first one after the end is judged by the gate."""
    starts.bypassed("101 each alice, 2026-11-26T03:00:00Z\n")
    for _ in range(2):
        assert (starts.start(FAILS), starts.asked("start")) == (0, 0)
        assert (starts.files(), "alice" in starts.ungated.read_text()) == ({"bypass.k3s", "ungated.k3s"}, True)
    (starts.place / "uptime").write_text("101.00 5.0\n")
    assert starts.start(FAILS) == 1
    assert (starts.files(), starts.ungated.read_text()) == ({"ungated.k3s"}, "")


@pytest.mark.parametrize("bypass", ["100 alice\n", "", "alice\n", "-5\n", "1e9\n", "101; true\n", "9" * 30])
def test_a_bypass_that_has_ended_or_has_no_end_lets_no_start_pass(starts: Starts, bypass: str) -> None:
    """The gate decides. The file is removed, so a clock that starts again makes nothing of it."""
    starts.bypassed(bypass)
    assert starts.start(FAILS) == 1
    assert starts.files() == {"ungated.k3s"}


@pytest.mark.parametrize("uptime", ["", "unknown\n"])
def test_a_bypass_without_a_clock_lets_no_start_pass(starts: Starts, uptime: str) -> None:
    """Its end cannot be determined."""
    starts.bypassed("101 alice\n")
    (starts.place / "uptime").write_text(uptime)
    assert starts.start(FAILS) == 1


@pytest.mark.root
def test_a_bypass_that_cannot_be_used_up_lets_no_start_pass(starts: Starts) -> None:
    """On a read-only /run it would let each start pass."""
    starts.run.mkdir()
    with mounted(starts.run, "mode=0755"):
        starts.bypass.write_text("101 alice\n")
        subprocess.run(["mount", "-o", "remount,ro", str(starts.run)], check=True)
        assert starts.start(FAILS) == 1


def broken(starts: Starts) -> Iterator[str]:
    """Yield each program of the script, broken in each way."""
    for name in TOOLS:
        real = (starts.tools / name).read_bytes() if name in TOOLS[5:] else None
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


@pytest.mark.parametrize("files", [(), ("ungated.k3s",), ("bypass.k3s",)])
def test_k3s_stays_blocked_if_any_program_of_the_script_fails_or_is_killed(
    starts: Starts, files: tuple[str, ...]
) -> None:
    """A failing gate blocks K3s, also with an expired bypass. The next start recovers."""
    for name in broken(starts):
        shutil.rmtree(starts.run, ignore_errors=True)
        starts.run.mkdir()
        for file in files:
            (starts.run / file).write_text("100 alice\n" if file == "bypass.k3s" else "")
        assert starts.start(FAILS) == 1, name
    assert starts.start(FAILS) == 1
    assert starts.start(PASSES) == 0
