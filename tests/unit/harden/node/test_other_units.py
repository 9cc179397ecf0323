"""Running K3s processes that no service with the gate has started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.base.host.probe import K3sProcess
from agent.base.host.process import Completed
from agent.harden.node.installed_services import other_units
from agent.k3s.roles_and_versions import Role
from tests.fake import Programs, fake_host
from tests.k3s_tree import put
from tests.unit.harden.node.test_loaded_service import BUS, MANAGER, started

GATE = started("/usr/bin/env", "systemctl start k3s-harden@k3s.service")
OTHER = started("/bin/true")
SERVICE = "0::/system.slice/k3s.service\n"


def units(root: Path, group: str, commands: list[Any], parent: int = 1, main: int = 7) -> tuple[str, ...]:
    """Return what is found of K3s' process 7, in this control group, of a service with these commands before it."""
    for path in ("run/systemd/system/.keep", "usr/bin/systemctl", "usr/bin/busctl"):
        put(root, path, "", mode=0o755)
    put(root, "proc/7/cgroup", group)
    put(root, "proc/7/stat", f"7 (k3s) server) S {parent} 7 7 0\n")
    call = ("call", MANAGER[0], f"{MANAGER[1]}/unit/k3s_2eservice", "org.freedesktop.DBus.Properties", "GetAll")
    shown = {"ExecStartPreEx": {"data": commands}, "MainPID": {"data": main}}
    answer = Completed(0, json.dumps({"data": [shown]}), "")
    host = fake_host(root, programs=Programs({(f"/usr/bin/{BUS[0]}", BUS[1], *call, "s", ""): answer}), is_live=True)
    return other_units(host, [K3sProcess(7, Role.SERVER, 0.0)])


@pytest.mark.parametrize(
    "group",
    [
        "0::/user.slice/user-0.slice/user@0.service/app.slice/k3s.service\n",
        "0::/system.slice/site.service/k3s.service\n",
    ],
)
def test_the_unit_is_that_of_systemd_and_not_of_a_group_below_it(tmp_path: Path, group: str) -> None:
    (found,) = units(tmp_path, group, [GATE])
    assert found in group
    assert found != "k3s.service"


@pytest.mark.parametrize("group", [SERVICE, "3:pids:/\n1:name=systemd:/system.slice/k3s.service\n0::/\n"])
@pytest.mark.parametrize(("parent", "main"), [(1, 7), (6, 6)], ids=["main process", "child, with the option log"])
def test_a_service_with_the_gate_has_started_it(tmp_path: Path, group: str, parent: int, main: int) -> None:
    assert units(tmp_path, group, [OTHER, GATE], parent, main) == ()


@pytest.mark.parametrize("commands", [[], [OTHER], [GATE, OTHER], [[*GATE[:2], ["ignore-failure"], *GATE[3:]]]])
def test_a_service_in_which_the_gate_has_no_effect_is_named(tmp_path: Path, commands: list[Any]) -> None:
    """The drop-in alone says nothing: another one can reset its command."""
    put(tmp_path, "etc/systemd/system/k3s.service.d/zzz-k3s-harden.conf", "")
    assert units(tmp_path, SERVICE, commands) == ("k3s.service",)


def test_a_process_of_another_command_of_the_service_is_named(tmp_path: Path) -> None:
    """As one that ExecStartPost= leaves."""
    assert units(tmp_path, SERVICE, [GATE], parent=1, main=6) == ("k3s.service",)
