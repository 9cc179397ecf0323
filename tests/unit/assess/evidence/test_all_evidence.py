"""The reader of evidence: it raises no exception, and unreadable evidence is unknown."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agent.assess.checks.evidence import CollectedEvidence, EncryptionConfiguration, Matches, MissingFile, UnknownFile
from agent.assess.checks.file_modes import Ownership, Permissions
from agent.assess.evidence import file_evidence
from agent.base.host.tree import LARGEST_READ
from agent.base.linux.reach import FoundFile
from agent.base.model import ROOT, FileMode
from agent.base.value import replace
from agent.harden.node.facts import HostFacts, assumed_facts
from agent.k3s.component_configuration import ENCRYPTION_CONFIGURATION, ETCD_CONFIGURATION
from agent.k3s.config_merge import ConfigText, merge_configuration
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, K3S_CONFIG_FILE, Role, Version
from tests.fake import fake_host, in_memory
from tests.k3s_tree import put
from tests.unit.assess.checks import nodes

TLS = DEFAULT_DATA_DIR / "server/tls"
ETCD = DEFAULT_DATA_DIR / ETCD_CONFIGURATION
ENCRYPTION = DEFAULT_DATA_DIR / ENCRYPTION_CONFIGURATION
KEY = "c2VjcmV0LWtleS1vZi10aGlydHktdHdvLWJ5dGVzISE="

ordinary_user = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


@pytest.fixture
def root() -> Iterator[Path]:
    with in_memory() as directory:
        (directory / "host").mkdir()
        (directory / "outside").mkdir()
        (directory / "outside/precious.crt").write_text("precious\n")
        yield directory / "host"


def facts(config: str = "", version: str = "v1.34.1+k3s1") -> HostFacts:
    base = assumed_facts(Role.SERVER, Version.parse(version))
    merged = merge_configuration([ConfigText(K3S_CONFIG_FILE, config.encode())])
    return replace(base, configuration=replace(base.configuration, merged_config=merged))


def look(root: Path, *checks: Permissions | Ownership, seen: HostFacts | None = None) -> CollectedEvidence:
    seen = seen or facts()
    return file_evidence.read_evidence(fake_host(root), seen, [check.query(seen) for check in checks])


def matches(root: Path, path: str, except_names: tuple[str, ...] = (), *, directories: bool = False) -> Matches:
    check = Permissions((path,), except_names, directories)
    return look(root, check).files[check.query(facts())][0]


def names(found: Matches) -> list[str]:
    return [str(item.path.relative_to(DEFAULT_DATA_DIR)) for item in found.found]


@pytest.mark.parametrize("mode", [0o644, 0o000, 0o4755])
def test_a_file_has_its_mode_and_owner(mode: int, root: Path) -> None:
    """The path is that on the host. The owner of the tree is shown as root. The content is not needed."""
    file = TLS / "server-ca.crt"
    put(root, file, mode=mode)
    assert matches(root, "server/tls/server-ca.crt") == Matches(file, (FoundFile(file, FileMode(mode), ROOT),))


@pytest.mark.parametrize("path", ["server/tls/x.crt", "server/tls/*.crt", "server/tls/**", "/var/lib/cni/networks/**"])
def test_a_missing_path_is_not_unknown(path: str, root: Path) -> None:
    found = matches(root, path)
    assert (found.found, found.unknown) == ((), ())
    assert str(found.pattern).endswith(path)


@pytest.mark.parametrize(
    ("path", "except_names", "directories", "expected"),
    [
        ("server/tls/*.crt", ("skipped.crt",), False, "tls/a.crt tls/b.crt"),
        ("server/tls/*", (), True, "tls/etcd tls/old.crt"),
        (
            "server/tls/**",
            ("lock", "skipped.crt"),
            False,
            "tls/a.crt tls/a.key tls/b.crt tls/etcd/deep/er/x tls/old.crt/x.crt",
        ),
        ("server/tls/**", (), True, "tls/etcd tls/etcd/deep tls/etcd/deep/er tls/old.crt"),
        ("/var/lib/rancher/k3s/server/cni/**", (), False, "cni/cbr0/10.42.0.2"),
    ],
)
def test_a_star_matches_in_a_directory_and_two_match_below_it(
    root: Path, path: str, except_names: tuple[str, ...], *, directories: bool, expected: str
) -> None:
    """Files match, or directories, in the order of their paths. An absolute path is not below the data directory."""
    for name in ("b.crt", "a.crt", "a.key", "old.crt/x.crt", "skipped.crt", "etcd/deep/er/x", "etcd/lock"):
        put(root, TLS / name)
    put(root, DEFAULT_DATA_DIR / "server/cni/cbr0/10.42.0.2")
    found = names(matches(root, path, except_names, directories=directories))
    assert found == [f"server/{name}" for name in expected.split()]


def test_each_check_has_its_own_matches(root: Path) -> None:
    put(root, TLS / "a.crt")
    checks = (
        Permissions(("server/tls/*.crt", "server/tls")),
        Ownership(("server/tls/*.crt",)),
        Ownership(("server/tls/*.crt",), except_names=("a.crt",)),
    )
    found = look(root, *checks).files
    assert [len(found[check.query(facts())]) for check in checks] == [2, 1, 1]
    assert [len(found[check.query(facts())][0].found) for check in checks] == [1, 1, 0]


def test_a_symlink_has_the_mode_of_its_target(root: Path) -> None:
    """The link is followed inside the host. A link to a directory is not entered, to avoid loops."""
    put(root, PurePosixPath("/srv/real.crt"), mode=0o640)
    put(root, TLS / "a.crt")
    tls = root / TLS.relative_to("/")
    (tls / "link.crt").symlink_to("/srv/real.crt")
    (tls / "circle").symlink_to(".")
    (tls / "circle.crt").symlink_to(".")
    for path in ("server/tls/*.crt", "server/tls/**"):
        found = matches(root, path)
        assert names(found) == ["server/tls/a.crt", "server/tls/link.crt"]
        assert found.found[1].mode == FileMode(0o640)
        assert not found.unknown
    assert matches(root, "server/tls/link.crt").found[0].mode == FileMode(0o640)


PLANTS: dict[str, Callable[[Path], object]] = {
    **nodes.PLANTS,
    "outside": lambda place: place.symlink_to(place.parents[6] / "outside/precious.crt"),
}


@pytest.mark.parametrize("plant", ["dangling", "loop", "FIFO", "outside"])
@pytest.mark.parametrize("path", ["server/tls/odd.crt", "server/tls/*.crt", "server/tls/**"])
def test_anything_but_a_file_is_unknown(plant: str, path: str, root: Path) -> None:
    """It has a path and a reason, and is not reported as missing. A target outside the host is missing."""
    put(root, TLS / "good.crt")
    PLANTS[plant](root / (TLS / "odd.crt").relative_to("/"))
    found = matches(root, path)
    assert [(unread.path, bool(unread.reason)) for unread in found.unknown] == [(TLS / "odd.crt", True)]
    assert [item.path.name for item in found.found] == (["good.crt"] if "*" in path else [])


def test_a_directory_in_place_of_a_file_is_unknown(root: Path) -> None:
    put(root, TLS / "x.crt/y")
    put(root, DEFAULT_DATA_DIR / "server/db")
    assert matches(root, "server/tls/x.crt").unknown == (
        UnknownFile(TLS / "x.crt", "it is a directory, not a regular file"),
    )
    assert matches(root, "server/db", directories=True).unknown
    for path in ("server/db/etcd/config", "server/db/*", "server/db/**"):
        found = matches(root, path)
        assert found.unknown
        assert not found.found


@ordinary_user
def test_a_directory_that_cannot_be_listed_is_unknown(root: Path) -> None:
    put(root, TLS / "a.crt")
    place = root / TLS.relative_to("/")
    for mode in (0o000, 0o400, 0o100):
        place.chmod(mode)
        found = [matches(root, path) for path in ("server/tls/*.crt", "server/tls/**")]
        place.chmod(0o700)
        assert all(item.unknown and not item.found for item in found)
        assert all("Permission denied" in unknown.reason for item in found for unknown in item.unknown)


def test_the_node_name_is_the_host_name(root: Path) -> None:
    assert look(root).node == ""
    put(root, PurePosixPath("/etc/hostname"), "Node-7.Example\n")
    assert look(root).node == "node-7.example"


ETCD_TEXT = "client-transport-security:\n  client-cert-auth: true\npeer-transport-security: {}\n"


@pytest.mark.parametrize("plant", ["dangling", "loop", "FIFO", "directory"])
@pytest.mark.parametrize("path", [ETCD, ENCRYPTION])
def test_anything_but_a_file_in_place_of_a_k3s_file_is_unknown(plant: str, path: PurePosixPath, root: Path) -> None:
    place = root / path.relative_to("/")
    place.parent.mkdir(parents=True)
    PLANTS[plant](place)
    found = look(root)
    assert isinstance(found.etcd if path == ETCD else found.encryption, UnknownFile)


def encryption(*providers: object) -> str:
    kind = {"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1"}
    return json.dumps(
        {**kind, "resources": [{"resources": ["secrets"], "providers": providers}]}, separators=(",", ":")
    )


AESCBC = {"aescbc": {"keys": [{"name": "aescbckey", "secret": KEY}]}}


def test_only_the_names_of_an_encryption_configuration_are_kept(root: Path) -> None:
    put(root, ENCRYPTION, encryption(AESCBC, {"identity": {}}))
    found = look(root)
    assert found.encryption == EncryptionConfiguration(ENCRYPTION, ("aescbc", "identity"), "aescbckey")
    assert KEY not in repr(found)


@pytest.mark.parametrize("text", [encryption(AESCBC)[:-5], encryption({KEY: {}}), "\xff"], ids=range(3))
def test_an_invalid_encryption_configuration_is_unknown_and_not_quoted(text: str, root: Path) -> None:
    put(root, ENCRYPTION, text.encode("latin-1"))
    found = look(root)
    assert isinstance(found.encryption, UnknownFile)
    assert str(ENCRYPTION) in found.encryption.reason
    assert KEY not in repr(found)


_GOOD = st.sampled_from([ETCD_TEXT.encode(), encryption(AESCBC, {"identity": {}}).encode()])
_SPOILT = st.builds(lambda data, cut, more: data[:cut] + more, _GOOD, st.integers(0, 300), st.binary(max_size=8))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | _GOOD | _SPOILT)
@example(b"a" * (LARGEST_READ + 1))
def test_any_content_of_a_file_gives_values_or_a_reason(root: Path, data: bytes) -> None:
    for path in (ETCD, ENCRYPTION, PurePosixPath("/etc/hostname")):
        put(root, path, data)
    found = look(root, Permissions(("server/**",)))
    for item in (found.etcd, found.encryption):
        assert not isinstance(item, MissingFile)
        assert not isinstance(item, UnknownFile) or item.reason
    assert KEY not in repr(found)
