"""Notifications: which one is due, its JSON, its files, and the site's command."""

from __future__ import annotations

import json
import os
import stat
from configparser import ConfigParser
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import jsonschema
import pytest

from agent.assess.assessment import ControlStatus, Note
from agent.assess.status_change import due, known
from agent.changes import notifications
from agent.changes.notifications import DELIVERED, DIRECTORY
from agent.errors import HostError, UsageError
from agent.findings.gate import GATE_FINDINGS
from agent.host.process import Completed, run_with_input
from agent.model import Remediation
from agent.settings.schema import Overrides, Settings
from agent.situation import Request
from agent.value import replace
from agent.verbs import notify
from tests.fake import Clock, fake_host, in_memory, names
from tests.unit.assessed import CERTIFICATES, KEYS, OVERCOMMIT, WHEN, assessment, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.assess.assessment import Assessment

CHECKOUT = Path(__file__).parents[3]
SCHEMA = json.loads((CHECKOUT / "docs/reference/notification.schema.json").read_bytes())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
COMMAND = ("/usr/local/bin/notify", "ops")
SETTINGS = Settings(drift_notify=COMMAND)

GOOD = assessment(verdict(OVERCOMMIT), verdict(KEYS))
BAD = assessment(verdict(OVERCOMMIT, ControlStatus.FAIL, found="2", where="/etc/x", line=3), verdict(KEYS))
WORSE = assessment(verdict(OVERCOMMIT, ControlStatus.FAIL, found="2"), verdict(KEYS, ControlStatus.UNKNOWN))
BYPASSED = replace(GOOD, notes=(Note("K3s started without its gate", None, Remediation(), GATE_FINDINGS[0]),))


# --- when one is due ---


@pytest.mark.parametrize(("first", "is_due"), [(GOOD, False), (BAD, True), (BYPASSED, True)])
def test_the_first_notification_is_due_only_if_the_host_is_not_compliant(first: Assessment, *, is_due: bool) -> None:
    """A gap in the gate counts, too."""
    assert (due(None, first) is not None) is is_due


@pytest.mark.parametrize(
    ("before", "now", "is_due"),
    [
        (GOOD, GOOD, False),
        (BAD, BAD, False),
        (GOOD, BAD, True),
        (BAD, GOOD, True),
        (BAD, WORSE, True),
        (GOOD, BYPASSED, True),
        (BYPASSED, GOOD, True),
        (GOOD, assessment(verdict(OVERCOMMIT), verdict(KEYS), verdict(CERTIFICATES)), False),
        (GOOD, assessment(verdict(OVERCOMMIT), verdict(KEYS), verdict(CERTIFICATES, ControlStatus.FAIL)), True),
    ],
)
def test_a_later_notification_is_due_if_something_changed(before: Assessment, now: Assessment, *, is_due: bool) -> None:
    """Also the return to a compliant host, and a new control that is open."""
    assert (due(known(before), now) is not None) is is_due


# --- the files ---


class Site(NamedTuple):
    """A host whose site has a command, and the units that were started."""

    root: Path
    started: list[str]
    code: list[int]

    def run(self, argv: Sequence[str], *, timeout: float, largest_output: int = 0) -> Completed:
        """Stand in for systemctl."""
        del timeout, largest_output
        assert argv[1:3] == ["start", "--no-block"], argv
        self.started.append(argv[3])
        return Completed(self.code[0], "", "Unit not found.\n")

    def check(self, now: Assessment, *, at: float = WHEN, settings: Settings = SETTINGS, cause: str = "") -> list[str]:
        """Run the part of the drift check that notifies."""
        host = replace(fake_host(self.root, clock=Clock(at), is_live=True), run=self.run)
        return list(notify.notify(host, settings, replace(now, when=at), {OVERCOMMIT.id: cause} if cause else {}))

    def path(self, path: str | PurePosixPath) -> Path:
        """Return where a path of the host is on this machine."""
        return self.root / str(path).lstrip("/")

    def message(self, number: int) -> Any:  # noqa: ANN401 - JSON
        """Return the message of a notification that waits; it is valid."""
        message = json.loads(json.loads(self.path(notifications.path(number)).read_bytes())["message"])
        VALIDATOR.validate(message)
        return message

    def deliver(self, number: int) -> None:
        """Do what the unit does after the command has succeeded."""
        self.path(notifications.path(number)).rename(self.path(DELIVERED))

    @property
    def files(self) -> list[str]:
        """The files in the directory of notifications."""
        return names(self.path(DIRECTORY)) if self.path(DIRECTORY).exists() else []


@pytest.fixture
def site() -> Iterator[Site]:
    """A host with systemd and the command."""
    with in_memory() as root:
        for name in ("usr/local/bin/notify", "usr/bin/systemctl"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch(0o755)
        for name in ("run/systemd/system", "var/lib"):
            (root / name).mkdir(parents=True)
        for path in root.rglob("*"):
            path.chmod(0o755)
        yield Site(root, [], [0])


def test_a_change_is_written_to_a_private_file_and_started_without_waiting(site: Site) -> None:
    """The unit has the number of the notification."""
    site.check(GOOD)
    assert (site.files, site.started) == (["delivered.json"], [])
    (line,) = site.check(BAD, cause="tuned")
    assert line == "notification 1 is delivered by k3s-harden-notify@1.service"
    assert site.started == ["k3s-harden-notify@1.service"]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in site.path(DIRECTORY).iterdir()}
    assert (modes, stat.S_IMODE(site.path(DIRECTORY).stat().st_mode)) == ({0o600}, 0o700)
    message = site.message(1)
    assert (message["event"], message["status"], message["previous_status"]) == ("change", "not_compliant", "compliant")
    (change,) = message["changes"]
    assert (change["id"], change["previous_status"], change["status"]) == (OVERCOMMIT.id, "PASS", "FAIL")
    assert (change["likely_cause"], change["location"]) == ("tuned", {"path": "/etc/x", "line": 3})
    assert message["text"] == (
        "node-1 is now not compliant (1 newly open)\nPASS → FAIL vm.overcommit_memory: found 2; likely cause: tuned"
    )


def test_what_was_delivered_is_not_sent_again(site: Site) -> None:
    """The next change is relative to it."""
    site.check(BAD)
    assert site.message(1)["event"] == "first"
    site.deliver(1)
    assert site.check(BAD) == []
    site.check(GOOD)
    assert [site.message(2)[key] for key in ("event", "status", "previous_status")] == [
        "change",
        "compliant",
        "not_compliant",
    ]


def test_what_was_not_delivered_is_sent_again_with_later_changes(site: Site) -> None:
    """One notification replaces those that wait, and has all changes with their causes."""
    site.check(GOOD)
    site.check(BAD, cause="tuned")
    site.check(WORSE)
    assert site.files == ["2.json", "delivered.json"]
    changes = {one["id"]: one for one in site.message(2)["changes"]}
    assert changes.keys() == {OVERCOMMIT.id, KEYS.id}
    assert changes[OVERCOMMIT.id]["likely_cause"] == "tuned"
    assert site.started == ["k3s-harden-notify@1.service", "k3s-harden-notify@2.service"]


def test_a_change_that_was_undone_before_its_delivery_is_not_sent(site: Site) -> None:
    """The site knows the status already."""
    site.check(GOOD)
    site.check(BAD)
    assert site.check(GOOD) == []
    assert site.files == ["delivered.json"]


def test_a_burst_of_changes_is_limited(site: Site) -> None:
    """Six in an hour; a later check sends what the site does not know."""
    site.check(GOOD)
    for number in range(1, 7):
        site.check(BAD if number % 2 else GOOD)
        site.deliver(number)
    (line,) = site.check(BAD, at=WHEN + 60)
    assert line == "6 notifications were sent in the last hour; a later check sends what changed"
    assert len(site.started) == 6
    site.check(BAD, at=WHEN + 3700)
    assert site.started[-1] == "k3s-harden-notify@7.service"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": 2}', b"\xff", b"[" * 100_000])
def test_a_damaged_file_counts_as_none(site: Site, content: bytes) -> None:
    """The site is notified as if for the first time."""
    site.check(BAD)
    site.deliver(1)
    site.path(DELIVERED).write_bytes(content)
    site.check(BAD)
    assert site.message(1)["event"] == "first"


def test_without_the_setting_nothing_is_kept_or_started(site: Site) -> None:
    """If the setting returns, the site is notified as if for the first time."""
    site.check(BAD)
    assert site.check(WORSE, settings=Settings()) == []
    assert site.files == []
    site.check(BAD)
    assert site.message(1)["event"] == "first"


def test_a_failure_of_systemd_is_a_line(site: Site) -> None:
    """The drift check goes on; the notification waits for the next one."""
    site.code[0] = 5
    (line,) = site.check(BAD)
    assert line == "cannot notify the site: cannot run systemctl start: Unit not found."
    assert site.files == ["1.json"]


def test_a_full_disk_is_a_line(site: Site) -> None:
    """Also a state directory that cannot be written."""
    site.path("/var/lib/k3s-harden").touch()
    (line,) = site.check(BAD)
    assert line.startswith("cannot notify the site: cannot ")
    assert site.started == []


def test_without_systemd_nothing_is_run(site: Site) -> None:
    """The command runs only in its unit."""
    site.path("/run/systemd/system").rmdir()
    assert site.check(BAD) == ["cannot notify the site: systemd does not run here"]


def test_an_untrusted_command_is_not_started(site: Site) -> None:
    """A finding reports it."""
    site.path(COMMAND[0]).chmod(0o757)
    assert site.check(BAD) == []
    assert site.started == []


@pytest.mark.parametrize(
    ("path", "mode", "problem"),
    [
        ("/usr/local/bin/none", None, "No such file or directory"),
        ("/usr/local/bin", None, "it is a directory"),
        ("/home/me/notify", 0o755, "its unit does not see /home"),
        ("/tmp/notify", 0o755, "its unit does not see /tmp"),  # noqa: S108 - not used
        ("/usr/local/bin/notify", 0o757, "others can write to it (mode 0757)"),
        ("/usr/local/bin/notify", 0o700, "other users than root cannot run it: its mode is 0700"),
        ("/usr/local/bin/notify", 0o755, ""),
    ],
)
def test_which_commands_are_run(site: Site, path: str, mode: int | None, problem: str) -> None:
    """Only root may be able to change it, and the unit's user has to reach it."""
    if mode is not None:
        site.path(path).parent.mkdir(parents=True, exist_ok=True)
        site.path(path).touch()
        site.path(path).chmod(mode)
    assert notifications.problem(fake_host(site.root), PurePosixPath(path)) == problem


def test_a_notification_that_waits_for_minutes_was_not_delivered(site: Site) -> None:
    """One that has just been written may be on its way."""
    site.check(BAD)
    written = site.path(notifications.path(1)).stat().st_mtime
    for age, since in ((60, ""), (600, "UTC")):
        found = notifications.observe(fake_host(site.root, clock=Clock(written + age)), PurePosixPath(COMMAND[0]))
        assert found.waits_since.endswith(since)
        assert bool(found.waits_since) is bool(since)


def test_a_message_has_no_control_characters_of_the_host(site: Site) -> None:
    """Contents of files cannot forge lines of `text`."""
    site.check(GOOD)
    site.check(assessment(verdict(OVERCOMMIT, ControlStatus.FAIL, found="x\ny\x1b[1m"), verdict(KEYS)))
    assert len(site.message(1)["text"].splitlines()) == 2


def test_a_long_list_is_cut_in_the_text_only(site: Site) -> None:
    """All changes are in `changes`."""
    many = tuple(verdict(replace(KEYS, id=f"c{number}"), ControlStatus.FAIL) for number in range(30))
    site.check(assessment(*many))
    message = site.message(1)
    assert len(message["changes"]) == 30
    assert message["text"].splitlines()[-1] == "and 10 more"


def test_the_schema_is_valid_and_strict() -> None:
    """Every key is required and has a description; no other key is allowed."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for described in (SCHEMA, SCHEMA["$defs"]["change"], SCHEMA["$defs"]["location"]):
        assert described["additionalProperties"] is False
        assert described["required"] == list(described["properties"])
        assert all(found["description"] for found in described["properties"].values())


# --- the command ---


def envelope(site: Site, *command: str) -> bytes:
    """Return a stored notification for a command."""
    site.check(BAD)
    stored = json.loads(site.path(notifications.path(1)).read_bytes())
    return json.dumps({**stored, "command": command}).encode()


def deliver(site: Site, script: str) -> str:
    """Deliver a notification to a script of sh."""
    return notify.deliver(envelope(site, "/bin/sh", "-c", script), run_with_input)


def test_the_command_gets_only_the_message_on_its_standard_input(site: Site, tmp_path: Path) -> None:
    """And its words as they are in the settings."""
    data = envelope(site, "/bin/sh", "-c", f'cat >{tmp_path}/in; echo "$1" >{tmp_path}/word', "sh", "$HOME *")
    assert notify.deliver(data, run_with_input) == "/bin/sh accepted notification 1"
    message = json.loads((tmp_path / "in").read_bytes())
    VALIDATOR.validate(message)
    assert (tmp_path / "word").read_text() == "$HOME *\n"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo no route >&2; exit 7", "/bin/sh ended with exit code 7: no route"),
        ("exit 1", "/bin/sh ended with exit code 1"),
        ("kill -9 $$", "/bin/sh ended with signal 9"),
        (r"printf 'a\033[1mb\nc\n'; exit 1", r"/bin/sh ended with exit code 1: a\x1b[1mb | c"),
    ],
)
def test_a_failure_of_the_command_has_its_last_output(site: Site, script: str, problem: str) -> None:
    """In one line without control characters."""
    with pytest.raises(HostError) as raised:
        deliver(site, script)
    assert raised.value.message == f"cannot notify the site: {problem}"


def test_a_command_that_does_not_exist_is_an_error(site: Site) -> None:
    """The unit fails and is started again."""
    with pytest.raises(HostError, match=r"^cannot run /none: No such file or directory$"):
        notify.deliver(envelope(site, "/none"), run_with_input)


@pytest.mark.parametrize("data", [b"", b"{", b"{}", b"[]", b"\x00" * 100])
def test_other_input_is_rejected(data: bytes) -> None:
    """Nothing is run."""
    with pytest.raises(UsageError, match="standard input is not a stored notification"):
        notify.deliver(data, run_with_input)


@pytest.mark.skipif(os.geteuid() != 0, reason="requires root")
def test_root_never_runs_the_command() -> None:
    """A unit without its user fails closed."""
    with pytest.raises(UsageError, match="cannot notify as root"):
        notify.deliver_input()


def test_a_test_without_the_setting_is_rejected(site: Site) -> None:
    """It names the setting."""
    host = fake_host(site.root)
    with pytest.raises(UsageError, match=r"`drift\.notify` is not set"):
        notify.send_test(host, Request(Overrides()), lambda: GOOD)


# --- the unit ---


def unit() -> ConfigParser:
    """Return the unit that delivers."""
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's keys have capital letters
    parser.read(CHECKOUT / "systemd/k3s-harden-notify@.service")
    return parser


def test_the_unit_reads_the_file_and_marks_its_delivery() -> None:
    """Its paths are those of the program."""
    service = unit()["Service"]
    waiting = f"{DIRECTORY}/%i.json"
    assert service["StandardInput"] == f"file:{waiting}"
    assert service["ExecStartPost"] == f"!/bin/mv -f {waiting} {DELIVERED}"
    assert service["ReadWritePaths"] == str(DIRECTORY)
    assert unit()["Unit"]["ConditionPathExists"] == waiting
    assert notifications.unit(3) == "k3s-harden-notify@3.service"


def test_the_unit_has_limits_and_no_privileges() -> None:
    """The program's own limit is the shorter one, so that its message is in the log."""
    service = unit()["Service"]
    assert (service["DynamicUser"], service["NoNewPrivileges"], service["CapabilityBoundingSet"]) == ("yes", "yes", "")
    assert float(service["TimeoutStartSec"]) > notify.COMMAND_TIMEOUT
    assert {"MemoryMax", "TasksMax"} <= service.keys()
    assert (service["Restart"], service["RestartSec"]) == ("on-failure", "10min")
    # Five attempts, each with its time limit, and the pauses are over before the limit of starts allows more.
    assert (unit()["Unit"]["StartLimitBurst"], unit()["Unit"]["StartLimitIntervalSec"]) == ("5", "2h")
