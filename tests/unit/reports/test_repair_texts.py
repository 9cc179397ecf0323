"""Repairs: texts, JSON validated against docs/reference/repair.schema.json, and the steps that take them back."""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath
from typing import Any

import pytest

from agent.base.model import Location
from agent.base.repair import (
    NO_REPAIR,
    Answer,
    Decide,
    Edit,
    Instruction,
    Patch,
    Repair,
    Restart,
    Run,
    RunVerb,
    Set,
    Step,
)
from agent.cli.command_line import repeated_options
from agent.reports.repair_texts import Caller, called_by, numbered_steps, repair_object, text
from tests.json_schemas import validator
from tests.tools import generate_docs

APPLY = RunVerb("apply")
EDIT = Instruction("correct the path", Location(PurePosixPath("/etc/x"), 3))
UNIT = "/etc/systemd/system/k3s.service"
RELOAD = "run `sudo systemctl daemon-reload`"


def of(path: str) -> Instruction:
    return Instruction("correct the path", Location(PurePosixPath(path), 3))


def lines(repair: Repair) -> list[str]:
    return [f"{number}{step.text}" for number, step in numbered_steps(repair)]


@pytest.mark.parametrize(
    ("repair", "expected"),
    [
        (NO_REPAIR, ""),
        (Repair((APPLY,)), "sudo k3s-harden apply"),
        (Repair((RunVerb("apply", ("--force",)),)), "sudo k3s-harden apply --force"),
        (Repair((RunVerb("render", ("policy",)),)), "k3s-harden render policy"),
        (Repair((Run("sudo rm /etc/x"),)), "sudo rm /etc/x"),
        (Repair((EDIT,)), "correct the path at /etc/x:3"),
        (Repair((Instruction("remove it", Location(PurePosixPath("/etc/x"))),)), "remove it in /etc/x"),
        (Repair((EDIT, APPLY)), "correct the path at /etc/x:3; then run `sudo k3s-harden apply`"),
        (Repair((APPLY,), restart=Restart.K3S), "run `sudo k3s-harden apply`; restart K3s"),
        (Repair(restart=Restart.K3S), "restart K3s"),
        (Repair((EDIT,), restart=Restart.K3S), "correct the path at /etc/x:3; restart K3s"),
        (Repair((of(UNIT),), restart=Restart.K3S), f"correct the path at {UNIT}:3; {RELOAD}; restart K3s"),
        (Repair((of(UNIT),)), f"correct the path at {UNIT}:3; {RELOAD}"),
        (Repair((of(f"{UNIT}.d/a.conf"),)), f"correct the path at {UNIT}.d/a.conf:3; {RELOAD}"),
        (Repair((of(f"{UNIT}.env"),)), f"correct the path at {UNIT}.env:3"),
        (Repair((of("/etc/init.d/k3s"),)), "correct the path at /etc/init.d/k3s:3"),
        (
            Repair((APPLY,), alternative=Repair((Run("sudo rm /a"),))),
            "run `sudo k3s-harden apply`; or run `sudo rm /a`",
        ),
    ],
)
def test_a_repair_is_one_line(repair: Repair, expected: str) -> None:
    """A single command has no other words, so that it can be pasted."""
    assert text(repair) == expected


def test_own_commands_repeat_the_options_of_the_run() -> None:
    both = Repair((EDIT, APPLY), alternative=Repair((RunVerb("apply", ("--force",)),)))
    hostless = Repair((RunVerb("explain", ("a",)),))
    with called_by(lambda: Caller(options=("--root /mnt",))):
        assert text(both) == (
            "correct the path at /etc/x:3; then run `sudo k3s-harden apply --root /mnt`;"
            " or run `sudo k3s-harden apply --force --root /mnt`"
        )
        assert text(hostless) == "k3s-harden explain a"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (RunVerb("revert", ("--force",)), "k3s-harden revert --force --root /mnt"),
        (RunVerb("service-accounts"), "k3s-harden service-accounts"),
        (RunVerb("apply", ("--root IMAGE",)), "k3s-harden apply --root IMAGE --role server"),
        (Run("sudo rm /etc/x"), "sudo chroot /mnt rm /etc/x"),
        (Run("systemctl status k3s"), "systemctl status k3s"),
    ],
)
def test_a_command_has_only_options_of_its_verb_and_changes_only_the_host_tree(
    command: RunVerb | Run, expected: str
) -> None:
    """An ordinary user owns the tree; other programs still need root there."""
    of_user = Caller(needs_sudo=False, root="/mnt", options=("--root /mnt", "--role server"), accepted=repeated_options)
    assert of_user.command(command) == expected


HOST_OPTIONS = ("--root", "--config", "--role", "--k3s-version", "--data-dir", "--unit", "--program")
RECOMMENDED = ("apply", "assess", "bypass", "check", "diff", "drift", "install", "preflight", "revert", "uninstall")


@pytest.mark.parametrize("verb", [*RECOMMENDED, "service-accounts"])
def test_a_command_repeats_each_option_of_the_run_that_its_verb_has(verb: str) -> None:
    """Without `--unit`, a command could be about another K3s service."""
    has = {name for parameter in generate_docs.click_commands()[verb].params for name in parameter.opts}
    has -= {"--k3s-version"} if verb == "preflight" else set()  # its own is the current version
    options = tuple(f"{name} X" for name in HOST_OPTIONS)
    words = Caller(options=options, accepted=repeated_options).command(RunVerb(verb)).split()
    assert [name for name in HOST_OPTIONS if name in words] == [name for name in HOST_OPTIONS if name in has]


def test_root_needs_no_sudo() -> None:
    root = Caller(program=".venv/bin/k3s-harden", needs_sudo=False, is_root=True)
    both = Repair((APPLY, Run("sudo rm /etc/x")))
    with called_by(lambda: root):
        assert lines(both) == ["1. .venv/bin/k3s-harden apply", "2. rm /etc/x"]
        assert text(Repair((of(UNIT),))).endswith("; run `systemctl daemon-reload`")


def test_each_step_has_its_own_line_in_a_table() -> None:
    both = Repair((EDIT, APPLY), restart=Restart.K3S, alternative=Repair((Run("sudo rm /a"), EDIT)))
    assert lines(both) == [
        "1. correct the path at /etc/x:3",
        "2. sudo k3s-harden apply",
        "3. restart K3s",
        "or",
        "1. sudo rm /a",
        "2. correct the path at /etc/x:3",
    ]
    assert lines(Repair((APPLY,))) == ["sudo k3s-harden apply"]
    assert lines(NO_REPAIR) == []


VALIDATOR = validator("repair")
ON_A_TREE = partial(
    Caller, needs_sudo=False, root="/mnt", options=("--root /mnt", "--role server"), accepted=repeated_options
)
FILE = Location(PurePosixPath("/etc/rancher/k3s/config.yaml"))
SETTINGS = Location(PurePosixPath("/etc/k3s-harden/config.yaml"))


def shown(step: Step) -> Any:
    with called_by(ON_A_TREE):
        shape: Any = repair_object(Repair((step,), alternative=Repair((step,))))
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
        (Edit(FILE._replace(line=3), old="a: 1", new="a: 2"), f"replace `a: 2` by `a: 1` at {FILE}:3"),
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
    with called_by(ON_A_TREE):
        shape: Any = repair_object(both)
    VALIDATOR.validate(shape)
    edit, apply, reload = shape["steps"]
    assert (edit["kind"], edit["old"], edit["new"], edit["command"]) == ("edit", "--a", "--b", "")
    assert edit["location"] == {"path": str(unit.path), "line": 3}
    assert (apply["verb"], apply["command"]) == ("apply", "k3s-harden apply --root /mnt --role server")
    assert reload["command"] == "sudo systemctl daemon-reload"
    assert (shape["restart"], shape["owner"], shape["alternative"]) == ("K3s", "operator", None)


def test_a_command_for_another_place_says_where_and_stays_complete() -> None:
    """A program runs the command of JSON; a person must not paste it here. The risk is in JSON, too."""
    step = Run("sudo k3s secrets-encrypt enable", "sudo k3s secrets-encrypt disable", where="on one server")
    shape: Any = repair_object(Repair((step,), risk="take a snapshot"))
    VALIDATOR.validate(shape)
    (found,) = shape["steps"]
    assert (found["where"], found["command"]) == ("on one server", step.line)
    assert (found["undo"]["where"], found["undo"]["command"]) == ("on one server", step.undo)
    assert shape["risk"] == "take a snapshot"
    assert shape["text"] == f"take a snapshot; then on one server, run `{step.line}`"
