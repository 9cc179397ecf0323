"""The command of `render upgrade-plan`, in the file system of its image, on a booted node with K3s and the gate."""

from __future__ import annotations

import tarfile

import pytest

from tests.tools.dist.image import image
from tests.vm.conftest import Bundle, Packages
from tests.vm.instance import Done
from tests.vm.node import GATE, SERVER, Node
from tests.vm.suite import SINGLE_FILE_SUITES, machine

pytestmark = [pytest.mark.vm, pytest.mark.xdist_group("upgrade-node")]

IMAGE = "/run/image"
INSTALLED, BESIDE = "/opt/k3s-harden", "/opt/k3s-harden.upgrade"
PROGRAM = f"{INSTALLED}/bin/k3s-harden"
UNIT = "bin/_internal/agent/units/k3s-harden@.service"
OLDER = "# older"
"""The last line of the gate of the previous version."""

# As the runtime does for the pod: the root of the image, the host's below /host, and the processes of the host.
_IN_POD = f"""
mkdir -p {IMAGE}/dev {IMAGE}/proc {IMAGE}/host
exec unshare --mount --propagation private sh -c '
mount -t proc proc {IMAGE}/proc && mount --bind /dev {IMAGE}/dev && mount --rbind / {IMAGE}/host &&
exec env -i /usr/sbin/chroot {IMAGE} {PROGRAM} upgrade-node'
"""
# The first systemctl with one of these verbs kills its parent and the program of the image, the parent of that.
_KILLER = """\
#!/bin/sh
case $1 in {verbs}) kill -KILL $(ps -o ppid= -p $PPID) $PPID; exit 1;; esac
exec /usr/bin/systemctl.real "$@"
"""


@pytest.fixture(scope="module")
def layer(bundle: Bundle) -> bytes:
    with tarfile.open(image(bundle.archive.parent, machine())) as archive:
        blob = archive.extractfile(max(archive.getmembers(), key=lambda member: member.size))
        assert blob is not None
        return blob.read()


@pytest.fixture
def node(bare: Node, bundle: Bundle, layer: bytes) -> Node:
    """A running server on which the archive of the previous version is installed, and a node has the image."""
    if bare.suite in SINGLE_FILE_SUITES:
        pytest.skip("glibc is too old")
    put_image(bare, layer)
    bare.install_k3s()
    bare.put("/root/bundle.tar.gz", bundle.archive.read_bytes())
    bare.run(
        f"cd /root && tar -xzf bundle.tar.gz && echo '{OLDER}' | tee -a k3s-harden-*/{UNIT} && k3s-harden-*/install"
    )
    bare.harden("apply", "--role", "server")
    bare.harden("install")
    bare.systemctl("start", SERVER)
    assert OLDER in bare.read("/etc/systemd/system/k3s-harden@.service")
    return bare


def put_image(node: Node, layer: bytes) -> None:
    node.run(f"mkdir {IMAGE} && tar -xzf - -C {IMAGE}", stdin=layer)


def upgrade(node: Node) -> Done:
    return node.run(_IN_POD, check=False)


def is_older(node: Node) -> bool:
    """Whether the previous version is installed; every file is that of one version."""
    differing = node.run(f"diff -r {IMAGE}{INSTALLED}/bin {INSTALLED}/bin | grep -v '^---'", check=False).out
    is_older = OLDER in node.read(f"{INSTALLED}/{UNIT}")
    assert len(differing.splitlines()) == (3 if is_older else 0)
    assert node.run(f"{PROGRAM} --version").code == 0
    return is_older


def assert_upgraded(node: Node) -> None:
    """Check that only the new version is on the node, and that the gate is its gate."""
    assert not is_older(node)
    assert node.run(f"ls -d {BESIDE}", check=False).code != 0
    assert OLDER not in node.read("/etc/systemd/system/k3s-harden@.service")
    assert node.unit(GATE)["NeedDaemonReload"] == "no"


def files(node: Node) -> str:
    """All files of the program and the gate, with their times."""
    return node.run("find /opt /etc /usr/local /var/lib/k3s-harden -xdev -printf '%p %i %m %C@\\n' | sort").out


def test_it_replaces_program_and_gate_and_the_next_run_changes_nothing(node: Node) -> None:
    """K3s runs on, and its next start passes the new gate."""
    process, starts = node.unit(SERVER)["MainPID"], len(node.starts())
    done = upgrade(node)
    commands = [line for line in done.out.splitlines() if line.startswith("+ ")]
    assert (done.code, commands) == (
        0,
        [f"+ {BESIDE}/bin/k3s-harden {verb}" for verb in ("gate", "check")]
        + [f"+ {PROGRAM} {verb}" for verb in ("install", "check")],
    ), done
    assert_upgraded(node)
    before = files(node)
    assert upgrade(node).code == 0
    assert files(node) == before
    assert (node.unit(SERVER)["MainPID"], len(node.starts())) == (process, starts)
    runs = node.gate_runs()
    node.systemctl("restart", SERVER)
    assert (node.is_up(), node.gate_runs()) == (True, runs + 1)


def test_a_new_version_that_fails_its_tests_replaces_nothing(node: Node) -> None:
    """The exit code and the output are those of the gate, and after the repair the next run upgrades."""
    node.break_host()
    done = upgrade(node)
    assert (done.code, is_older(node)) == (3, True)
    assert node.BAD_DROPIN in done.out
    assert f"{BESIDE}/bin/k3s-harden gate exited with 3" in done.out
    assert node.run(f"{BESIDE}/bin/k3s-harden check", check=False).code == 3
    node.repair_host()
    assert upgrade(node).code == 0
    assert_upgraded(node)


@pytest.mark.parametrize(("verbs", "version"), [("show", "older"), ("daemon-reload", "new")])
def test_after_a_kill_the_program_is_complete_and_the_next_run_finishes(node: Node, verbs: str, version: str) -> None:
    """It is killed while the new version tests the node, and after the exchange."""
    node.run("mv /usr/bin/systemctl /usr/bin/systemctl.real")
    node.put("/usr/bin/systemctl", _KILLER.format(verbs=verbs), "0755")
    assert upgrade(node).code == 128 + 9
    node.run("mv /usr/bin/systemctl.real /usr/bin/systemctl")
    assert is_older(node) is (version == "older")
    assert node.run(f"ls -d {BESIDE}").code == 0
    assert upgrade(node).code == 0
    assert_upgraded(node)


def test_a_full_disk_leaves_the_installed_version(node: Node) -> None:
    """The message names the directory and the reason."""
    node.run(
        "mv /opt/k3s-harden /root/old && mount -t tmpfs -o size=30M,mode=755 tmpfs /opt && mv /root/old /opt/k3s-harden"
    )
    done = upgrade(node)
    assert (done.code, is_older(node)) == (1, True)
    assert f"cannot replace {INSTALLED}: No space left on device" in done.err
    assert node.run(f"ls -d {BESIDE}", check=False).code != 0
    node.run("mount -o remount,size=200M /opt")
    assert upgrade(node).code == 0
    assert_upgraded(node)


def test_a_node_with_a_package_is_refused(bare: Node, packages: Packages, layer: bytes) -> None:
    """Nothing is changed: a package and the single file have their own upgrades."""
    put_image(bare, layer)
    bare.install_k3s()
    bare.put("/usr/local/bin/k3s-harden", packages.single_file.read_bytes(), "0755")
    bare.harden("apply", "--role", "server")
    bare.harden("install")
    before = files(bare)
    done = upgrade(bare)
    assert (done.code, files(bare)) == (6, before)
    assert f"found no {INSTALLED}/bin/_internal, which the archive installs" in done.err
