"""Whether a host can have the gate, and what makes the unit of the gate succeed without it."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from agent.base.host.process import Completed
from agent.base.model import Location
from agent.base.value import replace
from agent.harden.gate.gate_units import GateCommand, loaded_not_of_a_gate, not_of_a_gate, required_mounts
from agent.harden.gate.installed_gate import can_have_gate, detect_gate
from agent.harden.node.service_units import TEMPLATE
from tests.fake import Programs, fake_host
from tests.k3s_tree import put

PATH = PurePosixPath("/etc/systemd/system/k3s-harden@.service.d/site.conf")


PROPERTIES: dict[str, Any] = {
    "FragmentPath": "/usr/lib/systemd/system/k3s-harden@.service",
    "Type": "oneshot",
    "RemainAfterExit": False,
    "SuccessExitStatus": [[], []],
    "RootDirectory": "",
    "RootImage": "",
    "Environment": ["K3S_HARDEN_SERVICE=k3s"],
    "BindPaths": [["/run/kernel-values", "/proc/sys", False, 0]],
}


def loaded(command: str, *flags: str, **others: Any) -> list[str]:
    """Return what is reported of a gate that systemd has loaded with this command and these properties."""
    words = shlex.split(command)
    properties = {**PROPERTIES, "ExecStartEx": [[words[0], words, list(flags), 0, 0, 0, 0, 0, 0, 0]], **others}
    return [found.text for found in loaded_not_of_a_gate("k3s.service", properties, None)]


@pytest.mark.parametrize(
    "command", ["/usr/bin/k3s-harden gate", "/opt/k3s-harden.pyz gate --config /etc/a.yaml", '"/opt/k3s-harden" gate']
)
def test_the_gate_can_have_another_path_and_options(command: str) -> None:
    """A site can add options, and `install --program` sets the path."""
    assert list(not_of_a_gate(PATH, f"[Service]\nExecStart={command}\nType=oneshot\nTimeoutStartSec=300\n")) == []
    assert loaded(command) == []


@pytest.mark.parametrize(
    "command",
    [
        "/bin/true",
        "/bin/true gate",
        "/usr/bin/k3s-harden check",
        "/usr/bin/k3s-harden gate --help",
        "/usr/bin/k3s-harden gate --root /opt/tree",
        "/bin/sh -c '/usr/bin/k3s-harden gate || true'",
    ],
)
def test_another_command_is_reported(command: str) -> None:
    (found,) = not_of_a_gate(PATH, f"[Service]\nExecStart={command}\n")
    assert (found.text, found.location.line) == (command, 2)
    assert loaded(command) == [command]


def test_a_program_that_install_did_not_write_is_reported() -> None:
    """A drop-in can name another program whose name contains k3s-harden."""
    installed = GateCommand("/usr/bin/k3s-harden gate", Location(PATH))
    for program, reported in (("/usr/bin/k3s-harden", 0), ("/srv/k3s-harden", 1)):
        words = [program, "gate"]
        properties = {**PROPERTIES, "ExecStartEx": [[program, words, [], 0, 0, 0, 0, 0, 0, 0]]}
        assert len(list(loaded_not_of_a_gate("k3s.service", properties, installed))) == reported


def test_an_ignored_failure_and_a_second_command_are_reported() -> None:
    """systemd does not fail the unit for a command with the prefix `-`."""
    assert len(list(not_of_a_gate(PATH, "[Service]\nExecStart=-/usr/bin/k3s-harden gate\n"))) == 1
    assert len(loaded("/usr/bin/k3s-harden gate", "ignore-failure")) == 1
    command = ["/usr/bin/k3s-harden", ["/usr/bin/k3s-harden", "gate"], [], 0, 0, 0, 0, 0, 0, 0]
    assert len(loaded("/bin/true", ExecStartEx=[command, command])) == 1
    assert len(loaded("/bin/true", ExecStartEx=[])) == 1


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("Type=simple", "simple"),
        ("RemainAfterExit=yes", True),
        ("SuccessExitStatus=1", [[1], []]),
        ("RootDirectory=/srv", "/srv"),
        ("RootImage=/srv.raw", "/srv.raw"),
        ("BindPaths=/empty:/etc/rancher", [["/empty", "/etc/rancher", False, 0]]),
        ("BindReadOnlyPaths=/srv", [["/srv", "/srv", False, 0]]),
        ("TemporaryFileSystem=/etc", [["/etc", "ro"]]),
        ("InaccessiblePaths=-/etc/rancher", ["-/etc/rancher"]),
        ("MountImages=/a.raw:/etc", [["/a.raw", "/etc", False, []]]),
    ],
)
def test_a_setting_that_hides_a_failure_or_another_host_is_reported(setting: str, value: object) -> None:
    """The gate must run to its end at each start, on the files of the host."""
    (found,) = not_of_a_gate(PATH, f"[Service]\n{setting}\n")
    assert found.text == setting
    key = setting.partition("=")[0]
    (reported,) = loaded("/usr/bin/k3s-harden gate", **{key: value})
    assert reported.startswith(f"{key}=")


def test_a_gate_for_another_service_is_reported() -> None:
    assert loaded("/usr/bin/k3s-harden gate", Environment=["K3S_HARDEN_SERVICE=k3s-east"]) != []


def test_the_gate_waits_for_the_mounts_of_all_lines() -> None:
    text = "RequiresMountsFor=/a '/b c'\n#RequiresMountsFor=/d\nRequiresMountsFor='/e\n RequiresMountsFor = /f%%\n"
    assert list(map(str, required_mounts(text))) == ["/a", "/b c", "/f%"]


SYSTEMCTL = "/usr/bin/systemctl"


@pytest.mark.root
@pytest.mark.parametrize(("version", "expected"), [(257, True), (243, True), (239, False)])
def test_a_booted_systemd_can_start_the_gate_from_version_243_on(
    tmp_path: Path, version: int, *, expected: bool
) -> None:
    put(tmp_path, SYSTEMCTL, "", 0o755)
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    programs = Programs({(SYSTEMCTL, "--version"): Completed(0, f"systemd {version} ({version}-1)\n", "")})
    host = fake_host(tmp_path, programs=programs, is_live=True)
    gate = detect_gate(host)
    assert can_have_gate(host, gate) is expected
    assert not can_have_gate(host, replace(gate, template=PurePosixPath("/etc/systemd/system") / TEMPLATE))
    assert not can_have_gate(replace(host, pod_node="node"), gate)


def test_a_tree_and_a_container_without_an_init_get_no_gate(tmp_path: Path) -> None:
    for is_live in (False, True):
        host = fake_host(tmp_path, is_live=is_live)
        assert not can_have_gate(host, detect_gate(host))


def test_openrc_can_start_the_gate(tmp_path: Path) -> None:
    put(tmp_path, "run/openrc/softlevel", "")
    host = fake_host(tmp_path, is_live=True)
    assert can_have_gate(host, detect_gate(host))
