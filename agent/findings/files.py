"""Files and directories of ours that somebody, or a crash, changed."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.findings.registry import APPLY, Trouble, finding, instruction, written_by_apply
from agent.model import Directory, File, Location
from agent.plan.plan import is_damaged
from agent.report import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.situation import Situation


@finding(Level.ERROR)
def file_damaged(seen: Situation) -> Iterator[Trouble]:
    """A managed file is empty, cut off, or full of NUL bytes, as a power cut or a full disk leaves it.

    apply writes it anew, since nothing of anybody's is lost by that.
    """
    for wanted in seen.desired:
        now = seen.observed[wanted.id]
        if (
            isinstance(wanted, File)
            and isinstance(now, File)
            and now.content != wanted.content
            and is_damaged(now, wanted)
        ):
            yield Trouble(
                "is empty" if not now.content else "is cut off, or holds NUL bytes",
                expected=f"{len(wanted.content)} bytes",
                found=f"{len(now.content)} bytes",
                location=Location(wanted.path),
                remediation=written_by_apply(seen, wanted.id),
            )


@finding(Level.ERROR, blocks_gate=False)
def file_edited(seen: Situation) -> Iterator[Trouble]:
    """A managed file has content that k3s-harden did not write: it was edited, or was there before.

    It is kept. What a site may change belongs into the settings; --force replaces the file and keeps a backup.
    """
    for refusal in seen.plan.refusals:
        if refusal.edited:
            yield Trouble(
                "has content that k3s-harden did not write",
                location=Location(PurePosixPath(refusal.id)),
                remediation=instruction(
                    "see k3s-harden diff; put the change into /etc/k3s-harden/config.yaml, or apply --force"
                ),
            )


@finding(Level.ERROR)
def mode_loosened(seen: Situation) -> Iterator[Trouble]:
    """A managed file or directory lets others in that the guide keeps out.

    K3s never changes the mode of a directory that exists, so whatever made it looser decides until it is repaired.
    """
    changing = {change.id for change in seen.plan.changes}
    for wanted in seen.desired:
        now = seen.observed[wanted.id]
        if isinstance(wanted, (File, Directory)) and isinstance(now, type(wanted)) and now.mode & ~wanted.mode:
            yield Trouble(
                "others can get at it",
                expected=str(wanted.mode),
                found=str(now.mode),
                location=Location(wanted.path),
                remediation=APPLY if wanted.id in changing else written_by_apply(seen, wanted.id),
            )


@finding(Level.WARNING)
def left_over(seen: Situation) -> Iterator[Trouble]:
    """A file of ours lies here that this host's role, version or manager no longer asks for. It is not removed.

    Removing it could hurt more than leaving it, should the role have been told wrong: `revert` or a person does it.
    """
    for path, content in seen.k3s_files.obsolete.items():
        yield Trouble(
            "k3s-harden wrote it, but this host does not want it now",
            location=Location(path),
            found=f"{len(content)} bytes",
            remediation=instruction(f"if it is not needed: rm {path}"),
        )


@finding(Level.WARNING)
def interrupted_run(seen: Situation) -> Iterator[Trouble]:
    """An earlier run was cut off before it ended. The next apply finishes it and takes its left-overs away."""
    for run in seen.journal.runs:
        if not run.finished:
            yield Trouble("an earlier run was cut off", location=Location(run.path), remediation=APPLY)


@finding(Level.WARNING)
def journal_damaged(seen: Situation) -> Iterator[Trouble]:
    """A record of the journal cannot be understood: revert refuses to undo by half a memory.

    Nor is it known what that run wrote, so a file of an earlier release or setting may be taken for an edited one.
    """
    for path, error in seen.journal.damaged.items():
        yield Trouble(error.message, location=Location(path), remediation=instruction(error.hint))
