"""Whether a host can have the gate."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from agent.base.host import Host
from agent.base.host.process import Completed
from agent.base.value import replace
from agent.harden.gate.installed_gate import can_have_gate, detect_gate
from agent.harden.node.service_units import TEMPLATE
from tests.fake import Programs, fake_host
from tests.k3s_tree import put

SYSTEMCTL = "/usr/bin/systemctl"


def _booted(root: Path, version: int) -> Host:
    put(root, SYSTEMCTL[1:], "", 0o755)
    (root / "run/systemd/system").mkdir(parents=True)
    programs = Programs({(SYSTEMCTL, "--version"): Completed(0, f"systemd {version} ({version}-1)\n", "")})
    return fake_host(root, programs=programs, is_live=True)


@pytest.mark.root
@pytest.mark.parametrize(("version", "expected"), [(257, True), (243, True), (239, False)])
def test_a_booted_systemd_can_start_the_gate_from_version_243_on(
    tmp_path: Path, version: int, *, expected: bool
) -> None:
    host = _booted(tmp_path, version)
    gate = detect_gate(host)
    assert can_have_gate(host, gate) is expected
    assert not can_have_gate(host, replace(gate, template=PurePosixPath("/etc/systemd/system") / TEMPLATE))
    assert not can_have_gate(replace(host, pod_node="node"), gate)


def test_a_tree_and_a_container_without_an_init_get_no_gate(tmp_path: Path) -> None:
    for is_live in (False, True):
        host = fake_host(tmp_path, is_live=is_live)
        assert not can_have_gate(host, detect_gate(host))


def test_openrc_can_start_the_gate(tmp_path: Path) -> None:
    put(tmp_path, "run/openrc/softlevel", "")
    host = fake_host(tmp_path, is_live=True)
    assert can_have_gate(host, detect_gate(host))
