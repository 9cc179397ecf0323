"""Notifications: when one is due, its JSON, its files, and the command of the site."""

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


# --- due notifications ---


@pytest.mark.parametrize(("first", "is_due"), [(GOOD, False), (BAD, True), (BYPASSED, True)])
def test_the_first_notification_is_due_only_if_the_host_is_not_compliant(first: Assessment, *, is_due: bool) -> None:
    """An incomplete gate is also a reason."""
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
def test_a_later_notification_is_due_after_a_change(before: Assessment, now: Assessment, *, is_due: bool) -> None:
    """Changes include a host that is compliant again, and a newly open control."""
    assert (due(known(before), now) is not None) is is_due


# --- the files ---


class Site(NamedTuple):
    """A host whose site has a command, and the units that were started."""

    root: Path
    started: list[str]
    code: list[int]

    def run(self, argv: Sequence[str], *, timeout: float, largest_output: int = 0) -> Completed:
        """Simulate systemctl."""
        del timeout, largest_output
        assert argv[1:3] == ["start", "--no-block"], argv
        self.started.append(argv[3])
        return Completed(self.code[0], "", "Unit not found.\n")

    def check(self, now: Assessment, *, at: float = WHEN, settings: Settings = SETTINGS, cause: str = "") -> list[str]:
        """Run the notification step of the drift check."""
        host = replace(fake_host(self.root, clock=Clock(at), is_live=True), run=self.run)
        return list(notify.notify(host, settings, replace(now, when=at), {OVERCOMMIT.id: cause} if cause else {}))

    def path(self, path: str | PurePosixPath) -> Path:
        """Return the path on this machine of a path of the host."""
        return self.root / str(path).lstrip("/")

    def message(self, number: int) -> Any:  # noqa: ANN401 - JSON
        """Return the validated message of a pending notification."""
        message = json.loads(json.loads(self.path(notifications.path(number)).read_bytes())["message"])
        VALIDATOR.validate(message)
        return message

    def deliver(self, number: int) -> None:
        """Mark a notification as delivered, as the unit does after the command succeeded."""
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


def test_a_delivered_change_is_not_sent_again(site: Site) -> None:
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


def test_a_change_that_was_not_delivered_is_sent_again_with_later_changes(site: Site) -> None:
    """One notification replaces the pending ones, and contains all changes with their causes."""
    site.check(GOOD)
    site.check(BAD, cause="tuned")
    site.check(WORSE)
    assert site.files == ["2.json", "delivered.json"]
    changes = {one["id"]: one for one in site.message(2)["changes"]}
    assert changes.keys() == {OVERCOMMIT.id, KEYS.id}
    assert changes[OVERCOMMIT.id]["likely_cause"] == "tuned"
    assert site.started == ["k3s-harden-notify@1.service", "k3s-harden-notify@2.service"]


def test_a_change_that_was_undone_before_its_delivery_is_not_sent(site: Site) -> None:
    """The site was already notified of the status."""
    site.check(GOOD)
    site.check(BAD)
    assert site.check(GOOD) == []
    assert site.files == ["delivered.json"]


def test_a_burst_of_changes_is_limited(site: Site) -> None:
    """The limit is six in an hour. A later check sends the remaining changes."""
    site.check(GOOD)
    for number in range(1, 7):
        site.check(BAD if number % 2 else GOOD)
        site.deliver(number)
    (line,) = site.check(BAD, at=WHEN + 60)
    assert line == "6 notifications were sent in the last hour; a later check sends what changed"
    assert len(site.started) == 6
    site.check(BAD, at=WHEN + 3700)
    assert site.started[-1] == "k3s-harden-notify@7.service"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"schema": 2}', b"\xff", b"[" * 100_000, b'{"schema": 1, "known": null, "number": 1e999}'],
)
def test_a_damaged_file_is_treated_as_missing(site: Site, content: bytes) -> None:
    """The site is notified as if for the first time."""
    site.check(BAD)
    site.deliver(1)
    site.path(DELIVERED).write_bytes(content)
    site.check(BAD)
    assert site.message(1)["event"] == "first"


def test_without_the_setting_no_file_is_kept_and_no_unit_started(site: Site) -> None:
    """If the setting is enabled again, the site is notified as if for the first time."""
    site.check(BAD)
    assert site.check(WORSE, settings=Settings()) == []
    assert site.files == []
    site.check(BAD)
    assert site.message(1)["event"] == "first"


def test_a_failure_of_systemd_is_reported_in_one_line(site: Site) -> None:
    """The drift check continues. The notification is pending until the next check."""
    site.code[0] = 5
    (line,) = site.check(BAD)
    assert line == "cannot notify the site: cannot run systemctl start: Unit not found."
    assert site.files == ["1.json"]


def test_a_full_disk_is_reported_in_one_line(site: Site) -> None:
    """A state directory that is not writable is also reported."""
    site.path("/var/lib/k3s-harden").touch()
    (line,) = site.check(BAD)
    assert line.startswith("cannot notify the site: cannot ")
    assert site.started == []


def test_without_systemd_the_command_is_not_run(site: Site) -> None:
    """The command runs only in its unit."""
    site.path("/run/systemd/system").rmdir()
    assert site.check(BAD) == ["cannot notify the site: systemd is not running"]


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
        ("/home/me/notify", 0o755, "the sandbox of its unit hides /home"),
        ("/tmp/notify", 0o755, "the sandbox of its unit hides /tmp"),  # noqa: S108 - not used
        ("/usr/local/bin/notify", 0o757, "others can write to it (mode 0757)"),
        ("/usr/local/bin/notify", 0o700, "other users than root cannot run it: its mode is 0700"),
        ("/usr/local/bin/notify", 0o755, ""),
    ],
)
def test_a_command_is_run_only_if_its_file_is_trusted_and_executable(
    site: Site, path: str, mode: int | None, problem: str
) -> None:
    """Only root can write it, and the user of the unit can execute it."""
    if mode is not None:
        site.path(path).parent.mkdir(parents=True, exist_ok=True)
        site.path(path).touch()
        site.path(path).chmod(mode)
    assert notifications.problem(fake_host(site.root), PurePosixPath(path)) == problem


def test_a_notification_that_is_pending_for_minutes_is_reported(site: Site) -> None:
    """A new one can still be in delivery."""
    site.check(BAD)
    written = site.path(notifications.path(1)).stat().st_mtime
    for age, since in ((60, ""), (600, "UTC")):
        found = notifications.observe(fake_host(site.root, clock=Clock(written + age)), PurePosixPath(COMMAND[0]))
        assert found.waits_since.endswith(since)
        assert bool(found.waits_since) is bool(since)


def test_a_directory_that_cannot_be_listed_is_no_error_of_check(site: Site) -> None:
    """An ordinary user cannot list it, and the gate does not depend on it; the drift check reports it."""
    site.path(DIRECTORY.parent).mkdir(mode=0o700)
    site.path(DIRECTORY).symlink_to("notify")
    found = notifications.observe(fake_host(site.root), PurePosixPath(COMMAND[0]))
    assert (found.problem, found.waits_since) == ("", "")
    (line,) = site.check(BAD)
    assert line.startswith(f"cannot notify the site: cannot list {DIRECTORY}: ")


def test_a_message_has_no_control_characters_of_the_host(site: Site) -> None:
    """Contents of files cannot add lines to `text`."""
    site.check(GOOD)
    site.check(assessment(verdict(OVERCOMMIT, ControlStatus.FAIL, found="x\ny\x1b[1m"), verdict(KEYS)))
    assert len(site.message(1)["text"].splitlines()) == 2


def test_only_the_text_of_a_long_list_is_shortened(site: Site) -> None:
    """`changes` contains all changes."""
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
    """Its arguments are those in the settings."""
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
    """The error is one line without control characters."""
    with pytest.raises(HostError) as raised:
        deliver(site, script)
    assert raised.value.message == f"cannot notify the site: {problem}"


def test_a_command_that_does_not_exist_is_an_error(site: Site) -> None:
    """The unit fails and is started again."""
    with pytest.raises(HostError, match=r"^cannot run /none: No such file or directory$"):
        notify.deliver(envelope(site, "/none"), run_with_input)


@pytest.mark.parametrize("data", [b"", b"{", b"{}", b"[]", b"\x00" * 100])
def test_other_input_is_rejected(data: bytes) -> None:
    """The command is not run."""
    with pytest.raises(UsageError, match="standard input is not a stored notification"):
        notify.deliver(data, run_with_input)


@pytest.mark.skipif(os.geteuid() != 0, reason="requires root")
def test_root_never_runs_the_command() -> None:
    """A unit without its user fails closed."""
    with pytest.raises(UsageError, match="cannot notify as root"):
        notify.deliver_input()


def test_a_test_without_the_setting_is_rejected(site: Site) -> None:
    """The error contains the setting."""
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
    """The unit contains the paths that the program uses."""
    service = unit()["Service"]
    waiting = f"{DIRECTORY}/%i.json"
    assert service["StandardInput"] == f"file:{waiting}"
    assert service["ExecStartPost"] == f"!/bin/mv -f {waiting} {DELIVERED}"
    assert service["ReadWritePaths"] == str(DIRECTORY)
    assert unit()["Unit"]["ConditionPathExists"] == waiting
    assert notifications.unit(3) == "k3s-harden-notify@3.service"


def test_the_unit_has_limits_and_no_privileges() -> None:
    """The time limit of the program is shorter than that of the unit, so its message is logged."""
    service = unit()["Service"]
    assert (service["DynamicUser"], service["NoNewPrivileges"], service["CapabilityBoundingSet"]) == ("yes", "yes", "")
    assert float(service["TimeoutStartSec"]) > notify.COMMAND_TIMEOUT
    assert {"MemoryMax", "TasksMax"} <= service.keys()
    assert (service["Restart"], service["RestartSec"]) == ("on-failure", "10min")
    # Five attempts, each with its time limit, and the pauses are over before the limit of starts allows more.
    assert (unit()["Unit"]["StartLimitBurst"], unit()["Unit"]["StartLimitIntervalSec"]) == ("5", "2h")
