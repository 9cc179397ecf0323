"""What makes the gate's unit succeed without the gate, in its files and as systemctl shows the unit."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.harden.node.gate_units import loaded_not_of_a_gate, not_of_a_gate, required_mounts

PATH = PurePosixPath("/etc/systemd/system/k3s-harden@.service.d/site.conf")


def shown(command: str, ignore: str = "no") -> str:
    """Return ExecStart= as systemctl shows it."""
    program = command.split(maxsplit=1)[0]
    return (
        f"{{ path={program} ; argv[]={command} ; ignore_errors={ignore} ; start_time=[n/a] ; stop_time=[n/a] ;"
        " pid=0 ; code=(null) ; status=0/0 }"
    )


@pytest.mark.parametrize(
    "command", ["/usr/bin/k3s-harden gate", "/opt/k3s-harden.pyz gate --config /etc/a.yaml", '"/opt/k3s-harden" gate']
)
def test_the_gate_can_have_another_path_and_options(command: str) -> None:
    """A site can add options, and `install --program` sets the path."""
    assert list(not_of_a_gate(PATH, f"[Service]\nExecStart={command}\nType=oneshot\nTimeoutStartSec=300\n")) == []
    properties = {"ExecStart": shown(command), "Type": "oneshot", "SuccessExitStatus": ""}
    assert list(loaded_not_of_a_gate(properties)) == []


@pytest.mark.parametrize(
    "command",
    [
        "/bin/true",
        "/bin/true gate",
        "/usr/bin/k3s-harden check",
        "/usr/bin/k3s-harden gate --help",
        "/bin/sh -c '/usr/bin/k3s-harden gate || true'",
    ],
)
def test_another_command_is_reported(command: str) -> None:
    (found,) = not_of_a_gate(PATH, f"[Service]\nExecStart={command}\n")
    assert (found.text, found.location.line) == (command, 2)
    assert list(loaded_not_of_a_gate({"ExecStart": shown(command)})) == ["ExecStart"]


def test_an_ignored_failure_is_reported() -> None:
    """systemd does not fail the unit for a command with the prefix `-`."""
    assert len(list(not_of_a_gate(PATH, "[Service]\nExecStart=-/usr/bin/k3s-harden gate\n"))) == 1
    assert list(loaded_not_of_a_gate({"ExecStart": shown("/usr/bin/k3s-harden gate", "yes")})) == ["ExecStart"]


@pytest.mark.parametrize(
    "setting", ["Type=simple", "RemainAfterExit=yes", "SuccessExitStatus=1", "RootDirectory=/srv", "RootImage=/srv.raw"]
)
def test_a_setting_that_hides_a_failure_or_another_host_is_reported(setting: str) -> None:
    """The gate must run to its end at each start, on the files of the host."""
    (found,) = not_of_a_gate(PATH, f"[Service]\n{setting}\n")
    assert found.text == setting
    key, value = setting.split("=")
    properties = {"ExecStart": shown("/usr/bin/k3s-harden gate"), key: value}
    assert list(loaded_not_of_a_gate(properties)) == [key]


def test_the_gate_waits_for_the_mounts_of_all_lines() -> None:
    text = "RequiresMountsFor=/a '/b c'\n#RequiresMountsFor=/d\nRequiresMountsFor='/e\n RequiresMountsFor = /f%%\n"
    assert list(map(str, required_mounts(text))) == ["/a", "/b c", "/f%"]
