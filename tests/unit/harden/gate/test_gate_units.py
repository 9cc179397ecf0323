"""What makes the gate's unit succeed without the gate, in its files and as systemd has loaded it."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath
from typing import Any

import pytest

from agent.base.model import Location
from agent.harden.gate.gate_units import GateCommand, loaded_not_of_a_gate, not_of_a_gate, required_mounts

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


def loaded(command: str, *flags: str, **others: Any) -> list[str]:  # noqa: ANN401
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
