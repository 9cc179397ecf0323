"""Findings about settings, waivers and notifications."""

from __future__ import annotations

import os
import time

from tests.scenarios.findings.case import Case, Edit, Seen, apply, both, written
from tests.scenarios.host_tree import SETTINGS, STATE, HostTree

_NOTIFY = "drift:\n  notify: /opt/notify\n"
_YML = "/etc/k3s-harden/config.yml"
_COMMAND = "/opt/notify"
_TODAY, _SOON = (time.strftime("%Y-%m-%d", time.gmtime(time.time() + days * 86_400)) for days in (0, 7))
_STAGE = "stages:\n  pod-security: warn\n  until: "
_ACCEPTED = "impact:\n  accepted:\n    - {{object: default/Pod/web, reason: no other client, expires: {day}}}\n"
_OBSERVES = f"{STATE}/gate-observes"
_OBSERVING = "run `k3s-harden apply`; or run `k3s-harden install --enforce`"
_BLOCKS = "a gate that blocks an unhardened K3s"
_WAITING = f"{STATE}/notify/1.json"


def waits(seconds: int) -> Edit:
    """Put a notification there that was written so long ago."""

    def change(host: HostTree) -> None:
        host.write(_WAITING, "{}")
        written_at = time.time() - seconds
        os.utime(host[_WAITING], (written_at, written_at))

    return change


CASES = (
    Case("settings-ignored", written(_YML, "profile: strict\n"),
         both(written(SETTINGS, f"waivers-file: {_YML}\n"), written(_YML, "[]\n")),
         Seen(_YML, "", expected=SETTINGS)),
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
    Case("stage-expired",
         both(written(SETTINGS, f"{_STAGE}2001-02-03\n"), apply),
         both(written(SETTINGS, f"{_STAGE}{_SOON}\n"), apply),
         Seen("", "", expected="no stage", found="stages.pod-security: warn")),
    Case("stage-too-long",
         both(written(SETTINGS, f"{_STAGE}2999-02-03\nwaivers-must: {{expire-within: 30}}\n"), apply),
         both(written(SETTINGS, f"{_STAGE}{_SOON}\nwaivers-must: {{expire-within: 30}}\n"), apply),
         Seen("", "", found="2999-02-03",
              expected="a day within 30 days, as `waivers-must` requires")),
    Case("recording-not-in-effect",
         both(written(SETTINGS, "traffic: {record-until: 2999-02-03}\n")),
         both(written(SETTINGS, f"traffic: {{record-until: {_SOON}}}\n")),
         Seen("", "", found="2999-02-03", expected="{today} to {latest}")),
    Case("recording-not-in-effect",
         both(written(SETTINGS, "traffic:\n  record-until: 2001-02-03\n")),
         both(written(SETTINGS, f"traffic: {{record-until: {_SOON}}}\n")),
         Seen("", "", found="2001-02-03", expected="{today} to {latest}"), name="over"),
    Case("waiver-expired",
         both(written(SETTINGS, _ACCEPTED.format(day="2026-01-31"))),
         both(written(SETTINGS, _ACCEPTED.format(day="2999-01-31"))),
         Seen(f"{SETTINGS}:3", "remove or extend the waiver at {location}", found="2026-01-31")),
    Case("gate-observes", written(_OBSERVES, f"{_TODAY}\n"), written(_OBSERVES, "somehow\n"),
         Seen(_OBSERVES, _OBSERVING, expected=_BLOCKS)),
    Case("gate-observes-too-long", written(_OBSERVES, "2001-02-03\n"), written(_OBSERVES, f"{_TODAY}\n"),
         Seen(_OBSERVES, _OBSERVING, expected=_BLOCKS)),
)  # fmt: skip
