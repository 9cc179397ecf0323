"""What K3s starts with is not written where what that needs is missing: a K3s that would start must not be stopped."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.host_tree import AUDIT, CONFIG, DROPIN, KERNEL_FILE, POLICY, PSA, SETTINGS, HostTree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.scenarios.conftest import Hardened

UNSAFE = "/var/lib/rancher"
KEY = "kernel.keys.root_maxkeys"
LIVE = "/proc/sys/kernel/keys/root_maxkeys"


def assert_k3s_would_start(host: HostTree) -> None:
    """As it would have before `apply`: there is no drop-in, and so nothing that it could name."""
    assert DROPIN not in host.entries()
    assert host.seen("check").ids.isdisjoint({"audit-policy-unusable", "admission-configuration-unusable"})


def test_a_directory_that_others_can_write_keeps_the_drop_in_away(host: HostTree) -> None:
    """What it names could not be written below that directory; once it is root's alone, all is."""
    host[UNSAFE].mkdir(parents=True)
    host[UNSAFE].chmod(0o777)
    seen = host.seen("apply")
    assert (seen.code, seen.items[DROPIN]) == (4, "failed")
    assert seen.details[DROPIN] == f"not written, since {PSA} and {AUDIT} failed"
    assert_k3s_would_start(host)
    host[UNSAFE].chmod(0o755)
    assert host.seen("apply").code == 0


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), os.mkfifo], ids=["directory", "FIFO"])
@pytest.mark.parametrize("named", [AUDIT, PSA, KERNEL_FILE])
def test_a_named_file_that_is_none_keeps_the_drop_in_away(
    named: str, make: Callable[[Path], object], host: HostTree
) -> None:
    """Nothing else is kept away by it; `check` and `diff` say so before."""
    host[named].parent.mkdir(parents=True, exist_ok=True)
    make(host[named])
    reason = f"not written, since it needs {named}, which is refused"
    assert [host.seen(verb).details[DROPIN] for verb in ("check", "diff", "apply")] == [reason] * 3
    assert POLICY in host.entries()
    assert_k3s_would_start(host)


def test_a_kernel_value_that_apply_does_not_set_keeps_the_drop_in_away(host: HostTree) -> None:
    """kubelet would exit at it; it is said what is wanted and what to do, and without the option nothing is awaited."""
    host.write(LIVE, "5\n")
    seen = host.seen("apply")
    assert (seen.code, seen.items[DROPIN]) == (4, "refused")
    assert seen.details[DROPIN] == f"not written, since it needs {KEY} to be 1000000, and found 5"
    assert f"sysctl -w {KEY}=1000000" in seen.only("kernel-parameter").remediation
    assert_k3s_would_start(host)
    host.write(SETTINGS, "protect-kernel-defaults: false\n")
    host.run("apply")
    assert DROPIN in host.entries()


def test_a_drop_in_that_is_kept_away_is_overridden_by_nothing(host: HostTree) -> None:
    """What the operator's file has is what the drop-in would set right."""
    host.write(CONFIG, "kube-apiserver-arg: [audit-log-maxage=5]\n")
    host.write(LIVE, "5\n")
    assert host.seen("check").ids == {"kernel-parameter"}


def test_a_drop_in_that_is_right_stays(hardened: Hardened) -> None:
    """What it needs is gone since: that is said, and whoever took it away may have K3s running."""
    host = hardened()
    host[AUDIT].unlink()
    host[AUDIT].mkdir()
    before = host.entries()
    seen = host.seen("apply")
    assert seen.items[DROPIN] == "compliant"
    assert seen.with_status("refused") == {AUDIT}
    assert host.entries() == before


def test_an_older_drop_in_stays_as_it_is_and_is_nobodys_edit(hardened: Hardened) -> None:
    """But its mode is repaired: who may read it does not depend on what it needs."""
    host = hardened("server", "1.24")
    older = host[DROPIN].read_bytes()
    host[DROPIN].chmod(0o644)
    host[PSA].mkdir()
    host.options = ("--role", "server", "--k3s-version", "1.34")
    seen = host.seen("apply")
    assert seen.items[DROPIN] == "refused"
    assert seen.of("file-edited") == ()
    assert (host[DROPIN].read_bytes(), host.entries()[DROPIN].mode) == (older, 0o600)


def test_a_file_that_somebody_edited_is_there_all_the_same(host: HostTree) -> None:
    """K3s reads it, whoever wrote it."""
    host.write(AUDIT, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None}]\n", 0o600)
    seen = host.seen("apply")
    assert (seen.items[AUDIT], seen.items[DROPIN]) == ("edited", "changed")


def test_an_image_that_is_built_has_no_kernel_values_to_wait_for(host: HostTree) -> None:
    """They are left to its first boot."""
    host["/proc/sys"].rename(host["/proc/elsewhere"])
    assert host.seen("apply").items[DROPIN] == "changed"
