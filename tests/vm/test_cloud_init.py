"""cloud-init in booted guests: the rendered user-data, from a fresh Debian to a hardened K3s.

The document is the output of `render cloud-init`. A guest has no network; both downloads come from the seed disk.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.vm.conftest import Packages
from tests.vm.node import GATE, HARDENED_KERNEL, HARDENED_MODES, STAND_IN_HOME, Node, stand_in_files
from tests.vm.readme import commands

pytestmark = pytest.mark.vm

_SEED = "/run/seed"

# Runs at each boot, before the commands of the user-data.
_VENDOR_DATA = f"""\
#cloud-config
bootcmd:
  - mkdir -p {_SEED} {STAND_IN_HOME}
  - mount -o ro LABEL=cidata {_SEED} || mount --bind /var/lib/cloud/seed/nocloud {_SEED}
  - cp {_SEED}/*.py {_SEED}/k3s {STAND_IN_HOME}
"""


def _rendered(directory: Path, program: Path, *words: str, installer: str = "https://get.k3s.io") -> str:
    """Return the output of the README's command with more options, for a program on the seed disk.

    The default installer is replaced by the one on the disk.
    """
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "URL": f"file://{_SEED}/{program.name}",
        "SHA256": hashlib.sha256(program.read_bytes()).hexdigest(),
    }
    command = commands("At first boot").replace(" >user-data", f" {shlex.join(words)} >user-data")
    subprocess.run(("/bin/sh", "-c", command), cwd=directory, env=environment, check=True)
    text = (directory / "user-data").read_text()
    assert installer in text
    return text.replace("https://get.k3s.io", f"file://{_SEED}/install.sh")


def _seed(directory: Path, program: Path, user_data: str, vendor_data: str = _VENDOR_DATA) -> Path:
    """Create a seed for cloud-init that also contains the files of both downloads."""
    seed = directory / "seed"
    seed.mkdir()
    documents = {"user-data": user_data, "vendor-data": vendor_data, "meta-data": "instance-id: node-1\n"}
    for name, text in documents.items():
        (seed / name).write_text(text)
    shutil.copy(program, seed)
    for name, content in stand_in_files().items():
        (seed / name).write_bytes(content)
    return seed


@pytest.mark.own_kernel
def test_4_k3s_starts_after_its_gate_at_each_boot_with_cloud_init(
    new_node: Callable[..., Node], packages: Packages, tmp_path: Path
) -> None:
    """K3s starts after its gate at the first boot, at the second, and after `cloud-init clean`.

    With all stages of cloud-init, no boot has an ordering cycle, for which systemd would delete a job.
    """
    user_data = _rendered(tmp_path, packages.single_file)
    seed = _seed(tmp_path, packages.single_file, user_data)
    node = new_node("fresh")

    def assert_done(starts: int) -> None:
        status = node.run("cloud-init status --long --wait", timeout=400)
        assert "status: done" in status.out
        assert "errors: []" in status.out
        assert "ordering cycle" not in node.run("journalctl -b -o cat _PID=1").out
        node.wait_until_up()
        assert [start.kernel for start in node.starts()] == [HARDENED_KERNEL] * starts
        node.assert_started_after_the_gate()

    node.boot(seed=seed)
    assert_done(1)
    modes = node.starts()[0].modes
    assert {path: modes.get(path) for path in HARDENED_MODES} == HARDENED_MODES
    assert node.run("cloud-init schema --system").code == 0

    node.reboot(seed=seed)
    assert_done(2)

    node.run("touch /run/k3s-harden/of-this-boot; cloud-init clean")
    assert node.run("test -e /run/k3s-harden", check=False).code != 0
    node.reboot(seed=seed)
    # The last step of the document does not restart K3s, because it is unchanged and already started.
    assert_done(3)


def test_cloud_init_uses_settings_data_directory_and_k3s_version(
    new_node: Callable[..., Node], packages: Packages, tmp_path: Path
) -> None:
    """K3s and k3s-harden use the same data directory, K3s has the given version, and the settings are applied."""
    site = tmp_path / "site.yaml"
    site.write_text("audit:\n  max-age: 77\n")
    user_data = _rendered(
        tmp_path,
        packages.single_file,
        "--config",
        str(site),
        "--data-dir",
        "/var/lib/k3s-data",
        "--k3s-version",
        "v1.33.4+k3s1",
    )
    node = new_node("fresh")
    node.boot(seed=_seed(tmp_path, packages.single_file, user_data))
    assert "status: done" in node.run("cloud-init status --long --wait", timeout=400).out
    node.wait_until_up()
    (start,) = node.starts()
    assert start.version == "v1.33.4+k3s1"
    assert start.modes["/var/lib/k3s-data/server/audit.yaml"] == "0600"
    assert node.read("/etc/k3s-harden/config.yaml") == f"{site.read_text()}role: server\n"
    assert "audit-log-maxage=77" in node.read("/etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml")
    assert "/var/lib/k3s-data" in node.unit(GATE)["RequiresMountsFor"].split()
    assert node.run("test -e /var/lib/rancher", check=False).code == 1


class Failure(NamedTuple):
    """A cause that makes one step fail."""

    log: str
    """Text that the log of cloud-init contains afterwards."""
    old: str = ""
    """Text of the document that is replaced."""
    new: str = ""
    """The replacement."""
    command: str = ""
    """A command that runs before the document."""
    words: tuple[str, ...] = ()
    """More options of `render cloud-init`."""


_INSTALLATION = "sh /usr/local/sbin/k3s-install server"

_FAILURES = {
    "curl is missing and cannot be installed": Failure(
        log="E: ", command="dpkg --force-depends --purge curl >/dev/null"
    ),
    "the checksum of the program is wrong": Failure(
        log="/usr/local/bin/k3s-harden.new: FAILED", old="{digest}", new="0" * 64
    ),
    "the program cannot run": Failure(
        log="dnf: not found",
        command="mount --bind /usr/local/bin /usr/local/bin && mount -o remount,bind,noexec /usr/local/bin",
    ),
    "the gate cannot be installed": Failure(
        log="/etc/systemd/system/k3s-harden.service", command="mkdir -p /etc/systemd/system/k3s-harden.service"
    ),
    "the host cannot be hardened": Failure(
        log="/var/lib/rancher/k3s/server/audit.yaml", command="mkdir -p /var/lib/rancher/k3s/server/audit.yaml"
    ),
    "the token is missing": Failure(log="/run/token is missing or empty", words=("--token-file", "/run/token")),
    "the checksum of K3s' installer is wrong": Failure(
        log="/usr/local/sbin/k3s-install: FAILED", words=("--installer-sha256", "0" * 64)
    ),
    "K3s cannot be downloaded": Failure(log="curl: (37)", old="/install.sh", new="/no-such-file"),
    "K3s' installer fails": Failure(
        log=f"{STAND_IN_HOME}/version: Is a directory", command=f"mkdir -p {STAND_IN_HOME}/version"
    ),
    "K3s does not start": Failure(
        log="Job for k3s.service failed",
        command="mkdir -p -m 700 /var/lib/rancher/k3s/server; touch /var/lib/rancher/k3s/server/tls",
    ),
}


@pytest.mark.parametrize("failure", _FAILURES)
def test_a_failure_in_any_step_is_reported_and_k3s_does_not_run(
    new_node: Callable[..., Node], packages: Packages, tmp_path: Path, failure: str
) -> None:
    """cloud-init reports the error, its log shows which step failed, and K3s does not run."""
    node = new_node("fresh")
    _assert_fails(node, packages, tmp_path, _FAILURES[failure])
    assert node.run("pgrep --exact k3s-server", check=False).code == 1
    assert node.starts() == []


def test_downloads_come_through_a_proxy_that_starts_late(
    new_node: Callable[..., Node], packages: Packages, tmp_path: Path
) -> None:
    """A refused connection is tried again. The installer gets the mirror, and the proxy with its exceptions."""
    site, port = "http://files.example", 3128
    installer = stand_in_files()["install.sh"].replace(b"set -e\n", b"set -e\nenv >/run/of-the-installer\n", 1)
    user_data = _rendered(
        tmp_path, packages.single_file,
        *("--url", f"{site}/{packages.single_file.name}", "--installer-url", f"{site}/install.sh"),
        *("--installer-sha256", hashlib.sha256(installer).hexdigest(), "--proxy", f"http://127.0.0.1:{port}"),
        *("--k3s-version", "v1.34.2+k3s1", "--k3s-mirror", "https://mirror.example/k3s"),
        installer=site,
    )  # fmt: skip
    # A proxy is asked for the whole URL, which http.server takes for a path. This one starts after the first attempt.
    late = f"until pgrep -f [k]3s-harden-bootstrap; do sleep 1; done; sleep 4; exec python3 -m http.server {port}"
    proxy = (
        f"mkdir -p /run/proxy/http: && ln -s {_SEED} /run/proxy/http:/files.example &&"
        f" systemd-run --no-block --working-directory=/run/proxy sh -c '{late}'"
    )
    seed = _seed(tmp_path, packages.single_file, user_data, f"{_VENDOR_DATA}  - {proxy!r}\n")
    (seed / "install.sh").write_bytes(installer)
    node = new_node("fresh")
    node.boot(seed=seed)
    assert "status: done" in node.run("cloud-init status --long --wait", check=False, timeout=400).out, node.read(
        "/var/log/cloud-init-output.log"
    )
    node.wait_until_up()
    passed = dict(line.split("=", 1) for line in node.read("/run/of-the-installer").splitlines())
    assert passed["GITHUB_URL"] == "https://mirror.example/k3s"
    assert passed["HTTPS_PROXY"] == passed["http_proxy"] == f"http://127.0.0.1:{port}"
    assert "10.0.0.0/8" in passed["NO_PROXY"]


def test_a_failed_check_after_the_start_is_reported_and_k3s_runs(
    new_node: Callable[..., Node], packages: Packages, tmp_path: Path
) -> None:
    """K3s starts on a hardened host. A value that is not compliant only after the next boot does not stop it."""
    undone = f"{_INSTALLATION}; echo vm.panic_on_oom=1 >/etc/sysctl.d/99-local.conf"
    node = new_node("fresh")
    _assert_fails(node, packages, tmp_path, Failure(log="/etc/sysctl.d/99-local.conf:1", old=_INSTALLATION, new=undone))
    node.wait_until_up()
    assert len(node.starts()) == 1


def _assert_fails(node: Node, packages: Packages, directory: Path, failure: Failure) -> None:
    """Boot with this failure; cloud-init reports an error, and its log shows that the intended step failed."""
    user_data = _rendered(directory, packages.single_file, *failure.words)
    old = failure.old.format(digest=hashlib.sha256(packages.single_file.read_bytes()).hexdigest())
    changed = user_data.replace(old, failure.new) if old else user_data
    vendor_data = f"{_VENDOR_DATA}  - {failure.command!r}\n" if failure.command else _VENDOR_DATA
    assert (changed, vendor_data, ()) != (user_data, _VENDOR_DATA, failure.words)
    node.boot(seed=_seed(directory, packages.single_file, changed, vendor_data))
    status = node.run("cloud-init status --long --wait", check=False, timeout=400)
    assert (status.code, "status: error" in status.out) == (1, True)
    assert failure.log in node.read("/var/log/cloud-init-output.log")
