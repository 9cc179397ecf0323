"""Reasons for which K3s does not start, on the real kernel: a program like K3s' wrapper fails, and check says so."""

from __future__ import annotations

import json
import struct
import subprocess
import sys

import pytest

from agent.findings.machine.reason import REASONS
from tests.machine import Machine

pytestmark = pytest.mark.root

DATA = "/var/lib/rancher/k3s"
SERVER = ("check", "--role", "server", "--k3s-version", "1.34", "--format", "json")
CHECK = (sys.executable, "-m", "agent", *SERVER)
AGENT = ("check", "--role", "agent", "--k3s-version", "1.34", "--format", "json")
WRAPPER = f"""\
set -e
mkdir -p {DATA}/data/1/bin
head -c 20000000 /dev/zero >{DATA}/data/1/archive
cp /bin/true {DATA}/data/1/bin/k3s-server
exec {DATA}/data/1/bin/k3s-server
"""
"""Like K3s' program: it unpacks others below the data directory, and executes one of them (k3s, cmd/k3s/main.go)."""
S390X = 0x16
LISTEN = (
    "import socket, time; server = socket.create_server(('', {port}), family=socket.{family});"
    " print('listens', flush=True); time.sleep(60)"
)


@pytest.fixture
def node(machine: Machine) -> Machine:
    """A machine whose data directory is on a file system of its own, as the overlay of its root does not suffice."""
    machine.run("mkdir", "-p", DATA, check=True)
    machine.mount("-t", "tmpfs", "-o", "mode=0755,size=600m", "tmpfs", "/var/lib/rancher")
    machine.run("mkdir", "-p", DATA, check=True)
    return machine


def reasons(machine: Machine, *words: str) -> list[str]:
    return reasons_in(machine.harden(*(words or SERVER)).stdout)


def reasons_in(report: str) -> list[str]:
    return [finding["id"] for finding in json.loads(report)["findings"] if finding["id"] in REASONS]


def starts(machine: Machine) -> subprocess.CompletedProcess[str]:
    return machine.run("sh", "-c", WRAPPER)


@pytest.mark.parametrize("words", [SERVER, AGENT], ids=["server", "agent"])
def test_a_machine_on_which_it_starts_has_no_reason(node: Machine, words: tuple[str, ...]) -> None:
    """No false alarm on the kernel of this machine."""
    assert starts(node).returncode == 0
    assert reasons(node, *words) == []


def test_noexec(node: Machine) -> None:
    """The kernel does not execute what the wrapper unpacked."""
    node.mount("-o", "remount,noexec", "/var/lib/rancher")
    assert "Permission denied" in starts(node).stderr
    assert reasons(node) == ["data-dir-noexec"]


def test_a_noexec_default_directory_with_programs_counts_beside_another_data_directory(node: Machine) -> None:
    """K3s looks for its programs in the default directory first."""
    node.run("mkdir", "-p", f"{DATA}/data", "/srv/k3s", check=True)
    node.run("ln", "-s", f"{DATA}/data/1", f"{DATA}/data/current", check=True)
    node.mount("-o", "remount,noexec", "/var/lib/rancher")
    node.mount("-t", "tmpfs", "tmpfs", "/srv/k3s")
    assert reasons(node, *SERVER, "--data-dir", "/srv/k3s") == ["data-dir-noexec"]


def test_a_read_only_data_directory(node: Machine) -> None:
    """The wrapper cannot unpack."""
    node.mount("-o", "remount,ro", "/var/lib/rancher")
    assert "Read-only file system" in starts(node).stderr
    assert "data-dir-read-only" in reasons(node)


@pytest.mark.parametrize("options", ["size=10m", "size=600m,nr_inodes=4"], ids=["space", "inodes"])
def test_no_space_for_the_programs(node: Machine, options: str) -> None:
    """A file system that is too small, or that has no inodes left."""
    node.mount("-t", "tmpfs", "-o", f"mode=0755,{options}", "small", DATA)
    assert "No space left on device" in starts(node).stderr
    assert reasons(node) == ["data-dir-full"]


def test_little_space(node: Machine) -> None:
    """The kubelet evicts pods below 5 %: a warning, since K3s starts."""
    node.run("sh", "-c", f"mkdir -p {DATA}/data/0 && ln -s 0 {DATA}/data/current", check=True)
    node.run("sh", "-c", "head -c 585m /dev/zero >/var/lib/rancher/filler", check=True)
    assert reasons(node) == ["data-dir-nearly-full"]


def test_overlayfs_on_overlayfs(machine: Machine) -> None:
    """The kernel refuses another overlay on an overlay, as containerd tries it."""
    machine.run("mkdir", "-p", "/var/lib/rancher", "/var/lib/upper", "/var/lib/work", check=True)
    below = "lowerdir=/usr,upperdir=/var/lib/upper,workdir=/var/lib/work"
    machine.mount("-t", "overlay", "-o", below, "below", "/var/lib/rancher")
    machine.run("mkdir", "-p", f"{DATA}/agent/containerd/a", f"{DATA}/agent/containerd/b", check=True)
    layers = f"lowerdir=/usr,upperdir={DATA}/agent/containerd/a,workdir={DATA}/agent/containerd/b"
    assert machine.run("mount", "-t", "overlay", "-o", layers, "overlay", "/mnt").returncode != 0
    assert reasons(machine) == ["snapshotter-unsupported"]
    machine.write("/etc/rancher/k3s/config.yaml", "snapshotter: native\n", 0o600)
    assert reasons(machine) == []


@pytest.mark.parametrize(
    "content",
    [b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, S390X) + bytes(44), b"<html>Not Found</html>\n"],
    ids=["another-architecture", "a-page"],
)
def test_a_program_that_the_kernel_does_not_execute(node: Machine, content: bytes) -> None:
    """execve(2) fails, as at the step EXEC of systemd."""
    node.write("/usr/local/bin/k3s", content, 0o755)
    run = node.run(sys.executable, "-c", "import os; os.execv('/usr/local/bin/k3s', ['k3s'])")
    assert "Exec format error" in run.stderr
    assert reasons(node) == ["k3s-program-unusable"]


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
@pytest.mark.parametrize("port", [6443, 10257])
def test_a_port_that_another_program_has(node: Machine, port: int, family: str) -> None:
    """A second listener fails, and the finding names the first. The network is one of its own, without a route."""
    node.write("/etc/rancher/k3s/config.yaml", "node-ip: 10.0.0.1\n", 0o600)
    listen = f'{sys.executable} -c "{LISTEN.format(port=port, family=family)}"'
    script = f"""
        ip link set lo up
        {listen} >/run/listens &
        first=$!
        while ! grep -q listens /run/listens; do sleep 0.1; done
        {listen} 2>/run/second
        {" ".join(CHECK)} >/run/report
        kill $first
    """
    node.run("unshare", "--net", "sh", "-c", script)
    assert "Address already in use" in node.path("/run/second").read_text()
    findings = json.loads(node.path("/run/report").read_text())["findings"]
    (conflict,) = (finding for finding in findings if finding["id"] in REASONS)
    assert conflict["id"] == "port-in-use"
    assert str(port) in conflict["message"]
    assert "python" in conflict["found"]


def test_no_default_route(node: Machine) -> None:
    """A network of its own, which is that of the first process, has only lo. With `node-ip`, K3s looks for no route."""
    alone = ("unshare", "--net", "--pid", "--fork", "--mount-proc", "sh", "-c", f"{' '.join(CHECK)}; true")
    assert reasons_in(node.run(*alone).stdout) == ["default-route-missing"]
    node.write("/etc/rancher/k3s/config.yaml", "node-ip: 10.0.0.1\n", 0o600)
    assert reasons_in(node.run(*alone).stdout) == []


def test_a_host_name_that_is_no_name_in_kubernetes(node: Machine) -> None:
    """In a namespace of its own for the host name."""
    named = f"echo my_node >/proc/sys/kernel/hostname; {' '.join(CHECK)}"
    assert reasons_in(node.run("unshare", "--uts", "sh", "-c", named).stdout) == ["node-name-invalid"]


def test_no_kernel_log(node: Machine) -> None:
    """As in a container of LXC."""
    node.mount("-t", "tmpfs", "tmpfs", "/dev")
    node.run("sh", "-c", "mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/urandom c 1 9", check=True)
    assert node.run("sh", "-c", ": </dev/kmsg").returncode != 0
    assert reasons(node) == ["kmsg-not-readable"]
