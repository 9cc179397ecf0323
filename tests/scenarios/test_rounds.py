"""Who carries out the printed next steps, and runs the program again, ends at exit code 0.

ROUNDS is a file: all states and all answers are tried, and each result and kind of step is added to it as a line.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agent.k3s.cis.versions import Benchmark
from agent.k3s.roles_and_versions import Role
from tests.k3s_tree import AGENT_FILES, SERVER_FILES
from tests.scenarios.conftest import Hardened
from tests.scenarios.findings.case import Edit, chmod, written
from tests.scenarios.findings.test_all_findings import CASES, case_id
from tests.scenarios.follower import Follower
from tests.scenarios.host_tree import DATA_DIR, DROPIN, KERNEL_FILE, HostTree, copied
from tests.scenarios.test_repairs import Arguments, failing_arguments, node, place
from tests.tree import Entry

pytestmark = pytest.mark.root

SUMMARY = os.environ.get("ROUNDS", "")
MOST = 3
"""Rounds after which the exit code is 0."""
ONLY_SHOWS = re.compile(r"k3s-harden (?:diff|assess|check|explain|impact)\b|get\.k3s\.io|journalctl|daemon-reload")
"""Commands without an effect on the files of a tree."""
_FILES = {Role.SERVER: (*SERVER_FILES, "server/db/etcd"), Role.AGENT: tuple(AGENT_FILES)}
BROUGHT_TO_LIGHT = frozenset({"edited-file-insufficient", "file-edited", "left-over"})
"""A setting brings to light that the state has an edited file, and the answer of a version one of another version."""
KNOWN: Mapping[str, str] = {
    "gate-half-missing-masked": "unmasking brings to light that the unit of the state is not the one of the program",
}
"""States with other results, as patterns, each with its reason."""


class State(NamedTuple):
    """A hardened host that gets problems."""

    name: str
    role: str
    version: str
    verb: str
    """The verb whose next steps are followed."""
    problems: tuple[Edit, ...]


def _on_node(role: Role, edit: Edit, host: HostTree) -> None:
    """Change a host on which K3s has run."""
    edit(node(host, role, 34))


def _give_away(path: str, host: HostTree) -> None:
    os.chown(host[path], 1001, 1001)


def _edits(role: Role) -> Iterator[tuple[str, Edit]]:
    for arguments in failing_arguments(Benchmark.CIS_2_0, role):
        for component, values in arguments.items():
            for value in values:
                one: Arguments = {component: [value]}
                for where in ("main file", "earlier drop-in", "service"):
                    yield f"{component} {value} in {where}", partial(place, arguments=one, where=where)
    for path in (DROPIN, KERNEL_FILE, *(f"{DATA_DIR}/{name}" for name in _FILES[role])):
        yield f"mode of {path}", chmod(path, 0o777)
        yield f"owner of {path}", partial(_give_away, path)
    for key, bad in (("vm/overcommit_memory", "2\n"), ("vm/panic_on_oom", "1\n"), ("kernel/panic", "0\n")):
        yield f"{key} now", written(f"/proc/sys/{key}", bad)
        yield f"{key} at boot", written("/etc/sysctl.d/99-site.conf", f"{key.replace('/', '.')} = {bad}")


FINDINGS = [State(case_id(case), case.role, case.version, "check", (case.problem,)) for case in CASES]
CONTROLS = [
    State(f"{role}: {name}", str(role), "1.34", "assess", (partial(_on_node, role, edit),))
    for role in (Role.SERVER, Role.AGENT)
    for name, edit in _edits(role)
]


def _combined() -> Iterator[State]:
    """Yield pairs and triples of the states above; a control first, because K3s has run then."""
    chosen = random.Random(42)  # noqa: S311 - the same states each time
    for number in range(150):
        role = "agent" if number % 5 == 0 else "server"
        controls, findings = (
            [state for state in states if (state.role, state.version) == (role, "1.34")]
            for states in (CONTROLS, FINDINGS)
        )
        parts = [*chosen.sample(controls, number % 3), *chosen.sample(findings, 1 + (number % 3 < 2))]
        problems = tuple(problem for state in parts for problem in state.problems)
        yield State(" + ".join(state.name for state in parts), role, "1.34", parts[0].verb, problems)


STATES = [*FINDINGS, *CONTROLS, *_combined()] if SUMMARY else FINDINGS


class Rounds:
    """Follows a host: runs a verb and carries out what it prints, until nothing is left to do."""

    def __init__(self, host: HostTree, verb: str, answer: int, *, is_combined: bool) -> None:
        self.host, self.verb, self.answer, self.is_combined = host, verb, answer, is_combined
        self.follower = Follower(host)
        self.lines: list[str] = []
        """Each result and kind of step."""
        self.problems: list[str] = []
        self.answers = 1
        """The highest number of answers to a question."""

    def follow(self) -> None:
        known, without_effect, created = set(self._warnings()), set[str](), dict[str, str]()
        report = self._report(self.verb)
        number = 0
        while number < MOST and (report["exit_code"] or (self.verb == "check" and _warnings(report))):
            number += 1
            before = without_effect
            prose = len(self.follower.prose)
            without_effect = {_key(step) for step in self._steps(report) if not self._changes(step)}
            if len(self.follower.prose) > prose:
                without_effect = set()  # a person has to do something before they can have an effect
            self.problems += [f"has no effect twice: {text}" for text in before & without_effect]
            now = self._warnings()
            # The remediation of one state of a pair can bring another one to light, if a later round ends that.
            created = {name: created[name] for name in created if name in now or not self.is_combined}
            created |= {name: now[name] for name in now if name not in known | BROUGHT_TO_LIGHT}
            known |= set(now)
            report = self._report(self.verb)
        unsolved = [item["repair"] for item in _open(report) if not _is_beyond_a_tree(item["repair"])]
        left = "open" if unsolved else "only what a tree cannot do is left" if any(_open(report)) else "nothing is left"
        self.lines.append(f"result: exit code {report['exit_code']} after {number} rounds, {left}")
        self.problems += [f"is left: {json.dumps(repair)}" for repair in unsolved]
        self.problems += [f"creates {name}: {text}" for name, text in created.items()]

    def _report(self, verb: str) -> dict[str, Any]:
        done = self.host.run(verb, "--format", "json", *(self.host.options if verb == "assess" else ()))
        assert done.stdout, done
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def _warnings(self) -> dict[str, str]:
        return _warnings(self._report("check"))

    def _steps(self, report: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        """Return the steps that are carried out: one step can be that of several controls."""
        steps = []
        for step in report["next_steps"]:
            is_of_controls = step.get("verb") == "explain" and self.verb == "assess"
            of_controls = [step for item in _open(report) for step in item["repair"]["steps"]]
            # A verb follows the edits and settings of all controls.
            steps += sorted(of_controls, key=lambda step: step["kind"] == "run-verb") if is_of_controls else [step]
        return {_key(step): step for step in steps}.values()

    def _changes(self, step: Mapping[str, Any]) -> bool:
        """Carry out a step, and return whether it changes something, or is only meant to show something."""
        self.lines.append(f"step: {step['kind']}")
        if step["kind"] == "decide":
            self.answers = max(self.answers, sum(bool(answer["steps"]) for answer in step["answers"]))
        before = self.host.entries(with_state=True)
        is_done = self.follower.carry_out([step], self.answer)
        after = self.host.entries(with_state=True)
        if step["kind"] == "run" and " rm " in step["command"] and _contents(before) - _contents(after):
            self.problems.append(f"removes content without a question: {step['command']}")
        return not is_done or bool(ONLY_SHOWS.search(step["command"])) or after != before


def _contents(entries: Mapping[str, Entry]) -> set[bytes]:
    return {entry.content for entry in entries.values() if entry.kind == "file" and entry.content}


def _warnings(report: Mapping[str, Any]) -> dict[str, str]:
    return {item["id"]: item["message"] for item in report["findings"] if item["level"] in {"error", "warning"}}


def _open(report: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from (item for item in report.get("verdicts", ()) if item["is_open"])
    yield from (item for item in report.get("findings", ()) if item["level"] in {"error", "warning"})
    yield from (item for item in report.get("items", ()) if item["status"] in {"differs", "refused", "failed"})


def _is_beyond_a_tree(repair: Mapping[str, Any]) -> bool:
    """Return whether a person, the cluster or the start of K3s has to solve it."""
    return not repair["steps"] or any(
        step["kind"] in {"instruction", "patch"}
        or (step["kind"] == "decide" and not all(answer["steps"] for answer in step["answers"]))
        or bool(ONLY_SHOWS.search(step["command"]))
        for step in repair["steps"]
    )


def _key(step: Mapping[str, Any]) -> str:
    return json.dumps({name: value for name, value in step.items() if name not in {"text", "undo"}})


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_who_carries_out_the_next_steps_ends_at_exit_code_0(state: State, hardened: Hardened) -> None:
    """No step creates a warning, fails, or is printed again after it had no effect."""
    made = hardened(state.role, state.version)
    for problem in state.problems:
        problem(made)
    answer, answers = 0, 1
    while answer < (answers if SUMMARY else 1):
        host = copied(made, made.root.with_name(f"answer-{answer}"))
        rounds = Rounds(host, state.verb, answer, is_combined=" + " in state.name)
        rounds.follow()
        answer, answers = answer + 1, max(answers, rounds.answers)
        if SUMMARY:
            with Path(SUMMARY).open("a", encoding="utf-8") as summary:
                summary.write("".join(f"{line}\n" for line in rounds.lines))
        if not any(fnmatchcase(name, pattern) for name in state.name.split(" + ") for pattern in KNOWN):
            assert rounds.problems == [], rounds.lines
