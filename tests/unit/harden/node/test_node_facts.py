"""Facts of a node: its platform, with the files of sysctl.d, its datastore, and leases of its network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from agent.base.errors import HardenError
from agent.base.host import Host
from agent.base.linux.sysctl_order import MOST_BYTES, MOST_PATTERNS
from agent.base.model import Location
from agent.base.report import Fact
from agent.harden.node import network_leases
from agent.harden.node.datastore import Datastore, detect_datastore, sqlite_database
from agent.harden.node.network_leases import NetworkLeases
from agent.harden.node.platform import read_sysctl_files, system_facts
from agent.k3s.config import ConfigValue
from agent.k3s.roles_and_versions import NETWORK_LEASES
from tests.fake import fake_host, in_memory
from tests.k3s_tree import put


def test_distribution_and_kernel_have_their_sources(tmp_path: Path) -> None:
    put(tmp_path, "etc/os-release", '# x\nNAME=Debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    put(tmp_path, "proc/sys/kernel/osrelease", "6.1.0-18-amd64\n")
    assert system_facts(Host.tree_at(str(tmp_path))) == (
        Fact("operating system", "Debian GNU/Linux 12 (bookworm)", "/etc/os-release"),
        Fact("kernel", "6.1.0-18-amd64", "/proc/sys/kernel/osrelease"),
    )


@pytest.mark.parametrize("text", ["", "PRETTY_NAME=\n", "no assignment\n"])
def test_the_file_of_the_vendor_is_the_second_choice(tmp_path: Path, text: str) -> None:
    """os-release(5) defines the order. A missing fact is absent."""
    put(tmp_path, "etc/os-release", text)
    assert system_facts(Host.tree_at(str(tmp_path))) == ()
    put(tmp_path, "usr/lib/os-release", "NAME='Alpine Linux'\n")
    assert system_facts(Host.tree_at(str(tmp_path))) == (
        Fact("operating system", "Alpine Linux", "/usr/lib/os-release"),
    )


OWN = PurePosixPath("/etc/sysctl.d/10-own.conf")


def _distinct(line: str, number: int) -> bytes:
    return "".join(line.format(count) for count in range(number)).encode()


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (b"#" * (MOST_BYTES + 1), "1048576"),
        (_distinct("*.{}panic = 1\n", MOST_PATTERNS + 1), "lines with patterns"),
        (_distinct("kernel/[p]{}* = 1\r", MOST_PATTERNS + 1), "lines with patterns"),
        (_distinct("-net.?{}\0", MOST_PATTERNS + 1), "lines with patterns"),
        (b"vm.{x,over*} = 1\n", "a pattern with a brace"),
        (b"vm.o\\ver* = 1\n", "a backslash"),
        (b"vm.[[:alpha:]]* = 1\n", "a character class"),
        (b"kernel." + b"*a" * 1000 + b" = 1\n", "bytes in a pattern"),
    ],
)
def test_a_file_above_a_limit_is_reported(tmp_path: Path, data: bytes, limit: str) -> None:
    (tmp_path / "etc/sysctl.d").mkdir(parents=True)
    (tmp_path / "etc/sysctl.d/10-own.conf").write_bytes(data)
    (tmp_path / "etc/sysctl.d/20-next.conf").write_text("kernel.panic = 1\n")
    unreadable: list[HardenError] = []
    files = {file.path: file for file in read_sysctl_files(fake_host(tmp_path), unreadable)}
    assert (files[OWN].data, files[OWN].is_readable) == (None, False)
    assert limit in unreadable[0].message
    assert unreadable[0].message.startswith(f"cannot read {OWN}: ")


def test_comments_are_not_patterns(tmp_path: Path) -> None:
    (tmp_path / "etc/sysctl.d").mkdir(parents=True)
    data = b"# ***** {a} *****\n; *\nkernel.core_pattern = *{a,b}\n" * (MOST_PATTERNS + 1)
    (tmp_path / "etc/sysctl.d/10-own.conf").write_bytes(data)
    unreadable: list[HardenError] = []
    assert [file.data for file in read_sysctl_files(fake_host(tmp_path), unreadable)] == [data]
    assert unreadable == []


DATA_DIR = PurePosixPath("/var/lib/rancher/k3s")
ENDPOINT = ConfigValue("mysql://(not shown)", Location(PurePosixPath("/etc/rancher/k3s/config.yaml"), 1))


@pytest.mark.parametrize(
    ("files", "endpoint", "expected"),
    [
        ((), None, Datastore.NONE),
        (("state.db",), None, Datastore.SQLITE),
        (("state.db", "etcd/member/wal/0.wal"), None, Datastore.ETCD),
        ((), ENDPOINT, Datastore.EXTERNAL),
        (("state.db",), ENDPOINT, Datastore.EXTERNAL),
        (("etcd/name",), ENDPOINT, Datastore.EXTERNAL),
        (("etcd/member/wal/0.wal",), ENDPOINT, Datastore.ETCD),
        ((), ConfigValue("", ENDPOINT.location), Datastore.NONE),
        (("state.db",), ConfigValue("", ENDPOINT.location), Datastore.SQLITE),
        (("state.db",), ConfigValue("sqlite://", ENDPOINT.location), Datastore.SQLITE),
        (("site.db",), ConfigValue("sqlite://db/site.db?(not shown)", ENDPOINT.location), Datastore.SQLITE),
        (("state.db",), ConfigValue("sqlite:///opt/db/site.db", ENDPOINT.location), Datastore.NONE),
    ],
)
def test_an_etcd_on_disk_takes_precedence_over_the_endpoint(
    files: tuple[str, ...], endpoint: ConfigValue | None, expected: Datastore, tmp_path: Path
) -> None:
    """K3s recognizes it by its write-ahead log (k3s, pkg/cluster/managed.go and pkg/etcd)."""
    for name in files:
        path = tmp_path / "var/lib/rancher/k3s/server/db" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert detect_datastore(fake_host(tmp_path), DATA_DIR, endpoint)[0] is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("sqlite:///opt/db/s.db", "/opt/db/s.db"),
        ("sqlite:///opt/db/s.db?(not shown)", "/opt/db/s.db"),
        ("sqlite://", f"{DATA_DIR}/server/db/state.db"),
        ("", f"{DATA_DIR}/server/db/state.db"),
        ("mysql://(not shown)", "None"),
        ("(not shown)", "None"),
    ],
)
def test_the_file_of_a_sqlite_endpoint_is_known(address: str, expected: str) -> None:
    """kine has a default without a path."""
    assert str(sqlite_database(ConfigValue(address, ENDPOINT.location), DATA_DIR)) == expected


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
