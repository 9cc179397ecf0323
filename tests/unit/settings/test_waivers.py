"""Waivers that apply to a host, waivers of kernel parameters, and expired waivers."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.model import Location, Role
from agent.settings.waivers import SiteWaiver, Waivers, WaiverScope

PATH = PurePosixPath("/etc/k3s-harden/config.yaml")
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
