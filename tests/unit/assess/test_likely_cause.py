"""Likely causes of a changed status."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import PurePosixPath

import pytest

from agent.assess.assessment import ControlStatus, Evidence, Verdict
from agent.assess.checks.argument_checks import ArgumentCheck
from agent.assess.checks.check import Check
from agent.assess.checks.file_modes import Permissions
from agent.assess.checks.sysctls_and_directories import GuideDirectory
from agent.assess.likely_cause import ChangesSince, likely_cause
from agent.base.model import FileMode, Location, Times
from agent.harden.guide.criteria import Boolean
from agent.harden.guide.guide_files import SERVER_DIRECTORY
from agent.k3s.roles_and_versions import Component
from tests.unit.assessed import CERTIFICATES, OVERCOMMIT, control, verdict

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


SERVER = "/var/lib/rancher/k3s/server"
DPKG = "/var/lib/dpkg/status"
AT = "2027-01-01 07:00 UTC"
LIVE = files("/proc/sys/vm/overcommit_memory", LATER)
KERNEL = verdict(OVERCOMMIT, ControlStatus.FAIL, found="2", where="/proc/sys/vm/overcommit_memory")
KERNEL_AT_BOOT = KERNEL._replace(evidence=(*KERNEL.evidence, Evidence("2 at boot", Location(CONF, 3))))
MODE = verdict(CERTIFICATES, ControlStatus.FAIL, found="0644", where=CRT)
EDITED = verdict(ANONYMOUS, ControlStatus.FAIL, found="true", where=CONFIG, line=4)
DEFAULT = verdict(ANONYMOUS, ControlStatus.FAIL, found="true", where="K3s v1.35.0: pkg/daemons/control/server.go")
THREE = MODE._replace(evidence=tuple(verdict(CERTIFICATES, where=f"/{name}").evidence[0] for name in "abc"))
THREE_TIMES = {PurePosixPath(f"/{name}"): Times(LAST + n, LAST + n) for n, name in enumerate("acb", 1)}


@pytest.mark.parametrize(
    ("changed", "seen", "cause"),
    [
        # A file with the line that sets the value. Files of /proc have no times of their own.
        (KERNEL_AT_BOOT, {"files": {**files(CONF, LATER), **LIVE}}, f"{CONF}:3, written {AT}"),
        (KERNEL_AT_BOOT, {"files": {**files(CONF, EARLIER, EARLIER), **LIVE}}, ""),
        (EDITED, {"files": files(CONFIG, LATER)}, f"{CONFIG}:4, written {AT}"),
        # The ctime of a file shows a change of its mode; the earlier assessment included older changes.
        (MODE, {"files": files(CRT, EARLIER)}, f"a new {CRT}, or a change of its mode or owner, {AT}"),
        (MODE, {"files": files(CRT, EARLIER, EARLIER)}, ""),
        (MODE, {"files": files(CRT, EARLIER, LAST + 0.5)}, ""),  # a report has whole seconds
        (MODE, {}, ""),
        (THREE, {"files": THREE_TIMES}, "/b, written 2027-01-01 06:00 UTC"),
        (DEFAULT, {"upgrade": "v1.34.1 to v1.35.0"}, "K3s upgrade from v1.34.1 to v1.35.0"),
        # Packages change often, so a more specific cause is preferred.
        (EDITED, {"files": files(DPKG, LATER)}, f"a package change: dpkg last wrote its database {AT}"),
        (EDITED, {"files": files(CONFIG, LATER) | files(DPKG, LATER)}, f"{CONFIG}:4, written {AT}"),
        (EDITED, {"files": files(DPKG, EARLIER)}, ""),
        # apply fixes controls and breaks none.
        *((verdict(about), {"applied": LATER}, f"k3s-harden apply, {AT}") for about in (OVERCOMMIT, CERTIFICATES)),
        *((verdict(about), {"applied": EARLIER}, "") for about in (OVERCOMMIT, CERTIFICATES)),
        *((verdict(about, ControlStatus.FAIL), {"applied": LATER}, "") for about in (OVERCOMMIT, CERTIFICATES)),
    ],
)
def test_the_likely_cause_is_what_changed_since_the_last_assessment(
    changed: Verdict, seen: dict[str, object], cause: str
) -> None:
    assert likely_cause(changed, since(**seen)) == cause


@pytest.mark.parametrize(
    "check", [GuideDirectory(SERVER_DIRECTORY), Permissions(("server",), at_most=OPEN, directories=True)]
)
def test_a_new_file_does_not_change_the_mode_of_its_directory(check: Check) -> None:
    """The ctime of a directory shows the change of its mode; the mtime does not."""
    failing = verdict(control("server", check), ControlStatus.FAIL, found="0755", where=SERVER)
    found = likely_cause(failing, since(files=files(SERVER, LATER)))
    assert found == f"a new {SERVER}, or a change of its mode or owner, {AT}"
    assert likely_cause(failing, since(files=files(SERVER, LATER, EARLIER))) == ""
