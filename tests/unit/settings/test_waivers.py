"""Waivers of kernel parameters, and the day on which one ends."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.model import Role
from agent.settings.value_kinds import SiteWaiver
from agent.settings.waivers import Scope, expired, kernel_parameters, since

PATH = PurePosixPath("/etc/k3s-harden/config.yaml")
HERE = Scope(Role.SERVER, "db-1.example.org", "2027-01-01")


def waiver(
    control: str = "pki-certificate-permissions", line: int = 3, *, expires: str = "", role: Role | None = None
) -> SiteWaiver:
    return SiteWaiver(control, "it is so", expires, role, "", line, PATH)


@pytest.mark.parametrize(("last", "first"), [("2026-12-31", "2027-01-01"), ("2028-02-28", "2028-02-29")])
def test_the_day_after_the_last(last: str, first: str) -> None:
    """Over the ends of months and years."""
    assert since(waiver(expires=last)) == first


def test_a_kernel_parameter_is_waived_by_its_id() -> None:
    """The first that counts; whatever else is waived is nothing to apply."""
    over, first = waiver("kernel.panic", expires="2026-12-31"), waiver("kernel.panic", line=5)
    waivers = [over, first, waiver("kernel.panic", line=7), waiver("vm.panic_on_oom", role=Role.AGENT), waiver()]
    assert kernel_parameters(waivers, HERE) == {"kernel.panic": first}


def test_an_expired_waiver_is_told_where_no_other_stands_in() -> None:
    """And only of the controls that are asked for, and on the hosts that it is for."""
    over, elsewhere = (
        waiver("kernel.panic", expires="2026-12-31"),
        waiver("kernel.panic", expires="2026-12-31", role=Role.AGENT),
    )
    ids = {"kernel.panic", "vm.panic_on_oom"}
    assert expired([over, elsewhere, waiver(expires="2026-12-31")], ids, HERE) == (over,)
    assert expired([over, waiver("kernel.panic")], ids, HERE) == ()
    assert expired([waiver("kernel.panic", expires="2027-01-01")], ids, HERE) == ()
