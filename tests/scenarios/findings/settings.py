"""Findings about settings, waivers and notifications."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from tests.scenarios.findings.case import Case, Seen, both, written
from tests.scenarios.host_tree import SETTINGS, STATE, HostTree

if TYPE_CHECKING:
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
