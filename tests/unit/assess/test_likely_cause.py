"""Likely causes of a changed status."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from agent.assess.assessment import ControlStatus
from agent.assess.likely_cause import Clues, TunedValue, likely, tuned_profile
from agent.checks.arguments import ArgumentCheck
from agent.checks.beyond_benchmark import GuideDirectory
from agent.checks.files import Permissions
from agent.guide.criteria import Boolean
from agent.guide.files import SERVER_DIRECTORY
from agent.linux.sysctl_order import Assignment
from agent.model import Component, FileMode, Location, Times
from tests.unit.assessed import CERTIFICATES, OVERCOMMIT, control, verdict

if TYPE_CHECKING:
    from agent.checks.check import Check

LAST = datetime(2027, 1, 1, 6, 0, tzinfo=timezone.utc).timestamp()
LATER = LAST + 3600
EARLIER = LAST - 86_400
ANONYMOUS = control(
    "apiserver-anonymous-auth", ArgumentCheck(Component.API_SERVER, "anonymous-auth", Boolean(expected=False))
)
CRT = "/var/lib/rancher/k3s/server/tls/server-ca.crt"
CONFIG = "/etc/rancher/k3s/config.yaml"
CONF = PurePosixPath("/etc/sysctl.d/99-database.conf")
TUNED = "/usr/lib/tuned/database/tuned.conf"
KEY = OVERCOMMIT.id
OPEN = FileMode(0o755)


def clues(**seen: object) -> Clues:
    """Return clues of a host on which only the given facts changed since the last assessment."""
    nothing: dict[str, object] = {"since": LAST, "files": {}, "live": {KEY: "2"}, "boot": {}, "by_hand": {}}
    return Clues(**{**nothing, **seen})  # type: ignore[arg-type]  # the tests pass valid types


def sets(value: str, path: PurePosixPath = CONF) -> dict[str, Assignment]:
    return {KEY: Assignment(KEY, value, Location(path, 3), is_rejected=False)}


def files(path: str | PurePosixPath, written: float, changed: float = LATER) -> dict[PurePosixPath, Times]:
    return {PurePosixPath(path): Times(written, changed)}


FAILING = verdict(OVERCOMMIT, ControlStatus.FAIL, found="2", where="/proc/sys/vm/overcommit_memory")


# --- kernel parameters ---


def test_a_profile_of_tuned_with_the_value_is_the_cause() -> None:
    """tuned sets the values of its profile repeatedly at run time, regardless of sysctl.d files."""
    seen = clues(
        tuned="database", tuned_sysctls={KEY: TunedValue("2", Location(PurePosixPath(TUNED), 7))}, boot=sets("2")
    )
    assert likely(FAILING, seen) == f"tuned profile database ({TUNED}:7)"


def test_a_profile_of_tuned_with_another_value_is_not_the_cause() -> None:
    """A profile without the parameter is not the cause either."""
    seen = clues(
        tuned="database", tuned_sysctls={KEY: TunedValue("0", Location(PurePosixPath(TUNED), 7))}, boot=sets("2")
    )
    assert likely(FAILING, seen) == f"{CONF}:3"


def test_a_file_that_sets_the_value_at_boot_is_the_cause() -> None:
    """The cause contains the line, and the time of the last write."""
    seen = clues(boot=sets("2"), files=files(CONF, EARLIER))
    assert likely(FAILING, seen) == f"{CONF}:3, written 2026-12-31 06:00 UTC"


def test_a_file_that_only_sysctl_system_reads_is_the_cause() -> None:
    """systemd does not read /etc/sysctl.conf, but `sysctl --system` does."""
    seen = clues(boot=sets("1"), by_hand=sets("2", PurePosixPath("/etc/sysctl.conf")))
    assert likely(FAILING, seen) == "`sysctl --system`, from /etc/sysctl.conf:3"


@pytest.mark.parametrize("boot", [{}, {KEY: None}, sets("1")])
def test_a_value_without_a_file_is_from_a_program(boot: dict[str, Assignment | None]) -> None:
    """An installer, a script or a shell can set it."""
    assert likely(FAILING, clues(boot=boot)) == "a program at run time, because no file that is read at boot sets 2"


def test_a_file_that_overrides_the_value_at_the_next_boot_is_the_cause() -> None:
    """The running value is compliant, so the file makes the control fail."""
    seen = clues(live={KEY: "1"}, boot=sets("2"), files=files(CONF, LATER))
    assert likely(FAILING, seen) == f"{CONF}:3, written 2027-01-01 07:00 UTC, which takes precedence at the next boot"


def test_kubelet_sets_the_values_that_it_requires() -> None:
    """Without protect-kernel-defaults, kubelet sets these values when it starts."""
    passing = verdict(OVERCOMMIT, ControlStatus.PASS, found="1")
    live = {KEY: "1"}
    assert likely(passing, clues(live=live, started=LATER)).startswith("kubelet, which set it when K3s started")
    assert likely(passing, clues(live=live, started=EARLIER)) == ""
    assert likely(passing, clues(live=live)) == ""


# --- files and arguments ---


def test_a_renewal_is_the_cause_of_changed_certificate_modes() -> None:
    """K3s renews certificates when it starts, and sets its own mode."""
    failing = verdict(CERTIFICATES, ControlStatus.FAIL, found="0644", where=CRT)
    found = likely(failing, clues(files=files(CRT, LATER)))
    assert found == f"K3s wrote {CRT} 2027-01-01 07:00 UTC, as `k3s certificate rotate` does"


def test_a_changed_mode_is_not_a_renewal() -> None:
    """The mode was changed with chmod."""
    failing = verdict(CERTIFICATES, ControlStatus.FAIL, found="0644", where=CRT)
    found = likely(failing, clues(files=files(CRT, EARLIER)))
    assert found == f"a new {CRT}, or a change of its mode or owner, 2027-01-01 07:00 UTC"


@pytest.mark.parametrize(
    "check", [GuideDirectory(SERVER_DIRECTORY), Permissions(("server",), at_most=OPEN, directories=True)]
)
def test_a_new_file_does_not_change_the_mode_of_its_directory(check: Check) -> None:
    """The ctime of a directory shows the change of its mode; the mtime does not."""
    failing = verdict(control("server", check), ControlStatus.FAIL, found="0755", where="/var/lib/rancher/k3s/server")
    place = "/var/lib/rancher/k3s/server"
    found = likely(failing, clues(files=files(place, LATER)))
    assert found == f"a new {place}, or a change of its mode or owner, 2027-01-01 07:00 UTC"
    assert likely(failing, clues(files=files(place, LATER, EARLIER))) == ""


def test_an_edit_of_the_k3s_configuration_is_the_cause() -> None:
    """The cause contains the location of the line."""
    failing = verdict(ANONYMOUS, ControlStatus.FAIL, found="true", where=CONFIG, line=4)
    assert likely(failing, clues(files=files(CONFIG, LATER))) == f"an edit of {CONFIG}:4, written 2027-01-01 07:00 UTC"


def test_the_last_changed_file_is_the_cause() -> None:
    """The evidence contains several files."""
    failing = verdict(CERTIFICATES, ControlStatus.FAIL, where="/a")._replace(
        evidence=tuple(verdict(CERTIFICATES, where=where).evidence[0] for where in ("/a", "/b", "/c"))
    )
    times = {PurePosixPath(f"/{name}"): Times(LAST + n, LAST + n) for n, name in enumerate("acb", 1)}
    assert likely(failing, clues(files=times)).startswith("an edit of /b, ")


def test_an_upgrade_of_k3s_is_the_cause_of_changed_defaults() -> None:
    """The default arguments of K3s differ between versions."""
    failing = verdict(ANONYMOUS, ControlStatus.FAIL, found="true", where="K3s v1.35.0: pkg/daemons/control/server.go")
    assert likely(failing, clues(upgrade="v1.34.1 to v1.35.0")) == "K3s upgrade from v1.34.1 to v1.35.0"


def test_a_package_change_is_the_last_guess() -> None:
    """A more specific cause is preferred, because packages change often."""
    failing = verdict(ANONYMOUS, ControlStatus.FAIL, found="true", where=CONFIG, line=4)
    dpkg = files("/var/lib/dpkg/status", LATER)
    assert likely(failing, clues(files=dpkg)) == "a package change: dpkg last wrote its database 2027-01-01 07:00 UTC"
    assert likely(failing, clues(files=files(CONFIG, LATER) | dpkg)).startswith("an edit of")
    assert likely(failing, clues(files=files("/var/lib/dpkg/status", EARLIER))) == ""


def test_older_changes_are_not_a_cause() -> None:
    """The earlier assessment already included them."""
    failing = verdict(CERTIFICATES, ControlStatus.FAIL, found="0644", where=CRT)
    assert likely(failing, clues(files=files(CRT, EARLIER, EARLIER))) == ""
    assert likely(failing, clues()) == ""


@pytest.mark.parametrize("about", [OVERCOMMIT, CERTIFICATES])
def test_apply_is_the_cause_if_the_control_passes(about: object) -> None:
    """apply must have run since the earlier assessment."""
    control = OVERCOMMIT if about is OVERCOMMIT else CERTIFICATES
    passing, failing = verdict(control), verdict(control, ControlStatus.FAIL)
    assert likely(passing, clues(live={KEY: "1"}, applied=LATER)) == "k3s-harden apply, 2027-01-01 07:00 UTC"
    assert "apply" not in likely(passing, clues(live={KEY: "1"}, applied=EARLIER))
    assert "apply" not in likely(failing, clues(applied=LATER))


# --- inputs of the guesses ---


def test_a_tuned_profile_is_parsed() -> None:
    """The result contains its values and includes, without computed values."""
    text = b"""\
# A profile.
[main]
summary=For a database
include=throughput-performance, my-base

[variables]
vm.panic_on_oom=1

[sysctl]
vm.overcommit_memory = 2
kernel/panic=5
kernel.panic_on_oops=${oops}
vm.dirty_ratio=>40
; vm.swappiness=1
vm.empty=
nothing

[vm]
kernel.panic=7
"""
    profile = tuned_profile(text, PurePosixPath(TUNED))
    assert profile.includes == ("throughput-performance", "my-base")
    assert profile.sysctls == {
        "vm.overcommit_memory": TunedValue("2", Location(PurePosixPath(TUNED), 10)),
        "kernel.panic": TunedValue("5", Location(PurePosixPath(TUNED), 11)),
    }


@pytest.mark.parametrize("data", [b"", b"\xff\xfe[", b"[sysctl]\n=\n", b"include=x\n"])
def test_an_invalid_profile_sets_nothing(data: bytes) -> None:
    """An invalid profile is not an error."""
    assert tuned_profile(data, PurePosixPath(TUNED)) == ({}, ())
