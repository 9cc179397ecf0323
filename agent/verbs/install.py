"""The verbs install, uninstall and upgrade-node, for hosts and images without the package."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import PurePosixPath

from agent import __version__
from agent.base.errors import HardenError, HostError, UnsupportedHostError, UsageError
from agent.base.host import LOCK, Host
from agent.base.host.systemd import OLDEST_SYSTEMD, Systemd
from agent.base.host.writable_tree import locked
from agent.base.linux.unit_files import PACKAGED_UNITS
from agent.base.model import Absent, Directory, File
from agent.base.repair import Answer, Decide, Instruction, Repair, RunVerb, moved_away
from agent.base.report import Fact, Item, ItemStatus, NextStep, Report
from agent.base.value import replace
from agent.findings import after_apply_or_revert
from agent.harden.changes.execute import carry_out, refused
from agent.harden.changes.journal import BACKUPS, Journal
from agent.harden.changes.state import HIDDEN_FROM_UNITS, read_publication
from agent.harden.gate import gate_units, installed_gate
from agent.harden.gate.gate_state import RUN_DIRECTORY, end_observation, is_unhardened_cluster
from agent.harden.gate.gate_units import PACKAGED_PROGRAM, PROGRAM
from agent.harden.gate.installed_gate import Gate, detect_gate
from agent.harden.node.service_units import DROPIN, DROPINS, OLDER_DROPIN, UNIT
from agent.harden.plan import plan
from agent.harden.plan.plan import Change, describe_state
from agent.verbs.advice import next_steps
from agent.verbs.installation import (
    CLEAN_HOOK,
    COMPLETIONS,
    DATA_DIR_DROPINS,
    FORMER_COMPLETION,
    MISFIT,
    UNIT_DIRECTORY,
    UNITS,
    Installation,
    fits_in_a_unit,
    installed_files,
    require_name_for_units,
)
from agent.verbs.publish import withdraw
from agent.verbs.record_traffic import remove_record

_BEFORE_ENFORCING = (
    NextStep(RunVerb("impact"), "see what breaks in the cluster"),
    NextStep(RunVerb("apply"), "harden this host first"),
    NextStep(RunVerb("install", ("--enforce",)), "or harden it at K3s' next start"),
)
_LARGEST_SCRIPT = 1 << 12
_SHARED_FILES = (PurePosixPath("/usr/local/share"), PurePosixPath("/etc/fish"))
"""Below them are the completions."""


def install(host: Host, installation: Installation, *, enforce: bool = False) -> Report:
    """Write the files and make systemd read them. No unit is started or stopped; replaced files are backed up.

    On a cluster that runs and that apply has never hardened it makes no changes, unless `enforce`: the gate would
    harden the host at K3s' next start.

    Raises UsageError for a program that others can write, because the gate runs it as root, for one that the gate
    cannot run, and for one that is not the program of an installed package. Raises UnsupportedHostError without
    systemd, and for one that is too old.
    """
    host.refuse_ordinary_user("install")
    if not installation.is_openrc:
        _refuse_host_without_systemd(host)
    if installation.packaged and installation.program != PACKAGED_PROGRAM:
        raise UsageError(
            f"cannot install a gate that runs {installation.program}: the package has its own, {PACKAGED_UNITS / UNIT}",
            f"run {PACKAGED_PROGRAM} install, or pass --program {PACKAGED_PROGRAM}; or remove the package first",
        )
    problem = _program_problem(host, installation.program)
    if problem:
        raise UsageError(
            f"cannot install a gate that runs {installation.program}: {problem}",
            "put the single file, k3s-harden-VERSION.pyz, into a directory that only root can write, such as /opt,"
            " and run its install, or pass its path with --program",
        )
    require_name_for_units(installation.data_dir)
    if not enforce and host.is_live and is_unhardened_cluster(host, installation.data_dir):
        report = Report(
            verb="install", writes=True, facts=(), items=(), findings=(after_apply_or_revert.not_enforced(),)
        )
        return replace(report, next_steps=_BEFORE_ENFORCING)
    resources = installed_files(installation)
    in_place = {file.path for file in resources}
    with host.lock():
        _remove_temporary_files(host, installation)
        moved = _move_dropins(host, resources)
        steps = plan.make_plan(resources, host.observe_all(resources), force=True)
        items = [*moved, *_carry_out(host, steps.changes)]
        items += _remove(host, [path for path in _hiding(host, installation) if path not in in_place], installation)
        if enforce:
            end_observation(host)
    items += [refused(refusal) for refusal in steps.refusals]
    _reload(host)
    there = installed_gate.detect_gate(host)
    report = _report("install", items, [file.id for file in resources], there)
    is_blocked = host.is_live and bool(there.exceptions.blocked)
    steps_then = next_steps.steps_after_install(report, installation.k3s, is_blocked=is_blocked)
    return replace(report, next_steps=(*installation.blocked, *steps_then))


def _move_dropins(host: Host, resources: Iterable[File]) -> list[Item]:
    """Give the drop-ins of earlier releases their new content and name. A kill leaves one drop-in of each service."""
    items = []
    for file in resources:
        older = host.tree.observe(file.path.with_name(OLDER_DROPIN))
        if file.path.name == DROPIN and isinstance(older, File) and _is_ours(older):
            items += _carry_out(host, [Change(older, replace(file, path=older.path), backup=True)])
            if items[-1].status is ItemStatus.CHANGED:
                host.writable_tree.rename(older.path, DROPIN)
    return items


def uninstall(host: Host, installation: Installation) -> Report:
    """Remove all files of `install`, for all services, and keep the files of a package.

    Edited files are backed up.
    """
    host.refuse_ordinary_user("uninstall")
    with host.lock():
        dropins, others = _all_places(host, installation)
        _remove_temporary_files(host, installation)
        _stop_timers(host, others)
        items = _remove(host, dropins, installation)
        # A drop-in that systemd still uses blocks K3s without the unit that it starts.
        _reload(host)
        removed = _remove(host, others, installation)
        if not installation.packaged:
            removed += remove_record(host)
        _remove_state_of_boot(host, installation)
    _reload(host)
    left = installed_gate.detect_gate(host)
    # The units of a package continue to publish.
    node, steps = ([], ()) if installation.packaged else _withdrawn(host)
    report = _report("uninstall", [*items, *removed, *node], [], left)
    report = replace(report, findings=after_apply_or_revert.after_uninstall(left))
    try:
        is_hardened = bool(Journal(host).runs())
    except HardenError:  # revert reports it
        is_hardened = True
    then = next_steps.steps_after_uninstall(report, installation.k3s, is_hardened=is_hardened)
    return replace(report, next_steps=(*steps, *then))


def _withdrawn(host: Host) -> tuple[list[Item], tuple[NextStep, ...]]:
    """Remove what this node has published, and return an item about it, and the step that is left if that failed."""
    publication = read_publication(host) if host.is_live else None
    if publication is None or not publication.kubeconfig:
        return [], ()
    try:
        return [Item("Node", ItemStatus.CHANGED, withdraw(host, publication))], ()
    except HardenError as error:
        step = NextStep(error.repair.steps[0], "as an administrator of the cluster, remove what this node published")
        return [Item("Node", ItemStatus.KEPT, error.message)], (step,)


def _remove_state_of_boot(host: Host, installation: Installation) -> None:
    """Remove the files in /run, of which a package still needs those of its gate."""
    with suppress(HostError):
        if not installation.packaged:
            for name in host.tree.names(RUN_DIRECTORY):
                host.writable_tree.remove_file(RUN_DIRECTORY / name)
            host.writable_tree.remove_directory(RUN_DIRECTORY)
        host.writable_tree.remove_file(LOCK)


def _all_places(host: Host, installation: Installation) -> tuple[list[PurePosixPath], list[PurePosixPath]]:
    """Return the paths of the drop-ins of services, and of all other files, that any installation here has written."""
    if installation.is_openrc:
        return [gate_units.CONFIGURATION], [gate_units.START, *COMPLETIONS.values(), CLEAN_HOOK]
    names = [name for name in host.tree.names(UNIT_DIRECTORY) if name.endswith(".service.d")]
    dropins = [f"{name}/{dropin}" for name in names for dropin in DROPINS]
    units = [name for name in UNITS if name not in installation.packaged]
    others = [*(UNIT_DIRECTORY / name for name in units), *_hiding(host, installation), *COMPLETIONS.values()]
    others.append(FORMER_COMPLETION)
    if not installation.packaged:
        others.append(CLEAN_HOOK)
    return [UNIT_DIRECTORY / name for name in dropins if name not in installation.packaged], others


def _remove_temporary_files(host: Host, installation: Installation) -> None:
    """Remove the temporary files of killed runs."""
    dropins, others = _all_places(host, installation)
    for path in (*dropins, *others, *(UNIT_DIRECTORY / name for name in DATA_DIR_DROPINS)):
        with suppress(HostError):
            host.writable_tree.remove_temporary(path)
    with suppress(HostError):
        host.writable_tree.remove_temporaries(BACKUPS)


def _refuse_host_without_systemd(host: Host) -> None:
    if Systemd(host).reads_units:
        version = Systemd(host).version
        if version is None or version >= OLDEST_SYSTEMD:
            return
        raise UnsupportedHostError(
            f"cannot install the gate: found systemd {version}, expected {OLDEST_SYSTEMD} or newer",
            Instruction("use apply and check without the gate; apply hardens the host, but does not hold K3s back"),
        )
    if host.is_live:
        problem = "neither systemd nor OpenRC runs; containers without them are not supported"
        raise UnsupportedHostError(
            f"cannot install the gate: {problem}",
            Instruction(
                "run this on a host on which systemd or OpenRC starts K3s; for an image, pass its directory with --root"
            ),
        )
    raise UnsupportedHostError(
        f"cannot install the gate in {host.root}: it has neither systemd nor OpenRC",
        Instruction("install one of them in the tree first; other init systems are not supported"),
    )


def _program_problem(host: Host, program: PurePosixPath) -> str:
    """Return why the gate cannot run this program, or must not; empty if it can."""
    if not program.is_absolute():
        return "it is not an absolute path"
    if not fits_in_a_unit(program):
        return MISFIT
    hidden = next((place for place in HIDDEN_FROM_UNITS if program.is_relative_to(place)), None)
    if hidden is not None:
        return f"the sandbox of the units hides {hidden}"
    if program != PACKAGED_PROGRAM and _needs_replaceable_python(host, program):
        return "pip installed it for the distribution's Python, and it does not run after an upgrade to another version"
    found = installed_gate.program_problem(host, program)
    if found:
        return found.problem
    return "" if PROGRAM in program.name else f"its name has no {PROGRAM}, by which `check` recognizes the gate"


def _needs_replaceable_python(host: Host, program: PurePosixPath) -> bool:
    """Return whether a program is a script of pip, which runs only with one version of the distribution's Python."""
    with suppress(HostError):  # such as a file that is too large for a script of pip
        script = (host.tree.read(program, _LARGEST_SCRIPT) or b"").decode(errors="replace")
        if python := re.match(r"#!(/\S*)/python[\d.]*\n", script):
            venv = host.tree.read_text(PurePosixPath(python[1]).parent / "pyvenv.cfg")
            home = re.search(r"^home *= *(\S+)", venv, re.MULTILINE)
            return (home or python)[1] in ("/usr/bin", "/bin")
    return False


def _hiding(host: Host, installation: Installation) -> list[PurePosixPath]:
    """Return the files of `install` that override or extend those of a package. Links, such as masks, are kept."""
    older = (name.replace(DROPIN, OLDER_DROPIN) for name in installation.packaged if name.endswith(DROPIN))
    places = [UNIT_DIRECTORY / name for name in (*sorted(installation.packaged), *sorted(older), *DATA_DIR_DROPINS)]
    return [path for path in places if isinstance(now := host.tree.observe(path), File) and _is_ours(now)]


def _stop_timers(host: Host, units: Iterable[PurePosixPath]) -> None:
    """Stop the timers among these units, because a running timer continues to start its service."""
    systemd = Systemd(host)
    if systemd.is_running:
        for unit in units:
            if unit.suffix == ".timer" and isinstance(host.tree.observe(unit), File):
                systemd.stop(unit.name)


def _remove(host: Host, places: Iterable[PurePosixPath], installation: Installation) -> list[Item]:
    unedited = {
        file.content
        for one in (installation, installation._replace(packaged=frozenset()))
        for file in installed_files(one)
    }
    items: list[Item] = []
    for path in places:
        now = host.tree.observe(path)
        if isinstance(now, Absent):
            if path.parent.parent == UNIT_DIRECTORY:  # left by a run that was killed
                _remove_empty_directories(host, path.parent)
            continue
        if not isinstance(now, File) or not _is_ours(now):
            detail = f"is not a file of k3s-harden: {describe_state(now)}"
            answers = (Answer("No", "it is moved away", (moved_away(path),)), Answer("Yes", "it stays", ()))
            repair = Repair((Decide(f"Is {path} needed?", answers),))
            items.append(Item(str(path), ItemStatus.REFUSED, detail, repair))
            continue
        items += _carry_out(host, [Change(now, Absent(path), backup=now.content not in unedited)])
        _remove_empty_directories(host, path.parent)
    return items


def _remove_empty_directories(host: Host, path: PurePosixPath) -> None:
    """Remove a directory of drop-ins, of completions or of the gate, and those above it that contain nothing else."""
    for directory in (path, *path.parents):
        is_removable = (
            directory.name.endswith(".d")
            or directory == gate_units.START.parent
            or not {directory, *directory.parents}.isdisjoint(_SHARED_FILES)
        )
        if not (is_removable and isinstance(host.tree.observe(directory), Directory)):
            return
        if not host.writable_tree.remove_directory(directory):
            return


def _carry_out(host: Host, changes: Sequence[Change]) -> list[Item]:
    # All these files belong to k3s-harden, so the journal needs no earlier state.
    return [carry_out(change, host, Journal(host)) for change in changes]


def _reload(host: Host) -> None:
    """Make systemd read the files, including those of an earlier run that was killed before its reload."""
    systemd = Systemd(host)
    if systemd.is_running:
        systemd.reload()


def _report(verb: str, items: Sequence[Item], all_ids: Sequence[str], there: Gate) -> Report:
    done = {item.id for item in items}
    untouched = [Item(name, ItemStatus.COMPLIANT) for name in all_ids if name not in done]
    evidence = "runs before each start of K3s" + ("; installed by a package" if there.packaged else "")
    facts = (Fact("gate", str(there.template), evidence),) if there.template else ()
    return Report(verb=verb, writes=True, facts=facts, items=(*items, *untouched), findings=())


def _is_ours(now: File) -> bool:
    """Return whether a file is of any version of k3s-harden, all of which contain its name."""
    return b"k3s-harden" in now.content


INSTALLED = PurePosixPath("/opt/k3s-harden")
"""The directory of the program, where the script `install` of the archive puts it."""

BESIDE = INSTALLED.with_name("k3s-harden.upgrade")
"""The new version until it takes the place of the installed one, and then the previous one until `check` succeeds."""

UPGRADE_LOCK = PurePosixPath("/run/k3s-harden-upgrade.lock")
"""Held for the whole upgrade; `gate` and `install`, which it runs, take the lock of this program themselves."""

_LIBRARIES = "bin/_internal"  # only a program with its own Python has it


def upgrade_node(host: Host, bundle: PurePosixPath, run: Callable[..., int], say: Callable[[str], None]) -> int:
    """Replace the program of the host, a tree, by that in `bundle`; `run` runs a program of the host.

    Killed before the exchange, the next run copies again; killed after it, the next run goes on with `install` and
    `check`. Returns 0, or the exit code of the program that failed. Raises UnsupportedHostError without an installed
    archive, and LockHeldError if another upgrade of the node runs.
    """
    if not host.machine_tree.exists(bundle / _LIBRARIES):
        raise UsageError("cannot upgrade a node: this program is not that of an image", "run it in the image")
    if not host.tree.exists(INSTALLED / _LIBRARIES):
        raise UnsupportedHostError(
            f"cannot upgrade this node: found no {INSTALLED / _LIBRARIES}, which the archive installs",
            Instruction("install the archive first; upgrade a package or a single file as it was installed"),
        )

    def first_failure(directory: PurePosixPath, *verbs: str) -> int:
        for words in ((str(directory / "bin/k3s-harden"), verb) for verb in verbs):
            say(f"+ {' '.join(words)}")
            if code := run(words):
                say(f"cannot upgrade this node to {__version__}: {' '.join(words)} exited with {code}")
                return code
        return 0

    gate, install = (("gate",), ("install",)) if detect_gate(host).template else ((), ())
    tree = host.writable_tree
    with locked(tree, UPGRADE_LOCK, wait=0), tree.replacement_of(bundle, INSTALLED, BESIDE) as replacement:
        if not replacement.is_done:
            replacement.make_copy()
            if restorecon := host.trusted_tool("restorecon"):
                run((str(restorecon), "-R", str(BESIDE)))
            # After a failure, the copy stays until the next try, for the commands that its report names.
            if code := first_failure(BESIDE, *gate, "check"):
                return code
            with host.lock():
                replacement.exchange()
        if not (code := first_failure(INSTALLED, *install, "check")):
            replacement.remove_copy()
        return code
