"""The table of secure defaults, compared with the benchmark and with K3s' own arguments."""

from __future__ import annotations

import pytest

from agent.assess.benchmark import catalogue
from agent.assess.checks.argument_checks import ArgumentCheck
from agent.findings.secure_defaults import SECURE_DEFAULTS, SecureDefault
from agent.k3s import default_arguments
from agent.k3s.roles_and_versions import NEWEST_KNOWN, Version


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
        for default in default_arguments.defaults_of(row.component)
        if default.name == row.name and default.in_version(Version(1, minor, 20))
    ]
    assert any(map(row.meets.accepts, own))
