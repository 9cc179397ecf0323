"""Facts of a running K3s: its process, and the version that the program prints."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.machine import NOBODY, Machine

pytestmark = pytest.mark.root

K3S = "/usr/local/bin/k3s"
RAN = "/run/k3s-was-run"


def install(machine: Machine, version: str, mode: int = 0o755, owner: int = 0, path: str = K3S) -> None:
    """Install a stand-in for k3s that prints its version and records each run."""
    words = f"k3s version {version} (3dd98cc5)\\ngo version go1.24.4\\n"
    machine.write(path, f"#!/bin/sh\necho \"$@\" >>{RAN}\nprintf '{words}'\n", mode, owner)


@contextmanager
def running(machine: Machine, line: str, name: str = "k3s-server") -> Iterator[None]:
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
    return next((fact["value"], fact["source"]) for fact in of["facts"] if fact["name"] == name)


def findings(of: dict[str, Any]) -> set[str]:
    return {finding["id"] for finding in of["findings"]}


def test_a_running_k3s_determines_role_and_start_time(machine: Machine) -> None:
    """Without a unit or a data directory, the process `k3s server` determines the role."""
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
def test_the_start_time_of_k3s_has_a_resolution_below_one_second(machine: Machine, way: str) -> None:
    """A K3s that starts after its gate is newer than the gate's run, even within the same second."""
    words = f"from agent.base.host import probe; print(*(process.started for process in probe.{way}()))"
    before = time.time()
    with running(machine, "k3s server"):
        after = time.time()
        started = float(machine.run(sys.executable, "-c", words, check=True).stdout)
    # The kernel counts start times in hundredths of a second.
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
def test_similar_process_names_are_not_k3s(machine: Machine, line: str, name: str) -> None:
    with running(machine, line, name):
        run = machine.harden("check")
    assert run.returncode == 2
    assert "cannot determine whether this host is a server or an agent" in run.stderr


@pytest.mark.parametrize("way", ["by_psutil", "by_proc"])
def test_a_k3s_in_another_pid_namespace_is_ignored(machine: Machine, way: str) -> None:
    """It belongs to k3d or to another container on this host."""
    machine.run("cp", "/bin/sleep", "/opt/k3s-server", check=True)
    become = "import os; os.execv('/opt/k3s-server', ['k3s server', '600'])"
    process = machine.start("unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", become)
    try:
        while machine.run("pgrep", "-x", "k3s-server").returncode:
            time.sleep(0.01)
        words = f"from agent.base.host import probe; print(*probe.{way}())"
        assert machine.run(sys.executable, "-c", words, check=True).stdout == "\n"
        seen = report(machine, "check", "--role", "server")
        assert fact(seen, "running")[0] == "no"
        with running(machine, "k3s agent", "k3s-agent"):
            assert fact(report(machine, "check"), "role") == ("agent", "the running process")
    finally:
        machine.run("pkill", "-KILL", "-x", "k3s-server")
        process.communicate()


def test_two_roles_at_once_are_an_error(machine: Machine) -> None:
    with running(machine, "k3s server"), running(machine, "k3s agent", "k3s-agent"):
        run = machine.harden("check")
        seen = report(machine, "check", "--role", "agent")
    assert run.returncode == 2
    assert "--role server or --role agent" in run.stderr
    assert fact(seen, "running")[0].count("process") == 1


def test_a_k3s_that_started_before_the_change_needs_a_restart(machine: Machine) -> None:
    with running(machine, "k3s server"):
        time.sleep(1.1)  # start times have a resolution of one second
        done = report(machine, "apply", "--k3s-version", "1.34", "--accept-impact")
        seen = report(machine, "check", "--k3s-version", "1.34")
        assert done["exit_code"] == 0
        assert "restart-needed" in findings(done) & findings(seen)
        finding = next(finding for finding in seen["findings"] if finding["id"] == "restart-needed")
        assert all(f"/var/lib/rancher/k3s/server/{name}.yaml" in finding["message"] for name in ("audit", "psa"))
        assert finding["repair"]["text"] == "systemctl restart k3s"
    with running(machine, "k3s server"):
        assert "restart-needed" not in findings(report(machine, "check", "--k3s-version", "1.34"))
        time.sleep(1.1)
        undone = report(machine, "revert")
        assert "restart-needed" in findings(undone)


def test_a_change_that_k3s_reads_while_it_runs_needs_no_restart(machine: Machine) -> None:
    """K3s needs no restart after changes of kernel values, modes and manifests."""
    machine.harden("apply", "--role", "server", "--k3s-version", "1.34")
    with running(machine, "k3s server"):
        time.sleep(1.1)
        machine.set_kernel({"kernel.panic": "0"})
        machine.path("/var/lib/rancher/k3s/server/manifests").chmod(0o755)
        done = report(machine, "apply", "--k3s-version", "1.34")
        assert done["exit_code"] == 0
        assert "restart-needed" not in findings(done)


@pytest.mark.parametrize("path", [K3S, "/opt/bin/k3s", "/usr/bin/k3s"])
def test_the_version_is_read_from_the_installed_program(machine: Machine, path: str) -> None:
    """`k3s --version` in each directory of K3s' installer; 1.24 has PodSecurityPolicies."""
    install(machine, "v1.24.17+k3s1", path=path)
    done = report(machine, "apply", "--role", "server")
    assert fact(done, "K3s version") == ("v1.24.17+k3s1", f"{path} --version")
    assert done["exit_code"] == 0
    assert b"PodSecurityPolicy" in machine.path("/var/lib/rancher/k3s/server/manifests/policy.yaml").read_bytes()
    assert set(machine.path(RAN).read_text().split()) == {"--version"}


@pytest.mark.parametrize(
    ("path", "mode", "owner", "mode_of_directory"),
    [
        (K3S, 0o777, 0, 0o755),
        (K3S, 0o755, NOBODY, 0o755),
        (K3S, 0o755, 0, 0o777),
        ("/opt/theirs", 0o755, NOBODY, 0o755),
    ],
    ids=["file", "owner", "directory", "link"],
)
def test_a_k3s_program_that_others_can_write_is_not_run(
    machine: Machine, path: str, mode: int, owner: int, mode_of_directory: int
) -> None:
    install(machine, "v1.24.17+k3s1", mode, owner, path)
    if path != K3S:
        machine.path(K3S).symlink_to(path)
    machine.path(K3S).parent.chmod(mode_of_directory)
    seen = report(machine, "check", "--role", "server")
    value, evidence = fact(seen, "K3s version")
    assert value.endswith(" assumed")
    assert evidence.startswith(f"{K3S} is not run, because ")
    assert machine.entry(RAN) is None
    assert "version-unknown" in findings(seen)


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
def test_the_version_is_assumed_if_the_program_prints_none(machine: Machine, script: str) -> None:
    machine.write(K3S, script, mode=0o755)
    seen = report(machine, "check", "--role", "server")
    assert fact(seen, "K3s version")[0].endswith(" assumed")
    source = fact(seen, "K3s version")[1]
    assert source.startswith((f"{K3S} --version printed no valid version", f"cannot run {K3S}: "))


@pytest.mark.parametrize("script", ["sleep 600 & wait", "exec cat /dev/zero", "exec yes", "exec cat /dev/zero >&2"])
def test_a_program_that_hangs_or_prints_without_end_does_not_delay_the_gate(machine: Machine, script: str) -> None:
    """The program runs once, for at most 3 seconds and 64 KiB. The gate uses the recorded version."""
    install(machine, "v1.24.17+k3s1")
    assert report(machine, "apply", "--role", "server")["exit_code"] == 0
    machine.write(K3S, f"#!/bin/sh\necho asked >>/run/asked\n{script}\n", mode=0o755)
    seen = report(machine, "gate", "--role", "server")
    assert seen["exit_code"] == 0
    value, source = fact(seen, "K3s version")
    assert value == "v1.24.17+k3s1"
    assert source.startswith("last successful run, ")
    assert "recorded-version-used" in findings(seen)
    assert machine.path("/run/asked").read_text() == "asked\n"
