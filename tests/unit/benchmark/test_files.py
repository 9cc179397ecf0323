"""Rows of files and etcd: numbers, letters and modes in the benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from agent.benchmark.control_plane_files import CONTROL_PLANE_FILES
from agent.benchmark.etcd import ETCD
from agent.benchmark.node_files import NODE_FILES
from agent.benchmark.sections import SECTIONS
from agent.benchmark.versions import Benchmark
from agent.checks.check import AllOf
from agent.checks.datastore import EtcdSetting
from agent.checks.files import Ownership, Permissions
from agent.checks.host_paths import HostPaths
from agent.checks.manual import NotInK3s
from agent.guide.criteria import Equals
from agent.k3s.paths import DEFAULT_DATA_DIR
from agent.model import BOTH_ROLES, PUBLIC_DIRECTORY, SERVERS, FileMode
from tests.unit.benchmark.texts import fix

if TYPE_CHECKING:
    from agent.benchmark.control import BenchmarkControl
    from agent.checks.check import Check

RECORDED = Path(__file__).parents[2] / "data" / "benchmark" / "sections-1.1-2-4.1.tsv"
"""One line for each control, one column for each benchmark: number, letter of `numbered` and, if K3s has the file
whose mode is tested, "=" and the mode. From kube-bench's k3s-cis-* and, from 1.10 on, K3s' self-assessments."""

ROWS = CONTROL_PLANE_FILES + ETCD + NODE_FILES

ETCD_CONFIGURATION = {
    "client-transport-security.cert-file": "/srv/k3s/server/tls/etcd/server-client.crt",
    "client-transport-security.key-file": "/srv/k3s/server/tls/etcd/server-client.key",
    "client-transport-security.client-cert-auth": "true",
    "client-transport-security.trusted-ca-file": "/srv/k3s/server/tls/etcd/server-ca.crt",
    "peer-transport-security.cert-file": "/srv/k3s/server/tls/etcd/peer-server-client.crt",
    "peer-transport-security.key-file": "/srv/k3s/server/tls/etcd/peer-server-client.key",
    "peer-transport-security.client-cert-auth": "true",
    "peer-transport-security.trusted-ca-file": "/srv/k3s/server/tls/etcd/peer-ca.crt",
}
"""TLS settings that K3s with the data directory /srv/k3s writes for etcd; auto-tls is not set."""


class Cell(NamedTuple):
    """A control in one benchmark."""

    number: str
    letter: str
    mode: FileMode | None


def recorded() -> list[dict[Benchmark, Cell]]:
    """Read the recorded lines, without benchmarks that do not have the control."""
    header, *lines = (line.split("\t") for line in RECORDED.read_text(encoding="utf-8").splitlines())
    benchmarks = [Benchmark(name) for name in header]
    found = []
    for line in lines:
        cells = {}
        for benchmark, text in zip(benchmarks, line):
            word, _, mode = text.partition("=")
            if word != "-":
                cells[benchmark] = Cell(word[:-1], word[-1], FileMode(int(mode, 8)) if mode else None)
        found.append(cells)
    return found


def numbers(row: BenchmarkControl) -> dict[Benchmark, tuple[str, str]]:
    return {benchmark: (number.text, number.assessed.value) for benchmark, number in row.numbers.items()}


def row_of(line: dict[Benchmark, Cell]) -> BenchmarkControl:
    """Return the row with exactly the numbers and letters of a recorded line."""
    expected = {benchmark: (cell.number, cell.letter) for benchmark, cell in line.items()}
    (row,) = [row for row in ROWS if numbers(row) == expected]
    return row


def parts(check: Check) -> tuple[Check, ...]:
    return check.checks if isinstance(check, AllOf) else (check,)


def fixed(check: Permissions | Ownership) -> tuple[str, ...]:
    """Return the paths that are the same on every host."""
    return () if isinstance(check.paths, HostPaths) else check.paths


def files_of(check: Check) -> list[object]:
    """Return the paths of a control's checks, each once."""
    return list(dict.fromkeys(part.paths for part in parts(check) if isinstance(part, (Permissions, Ownership))))


def asked(rows: tuple[BenchmarkControl, ...]) -> list[tuple[BenchmarkControl, Check]]:
    """Return every check of any benchmark in these rows."""
    return [(row, part) for row in rows for check in (row.check, *row.earlier.values()) for part in parts(check)]


def by_id(identifier: str) -> BenchmarkControl:
    (row,) = [row for row in ROWS if row.id == identifier]
    return row


def test_ids_are_unique() -> None:
    """Waivers, baselines and fingerprints name a control by its ID."""
    assert len({row.id for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("line", recorded(), ids=lambda line: next(iter(line.values())).number)
def test_every_recorded_control_has_one_row_with_its_numbers(line: dict[Benchmark, Cell]) -> None:
    """The row has the number and letter of all benchmarks with the control."""
    assert row_of(line).title


@pytest.mark.parametrize("benchmark", Benchmark)
def test_a_benchmark_has_each_number_once_and_no_other(benchmark: Benchmark) -> None:
    """No number of these sections is repeated, missing or added."""
    ours = [row.numbers[benchmark].text for row in ROWS if benchmark in row.numbers]
    theirs = [line[benchmark].number for line in recorded() if benchmark in line]
    assert sorted(ours) == sorted(theirs)
    assert len(set(ours)) == len(ours)


def test_each_row_is_in_the_section_of_its_module() -> None:
    """Sections have the same numbers in all benchmarks."""
    for rows, section in ((CONTROL_PLANE_FILES, "1.1"), (ETCD, "2"), (NODE_FILES, "4.1")):
        assert section in SECTIONS
        assert {number.section for row in rows for number in row.numbers.values()} == {section}


@pytest.mark.parametrize("line", recorded(), ids=lambda line: next(iter(line.values())).number)
def test_each_benchmark_requires_its_own_mode(line: dict[Benchmark, Cell]) -> None:
    """A mode changes between benchmarks exactly as in the sources."""
    row = row_of(line)
    for benchmark, cell in line.items():
        check = row.check_of(benchmark)
        modes = {one.at_most for one in parts(check) if isinstance(one, Permissions)}
        if row.id == "kubelet-config-permissions":
            modes -= {PUBLIC_DIRECTORY}  # the benchmarks require only the file's mode
        elif not isinstance(check, Permissions):
            modes = set()
        assert modes == ({cell.mode} if cell.mode else set()), benchmark


def test_earlier_has_only_benchmarks_with_another_check() -> None:
    """Each benchmark in `earlier` has the control."""
    for row in ROWS:
        assert row.earlier.keys() <= row.numbers.keys()
        assert row.check not in row.earlier.values()


def test_paths_are_relative_to_the_data_directory() -> None:
    """Only the leases of host-local, which do not move, are absolute."""
    paths = {path for _, part in asked(ROWS) if isinstance(part, (Permissions, Ownership)) for path in fixed(part)}
    assert {path for path in paths if path.startswith("/")} == {"/var/lib/cni/networks/**"}
    assert not any(str(DEFAULT_DATA_DIR) in path for path in paths)
    assert {path.split("/")[0] for path in paths if not path.startswith("/")} == {"server", "agent"}


def test_files_of_the_server_directory_apply_to_servers() -> None:
    """Both roles have a kubelet, with its files below agent/."""
    for row, part in asked(ROWS):
        if isinstance(part, (Permissions, Ownership)):
            of_server = any(path.startswith("server/") for path in fixed(part))
            assert row.applies.roles == (SERVERS if of_server else BOTH_ROLES), row.id
    assert {row.applies.roles for row in ETCD} == {SERVERS}
    assert {row.applies.roles for row in NODE_FILES} == {BOTH_ROLES}


def test_permissions_and_ownership_are_tested_on_the_same_files() -> None:
    """Neither control of a pair omits a file."""
    pairs = [
        (row, by_id(row.id.replace("-permissions", "-ownership")))
        for row in ROWS
        if row.id.endswith("-permissions") and not row.id.startswith(("pki-", "etcd-data-"))
    ]
    assert len(pairs) == 13
    for permissions, ownership in pairs:
        if isinstance(permissions.check, NotInK3s):
            assert ownership.check == permissions.check
        else:
            assert files_of(permissions.check)
            assert files_of(ownership.check) == files_of(permissions.check)


def test_only_the_lock_of_the_leases_is_excluded() -> None:
    """host-local creates it with 0750. Its owner is tested."""
    left_out = {
        row.id
        for row, part in asked(ROWS)
        if isinstance(part, (Permissions, Ownership)) and part.except_names == ("lock",)
    }
    assert left_out == {"cni-permissions"}


def test_etcd_as_k3s_configures_it_meets_every_row() -> None:
    """This is true for any data directory, and if auto-tls is not set."""
    for row, part in asked(ETCD):
        assert isinstance(part, EtcdSetting)
        if part.key in ETCD_CONFIGURATION:
            assert accepts(part, ETCD_CONFIGURATION[part.key]), row.id
        else:
            assert part.unset_passes, row.id


@pytest.mark.parametrize(
    ("key", "value", "broken"),
    [
        ("client-transport-security.cert-file", "/srv/own.crt", "etcd-server-certificate"),
        ("client-transport-security.key-file", "/srv/own.key", "etcd-server-certificate"),
        ("client-transport-security.client-cert-auth", "false", "etcd-client-cert-auth"),
        ("client-transport-security.auto-tls", "true", "etcd-auto-tls"),
        ("peer-transport-security.cert-file", "/srv/own.crt", "etcd-peer-certificate"),
        ("peer-transport-security.key-file", "/srv/own.key", "etcd-peer-certificate"),
        ("peer-transport-security.client-cert-auth", "false", "etcd-peer-client-cert-auth"),
        ("peer-transport-security.auto-tls", "true", "etcd-peer-auto-tls"),
        ("client-transport-security.trusted-ca-file", "/srv/k3s/server/tls/client-ca.crt", "etcd-unique-ca"),
        ("peer-transport-security.trusted-ca-file", "/srv/k3s/server/tls/server-ca.crt", "etcd-unique-ca"),
    ],
)
def test_a_changed_key_of_etcd_fails_only_its_row(key: str, value: str, broken: str) -> None:
    """One control tests each key."""
    configuration = ETCD_CONFIGURATION | {key: value}
    failing = {
        row.id
        for row, part in asked(ETCD)
        if isinstance(part, EtcdSetting) and part.key in configuration and not accepts(part, configuration[part.key])
    }
    assert failing == {broken}


@pytest.mark.parametrize("key", ETCD_CONFIGURATION)
def test_a_missing_key_of_etcd_fails(key: str) -> None:
    """Its default is no TLS and no client certificate."""
    settings = [part for _, part in asked(ETCD) if isinstance(part, EtcdSetting) and part.key == key]
    assert [setting.unset_passes for setting in settings] == [False]


def test_the_drop_ins_of_the_kubelet_are_tested_since_1_32() -> None:
    """All files below the directory; others may read them, only root may write them."""
    row = by_id("kubelet-drop-ins")
    assert str(row.applies) == "servers and agents, v1.32 and newer"
    assert isinstance(row.check, AllOf)
    assert {part.at_most for part in row.check.checks if isinstance(part, Permissions)} == {
        FileMode(0o755),
        FileMode(0o644),
    }
    assert {path for part in row.check.checks if isinstance(part, Ownership) for path in fixed(part)} == {
        "agent/etc/kubelet.conf.d",
        "agent/etc/kubelet.conf.d/**",
    }


def test_the_modes_of_certificates_and_of_cni_files_have_a_setting() -> None:
    """The guide has none of these rows; K3s provides all others."""
    assert {row.id: row.setting for row in ROWS if row.setting} == {
        "cni-permissions": "cni.file-permissions",
        "pki-certificate-permissions": "pki.certificate-permissions",
    }
    assert all(row.guide is None for row in ROWS)


def test_only_the_certificate_authority_of_etcd_has_level_2() -> None:
    """CIS' profile for high security has one more control than level 1 in these sections."""
    assert {row.id for row in ROWS if row.level != 1} == {"etcd-unique-ca"}


def test_the_texts_of_a_report_are_whole_sentences() -> None:
    """Rationale, reason and fix are shown without context."""
    for row in ROWS:
        reasons = [part.reason for part in parts(row.check) if isinstance(part, NotInK3s)]
        for text in (row.why, *reasons):
            assert text.endswith("."), (row.id, text)
            assert "  " not in text, (row.id, text)
        assert not row.title.endswith("."), row.id
        assert not fix(row).endswith("."), row.id


def accepts(setting: EtcdSetting, value: str) -> bool:
    """Return whether the criterion accepts it on a host with the data directory /srv/k3s."""
    criterion = setting.criterion
    if isinstance(criterion, Equals):
        criterion = Equals(criterion.text.format(data_dir="/srv/k3s"))
    return criterion.accepts(value)
