"""What to do after a run."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.base.model import Location
from agent.base.repair import (
    DAEMON_RELOAD,
    Answer,
    Cause,
    Decide,
    Edit,
    FixOwner,
    Instruction,
    Repair,
    Restart,
    Run,
    RunVerb,
)
from agent.base.report import GATE_VERB, Finding, Item, ItemStatus, Level, NextStep, Report
from agent.base.value import replace
from agent.k3s.roles_and_versions import Role, Version
from agent.verbs.advice import next_steps
from agent.verbs.advice.installed_k3s import InstalledK3s

SERVER, AGENT = InstalledK3s(Role.SERVER, "k3s"), InstalledK3s(Role.AGENT, "k3s-agent")
RUNNING = replace(SERVER, is_installed=True, runs=True)
APPLY, FORCE, DIFF = RunVerb("apply"), RunVerb("apply", ("--force",)), RunVerb("diff")
EDIT = Instruction("correct it", Location(PurePosixPath("/etc/x"), 3))
RESTART = Run("sudo systemctl restart k3s")
DIFFERS = Item("/a", ItemStatus.DIFFERS, "mode")


def finding(
    name: str, *steps: object, level: Level = Level.ERROR, blocks: bool = False, prevents: bool = False, **more: object
) -> Finding:
    repair = Repair(steps, **more)  # type: ignore[arg-type]
    return Finding(name, level, blocks, prevents, f"problem {name}", repair=repair)


def report(verb: str, *items: Item, findings: tuple[Finding, ...] = ()) -> Report:
    return Report(verb=verb, writes=verb not in {"check", "diff"}, facts=(), items=items, findings=findings)


def unpurposed(found: tuple[NextStep, ...]) -> list[object]:
    return [next_step.step for next_step in found]


def steps(verb: str, *items: Item, findings: tuple[Finding, ...] = (), k3s: InstalledK3s = RUNNING) -> list[object]:
    return unpurposed(next_steps.steps_after_run(report(verb, *items, findings=findings), k3s))


INSTALLER = "curl -sfL https://get.k3s.io"
JOIN = 'K3S_URL="https://${SERVER:?}:6443" K3S_TOKEN_FILE=/etc/rancher/k3s/token'


def lines(found: tuple[NextStep, ...]) -> list[str]:
    return [next_step.step.line for next_step in found if isinstance(next_step.step, Run)]


@pytest.mark.parametrize(
    ("k3s", "line"),
    [
        (SERVER, "sh -"),
        (replace(SERVER, version=Version(1, 34, 0)), "INSTALL_K3S_CHANNEL=v1.34 sh -"),
        (replace(SERVER, version=Version(1, 34, 2, "+k3s1")), "INSTALL_K3S_VERSION=v1.34.2+k3s1 sh -"),
        (replace(SERVER, data_dir=PurePosixPath("/srv/my k3s")), "sh -s - server --data-dir '/srv/my k3s'"),
        (replace(SERVER, data_dir=PurePosixPath("/srv/k3s"), names_data_dir=True), "sh -"),
        (AGENT, f"{JOIN} sh -s - agent"),
        (replace(AGENT, joins=True), "sh -s - agent"),
        (replace(SERVER, service="k3s-east"), "INSTALL_K3S_NAME=east sh -"),
        (
            replace(AGENT, joins=True, arguments=("--node-label", "a=b c"), variables=("K3S_URL=https://a:6443",)),
            "K3S_URL=https://a:6443 sh -s - agent --node-label 'a=b c'",
        ),
    ],
)
def test_a_hardened_host_without_k3s_gets_its_installation(k3s: InstalledK3s, line: str) -> None:
    for verb in ("apply", "check"):
        first, *_ = lines(next_steps.steps_after_run(report(verb, Item("/a", ItemStatus.COMPLIANT)), k3s))
        assert first == f"{INSTALLER} | {line}"


def test_a_new_server_starts_a_cluster_or_joins_one() -> None:
    """Without the second command, each server would start a cluster of its own. The token is in a file."""
    compliant = report("apply", Item("/a", ItemStatus.COMPLIANT))
    first, join = lines(next_steps.steps_after_run(compliant, SERVER))
    assert (first, join) == (f"{INSTALLER} | sh -", f"{INSTALLER} | {JOIN} sh -s - server")
    for k3s in (replace(SERVER, joins=True), replace(SERVER, arguments=("--cluster-init",)), AGENT):
        assert len(lines(next_steps.steps_after_run(compliant, k3s))) == 1


def test_k3s_is_not_installed_where_another_program_does_it_or_before_the_host_is_compliant() -> None:
    assert steps("apply", k3s=replace(SERVER, is_elsewhere=True)) == []
    assert steps("check", DIFFERS, k3s=SERVER) == [APPLY]


def test_after_the_installation_a_server_disables_default_tokens() -> None:
    assert steps("apply", k3s=SERVER)[2:] == [RunVerb("service-accounts", ("--wait 300",))]
    assert steps("apply", k3s=AGENT)[1:] == []


@pytest.mark.parametrize("service", ["k3s", "k3s-agent", "k3s-east"])
def test_a_change_under_a_running_k3s_is_followed_by_a_restart_of_its_unit(service: str) -> None:
    k3s = replace(RUNNING, service=service)
    restart = Run(f"sudo systemctl restart {service}")
    warning = finding("restart-needed", restart, level=Level.WARNING)
    changed = Item("/a", ItemStatus.CHANGED)
    assert steps("apply", changed, findings=(warning,), k3s=k3s) == [restart]
    edit = finding("f", EDIT, restart=Restart.K3S)
    openrc = Run(f"sudo rc-service {service} restart")
    assert steps("check", findings=(edit,), k3s=replace(k3s, is_openrc=True)) == [EDIT, openrc]


def test_nothing_is_restarted_in_a_host_tree_or_without_k3s() -> None:
    edit = finding("f", EDIT, restart=Restart.K3S)
    for k3s in (SERVER, replace(RUNNING, is_tree=True)):
        assert steps("check", findings=(edit,), k3s=k3s) == [EDIT]


def test_a_compliant_host_with_a_running_k3s_needs_nothing() -> None:
    """A stopped K3s can be started. check is about the guide, and names the verb for the benchmark once."""
    compliant = Item("/a", ItemStatus.COMPLIANT)
    assert steps("apply", compliant) == []
    assert steps("check", compliant) == [RunVerb("assess")]
    assert RunVerb("assess") not in steps("check", DIFFERS)
    assert steps("apply", k3s=replace(RUNNING, runs=False)) == [Run("sudo systemctl start k3s")]


@pytest.mark.parametrize("k3s", [SERVER, RUNNING, replace(AGENT, is_elsewhere=True)])
def test_a_compliant_host_that_could_have_the_gate_gets_its_installation_last(k3s: InstalledK3s) -> None:
    for verb in ("apply", "check"):
        assert steps(verb, k3s=replace(k3s, lacks_gate=True))[-1] == RunVerb("install")
        assert RunVerb("install") not in steps(verb, DIFFERS, k3s=replace(k3s, lacks_gate=True))


def test_steps_are_in_the_order_of_urgency() -> None:
    rest = finding("rest", Instruction("rest"), level=Level.WARNING, restart=Restart.K3S)
    found = (
        rest,
        finding("by apply", APPLY, blocks=True),
        finding("gate", Instruction("gate"), blocks=True),
        finding("start", EDIT, prevents=True, restart=Restart.K3S),
        finding("note", Instruction("note"), level=Level.NOTE),
    )
    in_order = [EDIT, Instruction("gate"), APPLY, Instruction("rest"), RESTART]
    assert steps("check", DIFFERS, findings=found) == in_order


def test_apply_comes_once_after_the_edits_that_require_it() -> None:
    """The edit of a less urgent problem comes before it, too."""
    setting = Instruction("set it in the settings")
    weak = finding("w", setting, APPLY, level=Level.WARNING)
    other = finding("o", Instruction("other"), level=Level.WARNING)
    for blocks in (False, True):
        found = (weak._replace(blocks_gate=blocks), other)
        assert steps("check", DIFFERS, findings=found) == [setting, APPLY, Instruction("other")]


def test_a_risk_is_looked_at_before_the_steps_that_have_it() -> None:
    assert steps("check", findings=(finding("f", RESTART, risk="drain the node"),)) == [
        Instruction("drain the node"),
        RESTART,
    ]


def test_an_edited_file_that_is_insufficient_is_replaced() -> None:
    """apply --force also fixes the differences of its class."""
    found = finding("edited-file-insufficient", FORCE, blocks=True, restart=Restart.K3S)
    assert steps("check", DIFFERS, findings=(found,)) == [FORCE, RESTART]


def test_content_is_shown_before_it_is_changed() -> None:
    content = replace(DIFFERS, content_differs=True)
    assert steps("check", content) == [DIFF, APPLY]
    assert steps("diff", DIFFERS) == [APPLY]


def test_apply_says_how_many_changes_it_makes() -> None:
    """The number is that of the plan: a finding that apply fixes is no change of its own."""
    found = finding("f", APPLY, prevents=True)
    other = Item("/b", ItemStatus.DIFFERS)
    (step,) = next_steps.steps_after_run(report("check", DIFFERS, other, findings=(found,)), RUNNING)
    assert step == NextStep(APPLY, "apply the hardening, which makes 2 changes")


def test_what_apply_left_is_fixed_before_it_runs_again() -> None:
    items = (
        Item("/a", ItemStatus.FAILED, "no space", Repair((Instruction("free some space"),))),
        Item("/b", ItemStatus.REFUSED, "is a FIFO", Repair((Instruction("inspect it"),))),
        Item("/c", ItemStatus.FAILED, "not written, because /a failed", cause=Cause.LACKING),
    )
    assert steps("apply", *items) == [Instruction("/a: free some space"), Instruction("/b: inspect it"), APPLY]


def test_an_ordinary_user_runs_the_verb_again_as_root() -> None:
    items = [Item(f"/{n}", ItemStatus.REFUSED, "Permission denied", cause=Cause.NOT_READABLE) for n in range(3)]
    (step,) = next_steps.steps_after_run(report("check", *items), RUNNING)
    assert step == NextStep(RunVerb("check"), "run it again as root, to read /0 and 2 others")


@pytest.mark.parametrize("options", [(), ("--last",)])
def test_a_partial_revert_is_run_again(options: tuple[str, ...]) -> None:
    """The step is not apply, which would make the changes again."""
    failed = Item("/a", ItemStatus.FAILED, "No space left on device", Repair((Instruction("free space"),)))
    after = next_steps.steps_after_revert(report("revert", failed), RUNNING, last=bool(options))
    assert unpurposed(after) == [Instruction("/a: free space"), RunVerb("revert", options)]


def test_a_gate_that_blocks_advises_what_unblocks_it() -> None:
    """The steps are lines of the system log."""
    assert steps(GATE_VERB, Item("/a", ItemStatus.FAILED, "m", Repair((Instruction("free it"),)))) == [
        Instruction("/a: free it"),
        APPLY,
    ]


def test_revert_restarts_k3s_and_offers_to_revert_edits() -> None:
    found = finding("restart-needed", level=Level.WARNING, restart=Restart.K3S)
    edited = Item(
        "/a", ItemStatus.EDITED, "was changed since", Repair((RunVerb("revert", ("--force",)),)), cause=Cause.EDITED
    )
    after = next_steps.steps_after_revert(report("revert", edited, findings=(found,)), RUNNING, last=True)
    assert unpurposed(after) == [RunVerb("revert", ("--last", "--force")), RESTART]


def test_install_leads_to_the_first_start_through_the_gate() -> None:
    done = report("install", Item("/a", ItemStatus.CHANGED))
    assert unpurposed(next_steps.steps_after_install(done, RUNNING)) == [DIFF, RESTART]
    assert lines(next_steps.steps_after_install(done, SERVER)) == [f"{INSTALLER} | sh -"]
    stopped, start = replace(RUNNING, runs=False), Run("sudo systemctl start k3s")
    assert unpurposed(next_steps.steps_after_install(done, stopped)) == [DIFF, start]
    again = report("install", Item("/a", ItemStatus.COMPLIANT))
    assert next_steps.steps_after_install(again, RUNNING) == ()
    assert unpurposed(next_steps.steps_after_install(again, stopped)) == [start]
    assert unpurposed(next_steps.steps_after_install(again, stopped, is_blocked=True)) == [RunVerb("check")]
    failed = report("install", Item("/a", ItemStatus.FAILED, "no space", Repair((Instruction("free some space"),))))
    last = NextStep(RunVerb("install"), "run install again")
    assert next_steps.steps_after_install(failed, RUNNING)[-1] == last


def test_the_hardening_is_reverted_before_the_package_is_removed() -> None:
    """The package has the program that reverts it. After revert, there is nothing to revert."""
    remains = finding("gate-remains", Instruction("remove the package"), blocks=True)
    done = report("uninstall", findings=(remains,))
    package = Instruction("remove the package")
    for is_hardened, expected in ((True, [RunVerb("revert"), package]), (False, [package])):
        after = next_steps.steps_after_uninstall(done, RUNNING, is_hardened=is_hardened)
        assert [step for step in unpurposed(after) if step != RunVerb("uninstall")] == expected


@pytest.mark.parametrize(("is_openrc", "line"), [(False, "systemctl start k3s"), (True, "rc-service k3s start")])
def test_a_bypassed_service_is_started_by_its_service_manager_and_then_repaired(*, is_openrc: bool, line: str) -> None:
    """A start does nothing to a K3s that runs; a restart would take its gate away."""
    after = next_steps.steps_after_bypass(["k3s.service"], is_openrc=is_openrc)
    assert unpurposed(after) == [Run(f"sudo {line}"), RunVerb("check")]


@pytest.mark.parametrize("undo", [False, True])
def test_service_accounts_that_are_left_are_tried_again(*, undo: bool) -> None:
    left = Item("a/default", ItemStatus.KEPT, "no account yet", cause=Cause.LACKING)
    after = next_steps.steps_after_service_accounts(report("service-accounts", left), undo=undo)
    assert unpurposed(after) == [RunVerb("service-accounts", (*["--undo"] * undo, "--wait 300"))]


def test_the_step_after_an_undo_names_the_timers_that_repeat_the_change() -> None:
    changed = report("service-accounts", Item("a/default", ItemStatus.CHANGED))
    assert unpurposed(next_steps.steps_after_service_accounts(changed, undo=False)) == [
        RunVerb("assess", ("--cluster",))
    ]
    (step,) = unpurposed(next_steps.steps_after_service_accounts(changed, undo=True))
    assert "stages.service-accounts: off" in str(step)


def test_an_assessment_is_followed_by_what_its_owners_do() -> None:
    fatal = finding("f", EDIT, prevents=True)
    open_by = {FixOwner.APPLY: ["a", "b"], FixOwner.OPERATOR: ["c", "d"]}
    after = next_steps.steps_after_assess([fatal], RUNNING, open_by)
    assert unpurposed(after) == [EDIT, APPLY, RunVerb("explain", ("c",))]
    assert next_steps.steps_after_assess([], RUNNING, {}) == ()


def test_only_an_installed_k3s_is_started_after_an_assessment() -> None:
    open_by = {FixOwner.APPLY: ["a"], FixOwner.K3S: ["b"]}
    assert unpurposed(next_steps.steps_after_assess([], SERVER, open_by)) == [APPLY]
    stopped = replace(RUNNING, runs=False)
    assert unpurposed(next_steps.steps_after_assess([], stopped, open_by)) == [APPLY, stopped.start().step]


def test_whether_an_edit_is_needed_is_asked_before_its_file_is_replaced() -> None:
    """This is true even if the finding that replaces all edited files is the more urgent one."""
    no, yes = Answer("No", "it is replaced", (FORCE,)), Answer("Yes", "it stays", (EDIT, FORCE))
    asked = Decide("Is the change needed?", (no, yes))
    found = (finding("insufficient", FORCE, blocks=True), finding("edited", DIFF, asked))
    assert steps("check", findings=found) == [DIFF, asked]


def test_a_command_follows_a_question_only_if_an_answer_does_not_end_with_it() -> None:
    left = Answer("No", "it stays", ())
    asked = Decide("Is the change needed?", (left, Answer("Yes", "it is kept", (EDIT, APPLY))))
    assert steps("check", DIFFERS, findings=(finding("edited", asked),)) == [asked, APPLY]
    assert steps("check", findings=(finding("edited", asked),)) == [asked]


def test_a_question_is_not_asked_if_an_edit_is_one_of_its_answers() -> None:
    removal = Run("sudo rm /etc/x")
    asked = Decide("Is the content needed?", (Answer("Yes", "it is moved", (EDIT,)), Answer("No", "", (removal,))))
    found = (finding("a", asked), finding("b", removal, level=Level.WARNING))
    assert steps("check", findings=found) == [removal]


def test_equal_questions_are_asked_once_with_the_steps_of_all() -> None:
    def asked(edit: Instruction) -> Decide:
        return Decide("Is it needed?", (Answer("No", "", (edit, APPLY)), Answer("Yes", "it stays", (edit, FORCE))))

    first, second = Instruction("first"), Instruction("second")
    (step,) = steps("check", findings=(finding("a", asked(first)), finding("b", asked(second))))
    assert isinstance(step, Decide)
    assert [answer.steps for answer in step.answers] == [(first, second, APPLY), (first, second, FORCE)]


def test_an_item_and_its_finding_have_one_step_with_the_path() -> None:
    """The reader of the steps does not see which line they belong to."""
    hint = "inspect it, and move it away if it is not needed"
    refused = Item("/a", ItemStatus.REFUSED, "is a FIFO", Repair((Instruction(hint),)))
    found = finding("unusable", Instruction(f"/a: {hint}"), APPLY, prevents=True)._replace(resource="/a")
    assert steps("check", refused, findings=(found,)) == [Instruction(f"/a: {hint}"), APPLY]


def test_what_only_root_can_read_is_checked_by_root() -> None:
    unread = finding("not-readable", RunVerb("check"), level=Level.WARNING)
    (after,) = next_steps.steps_after_run(report("diff", findings=(unread,)), RUNNING)
    assert after == NextStep(RunVerb("check"), "check this host as root")


def test_systemd_reads_changed_units_once_after_the_last_change() -> None:
    """Two commands and an edit of units need it, and each remediation says so for itself."""
    unit = Instruction("correct it", Location(PurePosixPath("/etc/systemd/system/k3s.service")))
    first, second = Run("sudo rm /etc/a"), Run("sudo mv /etc/b /etc/c")
    found = (finding("a", first, DAEMON_RELOAD), finding("b", second, DAEMON_RELOAD), finding("c", unit))
    assert steps("check", findings=found) == [first, second, unit, DAEMON_RELOAD]


def test_edits_of_a_file_come_from_its_last_line_to_its_first() -> None:
    """No edit moves the line of the next one; of a line the longest text comes first, and has one edit."""
    site = PurePosixPath("/etc/rancher/k3s/config.yaml.d/99-site.yaml")

    def edit(line: int, old: str, new: str = "") -> Edit:
        return Edit(Location(site, line), old, new)

    added, first, elsewhere = edit(0, "", "v: 1"), edit(1, "a: 1"), Edit(Location(PurePosixPath("/etc/x"), 2), "x", "y")
    key, items = edit(3, "list", "list+"), edit(3, "list: [a, b]", "list: [b]")
    removal, in_removed = edit(5, "other: [c]"), edit(5, "other", "other+")
    same_text = edit(1, "a: 1", "a: 2")
    found = tuple(
        finding(f"problem-{at}", step)
        for at, step in enumerate((first, elsewhere, same_text, in_removed, key, removal, added, items))
    )
    assert steps("check", findings=found) == [added, elsewhere, removal, items, key, first]
