"""Puts the gate and the timer in place, and takes them away: what a package does, for hosts and images without one."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent import facts, k3s_units, package_data, plan
from agent.apply import carry_out, refused
from agent.errors import UsageError
from agent.host.systemd import Systemd
from agent.journal import Journal
from agent.k3s_units import DROPIN, GATE
from agent.model import Absent, Directory, File, FileMode, Role
from agent.plan import Change, in_words
from agent.report import Fact, Item, Report, Status
from agent.situation import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.host import Host
    from agent.situation import Request


UNIT_DIRECTORY = PurePosixPath("/etc/systemd/system")
UNITS = (
    GATE,
    "k3s-harden-waiting@.service",
    "k3s-harden-service-accounts.service",
    "k3s-harden-service-accounts.timer",
)
CLEAN_HOOK = PurePosixPath("/etc/cloud/clean.d/50-k3s-harden")
"""Run by `cloud-init clean`; only put where cloud-init is."""

USUAL = {"k3s.service": Role.SERVER, "k3s-agent.service": Role.AGENT}
"""The services of install.sh; a drop-in may come before the service it is for."""

_PACKAGED_PROGRAM = b"/usr/bin/k3s-harden"
_PACKAGED_DATA_DIR = b"/var/lib/rancher/k3s"
_PUBLIC = FileMode(0o644)
_PROGRAM = FileMode(0o755)
_LOCK_WAIT = 30.0


class Wanted(NamedTuple):
    """Where the program lies, where K3s keeps its data, the services to guard, and the completion scripts by path."""

    program: PurePosixPath
    data_dir: PurePosixPath
    services: dict[str, Role]
    completions: dict[PurePosixPath, bytes]
    has_cloud_init: bool


def wanted(
    host: Host,
    request: Request,
    named: Sequence[str],
    program: PurePosixPath,
    completions: dict[PurePosixPath, bytes],
) -> Wanted:
    """An installation for this host: the usual services, those that are there under another name, and the named ones.

    A named service runs K3s as what its unit says, or as what the request says while there is no such unit.
    """
    site = read_settings(host, request)
    installed = k3s_units.installed(host)
    services = USUAL | {unit.path.name: unit.role for unit in installed}
    for name in named:
        if not name.endswith(".service") or "/" in name:
            raise UsageError(f"cannot guard {name}: it is no name of a service", "such as --unit k3s-east.service")
        services.setdefault(name, site.role or Role.SERVER)
    data_dir, _ = facts.data_directory(site, facts.configuration(host, k3s_units.chosen(installed, site.role)))
    has_cloud_init = host.tree.exists(CLEAN_HOOK.parent.parent)
    return Wanted(program, data_dir, services, completions, has_cloud_init)


def files(wanted: Wanted) -> tuple[File, ...]:
    """All files of an installation."""
    named = {UNIT_DIRECTORY / name: _unit(name, wanted) for name in UNITS}
    for service, role in wanted.services.items():
        usual = next(name for name, usual_role in USUAL.items() if usual_role is role)
        named[UNIT_DIRECTORY / f"{service}.d" / DROPIN] = _unit(f"{usual}.d/{DROPIN}", wanted)
    named.update(wanted.completions)
    found = [File(path=path, content=content, mode=_PUBLIC) for path, content in named.items()]
    if wanted.has_cloud_init:
        found.append(File(path=CLEAN_HOOK, content=package_data.read("units", "cloud-init-clean"), mode=_PROGRAM))
    return tuple(found)


def install(host: Host, wanted: Wanted) -> Report:
    """Put the files in place and have systemd read them. Nothing is started or stopped; what is replaced is kept.

    Raises UsageError for a program that others could change, since the gate runs it as root at every K3s start.
    """
    host.refuse_ordinary_user("install")
    problem = host.tree.trust_problem(wanted.program)
    if problem:
        raise UsageError(
            f"cannot install a gate that runs {wanted.program}: {problem}",
            "put the program where root alone can write, such as /opt/k3s-harden, or name it with --program",
        )
    resources = files(wanted)
    with host.lock(_LOCK_WAIT):
        steps = plan.make(resources, host.observe_all(resources), lambda _: False, force=True)
        items = _carry_out(host, steps.changes)
    items += [refused(refusal) for refusal in steps.refusals]
    _reload(host, items)
    return _report("install", items, [file.id for file in resources])


def uninstall(host: Host, wanted: Wanted) -> Report:
    """Take away every file of an installation, whatever services it guards; what is not as `wanted` has it is kept."""
    host.refuse_ordinary_user("uninstall")
    unedited = frozenset(file.content for file in files(wanted))
    places = [UNIT_DIRECTORY / name for name in UNITS]
    places += [
        UNIT_DIRECTORY / name / DROPIN for name in host.tree.names(UNIT_DIRECTORY) if name.endswith(".service.d")
    ]
    places += [*COMPLETIONS.values(), CLEAN_HOOK]
    with host.lock(_LOCK_WAIT):
        items = _remove(host, places, unedited)
    _reload(host, items)
    return _report("uninstall", items, [])


COMPLETIONS = {
    "bash": PurePosixPath("/usr/local/share/bash-completion/completions/k3s-harden"),
    "zsh": PurePosixPath("/usr/local/share/zsh/site-functions/_k3s-harden"),
    "fish": PurePosixPath("/usr/local/share/fish/vendor_completions.d/k3s-harden.fish"),
}
"""Where each shell looks for what an administrator, and no package, installed."""


def _remove(host: Host, places: Iterable[PurePosixPath], unedited: frozenset[bytes]) -> list[Item]:
    items: list[Item] = []
    for path in places:
        now = host.observe(str(path))
        if isinstance(now, Absent):
            continue
        if not isinstance(now, File) or not _is_ours(now):
            items.append(Item(str(path), Status.REFUSED, f"is not ours: {in_words(now)}", "look at it"))
            continue
        items += _carry_out(host, [Change(now, Absent(id=now.id), backup=now.content not in unedited)])
        parent = host.observe(str(path.parent))
        if path.parent.name.endswith(".d") and isinstance(parent, Directory):
            host.tree.remove_directory(path.parent)
    return items


def _carry_out(host: Host, changes: Sequence[Change]) -> list[Item]:
    # The files are all ours by name, so there is nothing of the host's for the journal to remember.
    return [carry_out(change, host, Journal(host)) for change in changes]


def _reload(host: Host, items: Sequence[Item]) -> None:
    systemd = Systemd(host)
    if systemd.is_running and any(item.status is Status.CHANGED for item in items):
        systemd.reload()


def _report(verb: str, items: Sequence[Item], all_ids: Sequence[str]) -> Report:
    done = {item.id for item in items}
    untouched = [Item(name, Status.AS_WANTED) for name in all_ids if name not in done]
    facts = (Fact("gate", f"{UNIT_DIRECTORY / GATE}", "runs before each start of K3s"),)
    return Report(verb=verb, writes=True, facts=facts, items=(*items, *untouched), findings=())


def _unit(name: str, wanted: Wanted) -> bytes:
    text = package_data.read("units", *name.split("/"))
    text = text.replace(_PACKAGED_PROGRAM, str(wanted.program).encode())
    return text.replace(_PACKAGED_DATA_DIR, str(wanted.data_dir).encode())


def _is_ours(now: File) -> bool:
    """Whether a file is an installation's, of whatever version: all of them name the program."""
    return b"k3s-harden" in now.content
