"""Waivers of an assessment: which apply, and notes about the others."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

from agent.assess.assessment import ControlStatus, Waiver
from agent.assess.benchmark import catalogue
from agent.assess.waived_controls import Selection, select_waivers
from agent.base.model import Location
from agent.base.value import replace
from agent.harden.settings.waivers import SiteWaiver, WaiverNeeds, WaiverScope
from agent.k3s.cis.versions import Benchmark
from agent.k3s.roles_and_versions import Role
from tests.unit.assess.checks.nodes import fix

PATH = PurePosixPath("/etc/k3s-harden/config.yaml")
HERE = WaiverScope(Role.SERVER, "db-1.example.org", "2027-01-01")
NEW, OLD = Benchmark.CIS_1_9, Benchmark.CIS_1_23
EVENTS, RBAC, CERTIFICATES = "apiserver-event-rate-limit", "apiserver-authorization-rbac", "pki-certificate-permissions"


def waiver(
    control: str = CERTIFICATES, line: int = 3, *, expires: str = "", role: Role | None = None, host: str = ""
) -> SiteWaiver:
    return SiteWaiver(control, "it is so", expires, role, host, Location(PATH, line))


def selected(*waivers: SiteWaiver, benchmark: Benchmark = NEW, scope: WaiverScope = HERE) -> Selection:
    return select_waivers(waivers, catalogue.controls_of(benchmark), benchmark, scope)


def test_a_waiver_applies_to_the_control_with_its_id() -> None:
    chosen = selected(replace(waiver(expires="2027-06-30"), approved_by="Ann"))
    (control,) = catalogue.controls_named(CERTIFICATES)
    assert chosen.by_control == {control.id: Waiver("it is so", "2027-06-30", Location(PATH, 3), "Ann")}
    assert chosen.notes == ()


@pytest.mark.parametrize(
    ("text", "benchmark", "control"),
    [
        ("1.2.9", NEW, EVENTS),
        ("1.2.9", OLD, RBAC),
        ("cis-1.9/1.2.9", NEW, EVENTS),
        ("cis-1.9/1.2.9", OLD, EVENTS),
        ("cis-1.23/1.2.9", NEW, RBAC),
        ("2.1", NEW, "etcd-server-certificate"),
        ("server/manifests", NEW, "server/manifests"),
    ],
)
def test_a_number_is_interpreted_in_its_benchmark(text: str, benchmark: Benchmark, control: str) -> None:
    """A number without a benchmark is that of the assessed one. With a benchmark it selects the same control in all."""
    assert selected(waiver(text), benchmark=benchmark).by_control.keys() == {control}


@pytest.mark.parametrize("text", ["kernel.panick", "9.9.9", "cis-9.9/1.2.9", "cis-1.9/9.9", "cis-1.9/"])
@pytest.mark.parametrize("expires", ["", "2026-12-31"])
def test_a_waiver_without_a_control_has_one_note(text: str, expires: str) -> None:
    found = selected(waiver(text, expires=expires))
    assert [note.message for note in found.notes] == [f"the waiver for {text} matches no control of any benchmark"]
    assert found.by_control == {}


@pytest.mark.parametrize("text", ["pod-security-admission", "1.1.20", "cis-1.9/1.2.9"])
def test_a_waiver_with_a_control_has_no_note(text: str) -> None:
    """The gate uses the waiver of a control that only the guide has."""
    assert selected(waiver(text)).notes == ()


def test_an_ambiguous_number_has_a_note() -> None:
    """An update of K3s can select another benchmark."""
    (notice,) = selected(waiver("1.2.9")).notes
    assert notice.message == f"the waiver for 1.2.9 means {EVENTS} in cis-1.9, and another control in other versions"
    assert EVENTS in fix(notice)
    assert notice.location == Location(PATH, 3)


def test_a_number_of_another_benchmark_has_a_note() -> None:
    (notice,) = selected(waiver("5.6.4"), benchmark=Benchmark.CIS_1_9).notes
    assert notice.message == "the waiver for 5.6.4 matches no control of cis-1.9"
    assert all(control.id in fix(notice) for control in catalogue.controls_named("5.6.4"))


def test_a_waiver_for_another_benchmark_has_no_note() -> None:
    """One list can serve clusters of several versions."""
    gone = next(
        control.id for control in catalogue.all_controls() if OLD in control.numbers and NEW not in control.numbers
    )
    chosen = selected(waiver(gone))
    assert (chosen.by_control, chosen.notes, chosen.unused({})) == ({}, (), ())


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"role": Role.SERVER},
        {"host": "db-*"},
        {"host": "DB-1"},
        {"host": "db-1.example.org"},
        {"host": "*.org"},
        {"host": "db-[0-9]", "role": Role.SERVER},
    ],
)
def test_a_waiver_for_this_host_applies(scope: dict[str, Any]) -> None:
    assert selected(waiver(**scope)).by_control


@pytest.mark.parametrize(
    "scope", [{"role": Role.AGENT}, {"host": "web-*"}, {"host": "db"}, {"host": "db-*", "role": Role.AGENT}]
)
@pytest.mark.parametrize("expires", ["", "2026-12-31"])
@pytest.mark.parametrize("control", [CERTIFICATES, "9.9.9"])
def test_a_waiver_for_other_hosts_has_no_note(control: str, expires: str, scope: dict[str, Any]) -> None:
    chosen = selected(waiver(control, expires=expires, **scope))
    assert (chosen.by_control, chosen.notes, chosen.targets) == ({}, (), ())


def test_a_waiver_applies_until_its_last_day() -> None:
    last = waiver(expires="2027-01-01")
    assert selected(last).by_control
    after = selected(last, scope=replace(HERE, today="2027-01-02"))
    assert after.by_control == {}
    assert [notice.message for notice in after.notes] == [
        f"the waiver for {CERTIFICATES} expired at the end of 2027-01-01"
    ]
    assert after.notes[0].location == Location(PATH, 3)


def test_the_first_valid_waiver_of_a_control_applies() -> None:
    over, renewed, again = waiver(expires="2026-12-31"), waiver("1.1.20", line=5), waiver(line=7)
    chosen = selected(over, renewed, again)
    assert chosen.by_control[CERTIFICATES].location == Location(PATH, 5)
    assert chosen.notes == ()


@pytest.mark.parametrize("status", ControlStatus)
def test_an_unused_waiver_has_a_note(status: ControlStatus) -> None:
    """An unused waiver would hide a later failure. One that expired has only the note about its expiry."""
    unused = status in {ControlStatus.PASS, ControlStatus.NOT_APPLICABLE}
    assert [(notice.message, notice.location) for notice in selected(waiver()).unused({CERTIFICATES: status})] == [
        (f"the waiver for {CERTIFICATES} is not needed: the status is {status}", Location(PATH, 3))
    ] * unused
    assert selected(waiver(expires="2026-12-31")).unused({CERTIFICATES: status}) == ()


@pytest.mark.parametrize(("expires", "applies"), [("2027-01-31", True), ("2027-02-01", False), ("9999-12-31", False)])
def test_a_waiver_for_longer_than_allowed_does_not_apply(expires: str, applies: bool) -> None:
    controls = catalogue.controls_of(NEW)
    found = select_waivers([waiver(expires=expires)], controls, NEW, HERE, WaiverNeeds(expire_within=30))
    assert bool(found.by_control) is applies
    assert [note.message for note in found.notes] == (
        []
        if applies
        else [f"the waiver for {CERTIFICATES} applies until {expires}, which `waivers-must` does not allow"]
    )
