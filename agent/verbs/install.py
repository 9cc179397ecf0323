"""The verbs install and uninstall: the gate, timers and completions, for hosts and images without the package."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent import findings, package_data
from agent.changes.execute import carry_out, refused
from agent.changes.journal import BACKUPS, Journal
from agent.changes.notifications import HIDDEN_FROM_UNITS
from agent.changes.publication import read_publication
from agent.errors import HardenError, HostError, UnsupportedHostError, UsageError
from agent.findings.node import unknown_config
from agent.host import LOCK
from agent.host.systemd import OLDEST_SYSTEMD, Systemd
from agent.k3s.paths import DEFAULT_DATA_DIR
from agent.linux.unit_files import PACKAGED_UNITS
from agent.model import EXECUTABLE_FILE, PUBLIC_FILE, Absent, Directory, File, Instruction, Role, ShellCommand
from agent.node import gate, gate_units, openrc
from agent.node.gate_exceptions import RUN_DIRECTORY
from agent.node.gate_units import DROPIN, PACKAGED_PROGRAM, TEMPLATE, UNIT
from agent.node.services import installed_units
from agent.node.site_files import read_settings
from agent.plan import next_steps, plan
from agent.plan.installed_k3s import InstalledK3s
from agent.plan.plan import Change, describe_state
from agent.report import Fact, Item, ItemStatus, NextStep, Report
from agent.value import replace
from agent.verbs.completion_scripts import completion_script
from agent.verbs.k3s_state import configured_k3s
from agent.verbs.publish import withdraw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agent.host import Host
    from agent.k3s.services import OtherProgram
    from agent.node.gate import Gate
    from agent.situation import Request


UNIT_DIRECTORY = PurePosixPath("/etc/systemd/system")
UNITS = (
    TEMPLATE,
    UNIT,
    "k3s-harden-check.service",
    "k3s-harden-check.timer",
    "k3s-harden-notify@.service",
    "k3s-harden-publish.service",
    "k3s-harden-publish.timer",
    "k3s-harden-service-accounts.service",
    "k3s-harden-service-accounts.timer",
)

DATA_DIR_DROPINS = (f"{TEMPLATE}.d/10-data-dir.conf", f"{UNIT}.d/10-data-dir.conf")
"""Drop-ins with K3s' data directory for the units of a package, which contain the default directory."""

CLEAN_HOOK = PurePosixPath("/etc/cloud/clean.d/50-k3s-harden")
"""Run by `cloud-init clean`; written only if cloud-init is installed."""

COMPLETIONS = {
    "bash": PurePosixPath("/usr/local/share/bash-completion/completions/k3s-harden"),
    "zsh": PurePosixPath("/usr/local/share/zsh/site-functions/_k3s-harden"),
    "fish": PurePosixPath("/usr/local/share/fish/vendor_completions.d/k3s-harden.fish"),
}
"""Paths of completions that an administrator installs, by shell."""

USUAL = {"k3s.service": Role.SERVER, "k3s-agent.service": Role.AGENT}
"""The services of install.sh. Their drop-ins are installed even if the services do not exist yet."""

_LARGEST_SCRIPT = 1 << 12
_SHARED_FILES = PurePosixPath("/usr/local/share")
_MISFIT = "its name has a quote, a backslash, a $ or a control character"
_DATA_DIR_DROPIN = """\
# Written by `k3s-harden install`, because the unit of the package contains only the default data directory of K3s.
[Unit]
RequiresMountsFor={data_dir}
"""


class Wanted(NamedTuple):
    """An installation: the program, K3s' data directory, the services that get the gate, and completions by path.

    `packaged` contains the units and drop-ins that the distribution's package has installed, by their names below a
    directory of units; it is empty without a package.
    """

    program: PurePosixPath
    data_dir: PurePosixPath
    services: dict[str, Role]
    completions: dict[PurePosixPath, bytes]
    has_cloud_init: bool
    packaged: frozenset[str] = frozenset()
    k3s: InstalledK3s = InstalledK3s(Role.SERVER, "k3s")
    """K3s on the host, for the next steps."""
    is_openrc: bool = False
    """Whether OpenRC starts the services, and not systemd."""
    blocked: tuple[NextStep, ...] = ()
    """Why the gate blocks K3s as it is installed now, and what to do."""


def wanted(host: Host, request: Request, named: Sequence[str], program: PurePosixPath) -> Wanted:
    """Return the installation for this host: the usual K3s services, other existing ones, and the named ones.

    The role of a named service is that of its unit, or that of the request if the unit does not exist yet. Raises
    UsageError for a name that cannot be a service of K3s.
    """
    site = read_settings(host, request.settings_file, request.overrides)
    others: list[OtherProgram] = []
    installed = installed_units(host, [], others)
    services = USUAL | {unit.path.name: unit.role for unit in installed}
    for name in named:
        _refuse_service(name)
        services.setdefault(name, site.role or Role.SERVER)
    unit, _, k3s = configured_k3s(host, site, installed)
    has_cloud_init = host.tree.exists(CLEAN_HOOK.parent.parent)
    local = not host.tree.is_read_only(PurePosixPath("/usr/local"))
    completions = {path: completion_script(shell) for shell, path in COMPLETIONS.items()} if local else {}
    is_openrc = openrc.starts_services(host)
    blocked = tuple(
        NextStep(step)
        for trouble in unknown_config(unit, others, k3s.data_dir, site.k3s_config)
        for step in (Instruction(f"the gate will block K3s: {trouble.message}"), *trouble.remediation.steps)
    )
    found = Wanted(
        program, k3s.data_dir, services, completions, has_cloud_init, k3s=k3s, is_openrc=is_openrc, blocked=blocked
    )
    if not gate.detect_gate(host).packaged:
        return found
    places = (name for name in _units(found) if host.tree.exists(PACKAGED_UNITS / name))
    return found._replace(packaged=frozenset(places))


def files(wanted: Wanted) -> tuple[File, ...]:
    """Return all files of an installation, without those that a package has installed."""
    if wanted.is_openrc:
        return (*openrc.gate_files(wanted.program), *_other_files(wanted))
    units = {name: content for name, content in _units(wanted).items() if name not in wanted.packaged}
    if wanted.packaged and wanted.data_dir != DEFAULT_DATA_DIR:
        content = _DATA_DIR_DROPIN.format(data_dir=gate_units.unit_word(wanted.data_dir))
        if gate_units.is_in_a_home(wanted.data_dir):
            content += f"[Service]\n{gate_units.WRITABLE_HOME}\n"
        units |= dict.fromkeys(DATA_DIR_DROPINS, content.encode())
    found = [File(path=UNIT_DIRECTORY / name, content=content, mode=PUBLIC_FILE) for name, content in units.items()]
    return (*found, *(() if wanted.packaged else _other_files(wanted)))


def _other_files(wanted: Wanted) -> Iterator[File]:
    """Yield the files besides the gate."""
    for path, content in wanted.completions.items():
        yield File(path=path, content=content, mode=PUBLIC_FILE)
    if wanted.has_cloud_init:
        yield File(path=CLEAN_HOOK, content=package_data.read("units", "cloud-init-clean"), mode=EXECUTABLE_FILE)


def install(host: Host, wanted: Wanted) -> Report:
    """Write the files and make systemd read them. No unit is started or stopped; replaced files are backed up.

    Raises UsageError for a program that others can write, because the gate runs it as root, for one that the gate
    cannot run, and for one that is not the program of an installed package. Raises UnsupportedHostError without
    systemd, and for one that is too old.
    """
    host.refuse_ordinary_user("install")
    if not wanted.is_openrc:
        _refuse_host_without_systemd(host)
    if wanted.packaged and wanted.program != PACKAGED_PROGRAM:
        raise UsageError(
            f"cannot install a gate that runs {wanted.program}: the package has its own, {PACKAGED_UNITS / UNIT}",
            f"run {PACKAGED_PROGRAM} install, or pass --program {PACKAGED_PROGRAM}; or remove the package first",
        )
    problem = _program_problem(host, wanted.program)
    if problem:
        raise UsageError(
            f"cannot install a gate that runs {wanted.program}: {problem}",
            "run install of the single file, k3s-harden-VERSION.pyz, in a directory that only root can write, such as"
            " /opt, or pass its path with --program",
        )
    if not _fits_in_a_unit(wanted.data_dir):
        raise UsageError(
            f"cannot install a gate that waits for the mount of {wanted.data_dir}: {_MISFIT}", "rename the directory"
        )
    resources = files(wanted)
    in_place = {file.path for file in resources}
    with host.lock():
        _remove_temporary_files(host, wanted)
        steps = plan.make_plan(resources, host.observe_all(resources), force=True)
        items = _carry_out(host, steps.changes)
        items += _remove(host, [path for path in _hiding(host, wanted) if path not in in_place], wanted)
    items += [refused(refusal) for refusal in steps.refusals]
    _reload(host)
    report = _report("install", items, [file.id for file in resources], gate.detect_gate(host), wanted)
    return replace(report, next_steps=(*wanted.blocked, *next_steps.steps_after_install(report, wanted.k3s)))


def uninstall(host: Host, wanted: Wanted) -> Report:
    """Remove all files of `install`, for all services, and keep the files of a package.

    Edited files are backed up.
    """
    host.refuse_ordinary_user("uninstall")
    dropins, others = _all_places(host, wanted)
    with host.lock():
        _remove_temporary_files(host, wanted)
        _stop_timers(host, others)
        items = _remove(host, dropins, wanted)
        # A drop-in that systemd still uses blocks K3s without the unit that it starts.
        _reload(host)
        removed = _remove(host, others, wanted)
        _remove_state_of_boot(host, wanted)
    _reload(host)
    left = gate.detect_gate(host)
    # The units of a package continue to publish.
    node, steps = ([], ()) if wanted.packaged else _withdrawn(host)
    report = _report("uninstall", [*items, *removed, *node], [], left, wanted)
    report = replace(report, findings=findings.after_uninstall(left))
    return replace(report, next_steps=(*steps, *next_steps.steps_after_uninstall(report, wanted.k3s)))


def _withdrawn(host: Host) -> tuple[list[Item], tuple[NextStep, ...]]:
    """Remove what this node has published, and return an item about it, and the step that is left if that failed."""
    publication = read_publication(host) if host.is_live else None
    if publication is None:
        return [], ()
    try:
        return [Item("Node", ItemStatus.CHANGED, withdraw(host, publication))], ()
    except HardenError as error:
        step = NextStep(ShellCommand(error.hint), "as an administrator of the cluster, remove what this node published")
        return [Item("Node", ItemStatus.KEPT, error.message)], (step,)


def _remove_state_of_boot(host: Host, wanted: Wanted) -> None:
    """Remove the files in /run, of which a package still needs those of its gate."""
    with suppress(HostError):
        if not wanted.packaged:
            for name in host.tree.names(RUN_DIRECTORY):
                host.writable_tree.remove_file(RUN_DIRECTORY / name)
            host.writable_tree.remove_directory(RUN_DIRECTORY)
        host.writable_tree.remove_file(LOCK)


def _all_places(host: Host, wanted: Wanted) -> tuple[list[PurePosixPath], list[PurePosixPath]]:
    """Return the paths of the drop-ins of services, and of all other files, that any installation here has written."""
    if wanted.is_openrc:
        return [openrc.CONFIGURATION], [openrc.START, *COMPLETIONS.values(), CLEAN_HOOK]
    dropins = [f"{name}/{DROPIN}" for name in host.tree.names(UNIT_DIRECTORY) if name.endswith(".service.d")]
    units = [name for name in UNITS if name not in wanted.packaged]
    others = [*(UNIT_DIRECTORY / name for name in units), *_hiding(host, wanted), *COMPLETIONS.values()]
    if not wanted.packaged:
        others.append(CLEAN_HOOK)
    return [UNIT_DIRECTORY / name for name in dropins if name not in wanted.packaged], others


def _remove_temporary_files(host: Host, wanted: Wanted) -> None:
    """Remove the temporary files of killed runs."""
    dropins, others = _all_places(host, wanted)
    for path in (*dropins, *others, *(UNIT_DIRECTORY / name for name in DATA_DIR_DROPINS)):
        with suppress(HostError):
            host.writable_tree.remove_temporary(path)
    with suppress(HostError):
        host.writable_tree.remove_temporaries(BACKUPS)


def _refuse_service(name: str) -> None:
    if name.startswith("k3s-harden"):
        raise UsageError(
            f"cannot install the gate for {name}: it is a service of k3s-harden", "pass a service that starts K3s"
        )
    if not re.fullmatch(r"k3s[-\w.@]*\.service", name, re.ASCII):
        raise UsageError(
            f"cannot install the gate for {name}: expected k3s.service or k3s-NAME.service",
            "pass the service of K3s, such as --unit k3s-east.service for INSTALL_K3S_NAME=east",
        )


def _refuse_host_without_systemd(host: Host) -> None:
    if Systemd(host).reads_units:
        version = Systemd(host).version
        if version is None or version >= OLDEST_SYSTEMD:
            return
        raise UnsupportedHostError(
            f"cannot install the gate: found systemd {version}, expected {OLDEST_SYSTEMD} or newer",
            "use apply and check without the gate; apply hardens the host, but does not hold K3s back",
        )
    if host.is_live:
        problem = "neither systemd nor OpenRC runs; containers without them are not supported"
        raise UnsupportedHostError(
            f"cannot install the gate: {problem}",
            "run this on a host on which systemd or OpenRC starts K3s; for an image, pass its directory with --root",
        )
    raise UnsupportedHostError(
        f"cannot install the gate in {host.root}: it has neither systemd nor OpenRC",
        "install one of them in the tree first; other init systems are not supported",
    )


def _program_problem(host: Host, program: PurePosixPath) -> str:
    """Return why the gate cannot run this program, or must not; empty if it can."""
    if not program.is_absolute():
        return "it is not an absolute path"
    if not _fits_in_a_unit(program):
        return _MISFIT
    hidden = next((place for place in HIDDEN_FROM_UNITS if program.is_relative_to(place)), None)
    if hidden is not None:
        return f"the sandbox of the units hides {hidden}"
    if program != PACKAGED_PROGRAM and _needs_replaceable_python(host, program):
        return "pip installed it for the distribution's Python, and it does not run after an upgrade to another version"
    found = gate.program_problem(host, program)
    return found.problem if found else ""


def _needs_replaceable_python(host: Host, program: PurePosixPath) -> bool:
    """Return whether a program is a script of pip, which runs only with one version of the distribution's Python."""
    with suppress(HostError):  # such as a file that is too large for a script of pip
        script = (host.tree.read(program, _LARGEST_SCRIPT) or b"").decode(errors="replace")
        if python := re.match(r"#!(/\S*)/python[\d.]*\n", script):
            venv = host.tree.read_text(PurePosixPath(python[1]).parent / "pyvenv.cfg")
            home = re.search(r"^home *= *(\S+)", venv, re.MULTILINE)
            return (home or python)[1] in ("/usr/bin", "/bin")
    return False


def _fits_in_a_unit(path: PurePosixPath) -> bool:
    return str(path).isprintable() and not set(str(path)) & set("\"'\\$")


def _hiding(host: Host, wanted: Wanted) -> list[PurePosixPath]:
    """Return the files of `install` that override or extend those of a package. Links, such as masks, are kept."""
    places = [UNIT_DIRECTORY / name for name in (*sorted(wanted.packaged), *DATA_DIR_DROPINS)]
    return [path for path in places if isinstance(now := host.tree.observe(path), File) and _is_ours(now)]


def _stop_timers(host: Host, units: Iterable[PurePosixPath]) -> None:
    """Stop the timers among these units, because a running timer continues to start its service."""
    systemd = Systemd(host)
    if systemd.is_running:
        for unit in units:
            if unit.suffix == ".timer" and isinstance(host.tree.observe(unit), File):
                systemd.stop(unit.name)


def _remove(host: Host, places: Iterable[PurePosixPath], wanted: Wanted) -> list[Item]:
    unedited = {
        file.content for installation in (wanted, wanted._replace(packaged=frozenset())) for file in files(installation)
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
            items.append(Item(str(path), ItemStatus.REFUSED, detail, "review it, and remove it if it is not needed"))
            continue
        items += _carry_out(host, [Change(now, Absent(path), backup=now.content not in unedited)])
        _remove_empty_directories(host, path.parent)
    return items


def _remove_empty_directories(host: Host, path: PurePosixPath) -> None:
    """Remove a directory of drop-ins, of completions or of the gate, and those above it that contain nothing else."""
    for directory in (path, *path.parents):
        is_removable = (
            directory.name.endswith(".d") or directory == openrc.START.parent or _SHARED_FILES in directory.parents
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


def _report(verb: str, items: Sequence[Item], all_ids: Sequence[str], there: Gate, wanted: Wanted) -> Report:
    done = {item.id for item in items}
    untouched = [Item(name, ItemStatus.COMPLIANT) for name in all_ids if name not in done]
    evidence = "runs before each start of K3s" + ("; installed by a package" if there.packaged else "")
    place = openrc.START if wanted.is_openrc else there.template or UNIT_DIRECTORY / TEMPLATE
    facts = (Fact("gate", str(place), evidence),)
    return Report(verb=verb, writes=True, facts=facts, items=(*items, *untouched), findings=())


def _units(wanted: Wanted) -> dict[str, bytes]:
    """Return the units, and the drop-ins of the services, by their names below a directory of units."""
    names = {name: name for name in UNITS}
    for service, role in wanted.services.items():
        usual = next(name for name, usual_role in USUAL.items() if usual_role is role)
        names[f"{service}.d/{DROPIN}"] = f"{usual}.d/{DROPIN}"
    # The units are first, so that an interrupted install leaves no drop-in without the unit that it starts.
    return {name: gate_units.unit_content(source, wanted.program, wanted.data_dir) for name, source in names.items()}


def _is_ours(now: File) -> bool:
    """Return whether a file is of any version of k3s-harden, all of which contain its name."""
    return b"k3s-harden" in now.content
