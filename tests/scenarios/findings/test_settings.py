"""Findings about settings, waivers and notifications."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.findings.case import (
    Case,
    Seen,
    both,
    case_id,
    check_problem,
    written,
)
from tests.scenarios.host_tree import SETTINGS, STATE, HostTree

if TYPE_CHECKING:
    from tests.scenarios.conftest import Hardened
    from tests.scenarios.findings.case import Edit

_NOTIFY = "drift:\n  notify: /opt/notify\n"
_COMMAND = "/opt/notify"
_WAITING = f"{STATE}/notify/1.json"


def waits(seconds: int) -> Edit:
    """Put a notification there that was written so long ago."""

    def change(host: HostTree) -> None:
        host.write(_WAITING, "{}")
        written_at = time.time() - seconds
        os.utime(host[_WAITING], (written_at, written_at))

    return change


CASES = (
    Case("notify-command-unusable",
         both(written(SETTINGS, _NOTIFY), lambda host: host.write(_COMMAND, "#!/bin/sh\n", 0o757)),
         both(written(SETTINGS, _NOTIFY), lambda host: host.write(_COMMAND, "#!/bin/sh\n", 0o755)),
         Seen(_COMMAND,
             "put the program below a directory that only root can change, with mode 0755,"
                 " or correct `drift.notify`")),
    Case("notification-undelivered",
         both(written(SETTINGS, _NOTIFY), lambda host: host.write(_COMMAND, "#!/bin/sh\n", 0o755), waits(3600)),
         both(written(SETTINGS, _NOTIFY), lambda host: host.write(_COMMAND, "#!/bin/sh\n", 0o755), waits(1)),
         Seen(_WAITING, "sudo journalctl -u 'k3s-harden-notify@*'")),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_a_finding_has_a_remediation_that_fixes_it(case: Case, hardened: Hardened) -> None:
    """`check` reports the values, the location and the remediation; after the cure the finding is gone."""
    check_problem(case, hardened)
