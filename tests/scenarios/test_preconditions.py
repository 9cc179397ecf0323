"""Preconditions of the drop-in: apply does not write it if K3s could not start with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.conftest import Hardened
from tests.scenarios.host_tree import AUDIT, CONFIG, DROPIN, KERNEL_FILE, POLICY, PSA, SETTINGS, HostTree

UNSAFE = "/var/lib/rancher"
KEY = "kernel.keys.root_maxkeys"
LIVE = "/proc/sys/kernel/keys/root_maxkeys"


def assert_k3s_would_start(host: HostTree) -> None:
    """Assert that there is no drop-in, and no finding about files that K3s reads."""
    assert DROPIN not in host.entries()
    assert host.seen("check").ids.isdisjoint({"audit-policy-unusable", "admission-configuration-unusable"})


def test_no_drop_in_below_a_directory_writable_by_others(host: HostTree) -> None:
    """apply cannot write the files that the drop-in names until only root can write the directory."""
    host[UNSAFE].mkdir(parents=True)
    host[UNSAFE].chmod(0o777)
    seen = host.seen("apply")
    assert (seen.code, seen.items[DROPIN]) == (4, "failed")
    assert seen.details[DROPIN] == f"not written, because {PSA} and {AUDIT} failed"
    sudo = "sudo " * bool(os.geteuid())
    commands = (f"{sudo}chown root:root {host[UNSAFE]}", f"{sudo}chmod go-w {host[UNSAFE]}")
    assert all(command in seen.text for command in commands)
    assert host.entries()[UNSAFE].mode == 0o777
    assert_k3s_would_start(host)
    host[UNSAFE].chmod(0o755)
    assert host.seen("apply").code == 0


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), os.mkfifo], ids=["directory", "FIFO"])
@pytest.mark.parametrize("named", [AUDIT, PSA, KERNEL_FILE])
def test_no_drop_in_if_a_file_that_it_names_is_not_a_regular_file(
    named: str, make: Callable[[Path], object], host: HostTree
) -> None:
    host[named].parent.mkdir(parents=True, exist_ok=True)
    make(host[named])
    reason = f"not written: it requires {named}, which is refused"
    assert [host.seen(verb).details[DROPIN] for verb in ("check", "diff", "apply")] == [reason] * 3
    assert POLICY in host.entries()
    assert_k3s_would_start(host)


def test_no_drop_in_if_a_kernel_value_differs_that_apply_does_not_set(host: HostTree) -> None:
    """The kubelet would exit. Without protect-kernel-defaults, apply writes the drop-in."""
    host.write(LIVE, "5\n")
    seen = host.seen("apply")
    assert (seen.code, seen.items[DROPIN]) == (4, "refused")
    assert seen.details[DROPIN] == f"not written: it requires {KEY} = 1000000, found 5"
    assert f"sysctl -w {KEY}=1000000" in seen.only("kernel-default-changed").repair
    assert_k3s_would_start(host)
    host.write(SETTINGS, "protect-kernel-defaults: false\n")
    host.run("apply")
    assert DROPIN in host.entries()


def test_a_refused_drop_in_has_no_overridden_options(host: HostTree) -> None:
    host.write(CONFIG, "kube-apiserver-arg: [audit-log-maxage=5]\n")
    host.write(LIVE, "5\n")
    assert host.seen("check").ids == {"kernel-default-changed"}


def test_a_compliant_drop_in_is_kept_if_a_file_that_it_names_is_missing(hardened: Hardened) -> None:
    host = hardened()
    host[AUDIT].unlink()
    host[AUDIT].mkdir()
    before = host.entries()
    seen = host.seen("apply")
    assert seen.items[DROPIN] == "compliant"
    assert seen.with_status("refused") == {AUDIT}
    assert host.entries() == before


def test_a_drop_in_of_an_older_version_is_not_an_edit(hardened: Hardened) -> None:
    host = hardened("server", "1.24")
    older = host[DROPIN].read_bytes()
    host[DROPIN].chmod(0o644)
    host[PSA].mkdir()
    host.options = ("--role", "server", "--k3s-version", "1.34")
    seen = host.seen("apply")
    assert seen.items[DROPIN] == "refused"
    assert seen.of("file-edited") == ()
    assert (host[DROPIN].read_bytes(), host.entries()[DROPIN].mode) == (older, 0o600)


def test_an_edited_file_meets_the_precondition(host: HostTree) -> None:
    """The drop-in is written, because K3s can read the edited file."""
    host.write(AUDIT, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None}]\n", 0o600)
    seen = host.seen("apply")
    assert (seen.items[AUDIT], seen.items[DROPIN]) == ("edited", "changed")


def test_a_host_tree_without_a_kernel_has_no_kernel_preconditions(host: HostTree) -> None:
    """The first boot sets the kernel values."""
    host["/proc/sys"].rename(host["/proc/elsewhere"])
    assert host.seen("apply").items[DROPIN] == "changed"
