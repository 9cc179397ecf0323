"""K3s' default arguments, compared with lines that K3s logged, and with the values that are secure by the benchmark."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from agent.assess.benchmark import catalogue
from agent.assess.checks.argument_checks import ArgumentCheck
from agent.findings.secure_defaults import SECURE_DEFAULTS, SecureDefault
from agent.k3s.components.files.fields import read_fields
from agent.k3s.default_arguments import Channel, DefaultArgument, Needs, defaults_of
from agent.k3s.roles_and_versions import NEWEST_KNOWN, Component, Version

RECORDED = Path(__file__).parents[2] / "data" / "benchmark"
"""argument-lines.tsv has lines of K3s' log without their time, from its self-assessments for the benchmarks.
00-k3s-defaults.conf is the file's content in the self-assessment for 2.1."""

RELEASES = {
    "cis-1.23": Version(1, 23, 10, "+k3s1"),
    "cis-1.24": Version(1, 24, 17, "+k3s1"),
    "cis-1.7": Version(1, 25, 16, "+k3s4"),
    "cis-1.9": Version(1, 29, 15, "+k3s1"),
    "cis-1.10": Version(1, 31, 12, "+k3s1"),
    "cis-1.12": Version(1, 35, 4, "+k3s1"),
    "cis-2.1": Version(1, 36, 1, "+k3s1"),
}
"""The lines have no version. These releases are for the benchmark and older than the line."""

BY_THE_OPERATOR = {
    Component.API_SERVER: {"enable-admission-plugins"},
    Component.KUBELET: {"streaming-connection-idle-timeout"},
}
"""Arguments of rows that the configuration of a self-assessment sets."""


def lines() -> list[tuple[str, Component, dict[str, str]]]:
    found = []
    for line in (RECORDED / "argument-lines.tsv").read_text(encoding="utf-8").splitlines():
        benchmark, text = line.split("\t")
        _, component, *words = text.split()
        pairs = (word.removeprefix("--").partition("=") for word in words)
        found.append((benchmark, Component(component), {name: value for name, _, value in pairs}))
    return found


def text(row: DefaultArgument) -> str:
    return row.example.replace("{data_dir}", "/var/lib/rancher/k3s")


def in_force(benchmark: str, component: Component) -> list[DefaultArgument]:
    encrypts = benchmark != "cis-1.23"
    return [
        row
        for row in defaults_of(component)
        if row.in_version(RELEASES[benchmark])
        and (encrypts or row.needs is not Needs.SECRETS_ENCRYPTION)
        and row.needs is not Needs.SQLITE
    ]


@pytest.mark.parametrize(("benchmark", "component", "logged"), lines(), ids=lambda part: str(part)[:30])
def test_rows_agree_with_the_logged_arguments(benchmark: str, component: Component, logged: dict[str, str]) -> None:
    """Each row that applies is in K3s' line, and each argument of the line with a row has a row that applies."""
    operators = BY_THE_OPERATOR.get(component, set())
    rows = {
        row.name: text(row)
        for row in in_force(benchmark, component)
        if row.channel is Channel.ARGUMENT and row.name not in operators
    }
    names = {row.name for row in defaults_of(component)} - operators
    assert rows == {name: value for name, value in logged.items() if name in names}


def test_every_component_with_rows_has_a_logged_line() -> None:
    assert {component for component in Component if defaults_of(component)} <= {name for _, name, _ in lines()}


def test_rows_agree_with_the_kubelets_file() -> None:
    """From 1.32 on K3s writes its settings to a file."""
    path = RECORDED / "00-k3s-defaults.conf"
    written = read_fields(Component.KUBELET, [(PurePosixPath("/00-k3s-defaults.conf"), path.read_bytes())], 36)
    values = {field.name: field.given[-1] for field in written.fields if field.given}
    rows = {
        row.name: text(row) for row in in_force("cis-2.1", Component.KUBELET) if row.channel is Channel.KUBELET_FILE
    }
    assert {name: values[name].value for name in rows} == rows
    assert values["tls-cert-file"].at.line == 61


def test_at_most_one_row_applies_to_an_argument() -> None:
    for version in (Version(1, minor, patch, "+k3s1") for minor in range(22, 40) for patch in range(30)):
        rows = (row for component in Component for row in defaults_of(component) if row.in_version(version))
        seen = [(row.component, row.name, row.channel) for row in rows]
        assert len(seen) == len(set(seen)), version


def value(component: Component, name: str, version: str) -> list[str]:
    return [row.value for row in defaults_of(component) if row.name == name and row.in_version(Version.parse(version))]


@pytest.mark.parametrize(
    ("version", "port"),
    [
        ("v1.31.9+k3s1", "0"),
        ("v1.32.0+k3s1", "10255"),
        ("v1.32.3+k3s1", "10255"),
        ("v1.32.4+k3s1", "0"),
        ("v1.33.0+k3s1", "0"),
    ],
)
def test_four_releases_open_the_read_only_port(version: str, port: str) -> None:
    """The kubelet ignores the 0 in the file of these releases; later releases pass it as an argument."""
    assert value(Component.KUBELET, "read-only-port", version) == [port]


@pytest.mark.parametrize("row", SECURE_DEFAULTS, ids=lambda row: f"{row.component}-{row.name}")
def test_a_row_names_the_control_of_its_argument(row: SecureDefault) -> None:
    (control,) = catalogue.controls_named(row.control)
    check = control.check
    assert isinstance(check, ArgumentCheck)
    assert (check.component, check.name, check.criterion) == (row.component, row.name, row.meets)


@pytest.mark.parametrize("minor", range(23, NEWEST_KNOWN.minor + 1))
@pytest.mark.parametrize("row", SECURE_DEFAULTS, ids=lambda row: f"{row.component}-{row.name}")
def test_k3s_sets_a_secure_value_in_all_versions(row: SecureDefault, minor: int) -> None:
    own = [
        default.value
        for default in defaults_of(row.component)
        if default.name == row.name and default.in_version(Version(1, minor, 20))
    ]
    assert any(map(row.meets.accepts, own))
