"""The gate remembers which K3s it kept down, and starts that one, and no other, once it can."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.host import Host
from agent.host.probe import no_processes
from agent.host.process import LARGEST_OUTPUT, Completed
from agent.verbs.waiting_services import hold, release

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass
class Systemctl:
    """Stands in for systemctl: answers from `jobs` and `states`, and writes down what it is asked to do."""

    jobs: str = ""
    states: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(self, argv: Sequence[str], *, timeout: float, largest_output: int = LARGEST_OUTPUT) -> Completed:
        """Answer as systemctl does; anything else than these four fails the test."""
        assert timeout > 0
        assert largest_output > 0
        program, verb, *rest = argv
        assert program == "/usr/bin/systemctl"
        if verb == "list-jobs":
            return Completed(0, self.jobs, "")
        if verb == "show":
            active, sub, file = self.states[rest[-1]]
            return Completed(0, f"ActiveState={active}\nSubState={sub}\nUnitFileState={file}\n", "")
        assert verb in {"start", "stop"}
        self.asked.append((verb, *rest))
        return Completed(0, "", "")


def machine(root: Path, systemctl: Systemctl, *signs: str) -> Host:
    """A machine with systemd on which the markers of these services are active."""
    for directory in ("run/systemd/system", "run/k3s-harden", "usr/bin"):
        (root / directory).mkdir(parents=True)
    (root / "usr/bin/systemctl").touch()
    for sign in signs:
        (root / "run/k3s-harden" / f"waiting.{sign}").touch()
    ids = os.geteuid(), os.getegid()
    return Host(
        root=str(root), run=systemctl, probe=no_processes, now=lambda: 0.0, uid=ids[0], gid=ids[1], is_live=True
    )


def test_each_k3s_that_waits_gets_a_marker(tmp_path: Path) -> None:
    """Of the queued starts only those of K3s services count, and neither the gate's own nor a stop."""
    jobs = (
        "12 k3s.service start waiting\n13 k3s-harden.service start running\n"
        "14 sshd.service start waiting\n15 k3s-agent.service stop waiting\n16 k3s-east.service restart waiting\n"
    )
    systemctl = Systemctl(jobs)
    hold(machine(tmp_path, systemctl))
    assert systemctl.asked == [
        ("start", "--no-block", "k3s-harden-waiting@k3s.service"),
        ("start", "--no-block", "k3s-harden-waiting@k3s-east.service"),
    ]


def test_what_waits_is_started_and_its_marker_stopped(tmp_path: Path) -> None:
    """The repair alone brings K3s up."""
    systemctl = Systemctl(states={"k3s.service": ("inactive", "dead", "enabled")})
    assert release(machine(tmp_path, systemctl, "k3s")) == ("k3s.service",)
    assert systemctl.asked == [
        ("stop", "--no-block", "k3s-harden-waiting@k3s.service"),
        ("start", "--no-block", "k3s.service"),
    ]


def test_a_k3s_that_was_disabled_or_runs_already_is_not_started(tmp_path: Path) -> None:
    """Its marker goes all the same."""
    states = {"k3s.service": ("inactive", "dead", "disabled"), "k3s-east.service": ("active", "running", "enabled")}
    systemctl = Systemctl(states=states)
    assert release(machine(tmp_path, systemctl, "k3s", "k3s-east")) == ()
    assert [words[0] for words in systemctl.asked] == ["stop", "stop"]


def test_without_a_marker_systemd_is_not_even_asked(tmp_path: Path) -> None:
    """A K3s that an operator stopped has no marker; and a run with nothing to release stays quick."""
    systemctl = Systemctl()
    assert release(machine(tmp_path, systemctl)) == ()
    assert systemctl.asked == []


def test_a_host_tree_has_no_systemd_to_ask(tmp_path: Path) -> None:
    """Whatever lies in its /run belongs to another machine."""
    systemctl = Systemctl("12 k3s.service start waiting\n")
    tree = Host.tree_at(machine(tmp_path, systemctl, "k3s").root)
    hold(tree)
    assert release(tree) == ()
    assert systemctl.asked == []
