"""What the host says of its K3s: the running process, and the version that the installed program prints."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.machine import NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.system.machine import Machine

pytestmark = pytest.mark.root

K3S = "/usr/local/bin/k3s"
RAN = "/run/k3s-was-run"
AUDIT = "/var/lib/rancher/k3s/server/audit.yaml"


def install(machine: Machine, version: str, mode: int = 0o755, owner: int = 0, path: str = K3S) -> None:
    """Put a stand-in for k3s there, which says its version as K3s does, and leaves a trace of having been run."""
    words = f"k3s version {version} (3dd98cc5)\\ngo version go1.24.4\\n"
    machine.write(path, f"#!/bin/sh\necho \"$@\" >>{RAN}\nprintf '{words}'\n", mode, owner)


@contextmanager
def running(machine: Machine, line: str, name: str = "k3s-server") -> Iterator[None]:
    """A process of the machine with this command line and name, by which alone a K3s is told."""
    machine.run("cp", "/bin/sleep", f"/opt/{name}", check=True)
    become = f"import os; print(flush=True); os.execv('/opt/{name}', [{line!r}, '600'])"
    process = machine.start(sys.executable, "-c", become)
    assert process.stdout is not None
    process.stdout.readline()
    while machine.run("pgrep", "-x", name).returncode:
        time.sleep(0.01)
    try:
        yield
    finally:
        machine.kill(process)


def report(machine: Machine, *words: str) -> dict[str, Any]:
    run = machine.harden(*words, "--format", "json")
    assert run.stdout, run.stderr
    return dict(json.loads(run.stdout))


def fact(of: dict[str, Any], name: str) -> tuple[str, str]:
    """The value and the evidence of a fact."""
    return next((fact["value"], fact["source"]) for fact in of["facts"] if fact["name"] == name)


def findings(of: dict[str, Any]) -> set[str]:
    return {finding["id"] for finding in of["findings"]}


def test_a_running_k3s_tells_the_role_and_since_when(machine: Machine) -> None:
    """Without a unit or a data directory, the process that calls itself `k3s server` decides, and is shown."""
    with running(machine, "k3s server"):
        seen = report(machine, "check")
    assert fact(seen, "role") == ("server", "the running process")
    assert fact(seen, "running")[0].startswith("process ")
    with running(machine, "k3s agent", "k3s-agent"):
        seen = report(machine, "check")
    assert fact(seen, "role") == ("agent", "the running process")
    assert report(machine, "check", "--role", "server")["exit_code"] == 3
    assert fact(report(machine, "check", "--role", "server"), "running")[0] == "no"


@pytest.mark.parametrize("way", ["by_psutil", "by_proc"])
def test_the_start_of_k3s_is_known_to_a_fraction_of_a_second(machine: Machine, way: str) -> None:
    """A K3s that the gate let start is younger than the run of the gate, though both were in the same second."""
    words = f"from agent.host import probe; print(*(process.started for process in probe.{way}()))"
    before = time.time()
    with running(machine, "k3s server"):
        after = time.time()
        started = float(machine.run(sys.executable, "-c", words, check=True).stdout)
    # The kernel counts it in hundredths.
    assert before - 0.05 < started < after + 0.05


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("k3s-server-backup", "k3s-server-back"),
        ("k3s kubectl", "k3s-kubectl"),
        ("vi k3s server", "vi"),
        ("k3s-harden agent", "k3s-harden"),
    ],
)
def test_what_is_no_k3s_is_not_taken_for_one(machine: Machine, line: str, name: str) -> None:
    """A kubectl, an editor, this program and whatever else has k3s in its name do not make a role."""
    with running(machine, line, name):
        run = machine.harden("check")
    assert run.returncode == 2
    assert "cannot determine whether this host is a server or an agent" in run.stderr


def test_both_roles_at_once_are_not_guessed_between(machine: Machine) -> None:
    """Where a server and an agent run, the user is asked which is meant."""
    with running(machine, "k3s server"), running(machine, "k3s agent", "k3s-agent"):
        run = machine.harden("check")
        seen = report(machine, "check", "--role", "agent")
    assert run.returncode == 2
    assert "--role server or --role agent" in run.stderr
    assert fact(seen, "running")[0].count("process") == 1


def test_a_k3s_that_is_older_than_the_change_needs_a_restart(machine: Machine) -> None:
    """After apply beside a running K3s, check says restart; once K3s was started anew, it does not."""
    with running(machine, "k3s server"):
        time.sleep(1.1)  # a start is known to the second
        done = report(machine, "apply", "--k3s-version", "1.34")
        seen = report(machine, "check", "--k3s-version", "1.34")
        assert done["exit_code"] == 0
        assert "restart-needed" in findings(done) & findings(seen)
        told = next(finding for finding in seen["findings"] if finding["id"] == "restart-needed")
        assert AUDIT in told["message"]
        assert told["remediation"] == "sudo systemctl restart k3s"
    with running(machine, "k3s server"):
        assert "restart-needed" not in findings(report(machine, "check", "--k3s-version", "1.34"))
        time.sleep(1.1)
        undone = report(machine, "revert")
        assert "restart-needed" in findings(undone)


def test_a_change_that_k3s_reads_while_it_runs_needs_no_restart(machine: Machine) -> None:
    """Kernel values, modes and manifests take effect by themselves."""
    machine.harden("apply", "--role", "server", "--k3s-version", "1.34")
    with running(machine, "k3s server"):
        time.sleep(1.1)
        machine.set_live({"kernel.panic": "0"})
        machine.path("/var/lib/rancher/k3s/server/manifests").chmod(0o755)
        done = report(machine, "apply", "--k3s-version", "1.34")
        assert done["exit_code"] == 0
        assert "restart-needed" not in findings(done)


@pytest.mark.parametrize("path", [K3S, "/opt/bin/k3s", "/usr/bin/k3s"])
def test_the_installed_program_is_asked_for_its_version(machine: Machine, path: str) -> None:
    """Wherever K3s' installer puts it, `k3s --version` decides the family: 1.24 has the PodSecurityPolicies."""
    install(machine, "v1.24.17+k3s1", path=path)
    done = report(machine, "apply", "--role", "server")
    assert fact(done, "K3s version") == ("v1.24.17+k3s1", f"{path} --version")
    assert done["exit_code"] == 0
    assert b"PodSecurityPolicy" in machine.path("/var/lib/rancher/k3s/server/manifests/policy.yaml").read_bytes()
    assert set(machine.path(RAN).read_text().split()) == {"--version"}


def test_an_upgrade_across_125_takes_the_policies_out(machine: Machine) -> None:
    """When the program on disk is a 1.25, the next apply removes what 1.25 cannot read, before K3s is restarted."""
    install(machine, "v1.24.17+k3s1")
    machine.harden("apply", "--role", "server")
    install(machine, "v1.25.16+k3s4")
    seen = report(machine, "check", "--role", "server")
    assert seen["exit_code"] == 3
    assert findings(seen) >= {"stale-pod-security-policy", "admission-plugins-refused"}
    assert report(machine, "apply", "--role", "server")["exit_code"] == 0
    policy = machine.path("/var/lib/rancher/k3s/server/manifests/policy.yaml").read_bytes()
    assert b"kind: PodSecurityPolicy" not in policy


def unsafe_file(machine: Machine) -> None:
    install(machine, "v1.24.17+k3s1", mode=0o777)


def file_of_another(machine: Machine) -> None:
    install(machine, "v1.24.17+k3s1", owner=NOBODY)


def unsafe_directory(machine: Machine) -> None:
    install(machine, "v1.24.17+k3s1")
    machine.path("/usr/local/bin").chmod(0o777)


def link_to_a_file_of_another(machine: Machine) -> None:
    install(machine, "v1.24.17+k3s1", owner=NOBODY, path="/opt/theirs")
    machine.path(K3S).symlink_to("/opt/theirs")


@pytest.mark.parametrize(
    "plant",
    [unsafe_file, file_of_another, unsafe_directory, link_to_a_file_of_another],
    ids=lambda plant: plant.__name__,
)
def test_a_program_that_others_can_change_is_not_run(machine: Machine, plant: Callable[[Machine], None]) -> None:
    """What somebody else could have written is not run as root: the version is assumed, and the evidence says why."""
    plant(machine)
    seen = report(machine, "check", "--role", "server")
    value, evidence = fact(seen, "K3s version")
    assert value.endswith(" assumed")
    assert evidence.startswith(f"{K3S} is not run, since ")
    assert machine.entry(RAN) is None
    assert "version-assumed" in findings(seen)


@pytest.mark.parametrize(
    "script",
    [
        "#!/bin/sh\nexit 3\n",
        "#!/bin/sh\necho nonsense\n",
        "#!/bin/sh\necho k3s version\n",
        "#!/bin/sh\nkill -SEGV $$\n",
        "#!/nowhere/sh\n",
        "\x7fELF",
        "",
    ],
)
def test_a_program_that_gives_no_version_is_survived(machine: Machine, script: str) -> None:
    """A broken download or a wrapper of somebody's: the version is assumed, and said to be."""
    machine.write(K3S, script, mode=0o755)
    seen = report(machine, "check", "--role", "server")
    assert fact(seen, "K3s version")[0].endswith(" assumed")
    assert "printed no valid version" in fact(seen, "K3s version")[1]
