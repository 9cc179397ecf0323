"""Findings about managed files and directories, and about the journal."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.model import Directory, File, Location
from agent.base.repair import Answer, Decide, Instruction, RunVerb
from agent.base.report import Trait
from agent.findings.registry import (
    APPLY,
    Problem,
    error,
    no,
    rm_command,
    steps,
    warning,
    written_by_apply,
    yes,
)
from agent.harden.guide.guide_files import AUDIT_POLICY, POD_SECURITY_ADMISSION
from agent.harden.plan.plan import is_damaged

_SETTINGS = {
    AUDIT_POLICY.path.name: "the file of `audit.policy-file` in the settings",
    POD_SECURITY_ADMISSION.path.name: "`stages.pod-security` or `pod-security.exempt-namespaces` in the settings",
}
"""Settings that keep a change of a managed file, by the name of the file."""

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.harden.situation import Situation


@error(
    blocks_gate=yes("K3s starts with a policy or an option that does not meet the control."),
    prevents_start=no("K3s accepts the file."),
    repair="correct the edit, or run `sudo k3s-harden apply --force`, which keeps a backup; then restart K3s",
)
def edited_file_insufficient(situation: Situation) -> Iterator[Problem]:
    """A managed file was edited, and its content does not meet the control any more.

    psa.yaml must enforce the restricted standard. audit.yaml must log requests. policy.yaml must restrict the incoming
    traffic of the guide's namespaces, and contain the guide's PodSecurityPolicy for K3s v1.24 and older. The drop-in
    must set the options that the operator's configuration files do not set. Stricter values, more exempt namespaces and
    more objects are sufficient. A waiver with the ID of the control accepts the edit.
    """
    edited = [refusal.id for refusal in situation.plan.refusals if refusal.edited]
    if edited:
        from agent.findings.edited_content import insufficient_edits

        yield from insufficient_edits(situation, edited)


@error(
    blocks_gate=yes("An empty policy or configuration does not protect anything."),
    prevents_start=no("If K3s rejects the damaged file, another finding reports that."),
    repair="run `sudo k3s-harden apply`",
)
def file_damaged(situation: Situation) -> Iterator[Problem]:
    """A managed file is empty or contains only NUL bytes, as after a power failure or with a full disk.

    apply replaces it and keeps a backup. A file with any other content counts as edited.
    """
    for resource in situation.desired:
        now = situation.observed[resource.id]
        if isinstance(resource, File) and isinstance(now, File) and now.content != resource.content and is_damaged(now):
            message = "file is empty" if not now.content else "file contains only NUL bytes"
            expected = f"{len(resource.content)} bytes"
            fix = written_by_apply(situation, resource.id)
            yield Problem(message, expected, f"{len(now.content)} bytes", Location(resource.path), fix, resource.id)


@error(
    blocks_gate=no("The content can meet the control. If it does not, edited-file-insufficient blocks the gate."),
    prevents_start=no("If K3s rejects the edited file, another finding reports that."),
    repair="move an intended change to its setting or another file; then run `sudo k3s-harden apply --force`",
    traits=Trait.OF_RUNNING_K3S,
)
def file_edited(situation: Situation) -> Iterator[Problem]:
    """A managed file has content that k3s-harden did not write: it was edited, or existed before the first apply.

    apply keeps it. Configure what a site may change in the settings, or in another file of the same directory;
    `apply --force` replaces the file and keeps a backup.
    """
    for refusal in situation.plan.refusals:
        if refusal.edited:
            message = "file has content that k3s-harden did not write"
            place = _SETTINGS.get(PurePosixPath(refusal.id).name, "another file in its directory")
            move, force = Instruction(f"move the change to {place}"), RunVerb("apply", ("--force",))
            answers = (
                Answer("No", "each edited file is replaced, and a backup is kept", (force,)),
                Answer("Yes", f"it stays in effect by {place}", (move, force)),
            )
            fix = steps(RunVerb("diff"), Decide(f"Is the change of {refusal.id} needed?", answers))
            yield Problem(message, location=Location(PurePosixPath(refusal.id)), repair=fix, resource=refusal.id)


@error(
    blocks_gate=yes("Other users can read or replace files that K3s trusts."),
    prevents_start=no("K3s does not check the modes of these files and directories."),
    repair="run `sudo k3s-harden apply`",
    traits=Trait.HAS_VERDICT,
)
def mode_loosened(situation: Situation) -> Iterator[Problem]:
    """The permissions of a managed file or directory are more open than the guide allows.

    K3s never changes the mode of an existing directory, so the open mode remains until it is fixed.
    """
    changing = {change.id for change in situation.plan.changes}
    for resource in situation.desired:
        now = situation.observed[resource.id]
        if type(now) is not type(resource):
            continue
        if isinstance(now, (File, Directory)) and isinstance(resource, (File, Directory)) and now.mode & ~resource.mode:
            message = "permissions are too open"
            fix = APPLY if resource.id in changing else written_by_apply(situation, resource.id)
            yield Problem(message, str(resource.mode), str(now.mode), Location(resource.path), fix, resource.id)


@warning(repair="make sure that role and version are correct; then remove the file")
def left_over(situation: Situation) -> Iterator[Problem]:
    """A file that k3s-harden wrote is not part of the hardening for this role, K3s version or manager.

    apply does not remove it because the detected role or version may be wrong. `revert` or the operator removes it.
    """
    for path, content in situation.obsolete.items():
        message = "k3s-harden wrote this file, but this host should not have it"
        kept = "pass `--role` or `--k3s-version`, with which the host should have the file"
        is_named = any(named.path == path for named in situation.k3s_files.named_paths)
        removal = (*(APPLY.steps if is_named else ()), rm_command(path))
        answers = (Answer("Yes", "K3s does not need it", removal), Answer("No", kept, ()))
        question = f"Is this host meant to run K3s {situation.facts.version} as {situation.facts.role}?"
        fix = steps(Decide(question, answers))
        yield Problem(message, found=f"{len(content)} bytes", location=Location(path), repair=fix)


@warning(repair="run `sudo k3s-harden apply`")
def interrupted_run(situation: Situation) -> Iterator[Problem]:
    """An earlier run was interrupted. The next apply completes its journal record and removes temporary files."""
    for run in situation.journal.runs:
        if not run.finished:
            yield Problem("an earlier run was interrupted", location=Location(run.path), repair=APPLY)


@warning(
    repair="restore the record from a backup, or move it away; then that run cannot be reverted",
    traits=Trait.LIMITS_ASSESSMENT | Trait.REPEATED_BY_DRIFT,
)
def journal_damaged(situation: Situation) -> Iterator[Problem]:
    """A record of the journal is invalid, or others can write its directory, or another file is in its place.

    revert then stops. k3s-harden cannot determine what that run wrote, so it may report a file of an earlier release
    as edited.
    """
    for path, damage in situation.journal.damaged.items():
        yield Problem(damage.message, location=Location(path), repair=damage.repair)
