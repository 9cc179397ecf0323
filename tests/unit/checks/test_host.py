"""What is beyond the benchmark: kernel parameters now and at the next boot, what wins over ours, and directories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.assess.assessment import ControlStatus
from agent.guide.sysctls import PARAMETERS_FILE
from agent.model import FixOwner
from tests.k3s_tree import K3s
from tests.unit.checks.nodes import DATA, SETTINGS, fix, seen

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.checks.conftest import Nodes
    from tests.unit.checks.nodes import Node

LIVE = "/proc/sys/vm/overcommit_memory"
OTHERS = "/etc/sysctl.d/99-database.conf"


def test_a_value_that_is_right_now_and_at_boot_passes_by_apply(hardened: Node) -> None:
    """With both as evidence, the second with its line."""
    verdict = hardened.verdict("vm.overcommit_memory")
    assert (verdict.status, verdict.owner, verdict.found) == (ControlStatus.PASS, FixOwner.APPLY, "1 now, 1 at boot")
    assert seen(verdict) == (("1 now", LIVE), ("1 at boot", f"{PARAMETERS_FILE}:4"))


def test_a_value_that_the_operators_file_sets_passes_by_the_operator(server: Node) -> None:
    """Apply never ran here."""
    server.put("/etc/sysctl.d/50-mine.conf", "kernel.panic = 10\n", 0o644)
    server.path("/proc/sys/kernel/panic").write_text("10\n")
    verdict = server.verdict("kernel.panic")
    assert (verdict.status, verdict.owner) == (ControlStatus.PASS, FixOwner.OPERATOR)
    server.path("server/manifests").mkdir(mode=0o700)
    directory = server.verdict("server/manifests")
    assert (directory.status, directory.owner) == (ControlStatus.PASS, FixOwner.OPERATOR)


def test_a_value_that_nobody_set_is_for_apply(server: Node) -> None:
    """Neither now nor at boot; a value that is right by chance does not last."""
    verdict = server.verdict("vm.overcommit_memory")
    assert (verdict.status, verdict.owner, fix(verdict)) == (
        ControlStatus.FAIL,
        FixOwner.APPLY,
        "sudo k3s-harden apply",
    )
    assert verdict.found == "0 now, and no file sets it at boot"
    by_chance = server.verdict("vm.panic_on_oom")
    assert (by_chance.status, by_chance.owner) == (ControlStatus.FAIL, FixOwner.APPLY)


def test_a_value_that_drifted_is_for_apply(hardened: Node) -> None:
    """The file is right, the kernel is not."""
    hardened.path(LIVE).write_text("0\n")
    verdict = hardened.verdict("vm.overcommit_memory")
    assert (verdict.status, verdict.owner, verdict.found) == (ControlStatus.FAIL, FixOwner.APPLY, "0 now, 1 at boot")


def test_a_file_that_wins_at_boot_is_for_its_owner(hardened: Node) -> None:
    """Apply would write its own again, and lose again."""
    hardened.put(OTHERS, "vm.overcommit_memory = 2\n", 0o644)
    verdict = hardened.verdict("vm.overcommit_memory")
    assert (verdict.status, verdict.owner, verdict.found) == (ControlStatus.FAIL, FixOwner.OPERATOR, "1 now, 2 at boot")
    assert (
        fix(verdict)
        == f"set vm.overcommit_memory to 1, or delete the line at {OTHERS}:1; then run `sudo k3s-harden apply`"
    )
    precedence = hardened.verdict("sysctl-precedence")
    assert (precedence.status, precedence.owner) == (ControlStatus.FAIL, FixOwner.OPERATOR)
    assert seen(precedence)[0][1] == f"{OTHERS}:1"
    assert fix(precedence) == f"set vm.overcommit_memory to 1, or delete the line at {OTHERS}:1"


def test_a_line_that_takes_ours_back_is_named(hardened: Node) -> None:
    """A key with a minus in front leaves the kernel's own value."""
    hardened.put(OTHERS, "-vm.overcommit_memory\n", 0o644)
    verdict = hardened.verdict("vm.overcommit_memory")
    assert (verdict.status, verdict.owner) == (ControlStatus.FAIL, FixOwner.OPERATOR)
    assert fix(verdict).startswith(f"delete the line at {OTHERS}:1")


def test_our_file_edited_by_hand_is_for_the_operator(hardened: Node) -> None:
    """Apply leaves what somebody wrote."""
    file = hardened.path(PARAMETERS_FILE)
    file.write_text(file.read_text().replace("vm.overcommit_memory=1", "vm.overcommit_memory=2"))
    verdict = hardened.verdict("vm.overcommit_memory")
    assert (verdict.status, verdict.owner, verdict.found) == (ControlStatus.FAIL, FixOwner.OPERATOR, "1 now, 2 at boot")
    assert (
        fix(verdict)
        == f"set vm.overcommit_memory to 1, or delete the line at {PARAMETERS_FILE}:4; then run `sudo k3s-harden apply`"
    )


def test_the_limits_on_keys_are_the_kernels_own(server: Node) -> None:
    """Nobody has to do anything for them, and apply does not write them."""
    verdict = server.verdict("kernel.keys.root_maxkeys")
    assert (verdict.status, verdict.owner, verdict.found) == (ControlStatus.PASS, FixOwner.NONE, "1000000 now")
    server.path("/proc/sys/kernel/keys/root_maxkeys").write_text("2000000\n")
    wrong = server.verdict("kernel.keys.root_maxkeys")
    assert (wrong.status, wrong.owner) == (ControlStatus.FAIL, FixOwner.OPERATOR)
    assert "root_maxkeys" in fix(wrong)


def test_a_tree_without_a_kernel_cannot_tell(hardened: Node) -> None:
    """An image is right at its next boot, if nothing else; now is another question."""
    hardened.path(LIVE).unlink()
    verdict = hardened.verdict("vm.overcommit_memory")
    assert (verdict.status, verdict.owner) == (ControlStatus.UNKNOWN, FixOwner.OPERATOR)
    assert verdict.reason


def unreadable(path: Path) -> None:
    """Put something there that not even root can read: a symlink that leads to itself."""
    path.symlink_to(path.name)


@pytest.mark.parametrize("name", ["vm.overcommit_memory", "sysctl-precedence"])
def test_a_sysctl_file_that_cannot_be_read_may_say_anything(hardened: Node, name: str) -> None:
    """It comes after ours, and might take it back."""
    unreadable(hardened.path(OTHERS))
    verdict = hardened.verdict(name)
    assert (verdict.status, verdict.owner) == (ControlStatus.UNKNOWN, FixOwner.OPERATOR)
    assert OTHERS in verdict.reason


def test_what_is_wrong_now_fails_whatever_cannot_be_read(server: Node) -> None:
    """What is known to be wrong is wrong."""
    unreadable(server.path(OTHERS))
    assert server.verdict("vm.overcommit_memory").status is ControlStatus.FAIL


def test_nothing_that_wins_passes_with_where_was_looked(hardened: Node) -> None:
    """The directories, and how many files were in them."""
    verdict = hardened.verdict("sysctl-precedence")
    assert (verdict.status, verdict.owner) == (ControlStatus.PASS, FixOwner.NONE)
    assert seen(verdict)[0][1] == "/etc/sysctl.d, /usr/lib/sysctl.d"
    assert verdict.evidence[0].observation.startswith("2 files of kernel parameters")


def test_a_waived_kernel_parameter_is_waived(server: Node) -> None:
    """With the reason that the site gives."""
    server.put(SETTINGS, "waivers: [{control: vm.overcommit_memory, reason: The database counts strictly.}]\n")
    verdict = server.verdict("vm.overcommit_memory")
    assert verdict.status is ControlStatus.WAIVED
    assert verdict.waiver is not None
    assert verdict.waiver.reason == "The database counts strictly."


def test_directories_have_the_guides_mode(hardened: Node) -> None:
    """Exactly; they are for apply."""
    assert hardened.verdict("server/logs").status is ControlStatus.PASS
    hardened.path("server/logs").chmod(0o750)
    verdict = hardened.verdict("server/logs")
    assert (verdict.status, verdict.owner, fix(verdict)) == (
        ControlStatus.FAIL,
        FixOwner.APPLY,
        "sudo k3s-harden apply",
    )
    assert (verdict.expected, verdict.found) == ("mode 0700, owner root:root", "mode 0750, owner root:root")
    assert seen(verdict) == (("mode 0750, owner root:root", f"{DATA}/server/logs"),)


def test_what_stands_in_a_directorys_place_is_for_the_operator(hardened: Node) -> None:
    """Apply refuses it."""
    hardened.path("server/logs").rmdir()
    hardened.put("server/logs", "not a directory\n")
    verdict = hardened.verdict("server/logs")
    assert (verdict.status, verdict.owner) == (ControlStatus.FAIL, FixOwner.OPERATOR)
    assert fix(verdict) == f"sudo install -d -o root -g root -m 0700 {DATA}/server/logs"


def test_an_agent_has_no_directories_of_a_server(nodes: Nodes) -> None:
    """And kernel parameters like one."""
    agent = nodes(K3s(role="agent"))
    assert agent.verdict("server").status is ControlStatus.NOT_APPLICABLE
    assert agent.verdict("vm.overcommit_memory").status is ControlStatus.FAIL
