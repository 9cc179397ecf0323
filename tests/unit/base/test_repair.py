"""What follows from the steps of a repair."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.base.model import Location
from agent.base.repair import NO_REPAIR, FixOwner, Repair, Restart, RunVerb, Set

_SETTING = Set("pod-max-pids", "4096", Location(PurePosixPath("/etc/k3s-harden/config.yaml")))


@pytest.mark.parametrize(
    ("repair", "owner"),
    [
        (Repair((RunVerb("apply"),)), FixOwner.APPLY),
        (Repair((RunVerb("apply", line="k3s-harden apply --root /mnt"),)), FixOwner.APPLY),
        (Repair((_SETTING, RunVerb("apply"))), FixOwner.OPERATOR),
        (Repair((), Restart.K3S), FixOwner.OPERATOR),
        (Repair((), Restart.START), FixOwner.K3S),
        (NO_REPAIR, FixOwner.NONE),
    ],
)
def test_the_owner_is_who_carries_out_all_steps(repair: Repair, owner: FixOwner) -> None:
    """The command line for the caller, with the options of the run, changes nothing."""
    assert repair.owner is owner
