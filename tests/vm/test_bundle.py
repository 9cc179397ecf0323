"""The program with its own Python, on a host that has none and whose /usr is read-only."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from agent.base import package_data
from agent.verbs.installation import COMPLETIONS
from tests.shells import assert_completes
from tests.tools.dist.tools import CHECKOUT
from tests.vm.conftest import Bundle
from tests.vm.node import GATE, HARDENED_KERNEL, SERVER, STAND_IN_HOME, Node
from tests.vm.suite import SINGLE_FILE_SUITES

pytestmark = pytest.mark.vm

_INSTALLED = "/opt/k3s-harden"
_OURS = (
    "find / /run /var/lib -xdev -name '*k3s-harden*' -not -path '/root/*' -not -path '/var/log/*'"
    " -not -name 'systemd-private-*'"
    " -not -path '/run/systemd/*' | sort --unique"
)
_ENCRYPTION = "/etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml\n"
"""What `revert` keeps of a K3s that has started, because its datastore is encrypted."""


# Only the stand-in for K3s keeps an interpreter.
_REMOVE_PYTHON = f"""
mv /usr/bin/python3.* {STAND_IN_HOME}/python
rm /usr/bin/py*
sed -i "s,/usr/bin/python3,{STAND_IN_HOME}/python," /usr/local/bin/stand-in-for-k3s
mount --bind /usr /usr
mount -o remount,bind,ro /usr
"""
_C_LIBRARY = {"libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1", "libutil.so.1"}


@pytest.fixture
def host(bare: Node) -> Node:
    """A server with K3s, which has not started, a read-only /usr and no Python."""
    if bare.suite in SINGLE_FILE_SUITES:
        pytest.skip("glibc is too old")
    bare.install_k3s()
    bare.run(_REMOVE_PYTHON)
    assert bare.run("ls /usr/bin/py* /usr/local/bin/py*", check=False).out == ""
    assert "Read-only" in bare.run("mkdir /usr/lib/k3s-harden", check=False).err
    return bare


def unpack(node: Node, bundle: Bundle) -> str:
    """Unpack the archive, and return the path of the script that installs it."""
    node.put("/root/bundle.tar.gz", bundle.archive.read_bytes())
    node.run("tar -xzf /root/bundle.tar.gz -C /root")
    return f"/root/{bundle.archive.name.removesuffix('.tar.gz')}/install"


@pytest.mark.emulated
def test_the_archive_hardens_a_host_without_python(host: Node, bundle: Bundle) -> None:
    """It hardens the host, its gate runs before K3s, an upgrade replaces it, and its removal leaves nothing."""
    install, harden = unpack(host, bundle), f"{_INSTALLED}/bin/k3s-harden"
    for _ in ("installation", "upgrade"):
        assert f"the command k3s-harden is {harden}, because /usr/local/bin is read-only" in host.run(install).out
        host.run(f"{harden} apply --role server")
        host.run(f"{harden} install")
    host.systemctl("start", SERVER)
    assert (host.gate_runs(), host.starts()[0].kernel) == (1, HARDENED_KERNEL)
    assert f"{harden} gate" in host.unit(GATE)["ExecStart"]
    assert host.run(f"{harden} check").code == 0
    assert host.run(f"{harden} assess", check=False).code in {0, 3}

    host.systemctl("stop", SERVER)  # revert waits for a running K3s to remove its objects, which the stand-in lacks
    host.run(f"{harden} uninstall && {harden} revert && rm -rf {_INSTALLED} /var/lib/k3s-harden /run/k3s-harden.lock")
    assert host.run(_OURS).out == _ENCRYPTION
    host.systemctl("restart", SERVER)
    assert len(host.starts()) == 2


def test_install_refuses_a_host_on_which_the_program_cannot_run(bare: Node, bundle: Bundle) -> None:
    """It exits with 6 and changes nothing for an older glibc, and on a file system without programs."""
    install = unpack(bare, bundle)
    before = bare.run(_OURS).out
    if bare.suite not in SINGLE_FILE_SUITES:
        bare.put("/root/old/getconf", "#!/bin/sh\necho glibc 2.35\n", "0755")
    refused = bare.run(f"PATH=/root/old:$PATH {install}", check=False)
    assert (refused.code, ", expected glibc 2.36 or newer" in refused.err) == (6, True)
    bare.run("mkdir /opt/noexec && mount -t tmpfs -o noexec tmpfs /opt/noexec")
    refused = bare.run(f"{install} /opt/noexec/k3s-harden", check=False)
    assert (refused.code, "cannot install" in refused.err) == (6, True)
    assert bare.run("ls -A /opt/noexec").out == ""
    assert bare.run(_OURS).out == before


def test_install_keeps_a_directory_that_is_not_an_installation(bare: Node, bundle: Bundle) -> None:
    """A wrong path removes nothing, and a relative one is not guessed."""
    install = unpack(bare, bundle)
    for path in ("/etc", "etc", "/etc/../etc", "/"):
        assert bare.run(("sh", install, path), check=False).code == 2
    assert bare.run("test -f /etc/passwd").code == 0


def test_the_extension_contains_the_program_and_no_unit(bundle: Bundle) -> None:
    """What it adds to /usr cannot change K3s' start, and disappears without a trace."""
    command = ("unsquashfs", "-l", "-d", "", bundle.extension)
    listed = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())
    files = listed - {str(directory) for path in listed for directory in PurePosixPath(path).parents} - {""}
    assert {path for path in files if not path.startswith("/usr/lib/k3s-harden/")} == {
        "/usr/bin/k3s-harden",
        "/usr/lib/extension-release.d/extension-release.k3s-harden",
    }


def test_the_program_needs_only_the_c_library(bundle: Bundle, tmp_path: Path) -> None:
    """A container image needs nothing but the bundle and the C library. CONTENTS names CPython and OpenSSL."""
    subprocess.run(("tar", "--extract", "--file", bundle.archive, "--directory", tmp_path), check=True)
    (top,) = tmp_path.iterdir()
    inside = {file.name for file in (top / "bin").rglob("*.so*")}
    for file in [top / "bin/k3s-harden", *(top / "bin").rglob("*.so*")]:
        needed = subprocess.run(("patchelf", "--print-needed", file), capture_output=True, text=True, check=True)
        outside = {name for name in needed.stdout.split() if not name.startswith("ld-linux-")} - inside - _C_LIBRARY
        assert (file.name, outside) == (file.name, set())
    contents = dict(line.split() for line in (top / "CONTENTS").read_text(encoding="utf-8").splitlines())
    assert contents["libpython3.11"].startswith("3.11.")
    assert contents["libssl3"].startswith("3.0.")
    assert contents.keys() <= {path.name for path in (top / "licenses").iterdir()}


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_the_archive_completes_in_each_shell(bundle: Bundle, tmp_path: Path, shell: str) -> None:
    """With the scripts that its `install` writes."""
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    unpacked = ("tar", "--extract", "--strip-components=1", "--file", bundle.archive, "--directory", tmp_path)
    subprocess.run(unpacked, check=True)
    scripts = {name: package_data.read("completions", f"k3s-harden.{name}") for name in COMPLETIONS}
    assert_completes(tmp_path, shell, scripts)


def test_the_same_commit_gives_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    """Directory, time, umask and environment of the build have no effect."""
    environment = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "7", "TMPDIR": str(tmp_path)}
    command = (sys.executable, "-m", "tests.tools.dist.bundle", tmp_path / "again")
    subprocess.run(command, cwd=CHECKOUT, env={**os.environ, **environment}, umask=0o077, check=True)
    for file in (bundle.archive, bundle.extension):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def put_ignition(host: Node, extension: Path) -> None:
    """Write the files of `render ignition` for this extension, and enable the units, as Ignition does."""
    digest = hashlib.sha256(extension.read_bytes()).hexdigest()
    words = ("--role", "server", "--url", f"https://files.example/{extension.name}", "--sha256", digest)
    render = (sys.executable, "-m", "agent", "render", "ignition", *words)
    document = json.loads(subprocess.run(render, cwd=CHECKOUT, capture_output=True, check=True).stdout)
    for file in document["storage"]["files"]:
        source, is_extension = file["contents"]["source"], "verification" in file["contents"]
        data = extension.read_bytes() if is_extension else base64.b64decode(source.partition(",")[2])
        host.put(file["path"], data, f"{file['mode']:04o}")
    host.run("systemctl daemon-reload")
    for unit in document["systemd"]["units"]:
        host.systemctl("enable", "--now", unit["name"])


@pytest.mark.own_kernel
@pytest.mark.skipif(os.environ.get("GUESTS") != "all", reason="takes minutes in a virtual machine: make release-test")
def test_the_gate_of_ignition_is_not_lost_with_another_usr(host: Node, bundle: Bundle) -> None:
    """It is in /etc: without the extension K3s is blocked, and after its merge K3s starts by itself.

    The extension is merged into another version of /usr, and into the former one again. The removal leaves nothing.
    """
    put_ignition(host, bundle.extension)
    host.systemctl("start", SERVER)
    assert (host.gate_runs(), host.starts()[0].kernel) == (1, HARDENED_KERNEL)
    assert "/usr/lib/k3s-harden/bin/k3s-harden gate" in host.unit(GATE)["ExecStart"]

    release = "/usr/lib/os-release"
    host.run(f"cp {release} /root/former && sed s/^VERSION_ID=.*/VERSION_ID=99/ /root/former >/root/other")
    for starts, version in ((2, "other"), (3, "former")):
        host.run(f"systemd-sysext unmerge && mount --bind /root/{version} {release} && systemd-sysext merge")
        host.systemctl("restart", SERVER)
        assert [start.kernel for start in host.starts()] == [HARDENED_KERNEL] * starts
        assert host.gate_runs() == starts

    host.systemctl("disable", "systemd-sysext.service")
    host.reboot()
    assert (host.unit(SERVER)["ActiveState"], len(host.starts())) == ("activating", 3)
    host.run("systemd-sysext merge")
    host.wait_until_up()
    assert host.starts()[3].kernel == HARDENED_KERNEL

    host.harden("uninstall")
    host.harden("revert")
    host.run(
        "rm -rf /var/lib/extensions/k3s-harden.raw /var/lib/k3s-harden /etc/k3s-harden /run/k3s-harden.lock"
        " && systemd-sysext refresh"
    )
    assert host.run(_OURS).out == _ENCRYPTION
    host.systemctl("restart", SERVER)
    assert len(host.starts()) == 5
