"""Likely causes of a changed status."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from agent.assess.assessment import ControlStatus, Evidence
from agent.assess.likely_cause import ChangesSince, likely_cause
from agent.checks.arguments import ArgumentCheck
from agent.checks.beyond_benchmark import GuideDirectory
from agent.checks.files import Permissions
from agent.guide.criteria import Boolean
from agent.guide.files import SERVER_DIRECTORY
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
OPEN = FileMode(0o755)


def since(**seen: object) -> ChangesSince:
    """Return the changes of a host on which only these things changed since the last assessment."""
    return ChangesSince(**{"since": LAST, "files": {}, **seen})  # type: ignore[arg-type]  # the tests pass valid types


def files(path: str | PurePosixPath, written: float, changed: float = LATER) -> dict[PurePosixPath, Times]:
    return {PurePosixPath(path): Times(written, changed)}


FAILING = verdict(OVERCOMMIT, ControlStatus.FAIL, found="2", where="/proc/sys/vm/overcommit_memory")


def test_a_changed_file_that_sets_a_kernel_parameter_is_the_cause() -> None:
    """The cause has the line, and the time of the last write. Files of /proc have no times of their own."""
    conf = Evidence("2 at boot", Location(CONF, 3))
    failing = FAILING._replace(evidence=(*FAILING.evidence, conf))
    live = files("/proc/sys/vm/overcommit_memory", LATER)
    assert (
        likely_cause(failing, since(files={**files(CONF, LATER), **live})) == f"{CONF}:3, written 2027-01-01 07:00 UTC"
    )
    assert likely_cause(failing, since(files={**files(CONF, EARLIER, EARLIER), **live})) == ""


def test_a_changed_mode_is_the_cause() -> None:
    failing = verdict(CERTIFICATES, ControlStatus.FAIL, found="0644", where=CRT)
    found = likely_cause(failing, since(files=files(CRT, EARLIER)))
    assert found == f"a new {CRT}, or a change of its mode or owner, 2027-01-01 07:00 UTC"


@pytest.mark.parametrize(
    "check", [GuideDirectory(SERVER_DIRECTORY), Permissions(("server",), at_most=OPEN, directories=True)]
)
def test_a_new_file_does_not_change_the_mode_of_its_directory(check: Check) -> None:
    """The ctime of a directory shows the change of its mode; the mtime does not."""
    failing = verdict(control("server", check), ControlStatus.FAIL, found="0755", where="/var/lib/rancher/k3s/server")
    place = "/var/lib/rancher/k3s/server"
    found = likely_cause(failing, since(files=files(place, LATER)))
    assert found == f"a new {place}, or a change of its mode or owner, 2027-01-01 07:00 UTC"
    assert likely_cause(failing, since(files=files(place, LATER, EARLIER))) == ""


def test_an_edit_of_the_k3s_configuration_is_the_cause() -> None:
    failing = verdict(ANONYMOUS, ControlStatus.FAIL, found="true", where=CONFIG, line=4)
    assert likely_cause(failing, since(files=files(CONFIG, LATER))) == f"{CONFIG}:4, written 2027-01-01 07:00 UTC"


def test_the_last_changed_file_is_the_cause() -> None:
    failing = verdict(CERTIFICATES, ControlStatus.FAIL, where="/a")._replace(
        evidence=tuple(verdict(CERTIFICATES, where=where).evidence[0] for where in ("/a", "/b", "/c"))
    )
    times = {PurePosixPath(f"/{name}"): Times(LAST + n, LAST + n) for n, name in enumerate("acb", 1)}
    assert likely_cause(failing, since(files=times)).startswith("/b, ")


def test_an_upgrade_of_k3s_is_the_cause_of_changed_defaults() -> None:
    """The default arguments of K3s differ between versions."""
    failing = verdict(ANONYMOUS, ControlStatus.FAIL, found="true", where="K3s v1.35.0: pkg/daemons/control/server.go")
    assert likely_cause(failing, since(upgrade="v1.34.1 to v1.35.0")) == "K3s upgrade from v1.34.1 to v1.35.0"


def test_a_package_change_is_the_last_cause() -> None:
    """A more specific cause is preferred, because packages change often."""
    failing = verdict(ANONYMOUS, ControlStatus.FAIL, found="true", where=CONFIG, line=4)
    dpkg = files("/var/lib/dpkg/status", LATER)
    assert (
        likely_cause(failing, since(files=dpkg))
        == "a package change: dpkg last wrote its database 2027-01-01 07:00 UTC"
    )
    assert likely_cause(failing, since(files=files(CONFIG, LATER) | dpkg)).startswith(CONFIG)
    assert likely_cause(failing, since(files=files("/var/lib/dpkg/status", EARLIER))) == ""


def test_older_changes_are_not_a_cause() -> None:
    """The earlier assessment already included them."""
    failing = verdict(CERTIFICATES, ControlStatus.FAIL, found="0644", where=CRT)
    assert likely_cause(failing, since(files=files(CRT, EARLIER, EARLIER))) == ""
    assert likely_cause(failing, since()) == ""


@pytest.mark.parametrize("about", [OVERCOMMIT, CERTIFICATES])
def test_apply_is_the_cause_if_the_control_passes(about: object) -> None:
    control = OVERCOMMIT if about is OVERCOMMIT else CERTIFICATES
    passing, failing = verdict(control), verdict(control, ControlStatus.FAIL)
    assert likely_cause(passing, since(applied=LATER)) == "k3s-harden apply, 2027-01-01 07:00 UTC"
    assert "apply" not in likely_cause(passing, since(applied=EARLIER))
    assert "apply" not in likely_cause(failing, since(applied=LATER))
