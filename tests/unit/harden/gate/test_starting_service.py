"""The start that waits for the gate: what K3s' process gets, and when the gate refuses to judge it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from agent.base.errors import HostError
from agent.base.host import Host
from agent.base.host.process import Completed
from agent.base.value import replace
from agent.findings import collect_findings
from agent.harden.gate.starting_service import StartingService, start_problem, starting_service
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.harden.situation.observation import observe_situation
from agent.k3s.services import K3sUnit, OtherProgram
from agent.reports import repair_texts
from tests.fake import Programs, fake_host
from tests.k3s_tree import put

pytestmark = pytest.mark.root

UNIT = "/etc/systemd/system/k3s.service"
CONFIG = "/etc/rancher/k3s/config.yaml"
K3S = "/usr/local/bin/k3s"
TEMPORARY = "/tmp/a"  # noqa: S108 - no file is created there
PID = 77
INVOCATION = list(range(16))
MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
PATH = f"{MANAGER[1]}/unit/k3s_2eservice"
MOUNTS = "1 0 8:1 / / rw - ext4 /dev/a rw\n"


def started(*words: str, flags: tuple[str, ...] = (), pid: int = 0) -> list[Any]:
    """Return a command as a value of ExecStartEx or ExecStartPreEx."""
    return [words[0], list(words), list(flags), 1, 1, 0, 0, pid, 0, 0]


def gate(*flags: str, pid: int = PID) -> list[Any]:
    """Return the command of the gate's drop-in."""
    return started("/bin/sh", "-c", "ask start k3s-harden@k3s.service", flags=("no-setuid", *flags), pid=pid)


class Machine:
    """A host on which systemd starts k3s.service, whose control process has this root directory."""

    def __init__(self, root: Path) -> None:
        self.root = self.seen = root
        self.shown: dict[str, Any] = {
            "Id": "k3s.service",
            "FragmentPath": UNIT,
            "DropInPaths": ["/etc/systemd/system/k3s.service.d/zzz-k3s-harden.conf"],
            "NeedDaemonReload": False,
            "SubState": "start-pre",
            "ControlPID": PID,
            "InvocationID": INVOCATION,
            "ExecStartEx": [started(K3S, "server", "$ARGS", "--x=${X}")],
            "ExecStartPreEx": [started("/sbin/modprobe", "overlay"), gate()],
            **dict.fromkeys(("RootDirectory", "RootImage"), ""),
            **dict.fromkeys(("BindPaths", "BindReadOnlyPaths"), ()),
            "RootDirectoryStartOnly": False,
        }
        self.variables = {"ARGS": "--a 'b c'", "INVOCATION_ID": bytes(INVOCATION).hex(), "K3S_URL": "u"}
        self.mounts = MOUNTS
        for path in ("run/systemd/system/.keep", "run/dbus/system_bus_socket", "usr/bin/systemctl", "usr/bin/busctl"):
            put(root, path, "", mode=0o755)
        put(root, UNIT.lstrip("/"), "[Service]\n")
        put(root, "proc/self/mountinfo", MOUNTS)

    @property
    def host(self) -> Host:
        process = self.root / f"proc/{PID}"
        put(self.root, f"proc/{PID}/environ", "".join(f"{name}={value}\0" for name, value in self.variables.items()))
        put(self.root, f"proc/{PID}/cmdline", "/bin/sh\0-c\0x\0")
        put(self.root, f"proc/{PID}/mountinfo", self.mounts)
        for name in ("root", "cwd"):
            (process / name).unlink(missing_ok=True)
            (process / name).symlink_to(self.seen)
        get = ("call", MANAGER[0], PATH, "org.freedesktop.DBus.Properties", "GetAll", "s", "")
        shown = {name: {"data": value} for name, value in self.shown.items()}
        busctl: tuple[str, ...] = ("/usr/bin/busctl", "--json=short", *get)
        programs = {busctl: Completed(0, json.dumps({"data": [shown]}), ""), (K3S, "--version"): Completed(1, "", "")}
        return fake_host(self.root, programs=Programs(programs), is_live=True)

    def start(self) -> StartingService:
        start = starting_service(self.host, "k3s")
        assert start is not None
        return start

    def service(self) -> K3sUnit | OtherProgram | None:
        return self.start().service

    def config(self) -> PurePosixPath | None:
        service = self.service()
        assert isinstance(service, K3sUnit)
        return service.config_path

    def problem(self, start: StartingService) -> str:
        """Return what the second look at the start finds."""
        return start_problem(self.host, start, PurePosixPath(CONFIG))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_variables_are_those_of_the_process(machine: Machine) -> None:
    """The command comes from systemd, and is expanded with them."""
    service = machine.service()
    assert isinstance(service, K3sUnit)
    assert [word.text for word in service.arguments] == ["--a", "b c", "--x="]
    assert {name: word.text for name, word in service.environment.items()} == {"K3S_URL": "u"}
    assert service.config_path == PurePosixPath(CONFIG)


@pytest.mark.parametrize(
    "changes", [{"SubState": "running"}, {"ControlPID": 0}, {"ExecStartPreEx": [started("/a", pid=PID), gate(pid=0)]}]
)
def test_no_start_waits_for_a_gate_that_is_started_by_hand(machine: Machine, changes: dict[str, Any]) -> None:
    machine.shown.update(changes)
    assert starting_service(machine.host, "k3s") is None
    assert starting_service(machine.host, "") is None


def test_a_bus_without_an_answer_blocks_the_start_with_its_fix(machine: Machine) -> None:
    """Without the socket of D-Bus, the files of the service are read."""
    silent = replace(machine.host, run=lambda *_, **__: Completed(1, "", "Connection refused"))
    with pytest.raises(HostError) as raised:
        starting_service(silent, "k3s")
    assert repair_texts.text(raised.value.repair) == "sudo systemctl start dbus.socket"
    (machine.root / "run/dbus/system_bus_socket").unlink()
    assert starting_service(silent, "k3s") is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ExecStartPreEx": [gate(pid=0)]}, "systemd read its files again"),
        ({"ExecStartPreEx": [gate(), started("/bin/true")]}, "other commands of ExecStartPre= follow it"),
        ({"ExecStartPreEx": [gate("privileged")]}, "the prefix +"),
        ({"InvocationID": [1]}, "does not belong to it"),
        ({"ExecStartEx": None}, "systemd shows"),
    ],
)
def test_a_start_that_cannot_be_judged_is_refused(machine: Machine, changes: dict[str, Any], problem: str) -> None:
    machine.shown.update(changes)
    with pytest.raises(HostError, match=problem.replace("+", "[+]")):
        starting_service(machine.host, "k3s")


def test_a_gate_that_is_started_during_the_pause_of_k3s_judges_no_start(machine: Machine) -> None:
    """The second command of the drop-in waits then. It has no process of its own that the gate could judge."""
    text = ": decides after systemctl start k3s-harden@k3s.service"
    decides = started("/bin/sh", "-c", text, flags=("privileged",), pid=PID)
    machine.shown["ExecStartPreEx"] = [gate(pid=0), decides]
    assert starting_service(machine.host, "k3s") is None
    machine.shown["ExecStartPreEx"] = [gate(pid=0), decides, started("/bin/true")]
    with pytest.raises(HostError, match="other commands of ExecStartPre= follow it"):
        starting_service(machine.host, "k3s")


def test_a_command_after_that_of_an_earlier_release_blocks_no_k3s(machine: Machine) -> None:
    """Its drop-in sorted before others. `check` reports it until `install` runs."""
    machine.shown["DropInPaths"] = ["/etc/systemd/system/k3s.service.d/10-k3s-harden.conf"]
    machine.shown["ExecStartPreEx"] = [gate(), started("/bin/true")]
    assert isinstance(machine.service(), K3sUnit)


@pytest.mark.parametrize(
    ("changes", "config"),
    [
        ({"RootDirectoryStartOnly": True, "RootDirectory": "/srv"}, None),
        ({"ExecStartEx": [started(K3S, "server", flags=("privileged",))]}, None),
        ({"ExecStartEx": [[K3S, ["-c", "server"], [], 0, 0, 0, 0, 0, 0, 0]]}, "other"),
        ({"PAMName": "login"}, None),
        ({"InaccessiblePaths": ["-/etc/rancher/k3s/config.yaml.d"]}, None),
        ({"BindPaths": [["/var/lib/rancher/k3s/server", "/etc/rancher/k3s/config.yaml.d", True, 0]]}, None),
        ({"ExecStartEx": [started(K3S, "server", "-c", "/dev/stdin")]}, None),
        ({"ExecStartEx": [started(K3S, "server", "--config=${NONE}")]}, None),
        ({"ExecStartEx": [started(K3S, "server", "-c", TEMPORARY)]}, TEMPORARY),
        ({"ExecStartEx": [started(K3S, "server", "-c", "${CREDENTIALS_DIRECTORY}/a")]}, None),
        ({"ExecStartEx": [started(K3S, "server", "-c", "/x/$$a", flags=("no-env-expand",))]}, "/x/$$a"),
    ],
)
def test_files_that_the_process_cannot_see_are_unknown_if_k3s_reads_them(
    machine: Machine, changes: dict[str, Any], config: str | None
) -> None:
    machine.shown.update(changes)
    machine.variables["CREDENTIALS_DIRECTORY"] = "/run/credentials/k3s.service"
    if config == "other":
        assert isinstance(machine.service(), OtherProgram)
    else:
        assert machine.config() == (config and PurePosixPath(config))


@pytest.mark.parametrize(("value", "is_known"), [("yes", False), ("On", False), ("no", True), ("", True)])
def test_a_setting_that_systemd_does_not_list_is_read_from_the_files(
    machine: Machine, value: str, is_known: object
) -> None:
    """Without its sandbox, the command of the gate sees files that K3s does not see."""
    put(machine.root, UNIT.lstrip("/"), f"[Service]\nPermissionsStartOnly={value}\n")
    assert (machine.config() is not None) is is_known


def test_a_variable_that_each_process_has_of_its_own_is_unknown_if_the_command_uses_it(machine: Machine) -> None:
    machine.variables["NOTIFY_SOCKET"] = "/run/a"
    assert isinstance(machine.service(), K3sUnit)
    machine.shown["ExecStartEx"] = [started(K3S, "server", "-c", "${NOTIFY_SOCKET}")]
    service = machine.service()
    assert isinstance(service, OtherProgram)
    assert "$NOTIFY_SOCKET" in service.reason


def test_each_command_is_judged(machine: Machine) -> None:
    """A service of Type=oneshot can have several."""
    machine.shown["ExecStartEx"] = [started(K3S, "server", "-c", "/a"), started(K3S, "server", "-c", "/b")]
    assert isinstance(machine.service(), OtherProgram)
    machine.shown["ExecStartEx"] = [started("/bin/prepare"), started(K3S, "server")]
    assert isinstance(machine.service(), OtherProgram)


def test_a_bind_is_followed_to_the_files_of_the_host(machine: Machine, tmp_path: Path) -> None:
    """Also over the target of a symlink."""
    machine.seen = tmp_path / "view"
    machine.mounts = f"{MOUNTS}2 1 8:1 /srv/site /srv/real rw - ext4 /dev/a rw\n"
    put(tmp_path, "srv/site/config.yaml", "debug: true\n")
    put(tmp_path, "etc/rancher/k3s/config.yaml", "")
    (tmp_path / "view/etc/rancher").mkdir(parents=True)
    (tmp_path / "view/srv").mkdir()
    (tmp_path / "view/etc/rancher/k3s").symlink_to("/srv/real")
    put(tmp_path, "view/srv/real/config.yaml", "")
    (tmp_path / "view/srv/real/config.yaml").unlink()
    os.link(tmp_path / "srv/site/config.yaml", tmp_path / "view/srv/real/config.yaml")
    assert machine.config() == PurePosixPath("/srv/site/config.yaml")


def test_a_change_during_the_gate_is_found(machine: Machine) -> None:
    put(machine.root, CONFIG.lstrip("/"), "debug: true\n")
    start = machine.start()
    assert machine.problem(start) == ""
    machine.variables["K3S_URL"] = "other"
    assert "changed while the gate was running" in machine.problem(start)
    machine.variables["K3S_URL"] = "u"
    machine.shown["ExecStartEx"] = [started(K3S, "server")]
    assert "changed while the gate was running" in machine.problem(start)


def test_other_files_than_those_of_the_host_are_found(machine: Machine, tmp_path: Path) -> None:
    """K3s' own view of its configuration has to have the content that was judged."""
    for root in (tmp_path, tmp_path / "view"):
        put(root, CONFIG.lstrip("/"), "debug: true\n")
        put(root, f"{CONFIG}.d/90-k3s-harden.yaml".lstrip("/"), "protect-kernel-defaults: true\n")
    machine.seen = tmp_path / "view"
    assert machine.problem(machine.start()) == ""
    put(tmp_path, f"view/{CONFIG}.d/99-site.yaml", "protect-kernel-defaults: false\n")
    assert "it sees other files than this host" in machine.problem(machine.start())


def unseen(machine: Machine, record: str = "") -> Iterator[tuple[str, bool]]:
    """Yield each file that K3s can see otherwise, with whether it blocks K3s; `record` is of the last run."""
    (machine.root / "var/lib/k3s-harden/last-run.json").unlink(missing_ok=True)
    if record:
        put(machine.root, "var/lib/k3s-harden/last-run.json", record, mode=0o600)
    host = machine.host
    start = starting_service(host, "k3s")
    request = Request(Overrides(k3s_version="1.34"), for_gate=True, service="k3s", start=start)
    situation = observe_situation(host, request)
    for found in collect_findings(situation):
        if found.message.startswith("K3s can see another file"):
            yield found.found, found.blocks_gate
    if situation.unseen_before and situation.unseen:
        assert situation.to_record.k3s_config == "", "the next run does not block K3s either"


@pytest.mark.parametrize(
    ("path", "config"),
    [
        ("srv/audit.yaml", "kube-apiserver-arg: [audit-policy-file=/srv/audit.yaml]\n"),
        ("srv/psa.yaml", "kube-apiserver-arg: [admission-control-config-file=/srv/psa.yaml]\n"),
        ("srv/kubelet.yaml", "kubelet-arg: [config=/srv/kubelet.yaml]\n"),
        ("var/lib/rancher/k3s/server/manifests/policy.yaml", ""),
        ("usr/local/bin/k3s", ""),
    ],
)
def test_a_file_that_k3s_sees_otherwise_blocks_it_unless_an_earlier_release_let_it_start(
    machine: Machine, tmp_path: Path, path: str, config: str
) -> None:
    machine.seen = tmp_path / "view"
    machine.shown["ExecStartEx"] = [started(K3S, "server")]
    for top in ("srv", "etc", "var/lib", "usr/local/bin", "view"):
        (tmp_path / top).mkdir(parents=True, exist_ok=True)
    put(tmp_path, CONFIG.lstrip("/"), config)
    put(tmp_path, path, "\x7fELF")
    subprocess.run(["cp", "-al", *(tmp_path / top for top in ("srv", "etc", "var", "usr")), machine.seen], check=True)
    assert f"/{path}" not in dict(unseen(machine))
    (machine.seen / path).unlink()
    put(machine.seen, path, "\x7fELF of another file")
    assert dict(unseen(machine))[f"/{path}"] is True
    record = {"schema": 1, "day": "2026-01-01", "versions": {}, "settings": None, "k3s-config": ""}
    assert dict(unseen(machine, json.dumps(record)))[f"/{path}"] is False
    assert dict(unseen(machine, json.dumps({**record, "k3s-config": "-"})))[f"/{path}"] is True
