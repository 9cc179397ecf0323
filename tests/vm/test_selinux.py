"""A guest in which SELinux enforces Debian's policy, with file contexts for K3s as those of k3s-selinux."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import image
from tests.vm.conftest import Packages
from tests.vm.node import GATE, KUBELET_CONF, SERVER, GuestNode, put_package, put_stand_in

pytestmark = pytest.mark.vm

# k3s-selinux, policy/*/k3s.fc. Debian's policy has no container_runtime_exec_t.
CONTEXTS = """\
/var/lib/rancher/k3s(/.*)? system_u:object_r:container_var_lib_t:s0
/var/lib/rancher/k3s/server/logs(/.*)? system_u:object_r:container_log_t:s0
/usr/local/bin/k3s -- system_u:object_r:container_engine_exec_t:s0
"""
FILE_CONTEXTS = "/etc/selinux/default/contexts/files/file_contexts.local"
LOGS = "/var/lib/rancher/k3s/server/logs"
PSA = "/var/lib/rancher/k3s/server/psa.yaml"


@pytest.fixture
def node(packages: Packages, tmp_path: Path) -> Iterator[GuestNode]:
    """Yield a server with package and K3s, neither of them started so far."""
    with GuestNode(tmp_path / "node", image.ready(selinux=True)) as booted:
        booted.boot()
        booted.put(FILE_CONTEXTS, CONTEXTS)
        put_stand_in(booted)
        put_package(booted, packages.deb)
        booted.install_k3s()
        yield booted
        booted.cut_power()
        booted.remove_disk()


def _assert_labelled(node: GuestNode, expected: int) -> None:
    """Check that the labels of the program's files are those of the policy, which two programs compare."""
    places = "/etc/sysctl.d /etc/rancher/k3s/config.yaml.d /var/lib/k3s-harden"
    server = "$(find /var/lib/rancher/k3s/server -not -path '*/cred*' -not -path '*/db*' -not -path '*/tls*')"
    assert node.run(f"restorecon -nRv {places}; restorecon -nv {server}").out == ""
    verified = node.run(f"matchpathcon -V $(find {places}) {server}").out.splitlines()
    assert [line for line in verified if not line.endswith(" verified.")] == []
    assert len(verified) >= expected


@pytest.mark.own_kernel
def test_files_have_the_labels_of_the_policy_after_gate_repair_and_revert(node: GuestNode) -> None:
    """The gate runs in its sandbox. A label that cannot be set is an error with the command that sets it."""
    assert node.run("getenforce").out == "Enforcing\n"
    node.systemctl("start", SERVER)
    node.wait_until_up()
    assert node.unit(GATE)["NoNewPrivileges"] == "yes"
    assert "container_log_t" in node.run(("ls", "-dZ", LOGS)).out
    _assert_labelled(node, 12)

    node.run(f"rm {KUBELET_CONF} {PSA}; rmdir {LOGS}")
    node.harden("apply", "--accept-impact")
    assert "container_log_t" in node.run(("ls", "-dZ", LOGS)).out
    _assert_labelled(node, 12)

    node.run(f"rm {PSA}")
    node.put(FILE_CONTEXTS, f"{CONTEXTS}{PSA} system_u:object_r:no_such_type_t:s0\n")
    failed = node.harden("apply", "--accept-impact", check=False)
    node.put(FILE_CONTEXTS, CONTEXTS)
    assert (failed.code, f"cannot set the SELinux label of {PSA}" in failed.out) == (1, True)
    assert f"restorecon -v {PSA}" in failed.out

    node.systemctl("stop", SERVER)
    node.harden("revert", "--force")
    _assert_labelled(node, 4)
