"""Findings about the gate."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.base.host import Host
from agent.base.host.probe import K3sProcess
from agent.base.value import replace
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.k3s.roles_and_versions import Role
from agent.verbs import check_and_apply as verbs
from tests.scenarios.conftest import Hardened
from tests.scenarios.findings.case import (
    GATE_DROPIN,
    SERVICE_DROPIN,
    Case,
    Edit,
    Seen,
    both,
    deleted,
    linked,
    nothing,
    removed,
    unchanged,
    with_service,
    written,
)
from tests.scenarios.host_tree import CONFIG, DATA_DIR, HostTree

PACKAGED_GATE = "/usr/lib/systemd/system/k3s-harden@.service"
GATE_UNIT = (Path(__file__).parents[3] / "systemd/k3s-harden@.service").read_text()


def installed_gate(change: Edit) -> Edit:
    return both(
        written("/usr/lib/systemd/systemd", ""),
        lambda host: host.write("/opt/k3s-harden", "#!/bin/sh\n", 0o755),
        lambda host: host.run("install", "--program", "/opt/k3s-harden"),
        change,
    )


def line_of_unit(line: str, other: str) -> Edit:
    def change(host: HostTree) -> None:
        unit = host["/etc/systemd/system/k3s-harden@.service"]
        unit.write_text(unit.read_text().replace(f"{line}\n", f"{other}\n"))

    return change


_BY = "alice, by sudo, 2026-11-26T03:00:00Z"


def bypassed(uptime: str) -> Edit:
    """Bypass the gate of K3s until an uptime of 1000 seconds."""
    return both(written("/run/k3s-harden/bypass.k3s", f"1000 {_BY}\n"), written("/proc/uptime", f"{uptime}\n"))


_LAST = "/etc/systemd/system/k3s.service.d/zzzz-site.conf"


def _moved(path: str) -> str:
    return f"sudo mv -nT {path} {path}.moved"


CASES = (
    Case("gate-half-missing",
         written("/etc/systemd/system/k3s.service.d/zzz-k3s-harden.conf", "[Service]\n# k3s-harden@k3s.service\n"),
         written("/etc/systemd/system/k3s.service.d/10-site.conf", "[Unit]\n"),
         Seen("/etc/systemd/system/k3s.service.d/zzz-k3s-harden.conf",
             "run `k3s-harden install`; or run `k3s-harden uninstall`", expected="k3s-harden@.service"),
         cure=lambda host, _: host.run("uninstall")),
    Case("gate-bypassed", both(with_service(), written(_LAST, "[Service]\nExecStartPre=\n")),
         both(with_service("[Service]\nExecStartPre=\nExecStartPre=-/sbin/modprobe overlay\n"),
             written("/etc/systemd/system/k3s.service.d/05-site.conf", "[Service]\nExecStartPre=\n")),
         Seen(f"{_LAST}:2", "", expected="systemctl start k3s-harden@k3s.service")),
    Case("gate-bypassed",
         both(with_service(),
             written("/etc/systemd/system/k3s.service.d/zzz-k3s-harden.conf", "# k3s-harden@%N.service\n")),
         with_service(),
         Seen("/etc/systemd/system/k3s.service.d/zzz-k3s-harden.conf", "k3s-harden install",
             expected="systemctl start k3s-harden@k3s.service"), cure=unchanged, name="edited"),
    *(Case("gate-bypassed",
           both(with_service(), written(f"/etc/systemd/{path}", bad)),
           both(with_service(), written(f"/etc/systemd/{path}", good)),
           Seen(f"/etc/systemd/{path}{line}", repair, expected=expected, found=found),
           cure=unchanged, name=path.replace("/", "-"))
      for path, line, bad, good, repair, expected, found in (
          ("system/k3s.service.d/zzz-k3s-harden.conf", "", GATE_DROPIN.replace("ExecStartPre=", "ExecStartPre=-"),
           GATE_DROPIN.replace("ExecStartPre=", "# A comment \\\nExecStartPre="), "k3s-harden install",
           "systemctl start k3s-harden@k3s.service", ""),
          ("system/k3s-harden@.service.d/program.conf", ":3", "[Service]\nExecStart=\nExecStart=/bin/true\n",
           "[Service]\nExecStart=\nExecStart=/usr/bin/k3s-harden gate --verbose\n",
           _moved("/etc/systemd/system/k3s-harden@.service.d/program.conf"), "k3s-harden gate", "/bin/true"),
          ("system.attached/k3s-harden@k3s.service.d/type.conf", ":2", "[Service]\nType=simple\n",
           "[Service]\nType=oneshot\n", _moved("/etc/systemd/system.attached/k3s-harden@k3s.service.d/type.conf"),
           "k3s-harden gate", "Type=simple"),
          ("system/k3s-harden@.service", ":17", GATE_UNIT.replace("=/usr/bin/k3s-harden gate", "=/bin/true"),
           GATE_UNIT.replace("=/usr/bin/k3s-harden gate", "=/opt/k3s-harden gate"), "k3s-harden install",
           "k3s-harden gate", "/bin/true"),
      )),
    Case("gate-program-unusable", installed_gate(deleted("/opt/k3s-harden")),
         installed_gate(nothing),
         Seen("/opt/k3s-harden", "run `k3s-harden install`; or run `k3s-harden uninstall`")),
    Case("gate-unit-differs", installed_gate(line_of_unit("TimeoutStartSec=120", "TimeoutStartSec=5")),
         installed_gate(written("/etc/systemd/system/k3s-harden@.service.d/a.conf", "[Service]\nTimeoutStartSec=5\n")),
         Seen("/etc/systemd/system/k3s-harden@.service:19", "k3s-harden install", expected="TimeoutStartSec=120",
             found="TimeoutStartSec=5")),
    Case("gate-half-missing", both(with_service(), linked("/etc/systemd/system/k3s-harden@k3s.service", "/dev/null")),
         both(with_service(), linked("/etc/systemd/system/k3s-harden@none.service", "/dev/null")),
         Seen("/etc/systemd/system/k3s.service.d/zzz-k3s-harden.conf",
             "run `sudo systemctl unmask k3s-harden@k3s.service`; or run `k3s-harden uninstall`",
             expected="k3s-harden@.service"),
         cure=removed("/etc/systemd/system/k3s-harden@k3s.service"), name="masked"),
    Case("start-blocked", written("/run/k3s-harden/ungated.k3s", ""), written("/run/k3s-harden/bypass.k3s", ""),
         Seen("/run/k3s-harden/ungated.k3s", "systemctl status k3s-harden@k3s.service"),
         cure=removed("/run/k3s-harden/ungated.k3s")),
    Case("started-without-gate", written("/run/k3s-harden/ungated.k3s", f"1000 {_BY}\n"),
         written("/run/k3s-harden/ungated.k3s", ""),
         Seen("/run/k3s-harden/ungated.k3s", "k3s-harden apply",
             found=f"bypassed by {_BY}"),
         cure=removed("/run/k3s-harden/ungated.k3s")),
    Case("started-unhardened", written("/run/k3s-harden/unhardened.k3s", "kubelet has no --a\nkubelet has --b=c\n"),
         written("/run/k3s-harden/judged.k3s", "kubelet --a=b\n"),
         Seen("/run/k3s-harden/unhardened.k3s",
             "find out what changed K3s' files or systemd's environment during the start; then"
             " run `sudo systemctl restart k3s.service`", found="kubelet has no --a; kubelet has --b=c"),
         cure=removed("/run/k3s-harden/unhardened.k3s")),
    Case("start-not-confirmed", written("/run/k3s-harden/unconfirmed.k3s", "it has logged no arguments of kubelet\n"),
         nothing, Seen("/run/k3s-harden/unconfirmed.k3s", "k3s-harden assess --cluster"),
         cure=removed("/run/k3s-harden/unconfirmed.k3s")),
    Case("bypass-in-effect", bypassed(uptime="100.99 5"), bypassed(uptime="1000.01 5"),
         Seen("/run/k3s-harden/bypass.k3s", "k3s-harden apply", found=f"bypassed by {_BY}"),
         cure=removed("/run/k3s-harden/bypass.k3s")),
    Case("gate-bypassed", name="a failure that a later drop-in ignores",
         problem=installed_gate(written(_LAST, "[Service]\nSuccessExitStatus=1 SIGINT\n")),
         neighbour=installed_gate(
             written(SERVICE_DROPIN.format("site"), "[Service]\nSuccessExitStatus=SIGINT\nUnsetEnvironment=\n")),
         seen=Seen(_LAST + ":2", _moved(_LAST), expected="k3s-harden gate", found="SuccessExitStatus=1 SIGINT"),
         cure=removed(_LAST)),
    Case("gate-before-mount",
         both(
             both(written("/usr/lib/systemd/systemd", ""),
                 written(PACKAGED_GATE, f"[Unit]\nRequiresMountsFor=/etc {DATA_DIR}\n")),
             both(lambda host: host.write("/usr/bin/k3s-harden", "#!/bin/sh\n", 0o755),
                 written(CONFIG, "data-dir: /srv/k3s\n"))),
         both(written(PACKAGED_GATE, f"[Unit]\nRequiresMountsFor=/etc {DATA_DIR}\n"),
             both(
                 written("/run/systemd/system/k3s-harden@.service.d/a.conf",
                     "[Unit]\nRequiresMountsFor=/srv/k3s/server\n"), written(CONFIG, "data-dir: /srv/k3s\n"))),
         Seen(PACKAGED_GATE, "k3s-harden install", expected="RequiresMountsFor=/srv/k3s",
             found=f"RequiresMountsFor=/etc {DATA_DIR}")),
)  # fmt: skip


def test_a_service_without_the_drop_in_of_the_gate_is_reported(hardened: Hardened) -> None:
    """A service of another name needs its own drop-in."""
    host = hardened()
    host.write("/etc/systemd/system/k3s-harden@.service", "[Service]\n")
    host.unit("server", "--debug", name="k3s-east")
    finding = host.seen("check").only("gate-half-missing")
    assert finding.expected == "k3s-east.service.d/zzz-k3s-harden.conf"
    assert finding.repair == "k3s-harden install --unit k3s-east.service"


def test_a_masked_drop_in_is_reported_with_its_mask(hardened: Hardened) -> None:
    """`install` keeps a mask, so it would repair nothing."""
    host = hardened()
    host.write(PACKAGED_GATE, GATE_UNIT)
    host.unit("server")
    host.write("/usr/lib/systemd/system/k3s.service.d/zzz-k3s-harden.conf", GATE_DROPIN)
    assert not host.seen("check").of("gate-half-missing")
    linked("/etc/systemd/system/k3s.service.d/zzz-k3s-harden.conf", "/dev/null")(host)
    finding = host.seen("check").only("gate-half-missing")
    assert finding.location == "/etc/systemd/system/k3s.service.d/zzz-k3s-harden.conf"
    assert finding.repair == f"run `sudo rm {finding.location}`; then run `systemctl daemon-reload`"


@pytest.mark.parametrize(
    ("group", "unit"),
    [
        ("/system.slice/kubernetes.service", "kubernetes.service"),
        ("/user.slice/user-0.slice/session-3.scope", "session-3.scope"),
        ("/system.slice/k3s.service/init", ""),
        ("/user.slice/user-0.slice/user@0.service/app.slice/k3s.service", "user@0.service"),
        ("/system.slice/k3s-site.service", "k3s-site.service"),
        ("/site.slice/k3s.service", ""),
        ("/", ""),
    ],
)
def test_a_k3s_that_no_service_with_the_gate_has_started_is_reported(hardened: Hardened, group: str, unit: str) -> None:
    """By another service, by a user's manager, by hand or by cron, K3s starts without the gate."""
    host = hardened()
    host.write("/etc/systemd/system/k3s-harden@.service", "[Service]\n")
    host.unit("server")
    host.write("/etc/systemd/system/k3s.service.d/zzz-k3s-harden.conf", GATE_DROPIN)
    host.write("/proc/4711/cgroup", f"0::{group}\n")
    running = (K3sProcess(pid=4711, role=Role.SERVER, started=0.0),)
    machine = replace(Host.tree_at(str(host.root)), probe=lambda: running)
    messages = [
        found.message
        for found in verbs.check(machine, Request(Overrides())).findings
        if found.id == "gate-half-missing"
    ]
    assert messages == ([f"{unit} has started K3s without the gate"] if unit else [])
