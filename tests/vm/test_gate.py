"""The gate in booted guests: K3s starts only on a hardened host, and starts as soon as the host is hardened."""

from __future__ import annotations

import re
import time
from typing import NamedTuple

import pytest

from tests.vm.node import AGENT, GATE, HARDENED_KERNEL, HARDENED_MODES, JOIN, SERVER, STAND_IN_HOME, Node, gate_of

pytestmark = pytest.mark.vm

NAMED = "k3s-east.service"
RUN = "/run/k3s-harden"
GATE_DROPIN = f"/etc/systemd/system/{GATE}.d/99-site.conf"


def _assert_blocked(node: Node, service: str = SERVER) -> None:
    """Check that the gate failed, K3s does not run, and systemd retries the start."""
    node.wait_until(f"test -e {RUN}/ungated.{service.removesuffix('.service')}")
    assert node.unit(service)["ActiveState"] in {"activating", "failed", "inactive"}


def _assert_stays_down(node: Node, case: str, service: str = SERVER) -> None:
    """Check that K3s stays stopped, and that no start is attempted or queued in the time of three restarts."""
    starts = len(node.starts())
    time.sleep(16)
    state = node.unit(service)
    assert (state["ActiveState"], state.get("Job", "")) in {("inactive", ""), ("failed", "")}, case
    assert len(node.starts()) == starts, case


def _shorten_the_pause(node: Node) -> None:
    """Let attempts follow within seconds. Without it, each test here waits for a minute."""
    dropin = f"$(systemctl show --property=DropInPaths --value {SERVER} | tr ' ' '\\n' | grep zzz-k3s-harden)"
    node.run(f"sed -i s/seconds=55/seconds=1/ {dropin}; systemctl daemon-reload")


# --- 1: K3s never starts on a host that is not hardened ---


@pytest.mark.own_kernel
def test_1_at_boot_the_gate_has_succeeded_before_k3s_exists(node: Node) -> None:
    node.reboot()
    _assert_started_after_the_gate(node, SERVER)
    (start,) = node.starts()
    assert {path: start.modes.get(path) for path in HARDENED_MODES} == HARDENED_MODES


def _assert_started_after_the_gate(node: Node, service: str) -> None:
    node.wait_until_up(service)
    node.assert_started_after_the_gate(service)
    (start,) = node.starts()
    assert (start.boot, start.kernel) == (node.boot_id(), HARDENED_KERNEL)


def test_1_at_boot_a_failing_gate_blocks_k3s_and_one_screen_shows_the_reason(node: Node) -> None:
    """K3s is not executed. The status of its gate shows the cause and the remediation on one screen."""
    node.break_host()
    node.reboot()
    _assert_blocked(node)
    assert node.starts() == []
    screen = node.status(GATE)
    assert len(screen.splitlines()) <= 24
    assert node.BAD_DROPIN in screen
    assert "fix:" in screen
    assert f"{SERVER} is not started" in node.journal(SERVER)

    node.repair_host()
    node.harden("apply")
    node.wait_until_up()
    assert len(node.starts()) == 1


class Breakage(NamedTuple):
    """A cause that prevents systemd from running the gate, and its removal."""

    do: str
    undo: str


_DROPIN = f"mkdir -p {GATE_DROPIN.rpartition('/')[0]}; printf '%s\\n' {{}} >{GATE_DROPIN}; systemctl daemon-reload"
_NO_DROPIN = f"rm {GATE_DROPIN}; systemctl daemon-reload"
CANNOT_RUN = {
    "read-only /tmp": Breakage("mount -t tmpfs -o ro none /tmp", "umount /tmp"),
    "missing directory in a site's sandbox": Breakage(
        _DROPIN.format("'[Service]' ReadWritePaths=/no/such/directory"), _NO_DROPIN
    ),
    "failing mount": Breakage(
        "printf '[Mount]\\nWhat=/no/device\\nWhere=/srv/data\\n' >/etc/systemd/system/srv-data.mount; "
        + _DROPIN.format("'[Unit]' RequiresMountsFor=/srv/data"),
        f"rm /etc/systemd/system/srv-data.mount; {_NO_DROPIN}",
    ),
    "no new control group": Breakage(
        _DROPIN.format("'[Service]' Slice=full.slice")
        + "; systemctl start full.slice; echo 0 >/sys/fs/cgroup/full.slice/cgroup.max.descendants",
        f"{_NO_DROPIN}; systemctl stop full.slice",
    ),
    "condition of a site's drop-in": Breakage(_DROPIN.format("'[Unit]' ConditionPathExists=/no/such/file"), _NO_DROPIN),
    "failure that a site's drop-in ignores": Breakage(
        _DROPIN.format("'[Service]' SuccessExitStatus=3 ExecStart= 'ExecStart=/bin/sh -c \"exit 3\"'"), _NO_DROPIN
    ),
    "program that systemd does not wait for": Breakage(
        _DROPIN.format("'[Service]' Type=simple ExecStart= 'ExecStart=/bin/sleep 20'"),
        f"{_NO_DROPIN}; systemctl stop {GATE}",
    ),
    "masked": Breakage("systemctl mask k3s-harden@k3s.service", "systemctl unmask k3s-harden@k3s.service"),
    "deleted": Breakage(
        "systemctl show --property=FragmentPath --value k3s-harden@none.service >/root/where;"
        " mv $(cat /root/where) /root; systemctl daemon-reload",
        "mv /root/k3s-harden@.service $(cat /root/where); systemctl daemon-reload",
    ),
    "program is missing": Breakage(
        "command -v k3s-harden >/root/where; mv $(cat /root/where) /root", "mv /root/k3s-harden $(cat /root/where)"
    ),
    "program is killed": Breakage(
        _DROPIN.format("'[Service]' ExecStart= 'ExecStart=/bin/sh -c \"kill -KILL $$$$\"'"), _NO_DROPIN
    ),
    "program ends with a traceback": Breakage(
        _DROPIN.format("'[Service]' ExecStart= 'ExecStart=/usr/bin/python3 -c \"raise OSError\"'"), _NO_DROPIN
    ),
    "python is not executable": Breakage(
        "chmod a-x $(readlink -f /usr/bin/python3)", "chmod a+x $(readlink -f /usr/bin/python3)"
    ),
    "program exceeds the time limit": Breakage(
        _DROPIN.format("'[Service]' TimeoutStartSec=1 ExecStart= 'ExecStart=/bin/sleep 60'"), _NO_DROPIN
    ),
}

MAY_RUN = {"read-only /tmp"}
"""With some versions of systemd the gate runs all the same: PrivateTmp= then gives it an empty directory."""


@pytest.mark.parametrize("name", CANNOT_RUN)
def test_1_and_2_a_gate_that_cannot_run_blocks_k3s_until_it_can(node: Node, name: str) -> None:
    """An earlier success of the gate is ignored. After the cause is removed K3s starts without a command."""
    _shorten_the_pause(node)
    node.systemctl("start", SERVER)
    node.systemctl("start", GATE)
    node.run(CANNOT_RUN[name].do)
    done = node.systemctl("restart", SERVER, check=False)
    if done.code == 0:
        assert name in MAY_RUN
        node.assert_started_after_the_gate()
    else:
        _assert_blocked(node)
        assert len(node.starts()) == 1
    node.run(CANNOT_RUN[name].undo)
    node.wait_until_up()
    assert [start.kernel for start in node.starts()] == [HARDENED_KERNEL] * 2


EXEC_STEPS = {
    "200/CHDIR": "WorkingDirectory=/no/such/directory",
    "203/EXEC": "ExecStart= ExecStart=/etc/hostname",
    "209/STDOUT": "StandardOutput=file:/no/such/directory/log",
    "217/USER": "User=no-such-user",
    "225/NETWORK": "PrivateNetwork=no NetworkNamespacePath=/no/such/namespace",
    "226/NAMESPACE": "BindPaths=/no/such/directory",
    "233/RUNTIME_DIRECTORY": "RuntimeDirectory=a-file",
    "238/STATE_DIRECTORY": "StateDirectory=a-file",
    "243/CREDENTIALS": "LoadCredential=a:/no/such/file",
}
"""Unit settings with which systemd cannot execute the gate, by the step that fails (systemd.exec(5))."""


def test_1_k3s_does_not_start_if_systemd_cannot_execute_the_gate(node: Node) -> None:
    """K3s starts after the settings are removed."""
    node.run("touch /run/a-file /var/lib/a-file")
    for step, lines in EXEC_STEPS.items():
        node.run(_DROPIN.format(f"'[Service]' {lines}"))
        assert node.systemctl("start", SERVER, check=False).code == 1, step
        assert f"status={step}" in node.journal(GATE)
        assert node.starts() == [], step
        # Neither the pause after a failure nor systemd's limit delays the next start.
        node.run(f"systemctl stop {SERVER}; rm {RUN}/ungated.k3s; systemctl reset-failed {SERVER}; {_NO_DROPIN}")
    node.systemctl("start", SERVER)
    assert [start.kernel for start in node.starts()] == [HARDENED_KERNEL]


class Stage(NamedTuple):
    """A stage of a start of K3s: how to prolong it, the process to kill, and how to make later starts succeed."""

    hold: str
    victim: str
    undo: str = _NO_DROPIN
    is_reached: str = ""
    """A command that prints the process ID that exists in this stage; if empty, that of the process to kill."""


def _id(unit: str, name: str) -> str:
    return f"systemctl show --property={name} --value {unit}"


_HELD_BEFORE = _DROPIN.format("'[Service]' 'ExecStartPre=/bin/sleep 60'")
_NOT_HELD = f"{_NO_DROPIN}; pkill -x -f '/bin/sleep 60' || true"
STAGES = {
    "the shell that waits for the gate": Stage(
        _HELD_BEFORE, _id(SERVER, "ControlPID"), _NOT_HELD, is_reached=_id(GATE, "ControlPID")
    ),
    "systemctl that waits for the gate": Stage(
        _HELD_BEFORE, "pgrep -x systemctl", _NOT_HELD, is_reached=_id(GATE, "ControlPID")
    ),
    "a child of systemd before it executes the program": Stage(
        "mkfifo /root/fifo; " + _DROPIN.format("'[Service]' StandardInput=file:/root/fifo"),
        _id(GATE, "MainPID"),
        f"{_NO_DROPIN}; timeout 20 sh -c 'echo >/root/fifo' || true",
    ),
    "a command before the program": Stage(_HELD_BEFORE, _id(GATE, "ControlPID")),
    "the program": Stage(
        "systemd-run --quiet --unit=holder flock /run/k3s-harden.lock sleep 600;"
        " while flock --nonblock /run/k3s-harden.lock true; do sleep 1; done",
        _id(GATE, "MainPID"),
        "systemctl stop holder",
    ),
    "a command after the program": Stage(
        _DROPIN.format("'[Service]' 'ExecStartPost=/bin/sleep 60'"), "pgrep -x -f '/bin/sleep 60'"
    ),
}


@pytest.mark.parametrize("name", STAGES)
def test_1_and_2_a_process_killed_at_any_stage_blocks_only_that_start(node: Node, name: str) -> None:
    """The stages are those of the gate's unit and of the drop-in. The next automatic attempt starts K3s."""
    stage = STAGES[name]
    _shorten_the_pause(node)
    node.run(stage.hold)
    node.systemctl("start", "--no-block", SERVER)
    node.wait_until(f"test $({stage.is_reached or stage.victim}) -gt 0 2>/dev/null")
    node.run(f"kill -KILL $({stage.victim})")
    node.wait_until(f"test $({_id(SERVER, 'NRestarts')}) -gt 0")
    assert node.starts() == []
    node.run(stage.undo)
    node.wait_until_up()
    assert [start.kernel for start in node.starts()] == [HARDENED_KERNEL]


def _put_site(node: Node, *lines: str, name: str = "50-site") -> None:
    """Write a drop-in of K3s' service, and let systemd read it."""
    node.put(f"/etc/systemd/system/k3s.service.d/{name}.conf", "\n".join(("[Service]", *lines, "")))
    node.systemctl("daemon-reload")


def test_1_a_status_that_the_service_counts_as_success_does_not_open_the_gate(node: Node) -> None:
    """systemd applies SuccessExitStatus= to ExecStartPre=, too. Sites set it because K3s exits with 1 when it stops."""
    _put_site(node, "SuccessExitStatus=1 2 143")
    node.break_host()
    node.systemctl("restart", SERVER, check=False)
    _assert_blocked(node)
    assert node.starts() == []
    node.repair_host()
    node.harden("apply")
    node.wait_until_up()


IGNORED = {
    "INT": "SIGINT",
    "KILL": "1 SIGKILL",
    "TERM": "143 SIGTERM",
    "HUP": f"{' '.join(map(str, range(1, 256)))} SIGHUP",
}


@pytest.mark.parametrize("signal", IGNORED)
def test_1_a_failure_that_the_service_ignores_does_not_open_the_gate(node: Node, signal: str) -> None:
    """The drop-in empties the list. Signals end the commands before K3s at any stage, and in the pause."""
    _put_site(node, f"SuccessExitStatus={IGNORED[signal]}")
    node.break_host()
    node.systemctl("start", "--no-block", SERVER)
    kill = f"p=$({_id(SERVER, 'ControlPID')}); test $p -gt 0 && kill -{signal} $p 2>/dev/null"
    node.run(f"for _ in $(seq 200); do {kill}; sleep 0.02; done; true")
    assert node.starts() == []
    node.repair_host()
    node.run(f"systemctl stop {SERVER}; systemctl reset-failed {SERVER}", check=False)
    node.systemctl("start", SERVER)


def test_1_a_later_drop_in_that_ignores_failures_is_reported(node: Node) -> None:
    """The drop-in of the gate cannot empty that list. An upgrade must not block a K3s that started with it."""
    _put_site(node, "SuccessExitStatus=SIGINT", name="zzzz-site")
    node.systemctl("restart", SERVER)
    done = node.harden("check", check=False)
    assert ("gate-bypassed" in done.out, done.code) == (True, 3)


NO_COMMAND = ("SHELLOPTS=noexec", "LD_TRACE_LOADED_OBJECTS=1", "LD_DEBUG=help", "BASH_ENV=/srv/exit", "ENV=/srv/exit")


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_1_variables_of_the_shell_and_of_the_loader_do_not_open_the_gate(node: Node, shell: str) -> None:
    """With them in K3s' environment, /bin/sh runs no command and ends with 0. A compliant host starts K3s as before."""
    node.run(f"ln -sf {shell} /bin/sh")
    for line in NO_COMMAND:
        _put_site(node, f"Environment={line}")
        node.systemctl("start", SERVER)
        node.break_host()
        node.put("/srv/exit", "exit 0\n")
        count = len(node.starts())
        assert node.systemctl("restart", SERVER, check=False).code == 1, line
        assert len(node.starts()) == count, line
        node.run(f"systemctl stop {SERVER}; systemctl reset-failed {SERVER}; rm -f {RUN}/ungated.k3s /srv/exit")
        node.repair_host()


def test_1_systemds_start_limit_does_not_stop_the_gate(node: Node) -> None:
    """At the limit systemd would not start the gate, and K3s would be blocked on a compliant host."""
    # The default is five starts in ten seconds; an hour lets a slow guest reach the limit.
    node.put("/etc/systemd/system.conf.d/limit.conf", "[Manager]\nDefaultStartLimitIntervalSec=1h\n")
    node.systemctl("daemon-reexec")
    for _ in range(6):
        node.systemctl("start", GATE)
    node.systemctl("start", SERVER)
    assert node.is_up()


# --- 2: K3s starts as soon as the host is hardened, unless its operator stopped or disabled it ---


@pytest.mark.parametrize(
    "repair", ["k3s-harden apply", f"systemctl start {GATE}", "systemctl restart k3s-harden", "true"]
)
def test_2_a_blocked_k3s_starts_after_the_repair(node: Node, repair: str) -> None:
    """A command ends the pause between two attempts. Without a command, the next attempt starts K3s."""
    node.break_host()
    refused = node.systemctl("start", SERVER, check=False)
    assert (refused.code, node.starts()) == (1, [])
    # `systemctl start` would otherwise wait for a run of the gate that began before the repair.
    node.wait_until(f"test $(journalctl -b -o cat -u {SERVER} | grep -c 'is not started') -ge 2")
    node.repair_host()
    node.run(repair)
    node.wait_until_up()
    assert [start.kernel for start in node.starts()] == [HARDENED_KERNEL]


def test_2_a_blocked_k3s_is_retried_about_once_a_minute_and_its_status_names_the_reason(node: Node) -> None:
    """The gate ends with the result of the program. The second attempt of K3s follows within seconds.

    The next ones follow about once a minute, so the journal does not fill. The command that shows the reason begins
    the command that systemd shows, so that it is in the first 80 columns.
    """
    node.break_host()
    node.systemctl("start", SERVER, check=False)
    gate = node.unit(GATE)
    assert (gate["Result"], gate["ExecMainStatus"], gate["NRestarts"]) == ("exit-code", "3", "0")
    _wait_for_the_pause(node)
    screen = node.status(SERVER)
    (line,) = (line for line in screen.splitlines() if "ExecStartPre=/bin/sh -c" in line)
    assert ": systemctl status k3s-harden@k3s" in line[:80]
    time.sleep(30)
    assert node.unit(SERVER)["NRestarts"] == "1"
    assert node.unit(SERVER)["SubState"] == "start-pre"


def test_2_a_stopped_k3s_is_not_started_by_a_repair(node: Node) -> None:
    """The operator stops K3s before the gate fails, while it is blocked, or in the pause. apply prints the command."""

    def repaired_and_still_down(case: str) -> None:
        node.repair_host()
        done = node.harden("apply")
        assert "is being started" not in done.out, case
        assert "start K3s: systemctl start k3s" in done.out, case
        _assert_stays_down(node, case)

    node.systemctl("start", SERVER)
    node.break_host()
    node.kill_k3s()
    node.systemctl("stop", SERVER)
    repaired_and_still_down("stopped between a crash and the restart")

    node.break_host()
    node.systemctl("start", SERVER, check=False)
    node.systemctl("stop", SERVER)
    repaired_and_still_down("stopped while it was blocked")

    node.break_host()
    node.systemctl("start", SERVER, check=False)
    _wait_for_the_pause(node)
    node.systemctl("stop", SERVER)
    assert node.systemctl("start", SERVER, check=False).code == 1, "a start by hand has no pause"
    _wait_for_the_pause(node)
    node.systemctl("stop", SERVER)
    repaired_and_still_down("stopped in the pause")
    assert len(node.starts()) == 1


def _wait_for_the_pause(node: Node, count: int = 1) -> None:
    node.wait_until(f"pgrep -x sleep && test $({_id(SERVER, 'NRestarts')}) -ge {count}")


@pytest.mark.parametrize("is_enabled", [True, False], ids=["enabled", "disabled"])
def test_2_a_blocked_k3s_that_reached_its_start_limit_starts_after_the_repair(node: Node, *, is_enabled: bool) -> None:
    """systemd has given it up. If its operator disabled it meanwhile, apply prints the command, which then works."""
    node.put(
        "/etc/systemd/system/k3s.service.d/50-site.conf",
        "[Unit]\nStartLimitIntervalSec=600\nStartLimitBurst=1\n[Service]\nRestartSec=100ms\n",
    )
    node.systemctl("daemon-reload")
    node.break_host()
    node.systemctl("start", SERVER, check=False)
    node.wait_until(f"test $({_id(SERVER, 'ActiveState')}) = failed")
    node.repair_host()
    if not is_enabled:
        node.systemctl("disable", SERVER)
    done = node.harden("apply")
    if is_enabled:
        assert "k3s.service is being started" in done.out
    else:
        assert "is being started" not in done.out
        _assert_stays_down(node, "disabled")
        assert "start K3s: systemctl start k3s" in done.out
        node.systemctl("start", SERVER)
    node.wait_until_up()


# --- 3: every start is covered, and a running K3s is never stopped or restarted ---


def test_3_a_restart_after_an_upgrade_to_1_25_finds_no_pod_security_policy(node: Node) -> None:
    """The gate removes the policies from policy.yaml, and the plugin from the arguments, before K3s reads them."""
    node.install_k3s(INSTALL_K3S_VERSION="v1.24.17+k3s1")
    node.systemctl("start", SERVER)
    node.install_k3s(INSTALL_K3S_VERSION="v1.25.16+k3s4", INSTALL_K3S_SKIP_START="false")
    old, new = node.starts()
    assert (old.version, new.version) == ("v1.24.17+k3s1", "v1.25.16+k3s4")
    assert "PodSecurityPolicy" in old.kinds
    assert any("PodSecurityPolicy" in flag for flag in old.flags)
    assert "PodSecurityPolicy" not in new.kinds
    assert "NetworkPolicy" in new.kinds
    assert not any("PodSecurityPolicy" in flag for flag in new.flags)


def test_3_a_restart_and_a_crash_are_covered(node: Node) -> None:
    """Values changed while K3s runs are hardened again before its next start."""
    node.systemctl("start", SERVER)
    node.run("sysctl -w vm.overcommit_memory=0 kernel.panic=0")
    node.systemctl("restart", SERVER)
    node.run("sysctl -w vm.overcommit_memory=0 kernel.panic=0")
    node.kill_k3s()
    node.wait_until("test $(wc -l </var/lib/k3s-stand-in/starts) = 3")
    assert [start.kernel for start in node.starts()] == [HARDENED_KERNEL] * 3
    assert node.gate_runs() == 3


@pytest.mark.parametrize("service", [AGENT, NAMED])
def test_1_to_3_hold_for_other_services_too(node: Node, service: str) -> None:
    """The services are an agent, and a server named by INSTALL_K3S_NAME: at boot, after a crash, and at a restart."""
    node.remove_k3s()
    if service == AGENT:
        node.install_k3s("agent", **JOIN)
    else:
        node.install_k3s("server", INSTALL_K3S_NAME="east")
        node.harden("install")
    node.reboot()
    _assert_started_after_the_gate(node, service)
    node.break_host()
    node.kill_k3s(service)
    _assert_blocked(node, service)
    assert len(node.starts()) == 1
    node.repair_host()
    node.harden("apply")
    node.wait_until_up(service)
    node.break_host()
    assert node.systemctl("restart", service, check=False).code == 1
    node.repair_host()
    node.systemctl("start", gate_of(service))
    node.wait_until_up(service)
    assert [start.kernel for start in node.starts()] == [HARDENED_KERNEL] * 3


def test_3_a_running_k3s_is_never_stopped_or_restarted(node: Node) -> None:
    """K3s keeps running during each systemctl verb on the gate and each apply, if the gate succeeds and if it fails."""
    node.systemctl("start", SERVER)
    process = node.unit(SERVER)["MainPID"]

    def assert_untouched(case: str) -> None:
        state = node.unit(SERVER)
        assert (state["MainPID"], state["ActiveState"]) == (process, "active"), case

    for unit in (GATE, "k3s-harden.service"):
        for verb in ("start", "restart", "stop"):
            node.systemctl(verb, unit)
            assert_untouched(f"{verb} {unit}, the gate succeeds")
    node.harden("apply")
    assert_untouched("apply")
    node.break_host()
    for verb in ("start", "restart", "stop"):
        node.systemctl(verb, GATE, check=False)
        assert_untouched(f"{verb}, the gate fails")
    node.harden("apply", check=False)
    assert_untouched("apply that fails")
    assert len(node.starts()) == 1


PRETENDS = "#!/bin/bash\nexec -a 'k3s server' /usr/local/bin/k3s-server infinity\n"
"""A program that check takes for K3s, beside the real one."""
UNGATED_STARTS = {
    "k3s-site.service": "printf '[Service]\\nExecStart=/srv/site\\n' >/run/systemd/system/k3s-site.service;"
    " systemctl daemon-reload; systemctl start k3s-site",
    "k3s-x.service": "systemd-run --quiet --unit=k3s-x /srv/site",
    "k3s-post.service": "systemd-run --quiet --unit=k3s-post"
    " --property='ExecStartPost=/bin/sh -c \"/srv/site >/dev/null 2>&1 &\"' sleep infinity",
    SERVER: f"printf '[Service]\\nExecStartPost=/bin/sh -c \"/srv/site >/dev/null 2>&1 &\"\\n'"
    f" >/etc/systemd/system/{SERVER}.d/50-site.conf; systemctl daemon-reload; systemctl restart {SERVER}",
}


@pytest.mark.parametrize("unit", UNGATED_STARTS)
def test_3_a_k3s_that_no_service_with_the_gate_has_started_is_reported(node: Node, unit: str) -> None:
    """The name of its unit does not matter. A K3s that its service has started with the gate is not reported."""
    node.put("/srv/site", PRETENDS, "0755")
    node.run(f"cp /bin/sleep /usr/local/bin/k3s-server; mkdir -p /etc/systemd/system/{SERVER}.d")
    node.systemctl("start", SERVER)
    assert "gate-half-missing" not in node.harden("check", check=False).out
    node.run(UNGATED_STARTS[unit])
    node.wait_until("pgrep -f '^k3s server infinity'")
    done = node.harden("check", check=False)
    assert f"{unit} has started K3s without the gate" in done.out
    assert done.code == 3


def test_3_two_services_with_one_configuration_do_not_start_with_the_arguments_of_the_other(node: Node) -> None:
    """A server and an agent at once: one starts with its arguments, and the other one is blocked while that runs."""
    node.install_k3s("agent", **JOIN)
    _shorten_the_pause(node)
    for _ in range(8):
        node.run("systemctl reset-failed")  # which also forgets the starts that systemd counts for its limit
        node.run(f"systemctl start --no-block {SERVER} {AGENT}")
        node.wait_until(f"journalctl -b -o cat -u {gate_of(SERVER)} -u {gate_of(AGENT)} | grep start-contested")
        node.wait_until(f"systemctl is-active {SERVER} {AGENT}")
        node.run(f"systemctl stop {SERVER} {AGENT}; journalctl --rotate --vacuum-time=1s -q; rm -f {RUN}/ungated.*")
    starts = node.starts()
    assert len(starts) >= 8
    for start in starts:
        audit = [flag for flag in start.flags if "audit-log-path" in flag]
        assert len(audit) == (start.command == "server"), start
        assert any(flag.startswith("protect-kernel-defaults") for flag in start.flags), start


def test_3_a_left_over_service_that_does_not_run_blocks_nothing_and_is_reported(node: Node) -> None:
    """The agent starts beside the server's service, which is disabled but not removed."""
    node.install_k3s("agent", **JOIN)
    node.systemctl("disable", SERVER)
    node.systemctl("start", AGENT)
    assert f"{SERVER} starts K3s, too" in node.harden("check", check=False).out
    assert node.systemctl("start", SERVER, check=False).code == 1
    assert "start-contested" in node.journal(GATE)
    assert node.is_up(AGENT)


# --- 4: the order at boot, and the parts of the gate ---


def test_4_the_gate_is_ordered_at_boot_without_a_cycle(node: Node) -> None:
    """It runs after mounts and systemd-sysctl, not after cloud-init or the network; systemd-analyze finds no error."""
    gate = node.unit(GATE)
    after, needs = gate["After"].split(), f"{gate['Requires']} {gate['Wants']}".split()
    assert {"local-fs.target", "systemd-sysctl.service"} <= set(after)
    assert not [name for name in (*after, *needs) if "cloud" in name or "network" in name]
    assert "/var/lib/rancher/k3s" in gate["RequiresMountsFor"].split()
    ours = " ".join(
        f"k3s-harden-{name}.{kind}" for name in ("check", "service-accounts") for kind in ("service", "timer")
    )
    units = f"k3s-harden.service {GATE} {SERVER} {ours}"
    # An unknown key causes only a warning, so any output is a failure.
    verified = node.run(f"systemd-analyze verify --man=no {units}")
    assert (verified.out, verified.err) == ("", "")


def test_4_the_gate_can_be_installed_before_k3s(node: Node) -> None:
    """It covers the first start by install.sh, and the next run of install.sh keeps it."""
    node.remove_k3s()
    node.run("rm -rf /usr/local/bin/k3s")
    node.systemctl("daemon-reload")
    node.put("/etc/k3s-harden/config.yaml", "role: server\n")
    node.systemctl("start", "k3s-harden")

    node.install_k3s(INSTALL_K3S_SKIP_START="false")
    (first,) = node.starts()
    assert first.kernel == HARDENED_KERNEL
    runs = node.gate_runs()
    node.install_k3s("server", INSTALL_K3S_VERSION="v1.35.0+k3s1", INSTALL_K3S_SKIP_START="false")
    assert (len(node.starts()), node.gate_runs()) == (2, runs + 1)


# --- 5: the sandbox ---


@pytest.mark.own_kernel
def test_5_the_gate_is_sandboxed_and_still_writes_kernel_values(node: Node) -> None:
    """systemd-analyze rates its exposure 3 or less, where 10 is no sandbox."""
    output = node.run(f"systemd-analyze security --no-pager {GATE}", check=False).out
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", output)
    assert exposure is not None
    assert float(exposure[1]) <= 3.0
    node.run("sysctl -w vm.overcommit_memory=0 kernel.panic=0")
    node.systemctl("start", GATE)
    assert node.run("sysctl -n vm.overcommit_memory kernel.panic").out.split() == ["1", "10"]


# --- 7: confirmation of a start ---


def test_7_a_start_whose_gate_did_not_run_is_reported(node: Node) -> None:
    """The unit shows K3s another shell, which ends with 0 and runs no command."""
    node.systemctl("start", SERVER)
    node.break_host()
    _put_site(node, "BindPaths=/bin/true:/bin/sh")
    node.systemctl("restart", SERVER)
    node.wait_until("systemctl is-failed k3s-harden-started@k3s.service")
    done = node.harden("check", check=False)
    assert "the gate did not let this start pass" in done.out
    assert done.code == 3


def test_7_a_start_is_confirmed_and_one_with_other_arguments_is_reported(node: Node) -> None:
    """The gate has judged other arguments than those that K3s logs. K3s runs on, and the drift check runs at once."""
    confirmation = "k3s-harden-started@k3s.service"
    node.systemctl("start", SERVER)
    node.wait_until(f"journalctl -b -o cat -u {confirmation} | grep 'runs with the arguments that the gate judged'")
    node.run(f"sed -i 's/if name == f/if \"maxage\" not in value and name == f/' {STAND_IN_HOME}/k3s.py")
    node.systemctl("restart", SERVER)
    node.wait_until(f"systemctl is-failed {confirmation}")
    found = "kube-apiserver has no --audit-log-maxage"
    assert found in node.journal(confirmation)
    done = node.harden("check", check=False)
    assert ("started-unhardened" in done.out, found in done.out, done.code) == (True, True, 3)
    node.wait_until("journalctl -b -o cat -u k3s-harden-check.service | grep started-unhardened")
    assert node.is_up()


# --- 7: bypass of the gate ---


BY_HAND = f"mkdir -p {RUN}; awk '{{print int($1) + 900}}' /proc/uptime >{RUN}/bypass.k3s; rm -f {RUN}/ungated.k3s"


@pytest.mark.parametrize("how", ["k3s-harden bypass", BY_HAND])
def test_7_a_bypass_lets_k3s_start_once_and_is_reported(node: Node, how: str) -> None:
    """The program or, if it cannot run, a shell command bypasses the gate. The next compliant run ends the report."""
    node.break_host()
    node.systemctl("start", SERVER, check=False)
    _wait_for_the_pause(node)
    node.run(how)
    node.wait_until_up()
    assert node.unit(SERVER)["NRestarts"] == "1", "the bypass does not end the pause"
    assert "bypassed by root" in node.journal(SERVER)
    assert "started-without-gate" in node.harden("check", check=False).out
    assert node.systemctl("restart", SERVER, check=False).code == 1
    node.repair_host()
    node.harden("apply")
    node.wait_until_up()
    assert "started-without-gate" not in node.harden("check", check=False).out


def test_7_an_unused_bypass_is_reported_and_ends(node: Node) -> None:
    """It ends at its time, which setting the clock does not change, and when a run finds the host compliant."""
    node.systemctl("start", SERVER)
    node.harden("bypass", "--expires-in", "1")
    for verb in ("check", "assess"):
        assert "the next start of k3s.service passes without its gate" in node.harden(verb, check=False).out
    node.harden("apply")
    assert node.run(f"ls {RUN}").out == "judged.k3s\n"

    node.harden("bypass", "--expires-in", "1")
    node.break_host()
    node.run(f"sed -i 's/^[0-9]*/1/' {RUN}/bypass.k3s")
    node.kill_k3s()
    _assert_blocked(node)
    assert "the bypass of k3s.service has expired" in node.journal(SERVER)
    assert "bypass-in-effect" not in node.harden("check", check=False).out
    assert len(node.starts()) == 1
