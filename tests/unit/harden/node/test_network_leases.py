"""Files of the CNI plugin host-local that apply changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.harden.node import network_leases
from agent.harden.node.network_leases import NetworkLeases
from agent.k3s.roles_and_versions import NETWORK_LEASES
from tests.fake import fake_host, in_memory

CBR0 = NETWORK_LEASES / "cbr0"


@pytest.fixture
def root() -> Iterator[Path]:
    with in_memory() as root:
        yield root


def leases(root: Path) -> Path:
    """Create the directory of one network with its usual files, and return it."""
    directory = root.joinpath(*CBR0.parts[1:])
    directory.mkdir(parents=True)
    for name, mode in {"10.42.0.2": 0o644, "10.42.0.3": 0o600, "last_reserved_ip.0": 0o640, "lock": 0o750}.items():
        (directory / name).write_text("x")
        (directory / name).chmod(mode)
    return directory


def leases_below(root: Path) -> NetworkLeases:
    return network_leases.read_network_leases(fake_host(root).tree)


def test_open_files_of_all_networks_are_found_without_the_lock(root: Path) -> None:
    leases(root)
    assert leases_below(root) == NetworkLeases(
        (NETWORK_LEASES, CBR0), (CBR0 / "10.42.0.2", CBR0 / "last_reserved_ip.0")
    )


def test_links_and_other_file_types_are_omitted(root: Path) -> None:
    directory = leases(root)
    (directory / "link").symlink_to("10.42.0.2")
    (directory.parent / "other").symlink_to("cbr0")
    assert leases_below(root).directories == (NETWORK_LEASES, CBR0)
    assert CBR0 / "link" not in leases_below(root).open_files


def test_a_linked_directory_is_not_changed(root: Path) -> None:
    directory = leases(root)
    directory.parent.rename(root / "elsewhere")
    directory.parent.symlink_to("/elsewhere")
    assert leases_below(root) == NetworkLeases()


def test_without_access_control_lists_only_the_files_are_changed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A default list that cannot be set must not block K3s."""
    leases(root)
    monkeypatch.setattr("agent.base.host.acl.read_default_acl", lambda _: None)
    assert leases_below(root) == NetworkLeases((), (CBR0 / "10.42.0.2", CBR0 / "last_reserved_ip.0"))
