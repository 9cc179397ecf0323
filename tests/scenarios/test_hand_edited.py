"""Files that somebody else has a hand in: kept, named, guarded by their modes, and never lost, not even by --force."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.host_tree import (
    AUDIT,
    DATA_DIR,
    DROPIN,
    EDITS,
    KERNEL_FILE,
    LOCK,
    MANIFESTS,
    POLICY,
    PSA,
    STATE,
    HostTree,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scenarios.conftest import Hardened

MANAGED = tuple(EDITS)


@pytest.mark.parametrize("path", MANAGED)
def test_an_edited_file_is_kept_and_its_mode_repaired(path: str, hardened: Hardened) -> None:
    """Its content is a person's; who may read it is still the guide's. Each later run leaves it as well."""
    host = hardened()
    guarded = host.entries()[path].mode
    host.edit(path)
    content = host[path].read_bytes()
    host[path].chmod(0o666)
    seen = host.seen("apply")
    assert seen.code == 4
    assert seen.items[path] == "edited"
    assert "--force" in seen.hints[path]
    assert host.entries()[path].mode == guarded
    assert host[path].read_bytes() == content


@pytest.mark.parametrize("verb", ["check", "diff"])
def test_the_repair_of_an_edited_files_mode_is_announced(verb: str, hardened: Hardened) -> None:
    """A dry run says all that `apply` would change."""
    host = hardened()
    host.edit(AUDIT)
    host[AUDIT].chmod(0o644)
    lines = host.run(verb).stdout.splitlines()
    assert f"differs {AUDIT}: mode 0644 → 0600" in lines
    assert any(line.startswith(f"edited {AUDIT}: ") for line in lines)


@pytest.mark.parametrize("path", MANAGED)
def test_an_edited_file_is_kept_by_every_later_run(path: str, hardened: Hardened) -> None:
    """That its mode was repaired once does not make its content ours."""
    host = hardened()
    host.edit(path)
    host[path].chmod(0o666)
    content = host[path].read_bytes()
    assert [host.seen("apply").items[path] for _ in range(3)] == ["edited"] * 3
    assert host[path].read_bytes() == content


def test_revert_does_not_lose_an_edit_whose_mode_was_repaired(hardened: Hardened) -> None:
    """It is a person's work still: refused, and kept as a backup if forced."""
    host = hardened()
    host.edit(AUDIT)
    host[AUDIT].chmod(0o666)
    content = host[AUDIT].read_bytes()
    assert host.run("apply").code == 4
    assert host.seen("revert").items[AUDIT] == "edited"
    assert host[AUDIT].read_bytes() == content


@pytest.mark.parametrize("path", MANAGED)
def test_force_replaces_an_edited_file_and_keeps_it(path: str, hardened: Hardened) -> None:
    """The backup is where K3s and systemd do not look, root's alone, and named in the report."""
    host = hardened()
    before = host.entries()
    host.edit(path)
    edited = host[path].read_bytes()
    seen = host.seen("apply", "--force")
    assert (seen.code, seen.with_status("changed")) == (0, {path})
    assert host.entries() == before
    assert seen.hints[path] == ""
    (kept,) = (Path(found) for found in re.findall(rf"{STATE}/backups/\S+", seen.details[path]))
    assert host[str(kept)].read_bytes() == edited
    modes = {entry.mode for name, entry in host.entries(with_state=True).items() if name.startswith(STATE)}
    assert modes == {0o600, 0o700}


def test_two_forced_runs_keep_two_backups(hardened: Hardened) -> None:
    """The second does not replace the first."""
    host = hardened()
    kept = []
    for _ in range(2):
        host.edit(AUDIT)
        kept.append(host[AUDIT].read_bytes())
        assert host.run("apply", "--force").code == 0
        host.edit(AUDIT)
        host.edit(AUDIT)
        kept.append(host[AUDIT].read_bytes())
        assert host.run("apply", "--force").code == 0
    assert sorted(path.read_bytes() for path in host[f"{STATE}/backups"].iterdir()) == sorted(kept)


def test_a_file_from_before_the_first_apply_is_kept_too(host: HostTree) -> None:
    """A policy that somebody wrote before is no less theirs; after --force, revert brings it back, mode and all."""
    host.write(AUDIT, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None}]\n", 0o640)
    before = host.entries()
    assert host.seen("apply", "--force").code == 0
    assert host.seen("revert").code == 0
    assert host.entries() == before


def test_a_file_that_says_the_same_in_its_own_words_is_left(hardened: Hardened) -> None:
    """A host that was hardened by hand has the guide's values in its own layout: as good as ours."""
    host = hardened()
    host.write(
        KERNEL_FILE, "; by hand\nkernel.panic = 10\nkernel.panic_on_oops=1\nvm.overcommit_memory=1\nvm.panic_on_oom=0"
    )
    host.write(AUDIT, '{"kind": "Policy", "apiVersion": "audit.k8s.io/v1", "rules": [{"level": "Metadata"}]}', 0o600)
    before = host.entries()
    for verb in ("check", "apply"):
        seen = host.seen(verb)
        assert (seen.code, seen.findings) == (0, ())
    assert host.entries() == before


@pytest.mark.parametrize("path", [POLICY, DROPIN])
@pytest.mark.parametrize("verb", ["apply", "gate"])
def test_a_comment_in_a_file_of_ours_keeps_no_later_version_of_it_away(
    verb: str, path: str, hardened: Hardened
) -> None:
    """At the upgrade to 1.25 the file must change or K3s fails; what it was, the comment too, is kept as a backup."""
    host = hardened("server", "1.24")
    commented = host[path].read_bytes() + b"# Ticket 4711.\n"
    host[path].write_bytes(commented)
    assert host.seen("check").with_status("edited") == set()
    host.options = ("--role", "server", "--k3s-version", "1.25")
    seen = host.seen(verb, *(host.options if verb == "gate" else ()))
    assert (seen.code, seen.items[path]) == (0, "changed")
    assert "PodSecurityPolicy" not in host[path].read_text()
    (kept,) = host[f"{STATE}/backups"].iterdir()
    assert kept.read_bytes() == commented
    assert kept.name in seen.details[path]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut-off": lambda content: content[: len(content) // 2],
    "cut-in-the-comment": lambda content: content[:20],
    "nul-filled": lambda content: bytes(len(content)),
    "nul-at-the-end": lambda content: content[:100] + bytes(len(content) - 100),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("path", MANAGED)
def test_a_damaged_file_is_repaired_without_force(path: str, damage: str, hardened: Hardened) -> None:
    """What a power cut or a full disk leaves is nobody's work; no backup is kept of it."""
    host = hardened()
    before = host.entries()
    host[path].write_bytes(DAMAGES[damage](host[path].read_bytes()))
    assert {finding.location for finding in host.seen("check").of("file-damaged")} == {path}
    seen = host.seen("apply")
    assert (seen.code, seen.findings) == (0, ())
    assert host.entries() == before
    assert not host[f"{STATE}/backups"].exists()


@pytest.mark.parametrize("path", MANAGED)
def test_a_file_that_lost_its_last_byte_is_found_or_repaired_but_not_complained_about_for_ever(
    path: str, hardened: Hardened
) -> None:
    """After `apply`, `check` has nothing to say that `apply` would not do."""
    host = hardened()
    host[path].write_bytes(host[path].read_bytes()[:-1])
    host.run("apply")
    seen = host.seen("check")
    assert (seen.code, seen.findings) == (0, ())


OBSTACLES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "symlink": ("a symlink", lambda path: path.symlink_to("/etc/passwd")),
    "dangling-symlink": ("a symlink", lambda path: path.symlink_to("/nowhere")),
    "FIFO": ("a FIFO", os.mkfifo),
    "directory": ("a directory", lambda path: path.mkdir()),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
@pytest.mark.parametrize("path", [POLICY, KERNEL_FILE, DROPIN])
def test_what_is_no_file_is_refused_with_its_name_and_kind(path: str, obstacle: str, hardened: Hardened) -> None:
    """Not followed, not opened, not removed, not even by --force; everything else is done."""
    words, make = OBSTACLES[obstacle]
    host = hardened()
    host[path].unlink()
    make(host[path])
    host[PSA].unlink()
    before = host.entries()
    for options, code in (((), 4), (("--force",), 1)):
        seen = host.seen("apply", *options)
        assert seen.code == code  # the second time nothing is left that could be done
        assert seen.items[path] == "refused"
        assert f"is {words}, which is not replaced" in seen.details[path]
    assert host[PSA].exists()
    after = host.entries()
    assert {name: entry for name, entry in after.items() if name != PSA} == before


def test_a_directory_that_is_none_is_refused(host: HostTree) -> None:
    """A file where server/ should be, and a link to elsewhere, are named; nothing is written through them."""
    elsewhere = host["/srv/elsewhere"]
    elsewhere.mkdir(parents=True)
    host[DATA_DIR].mkdir(parents=True)
    host[f"{DATA_DIR}/server"].symlink_to("/srv/elsewhere")
    seen = host.seen("apply")
    assert seen.code == 4
    assert seen.details[f"{DATA_DIR}/server"] == "is a symlink, which is not replaced"
    host[f"{DATA_DIR}/server"].unlink()
    host.write(f"{DATA_DIR}/server", "a file")
    seen = host.seen("apply")
    assert seen.code == 1
    assert "regular file" in seen.details[f"{DATA_DIR}/server"]
    assert host[f"{DATA_DIR}/server"].read_text() == "a file"


def test_nothing_is_written_below_a_directory_that_others_can_write_to(host: HostTree) -> None:
    """Whoever can write there could swap what is written; the directory is named, with the command that repairs it."""
    host.write("/etc/rancher/k3s/config.yaml", "node-name: a\n")
    host["/etc/rancher/k3s"].chmod(0o777)
    seen = host.seen("apply")
    assert seen.code == 4
    assert DROPIN not in host.entries()
    assert "chown root:root /etc/rancher/k3s && chmod go-w /etc/rancher/k3s" in seen.text
    assert host.entries()["/etc/rancher/k3s"].mode == 0o777
    host["/etc/rancher/k3s"].chmod(0o755)
    assert host.seen("apply").code == 0


# --- revert ---


@pytest.mark.parametrize("version", ["1.24", "1.34"])
@pytest.mark.parametrize("role", ["server", "agent"])
def test_apply_then_revert_is_the_host_as_it_was(role: str, version: str, host: HostTree) -> None:
    """Files, directories, modes and kernel values, and the program's own state is gone as well."""
    host.options = ("--role", role, "--k3s-version", version)
    host.write("/etc/rancher/k3s/config.yaml", "node-name: a\n", 0o640)
    host[DATA_DIR].mkdir(parents=True)
    host[DATA_DIR].chmod(0o711)
    before = host.entries()
    assert host.run("apply").code == 0
    assert host.entries() != before
    seen = host.seen("revert")
    assert seen.code == 0
    assert host.entries() == before
    assert STATE not in host.entries(with_state=True)


def test_loosened_modes_come_back_too(host: HostTree) -> None:
    """A directory that was 0755 before is 0755 again: revert undoes, it does not judge."""
    host[f"{DATA_DIR}/server/manifests"].mkdir(parents=True)
    host.write(f"{MANIFESTS}/own.yaml", "kind: ConfigMap\n")
    before = host.entries()
    host.run("apply")
    assert host.entries()[f"{DATA_DIR}/server"].mode == 0o700
    host.run("revert")
    assert host.entries() == before


def test_revert_refuses_what_was_edited_since_and_names_it(hardened: Hardened, pristine: HostTree) -> None:
    """All else is undone; what was edited stays, and the report says what differs."""
    host = hardened()
    host.edit(AUDIT)
    host.write("/proc/sys/kernel/panic", "20\n")
    host[PSA].chmod(0o644)
    edited = {path: host.entries()[path] for path in (AUDIT, PSA, "/proc/sys/kernel/panic")}
    seen = host.seen("revert")
    assert seen.code == 4
    assert seen.with_status("edited") == {AUDIT, PSA, "kernel.panic"}
    assert "content" in seen.details[AUDIT]
    assert "mode 0600 → 0644" in seen.details[PSA]
    assert "10 → 20" in seen.details["kernel.panic"]
    after = host.entries()
    assert {path: after[path] for path in edited} == edited
    kept = {path for path in after if pristine.entries().get(path) != after[path]}
    assert kept - edited.keys() == {f"{DATA_DIR}/server", DATA_DIR, "/var/lib/rancher"}


@pytest.mark.parametrize("version", ["1.24", "1.34"])
def test_what_an_edited_drop_in_needs_stays_with_it(version: str, hardened: Hardened, pristine: HostTree) -> None:
    """The files that it names, the kernel values that kubelet insists on by it: K3s starts, now and after a boot."""
    host = hardened("server", version)
    host.edit(DROPIN)
    before = host.entries()
    named = {AUDIT} | ({PSA} if version == "1.34" else set())
    values = {"vm.panic_on_oom", "vm.overcommit_memory", "kernel.panic", "kernel.panic_on_oops"}
    seen = host.seen("revert")
    assert (seen.code, seen.with_status("edited")) == (4, {DROPIN})
    assert seen.with_status("refused") == {*named, KERNEL_FILE, *values} - {"vm.panic_on_oom"}
    assert all(DROPIN in seen.details[name] for name in seen.with_status("refused"))
    kept = {path for path, entry in before.items() if host.entries().get(path) == entry}
    assert kept >= {DROPIN, *named, KERNEL_FILE, *(path for path in before if path.startswith("/proc/sys/"))}
    assert POLICY not in host.entries()
    assert host.run("revert", "--force").code == 0
    assert host.entries() == pristine.entries()


def test_an_edited_drop_in_without_protect_kernel_defaults_needs_no_kernel_values(hardened: Hardened) -> None:
    """kubelet then sets them itself."""
    host = hardened("agent")
    host[DROPIN].write_text(host[DROPIN].read_text().replace("protect-kernel-defaults: true\n", ""))
    seen = host.seen("revert")
    assert (seen.with_status("edited"), seen.with_status("refused")) == ({DROPIN}, set())
    assert KERNEL_FILE not in host.entries()


def test_a_drop_in_that_was_there_before_hinders_nothing(hardened: Hardened) -> None:
    """Its kernel values were wrong then, and are again: undo is no opinion on what was there."""
    host = hardened()
    shutil.rmtree(host[STATE])
    host.write("/proc/sys/kernel/panic", "0\n")
    host[DROPIN].chmod(0o644)
    before = host.entries()
    assert host.run("apply").code == 0
    assert host.run("revert").code == 0
    assert host.entries() == before


def test_revert_can_be_forced_after_it_refused(hardened: Hardened, pristine: HostTree) -> None:
    """The journal stays as long as anything is left of what it knows; the edited file is kept as a backup."""
    host = hardened()
    host.edit(AUDIT)
    edited = host[AUDIT].read_bytes()
    assert host.run("revert").code == 4
    assert host.seen("revert", "--force").code == 0
    assert host.entries() == pristine.entries()
    assert [path.read_bytes() for path in host[f"{STATE}/backups"].iterdir()] == [edited]


def test_revert_goes_on_once_the_edit_is_undone(hardened: Hardened, pristine: HostTree) -> None:
    """The other way out of a refusal, as its remedy says."""
    host = hardened()
    ours = host[AUDIT].read_bytes()
    host.edit(AUDIT)
    assert host.run("revert").code == 4
    host[AUDIT].write_bytes(ours)
    assert host.run("revert").code == 0
    assert host.entries() == pristine.entries()


def test_a_directory_that_others_use_by_now_is_left(hardened: Hardened, pristine: HostTree) -> None:
    """K3s has put its data below server/ meanwhile: the directories stay with what is in them, and that is no error."""
    host = hardened()
    host.write(f"{DATA_DIR}/server/db/state.db", "data", 0o600)
    host.write(f"{MANIFESTS}/coredns.yaml", "kind: List\n", 0o600)
    seen = host.seen("revert")
    assert seen.code == 0
    assert seen.with_status("kept") == {MANIFESTS, f"{DATA_DIR}/server", DATA_DIR, "/var/lib/rancher"}
    added = host.entries().keys() - pristine.entries().keys()
    theirs = {f"{DATA_DIR}/server/db", f"{DATA_DIR}/server/db/state.db", f"{MANIFESTS}/coredns.yaml"}
    assert added == theirs | seen.with_status("kept")


def test_revert_of_the_last_run_leaves_those_before(host: HostTree, pristine: HostTree) -> None:
    """`--last` undoes one run after the other, newest first; each leaves the host as it was before that run."""
    states = [pristine.entries()]
    for version in ("1.24", "1.25", "1.34"):
        host.options = ("--role", "server", "--k3s-version", version)
        assert host.run("apply").code == 0
        states.append(host.entries())
    for state in reversed(states[:-1]):
        assert host.run("revert", "--last").code == 0
        assert host.entries() == state
    assert STATE not in host.entries(with_state=True)


def test_revert_undoes_all_runs_at_once(host: HostTree, pristine: HostTree) -> None:
    """However many there were, the host is as before the first. Two of these five found nothing to do."""
    for version in ("1.23", "1.24", "1.25", "1.29", "1.34"):
        host.options = ("--role", "server", "--k3s-version", version)
        assert host.run("apply").code == 0
    seen = host.seen("revert")
    assert (seen.code, seen.facts["runs"][0]) == (0, "3 to undo")
    assert host.entries() == pristine.entries()


def test_a_revert_with_nothing_to_undo_says_so(host: HostTree) -> None:
    """On a host that was never hardened it is no error, and changes nothing."""
    before = host.entries()
    seen = host.seen("revert")
    assert (seen.code, seen.items, seen.facts["runs"][0]) == (0, {}, "0 to undo")
    assert host.entries(with_state=True).keys() - {LOCK} == before.keys()


def test_a_host_can_be_hardened_again_after_a_revert(hardened: Hardened) -> None:
    """The same host as the first time."""
    host = hardened()
    before = host.entries()
    assert host.run("revert").code == 0
    assert host.run("apply").code == 0
    assert host.entries() == before


def test_an_interrupted_run_is_finished_and_can_be_undone(hardened: Hardened, pristine: HostTree) -> None:
    """Left-overs of the cut-off run go at the next apply, which says 0; revert still knows the start."""
    host = hardened()
    for record in host[f"{STATE}/journal"].iterdir():
        record.rename(record.with_suffix(".begun"))
    host[AUDIT].unlink()
    host.write(f"{DATA_DIR}/server/.audit.yaml.k3s-harden", "half of it")
    assert host.seen("check").ids >= {"interrupted-run"}
    assert host.run("apply").code == 0
    assert not [path for path in host.entries() if path.endswith(".k3s-harden")]
    assert host.seen("check").findings == ()
    assert host.run("revert").code == 0
    assert host.entries() == pristine.entries()


def test_a_journal_that_cannot_be_understood_is_named(hardened: Hardened) -> None:
    """Undoing by half a memory would be worse than none: file and remedy are said, and nothing is changed."""
    host = hardened()
    (record,) = host[f"{STATE}/journal"].iterdir()
    record.write_text("{")
    before = host.entries()
    done = host.run("revert")
    assert (done.code, done.stdout) == (1, "")
    assert record.name in done.stderr
    assert "move it away" in done.stderr
    assert host.entries() == before


def test_a_damaged_record_hides_nothing_else(hardened: Hardened) -> None:
    """`check` has it among all that it finds; `apply` does what it can, and leaves what may be somebody's work."""
    host = hardened("server", "1.24")
    (record,) = host[f"{STATE}/journal"].iterdir()
    record.write_text("{")
    host.write("/etc/sysctl.d/99-site.conf", "kernel.panic=0\n")
    assert host.seen("check").ids == {"journal-damaged", "sysctl-overridden"}
    host.options = ("--role", "server", "--k3s-version", "1.34")
    assert host.seen("check").ids >= {"journal-damaged", "sysctl-overridden", "file-edited"}
    seen = host.seen("apply")
    assert (seen.code, seen.items[PSA], seen.items[POLICY]) == (4, "changed", "edited")
