"""Checks beyond the benchmarks: kernel parameters, overrides, and directories."""

from __future__ import annotations

import pytest

from agent.assess.assessment import ControlStatus
from agent.base.repair import FixOwner
from agent.harden.guide.sysctls import PARAMETERS_FILE
from tests.k3s_tree import K3s
from tests.unit.assess.checks.nodes import DATA, SETTINGS, UNIT, CheckedNode, fix, seen
from tests.unit.assess.conftest import Nodes

LIVE = "/proc/sys/vm/overcommit_memory"
OTHERS = "/etc/sysctl.d/99-database.conf"


def test_a_value_of_apply_passes_with_owner_apply(hardened: CheckedNode) -> None:
    verdict = hardened.verdict("vm.overcommit_memory")
    assert (verdict.status, verdict.owner, verdict.found) == (ControlStatus.PASS, FixOwner.APPLY, "1 now, 1 at boot")
    assert seen(verdict) == (("1 now", LIVE), ("1 at boot", f"{PARAMETERS_FILE}:4"))


def test_a_value_of_the_operator_passes_with_owner_operator(server: CheckedNode) -> None:
    server.put("/etc/sysctl.d/50-mine.conf", "kernel.panic = 10\n", 0o644)
    server.path("/proc/sys/kernel/panic").write_text("10\n")
    server.judged_as("kernel.panic", ControlStatus.PASS, FixOwner.OPERATOR)
    server.path("server/manifests").mkdir(mode=0o700)
    server.judged_as("server/manifests", ControlStatus.PASS, FixOwner.OPERATOR)


def test_an_unset_value_has_owner_apply(server: CheckedNode) -> None:
    verdict = server.judged_as("vm.overcommit_memory", ControlStatus.FAIL, FixOwner.APPLY)
    assert fix(verdict) == "sudo k3s-harden apply"
    assert verdict.found == "0 now, and no file sets it at boot"
    server.judged_as("vm.panic_on_oom", ControlStatus.FAIL, FixOwner.APPLY)


def test_a_changed_live_value_has_owner_apply(hardened: CheckedNode) -> None:
    hardened.path(LIVE).write_text("0\n")
    verdict = hardened.verdict("vm.overcommit_memory")
    assert (verdict.status, verdict.owner, verdict.found) == (ControlStatus.FAIL, FixOwner.APPLY, "0 now, 1 at boot")


def test_an_overriding_file_has_owner_operator(hardened: CheckedNode) -> None:
    hardened.put(OTHERS, "vm.overcommit_memory = 2\n", 0o644)
    verdict = hardened.verdict("vm.overcommit_memory")
    assert (verdict.status, verdict.owner, verdict.found) == (ControlStatus.FAIL, FixOwner.OPERATOR, "1 now, 2 at boot")
    edit = f"replace `vm.overcommit_memory = 2` by `vm.overcommit_memory=1` at {OTHERS}:1"
    assert fix(verdict) == edit
    precedence = hardened.judged_as("sysctl-precedence", ControlStatus.FAIL, FixOwner.OPERATOR)
    assert seen(precedence)[0][1] == f"{OTHERS}:1"
    assert fix(precedence) == edit
    hardened.path(LIVE).write_text("2\n")
    assert fix(hardened.verdict("vm.overcommit_memory")) == f"{edit}; then run `sudo k3s-harden apply`"


def test_a_line_that_excludes_the_key_is_reported(hardened: CheckedNode) -> None:
    """After a key with a leading minus, the boot keeps the default of the kernel."""
    hardened.put(OTHERS, "-vm.overcommit_memory\n", 0o644)
    verdict = hardened.judged_as("vm.overcommit_memory", ControlStatus.FAIL, FixOwner.OPERATOR)
    assert fix(verdict).startswith(f"remove `-vm.overcommit_memory` at {OTHERS}:1")


def test_an_edited_file_of_apply_has_owner_operator(hardened: CheckedNode) -> None:
    file = hardened.path(PARAMETERS_FILE)
    file.write_text(file.read_text().replace("vm.overcommit_memory=1", "vm.overcommit_memory=2"))
    verdict = hardened.verdict("vm.overcommit_memory")
    assert (verdict.status, verdict.owner, verdict.found) == (ControlStatus.FAIL, FixOwner.OPERATOR, "1 now, 2 at boot")
    assert fix(verdict) == f"replace `vm.overcommit_memory=2` by `vm.overcommit_memory=1` at {PARAMETERS_FILE}:4"


def test_the_key_limits_are_defaults_of_the_kernel(server: CheckedNode) -> None:
    verdict = server.verdict("kernel.keys.root_maxkeys")
    assert (verdict.status, verdict.owner, verdict.found) == (ControlStatus.PASS, FixOwner.NONE, "1000000 now")
    server.path("/proc/sys/kernel/keys/root_maxkeys").write_text("2000000\n")
    wrong = server.judged_as("kernel.keys.root_maxkeys", ControlStatus.FAIL, FixOwner.OPERATOR)
    assert "root_maxkeys" in fix(wrong)


def test_a_tree_without_a_kernel_is_unknown(hardened: CheckedNode) -> None:
    hardened.path(LIVE).unlink()
    verdict = hardened.judged_as("vm.overcommit_memory", ControlStatus.UNKNOWN, FixOwner.OPERATOR)
    assert verdict.reason


@pytest.mark.parametrize("name", ["vm.overcommit_memory", "sysctl-precedence"])
def test_a_sysctl_file_that_is_not_readable_is_unknown(hardened: CheckedNode, name: str) -> None:
    hardened.plant("loop", OTHERS)
    verdict = hardened.judged_as(name, ControlStatus.UNKNOWN, FixOwner.OPERATOR)
    assert OTHERS in verdict.reason


def test_a_wrong_value_fails_despite_a_file_that_is_not_readable(server: CheckedNode) -> None:
    server.plant("loop", OTHERS)
    assert server.verdict("vm.overcommit_memory").status is ControlStatus.FAIL


def test_no_override_passes_with_the_searched_directories(hardened: CheckedNode) -> None:
    verdict = hardened.judged_as("sysctl-precedence", ControlStatus.PASS, FixOwner.NONE)
    assert seen(verdict)[0][1] == "/etc/sysctl.d, /usr/lib/sysctl.d"
    assert verdict.evidence[0].observation.startswith("2 files of kernel parameters")


def test_a_waived_kernel_parameter_is_waived(server: CheckedNode) -> None:
    server.put(SETTINGS, "waivers: [{control: vm.overcommit_memory, reason: The database counts strictly.}]\n")
    verdict = server.verdict("vm.overcommit_memory")
    assert verdict.status is ControlStatus.WAIVED
    assert verdict.waiver is not None
    assert verdict.waiver.reason == "The database counts strictly."


def test_directories_require_the_exact_mode(hardened: CheckedNode) -> None:
    assert hardened.verdict("server/logs").status is ControlStatus.PASS
    hardened.path("server/logs").chmod(0o750)
    verdict = hardened.judged_as("server/logs", ControlStatus.FAIL, FixOwner.APPLY)
    assert fix(verdict) == "sudo k3s-harden apply"
    assert (verdict.expected, verdict.found) == ("mode 0700, owner root:root", "mode 0750, owner root:root")
    assert seen(verdict) == (("mode 0750, owner root:root", f"{DATA}/server/logs"),)


def test_a_file_at_the_path_of_a_directory_has_owner_operator(hardened: CheckedNode) -> None:
    hardened.path("server/logs").rmdir()
    hardened.put("server/logs", "not a directory\n")
    verdict = hardened.judged_as("server/logs", ControlStatus.FAIL, FixOwner.OPERATOR)
    assert fix(verdict) == f"sudo install -d -o root -g root -m 0700 {DATA}/server/logs"


def test_an_agent_has_no_directories_of_a_server(nodes: Nodes) -> None:
    agent = nodes(K3s(role="agent"))
    assert agent.verdict("server").status is ControlStatus.NOT_APPLICABLE
    assert agent.verdict("vm.overcommit_memory").status is ControlStatus.FAIL


def test_the_fix_of_an_option_in_the_environment_has_the_name_of_the_variable(server: CheckedNode) -> None:
    """The line has no other name, and systemd reads an environment file at each start."""
    server.put(f"{UNIT}.env", "K3S_KUBECONFIG_MODE=644\n")
    assert fix(server.verdict("k3s-kubeconfig")).endswith(f"remove `K3S_KUBECONFIG_MODE` at {UNIT}.env:1; restart K3s")
