"""Repairs in JSON, validated against docs/reference/repair.schema.json, and the steps that take them back."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from agent.base.model import Location
from agent.base.repair import Answer, Decide, Edit, Patch, Repair, Restart, Run, RunVerb, Set
from agent.cli.command_line import repeated_options
from agent.reports.repair_texts import Caller, addressed, repair_object
from tests.json_schemas import validator

if TYPE_CHECKING:
    from agent.base.repair import Step

VALIDATOR = validator("repair")
ON_A_TREE = Caller(needs_sudo=False, root="/mnt", options=("--root /mnt", "--role server"), accepted=repeated_options)
FILE = Location(PurePosixPath("/etc/rancher/k3s/config.yaml"))
SETTINGS = Location(PurePosixPath("/etc/k3s-harden/config.yaml"))


def shown(step: Step) -> Any:  # noqa: ANN401 - JSON
    shape: Any = repair_object(addressed(Repair((step,), alternative=Repair((step,))), ON_A_TREE))
    VALIDATOR.validate(shape)
    (only,) = shape["steps"]
    return only


@pytest.mark.parametrize(
    ("step", "undo"),
    [
        (RunVerb("apply", ("--force",)), "k3s-harden revert --last --root /mnt"),
        (RunVerb("install"), "k3s-harden uninstall --root /mnt --role server"),
        (RunVerb("service-accounts", ("--undo",)), None),
        (Run("sudo rm /etc/x"), None),
        (Run("sudo mv /etc/x /etc/y", undo="sudo mv /etc/y /etc/x"), "sudo chroot /mnt mv /etc/y /etc/x"),
        (Edit(FILE, new="a: 1"), f"remove `a: 1` in {FILE}"),
        (Edit(FILE._replace(line=3), new="a: 1"), f"remove `a: 1` at {FILE}:4"),
        (
            Edit(FILE._replace(line=3), old="a: 1", new="a: 2", others=("a: 3",)),
            f"replace `a: 2` by `a: 1` at {FILE}:3",
        ),
        (Edit(FILE._replace(line=3), old="a: 1"), f"add `a: 1` below {FILE}:2"),
        (Edit(FILE._replace(line=1), old="a: 1"), None),
        (Set("audit.max-age", "30", SETTINGS), f"remove `audit.max-age` in {SETTINGS}"),
        (Set("audit.max-age", "30", SETTINGS._replace(line=2)), None),
        (Patch("Deployment shop/web", (("spec.replicas", "2"),)), None),
        (Decide("Which?", (Answer("a", "nothing", (RunVerb("apply"),)),)), None),
    ],
)
def test_each_kind_of_step_is_valid_and_says_how_it_is_taken_back(step: Step, undo: str | None) -> None:
    found = shown(step)["undo"]
    assert (found and found["text"]) == undo


def test_a_repair_has_the_kind_the_fields_and_the_command_of_each_step() -> None:
    unit = Location(PurePosixPath("/etc/systemd/system/k3s.service"), 3)
    both = Repair((Edit(unit, "--a", "--b"), RunVerb("apply")), restart=Restart.K3S)
    shape: Any = repair_object(addressed(both, ON_A_TREE))
    VALIDATOR.validate(shape)
    edit, apply, reload = shape["steps"]
    assert (edit["kind"], edit["old"], edit["new"], edit["command"]) == ("edit", "--a", "--b", "")
    assert edit["location"] == {"path": str(unit.path), "line": 3}
    assert (apply["verb"], apply["command"]) == ("apply", "k3s-harden apply --root /mnt --role server")
    assert reload["command"] == "sudo systemctl daemon-reload"
    assert (shape["restart"], shape["owner"], shape["alternative"]) == ("K3s", "operator", None)
