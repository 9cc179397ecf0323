"""Notifications: when one is due, its JSON, its files, and the unit that delivers it."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from agent.assess import baseline
from agent.assess.assessment import Assessment, ControlStatus, Note
from agent.assess.baseline import Baseline
from agent.assess.likely_cause import due_notification
from agent.base.errors import UsageError
from agent.base.host.process import Completed
from agent.base.repair import Repair
from agent.base.value import replace
from agent.harden.changes.state import (
    COMMAND,
    DIRECTORY,
    LAST_NUMBER,
    command_problem,
    notification_path,
    notification_state,
    notification_unit,
)
from agent.harden.settings.schema import Overrides, Settings
from agent.harden.situation import Request
from agent.reports.assessments import assessment_text
from agent.reports.formats import Format
from agent.verbs import notify
from tests.fake import Clock, fake_host, names, unit_file
from tests.json_schemas import validator
from tests.tree import Tree
from tests.unit.assessed import CERTIFICATES, KEYS, OVERCOMMIT, assessment, verdict

VALIDATOR = validator("notification")
PROGRAM = "/usr/local/bin/notify"
SETTINGS = Settings(drift_notify=(PROGRAM, "ops"))

GOOD = assessment(verdict(OVERCOMMIT), verdict(KEYS))
BAD = assessment(verdict(OVERCOMMIT, ControlStatus.FAIL, found="2", where="/etc/x", line=3), verdict(KEYS))
WORSE = assessment(verdict(OVERCOMMIT, ControlStatus.FAIL, found="2"), verdict(KEYS, ControlStatus.UNKNOWN))
BYPASSED = replace(GOOD, notes=(Note("K3s started without its gate", None, Repair(), "gate-bypassed"),))


def stored(assessed: Assessment) -> Baseline:
    return baseline.parse_baseline(assessment_text(assessed, Format.JSON).encode(), PurePosixPath("/assessment.json"))


@pytest.mark.parametrize(
    ("before", "now", "is_due"),
    [
        (None, GOOD, False),
        (None, BAD, True),
        (None, BYPASSED, True),
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
def test_a_notification_is_due_if_the_host_is_not_compliant_at_first_and_then_after_a_change(
    before: Assessment | None, now: Assessment, *, is_due: bool
) -> None:
    assert (due_notification(stored(before) if before else None, now) is not None) is is_due


class Site(Tree):
    """A host whose site has a command, and the units that were started."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.started: list[str] = []
        self.code = 0

    def run(self, argv: Sequence[str], *, timeout: float, largest_output: int = 0) -> Completed:
        del timeout, largest_output
        assert argv[1:3] == ["start", "--no-block"], argv
        self.started.append(argv[3])
        return Completed(self.code, "", "Unit not found.\n")

    def check(
        self,
        last: Assessment | None,
        now: Assessment,
        number: int = 1,
        *,
        settings: Settings = SETTINGS,
        causes: dict[str, str] | None = None,
    ) -> list[str]:
        host = replace(fake_host(self.root, clock=Clock(number), is_live=True), run=self.run)
        before = None if last is None else stored(last)
        return list(notify.notify(host, settings, before, replace(now, when=number), causes or {}))

    def message(self, number: int = 1) -> Any:
        """Return the validated message of a pending notification."""
        message = json.loads(self.path(notification_path(number)).read_bytes())
        VALIDATOR.validate(message)
        assert message["number"] == number
        return message

    def deliver(self, number: int) -> None:
        self.path(notification_path(number)).unlink()

    @property
    def files(self) -> list[str]:
        return names(self.path(DIRECTORY)) if self.path(DIRECTORY).exists() else []


@pytest.fixture
def site(in_memory: Path) -> Site:
    site = Site(in_memory)
    for name in (PROGRAM, "/usr/bin/systemctl"):
        site.write(name, mode=0o755)
    for name in ("run/systemd/system", "var/lib"):
        (in_memory / name).mkdir(parents=True)
    for path in in_memory.rglob("*"):
        path.chmod(0o755)
    return site


def test_a_change_is_written_to_a_private_file_and_started_without_waiting(site: Site) -> None:
    assert site.check(None, GOOD) == []
    (line,) = site.check(GOOD, BAD, 2, causes={OVERCOMMIT.id: "tuned"})
    assert line == "notification 2 is delivered by k3s-harden-notify@2.service"
    assert site.started == ["k3s-harden-notify@2.service"]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in site.path(DIRECTORY).iterdir()}
    assert (modes, stat.S_IMODE(site.path(DIRECTORY).stat().st_mode)) == ({0o600}, 0o700)
    message = site.message(2)
    assert (message["event"], message["status"], message["previous_status"]) == ("change", "not_compliant", "compliant")
    (change,) = message["changes"]
    assert (change["id"], change["previous_status"], change["status"]) == (OVERCOMMIT.id, "PASS", "FAIL")
    assert (change["likely_cause"], change["location"]) == ("tuned", {"path": "/etc/x", "line": 3})
    assert message["text"] == (
        "node-1 is now not compliant (1 newly open)\nPASS → FAIL vm.overcommit_memory: found 2; likely cause: tuned"
    )


def test_the_command_is_run_with_its_words(site: Site) -> None:
    """The shell that runs it in the unit expands nothing."""
    words = ("$HOME *", "it's", "a\nb", "-n", "é")
    site.check(None, BAD, settings=Settings(drift_notify=("/usr/bin/printf", "%s|", *words)))
    done = subprocess.run(["/bin/sh", site.path(COMMAND)], capture_output=True, check=True)
    assert done.stdout.decode() == "|".join((*words, ""))


def test_the_first_check_with_the_setting_reports_all_open_controls(site: Site) -> None:
    """An earlier assessment without the setting does not count. The next change is relative to the last check."""
    site.check(BAD, BAD)
    assert (site.message(1)["event"], site.message(1)["previous_status"]) == ("first", None)
    site.deliver(1)
    assert site.check(BAD, BAD, 2) == []
    site.check(BAD, GOOD, 3)
    message = site.message(3)
    assert (message["event"], message["status"], message["previous_status"]) == ("change", "compliant", "not_compliant")


def test_an_undelivered_notification_is_started_again_by_each_check(site: Site) -> None:
    """Each notification has its own file and unit, so a later one does not replace it."""
    site.check(None, BAD, 1)
    site.check(BAD, BAD, 2)
    site.check(BAD, WORSE, 3)
    assert site.files == ["1.json", "3.json", "command", "last-number"]
    assert site.started == [notification_unit(number) for number in (1, 1, 1, 3)]


@pytest.mark.parametrize(("recorded", "number"), [("5", 6), ("4", 5), ("9", 10), ("²", 5), ("", 5)])
def test_a_later_notification_has_a_greater_number(site: Site, recorded: str, number: int) -> None:
    """Also two of one second, the first of them delivered, or after the clock was set back."""
    site.check(None, GOOD)
    site.path(LAST_NUMBER).write_text(recorded)
    site.check(GOOD, BAD, 5)
    assert site.message(number)["status"] == "not_compliant"


def test_the_number_of_waiting_notifications_is_limited(site: Site) -> None:
    for number in range(1, 13):
        site.check(GOOD, BAD, number)
    assert site.files == sorted([*(f"{number}.json" for number in range(3, 13)), "command", "last-number"])


def test_without_the_setting_no_file_is_kept_and_no_unit_started(site: Site) -> None:
    """If the setting is enabled again, the site is notified as if for the first time."""
    site.check(None, BAD)
    assert site.check(BAD, WORSE, 2, settings=Settings()) == []
    assert not site.path(DIRECTORY).exists()
    site.check(WORSE, WORSE, 3)
    assert site.message(3)["event"] == "first"


def test_a_failure_of_systemd_is_reported_in_one_line(site: Site) -> None:
    site.code = 5
    assert site.check(None, BAD) == ["cannot notify the site: cannot run systemctl start: Unit not found."]
    assert site.files == ["1.json", "command", "last-number"]


def test_a_directory_that_cannot_be_written_is_reported_in_one_line(site: Site) -> None:
    site.path("/var/lib/k3s-harden").touch()
    (line,) = site.check(None, BAD)
    assert line.startswith("cannot notify the site: cannot ")
    assert site.started == []


def test_without_systemd_the_command_is_not_run(site: Site) -> None:
    site.path("/run/systemd/system").rmdir()
    assert site.check(None, BAD) == ["cannot notify the site: systemd is not running"]


def test_an_untrusted_command_is_not_started_until_it_is_corrected(site: Site) -> None:
    site.path(PROGRAM).chmod(0o757)
    assert site.check(None, BAD) == []
    assert site.started == []
    site.path(PROGRAM).chmod(0o755)
    site.check(BAD, BAD, 2)
    assert site.started == ["k3s-harden-notify@1.service"]


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
    if mode is not None:
        site.path(path).parent.mkdir(parents=True, exist_ok=True)
        site.path(path).touch()
        site.path(path).chmod(mode)
    assert command_problem(fake_host(site.root), PurePosixPath(path)) == problem


def test_a_notification_that_is_pending_for_minutes_is_reported(site: Site) -> None:
    """A new one can still be in delivery."""
    site.check(None, BAD)
    written = site.path(notification_path(1)).stat().st_mtime
    for age, is_late in ((60, False), (600, True)):
        state = notification_state(fake_host(site.root, clock=Clock(written + age)), PurePosixPath(PROGRAM))
        assert state.waits_since.endswith("UTC") is is_late
        assert state.file == notification_path(1)


def test_a_directory_that_cannot_be_listed_is_no_error_of_check(site: Site) -> None:
    """An ordinary user cannot list it, and the gate does not depend on it; the drift check reports it."""
    site.path(DIRECTORY.parent).mkdir(mode=0o700)
    site.path(DIRECTORY).symlink_to("notify")
    state = notification_state(fake_host(site.root), PurePosixPath(PROGRAM))
    assert (state.problem, state.waits_since) == ("", "")
    (line,) = site.check(None, BAD)
    assert line.startswith(f"cannot notify the site: cannot create {DIRECTORY}: ")


def test_a_message_has_no_control_characters_of_the_host(site: Site) -> None:
    site.check(None, assessment(verdict(OVERCOMMIT, ControlStatus.FAIL, found="x\ny\x1b[1m"), verdict(KEYS)))
    assert len(site.message()["text"].splitlines()) == 2


def test_only_the_text_of_a_long_list_is_shortened(site: Site) -> None:
    many = tuple(verdict(replace(KEYS, id=f"c{number}"), ControlStatus.FAIL) for number in range(30))
    site.check(None, assessment(*many))
    message = site.message()
    assert len(message["changes"]) == 30
    assert message["text"].splitlines()[-1] == "and 10 more"


def test_a_test_without_the_setting_is_rejected(site: Site) -> None:
    host = fake_host(site.root)
    with pytest.raises(UsageError, match=r"`drift\.notify` is not set"):
        notify.send_test(host, Request(Overrides()), lambda: GOOD)


def test_the_unit_has_the_paths_of_the_program_and_no_privileges() -> None:
    parsed = unit_file("k3s-harden-notify@.service")
    unit, service = parsed["Unit"], parsed["Service"]
    waiting = f"{DIRECTORY}/%i.json"
    assert service["StandardInput"] == f"file:{waiting}"
    assert service["LoadCredential"] == f"command:{COMMAND}"
    assert service["ExecStartPost"] == f"!/bin/rm -f {waiting}"
    assert service["ReadWritePaths"] == str(DIRECTORY)
    assert unit["ConditionPathExists"] == waiting
    assert (service["DynamicUser"], service["NoNewPrivileges"], service["CapabilityBoundingSet"]) == ("yes", "yes", "")
    assert {"MemoryMax", "TasksMax", "TimeoutStartSec"} <= service.keys()
