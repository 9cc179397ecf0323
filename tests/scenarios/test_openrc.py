"""The gate of hosts whose init is OpenRC, on host trees. tests/vm/test_openrc.py boots OpenRC."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.scenarios.host_tree import HostTree

PROGRAM = "/usr/local/bin/k3s-harden"
CONFIGURATION = "/etc/rc.conf.d/k3s-harden.conf"
START = "/usr/local/lib/k3s-harden/start-k3s"
SCRIPT = """\
#!/sbin/openrc-run
supervisor=supervise-daemon
command="/usr/local/bin/k3s"
command_args="server >>/var/log/k3s.log 2>&1"
"""


@pytest.fixture
def alpine(host: HostTree) -> HostTree:
    """A hardened host with OpenRC, K3s' service and the program."""
    host.run("apply", *host.options)
    host.write(PROGRAM, "#!/bin/sh\n", 0o755)
    host.write("/sbin/openrc-run", "#!/bin/sh\n", 0o755)
    host.write("/etc/init.d/k3s", SCRIPT, 0o755)
    return host


def findings(host: HostTree) -> dict[str, str]:
    return {found.id: found.message for found in host.seen("check").findings}


def test_install_writes_two_files_that_a_shell_accepts(alpine: HostTree) -> None:
    """No unit of systemd is written. A second install changes nothing."""
    done = alpine.run("install", "--program", PROGRAM)
    assert done.code == 0, done
    assert not alpine["/etc/systemd"].exists()
    for path, mode in ((CONFIGURATION, 0o644), (START, 0o755)):
        assert alpine[path].stat().st_mode & 0o777 == mode
        subprocess.run(("/bin/sh", "-n", str(alpine[path])), check=True)
    assert f" {PROGRAM} gate;" in alpine[START].read_text()
    before = alpine.entries()
    assert "changed" not in alpine.run("install", "--program", PROGRAM).stdout.replace("nothing was changed", "")
    assert alpine.entries() == before
    assert (
        findings(alpine).keys() & {"gate-before-mount", "gate-bypassed", "gate-half-missing", "gate-unit-differs"}
        == set()
    )


@pytest.mark.parametrize("service", ["net.lo", "k3sother", "ak3s", ""])
def test_the_configuration_changes_no_other_service(service: str, alpine: HostTree) -> None:
    """It ends with success, since OpenRC would start no service otherwise."""
    alpine.run("install", "--program", PROGRAM)
    script = f'RC_SVCNAME="{service}"; . "{alpine[CONFIGURATION]}" || exit 1; command -v start; test -z "$command"'
    assert subprocess.run(("/bin/sh", "-c", script), check=True, capture_output=True).stdout == b""


@pytest.mark.parametrize(
    ("missing", "message"),
    [(START, "k3s does not start: its gate is missing"), (CONFIGURATION, "k3s starts without the gate")],
)
def test_a_missing_half_is_reported(missing: str, message: str, alpine: HostTree) -> None:
    """Without the configuration K3s starts without its gate, and without the script not at all."""
    alpine.run("install", "--program", PROGRAM)
    alpine[missing].unlink()
    assert findings(alpine)["gate-half-missing"] == message


def test_an_edited_file_and_an_unusable_program_are_reported(alpine: HostTree) -> None:
    """The program is the one that the script names."""
    alpine.run("install", "--program", PROGRAM)
    alpine[START].write_text(alpine[START].read_text().replace("rm -f", "true"))
    alpine[PROGRAM].chmod(0o777)
    found = findings(alpine)
    assert found["gate-unit-differs"].startswith("the gate is not the one of this version")
    assert PROGRAM in found["gate-program-unusable"]


def test_only_root_can_bypass_a_k3s_whose_umask_permits_everything(alpine: HostTree, tmp_path: Path) -> None:
    """start-k3s has the umask of K3s, and creates the directory of the bypasses."""
    alpine.run("install", "--program", PROGRAM)
    state, script = tmp_path / "state", alpine[START].read_text()
    script = script.replace("/run/k3s-harden", str(state)).replace(f"{PROGRAM} gate", "true")
    subprocess.run(("/bin/sh", "-c", script, "sh", "k3s", "/bin/true"), check=True, umask=0)
    assert state.stat().st_mode & 0o777 == 0o755
