"""Waivers that apply to a host, waivers of kernel parameters, expired waivers, and those for unknown controls."""

from __future__ import annotations

import pytest

from agent.assess.benchmark.catalogue import all_controls
from agent.base.model import Location
from agent.harden.guide.controls import CONTROLS
from agent.harden.settings.known_controls import require_known
from agent.harden.settings.loading import SettingsError
from agent.harden.settings.waivers import SiteWaiver, Waivers, WaiverScope
from agent.k3s.roles_and_versions import Role
from tests.unit.harden.settings.test_loading import PATH

HERE = WaiverScope(Role.SERVER, "db-1.example.org", "2027-01-01")


def waiver(
    control: str = "pki-certificate-permissions", line: int = 3, *, expires: str = "", role: Role | None = None
) -> SiteWaiver:
    return SiteWaiver(control, "it is so", expires, role, "", Location(PATH, line))


@pytest.mark.parametrize(
    ("candidate", "covers"),
    [
        (waiver("audit-policy"), True),
        (waiver("audit-policy", expires="2027-01-01"), True),
        (waiver("audit-policy", expires="2026-12-31"), False),
        (waiver("audit-policy", role=Role.AGENT), False),
        (waiver("3.2.1"), False),
    ],
)
def test_a_waiver_covers_a_control_by_its_id(candidate: SiteWaiver, *, covers: bool) -> None:
    """The waiver must apply to this host today. A CIS number does not cover an edited file."""
    waivers = Waivers((waiver("kernel.panic"), candidate), HERE)
    assert waivers.covering("audit-policy", "audit-policy-file") == (candidate if covers else None)


def test_kernel_parameters_maps_keys_to_the_first_waiver_that_applies() -> None:
    expired, first = waiver("kernel.panic", expires="2026-12-31"), waiver("kernel.panic", line=5)
    waivers = (expired, first, waiver("kernel.panic", line=7), waiver("vm.panic_on_oom", role=Role.AGENT), waiver())
    assert Waivers(waivers, HERE).kernel_parameters == {"kernel.panic": first}


def test_expired_skips_controls_that_another_waiver_covers() -> None:
    expired, other_role = (
        waiver("kernel.panic", expires="2026-12-31"),
        waiver("kernel.panic", expires="2026-12-31", role=Role.AGENT),
    )
    ids = {"kernel.panic", "vm.panic_on_oom"}
    assert Waivers((expired, other_role, waiver(expires="2026-12-31")), HERE).expired(ids) == (expired,)
    assert Waivers((expired, waiver("kernel.panic")), HERE).expired(ids) == ()
    assert Waivers((waiver("kernel.panic", expires="2027-01-01"),), HERE).expired(ids) == ()


def test_each_id_and_number_of_each_benchmark_is_known() -> None:
    """A waiver can be for a benchmark that another version of K3s has."""
    names = [control.id for control in CONTROLS]
    for row in all_controls():
        names.append(row.id)
        names += [number.text for number in row.numbers.values()]
        names += [f"{benchmark}/{number.text}" for benchmark, number in row.numbers.items()]
    require_known(map(waiver, names))


def test_all_unknown_controls_of_a_file_are_reported_with_their_lines() -> None:
    with pytest.raises(SettingsError) as refused:
        require_known([waiver("1.2.9"), waiver("vm.overcomit_memory", 3), waiver("cis-9.9/1.2.9", 5), waiver("???", 7)])
    assert [str(problem.location) for problem in refused.value.problems] == [f"{PATH}:{line}" for line in (3, 5, 7)]
    first, _, last = (problem.problem for problem in refused.value.problems)
    assert first == "`waivers`: unknown control `vm.overcomit_memory`; did you mean `vm.overcommit_memory`?"
    assert last == "`waivers`: unknown control `???`; `k3s-harden explain` lists all controls"
