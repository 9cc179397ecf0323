"""Services on this host that start K3s."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import HardenError, HostError
from agent.base.host.directories import Total
from agent.base.host.systemd import Systemd
from agent.base.linux.file_systems import differs_by_process
from agent.base.linux.unit_files import UNIT_DIRECTORIES
from agent.base.value import replace
from agent.harden.node import service_units
from agent.harden.node.loaded_service import loaded_settings
from agent.harden.node.service_units import DROPINS, gate_instance, is_of_k3s, template_of
from agent.k3s.service_files import files_of_unit, parse_settings, predicted_service
from agent.k3s.services import OPENRC_DIRECTORY, K3sUnit, OtherProgram

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.base.host import Host
    from agent.base.host.probe import K3sProcess
    from agent.base.host.tree import Tree
    from agent.k3s.roles_and_versions import Role

_RUNLEVELS = PurePosixPath("/etc/runlevels")
"""OpenRC's directories of the services that it starts."""

_SUFFIX = ".service"
_USUAL_NAMES = frozenset(("k3s", "k3s-server", "k3s-agent"))


def installed_units(
    host: Host,
    unread: list[HardenError],
    others: list[OtherProgram] | None = None,
    named: str = "",
    starting: K3sUnit | OtherProgram | None = None,
) -> tuple[K3sUnit, ...]:
    """Return the services that start K3s. Of files with one name, systemd reads the one in the first directory.

    Adds to `unread` the files that systemd reads and this program cannot read, and to `others` the services of K3s that
    start another program. systemd is asked about each service that the files show, or only about the named one.
    `starting` is a service that is starting now: its process is known, so its files are not read.
    """
    found: dict[str, K3sUnit | OtherProgram] = {}
    if starting is not None:
        found[(starting.path if isinstance(starting, K3sUnit) else starting.unit).name] = starting
    for path in _paths(host, named):
        unit = _unit(host, path, unread, asks=named in ("", path.name)) if path.name not in found else None
        if unit is not None:
            found[path.name] = unit
    if others is not None:
        others += (service for service in found.values() if isinstance(service, OtherProgram))
    return tuple(service for service in found.values() if isinstance(service, K3sUnit))


def _paths(host: Host, named: str) -> Iterator[PurePosixPath]:
    """Yield the paths of services that can be those of K3s. An instance of a template has no file of its own."""
    for directory in UNIT_DIRECTORIES:
        # A host has hundreds of other units, whose links are not resolved.
        names = [name for name in host.tree.names(directory) if name.startswith("k3s")]
        services = [name for name in names if name.endswith(_SUFFIX) and not _is_alias(host, directory / name)]
        instances = {named, *(name.removesuffix(".d") for name in names)}
        services += (name for name in sorted(instances) if template_of(name) in services and name not in names)
        yield from (directory / name for name in services if is_of_k3s(name) and not name.endswith(f"@{_SUFFIX}"))
    for name in host.tree.names(OPENRC_DIRECTORY):
        if "." not in name and name.startswith("k3s"):
            yield OPENRC_DIRECTORY / name


def _is_alias(host: Host, path: PurePosixPath) -> bool:
    """Return whether a unit file is only another name of a service (Alias=)."""
    target = PurePosixPath(host.tree.link_target(path) or path)
    return target.name not in (path.name, template_of(path.name)) and is_of_k3s(target.name)


def candidate_units(
    host: Host, units: Sequence[K3sUnit], role: Role | None, processes: Sequence[K3sProcess] = ()
) -> tuple[K3sUnit, ...]:
    """Return the services that decide about K3s' configuration: the running ones, or else those that the boot starts.

    If there is none of both, all of this role, as on a host tree whose services are not enabled yet.
    """
    suitable = tuple(unit for unit in units if role in (None, unit.role))
    running = {unit for process in processes for unit in _unit_of(host, process.pid)}
    started = tuple(unit for unit in suitable if unit.path.name in running)
    return started or tuple(unit for unit in suitable if _starts_at_boot(host, unit.path.name)) or suitable


def other_units(host: Host, processes: Sequence[K3sProcess]) -> tuple[str, ...]:
    """Return the units that have started a running K3s in another way than by a service with the gate in effect."""
    found = ((unit, process.pid) for process in processes for unit in _unit_of(host, process.pid))
    return tuple(dict.fromkeys(unit for unit, pid in found if not _is_gated(host, unit, pid)))


def _unit_of(host: Host, pid: int) -> tuple[str, ...]:
    """Return the unit of systemd, not of a user's manager, that has a process; empty if none has, as under OpenRC."""
    for line in host.tree.text_if_readable(PurePosixPath(f"/proc/{pid}/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        units = [name for name in path.split("/") if "." in name and not name.endswith(".slice")]
        if controllers in ("", "name=systemd") and units:
            return (units[0],)
    return ()


def _is_gated(host: Host, unit: str, pid: int) -> bool:
    """Return whether ExecStart= of a service with the gate has started a process; True if the process has ended."""
    if not is_of_k3s(unit):
        return False
    try:
        found = Systemd(host).properties(unit)
        in_effect = any(
            f"start {gate_instance(unit)}" in " ".join(words) and "ignore-failure" not in flags
            for _, words, flags, *_ in found["ExecStartPreEx"][-1:]
        )
        parent = host.tree.text_if_readable(PurePosixPath(f"/proc/{pid}/stat")).rpartition(")")[2].split()[1:2]
        # With the option `log`, K3s is a child of the main process.
        return in_effect and (parent == [] or found["MainPID"] in (pid, int(parent[0])))
    except (HostError, KeyError, TypeError, ValueError, IndexError):
        return any(host.tree.exists(top / f"{unit}.d" / name) for top in UNIT_DIRECTORIES for name in DROPINS)


def _starts_at_boot(host: Host, name: str) -> bool:
    """Return whether a service is enabled, or is wanted or required by another unit."""
    for top in (*UNIT_DIRECTORIES, _RUNLEVELS):
        with suppress(HostError):
            for directory in host.tree.names(top):
                wants = directory.endswith((".wants", ".requires")) or top == _RUNLEVELS
                if wants and host.tree.exists(top / directory / name):
                    return True
    return False


def _unit(host: Host, path: PurePosixPath, unread: list[HardenError], *, asks: bool) -> K3sUnit | OtherProgram | None:
    own = path if host.tree.exists(path) else path.with_name(template_of(path.name))
    text = service_units.unit_text(host, own, unread)
    if not text:
        return None
    total = Total(f"environment files of {path.name}")
    read = partial(service_units.unit_text, host, unread=unread, total=total)
    followed = partial(
        predicted_service, path, read=read, names=host.tree.names, is_program=partial(is_program, host.tree)
    )
    is_openrc = path.parent == OPENRC_DIRECTORY
    # Drop-ins, such as those of `systemctl edit`, apply after the unit.
    dropins = (
        service_units.openrc_settings(host, path.name, unread)
        if is_openrc
        else service_units.read_dropins(host, path.name, unread)
    )
    texts = {own: text, **dropins}
    found = followed(replace(parse_settings(path, texts), files=files_of_unit(texts, host.tree.real_path)))
    is_named = path.stem in _USUAL_NAMES or any(file.name in DROPINS for file in texts)
    if isinstance(found, OtherProgram) and not is_named:
        return None  # such as one that takes snapshots
    loaded = loaded_settings(host, path, unread) if found and asks and not is_openrc else None
    return followed(loaded) if loaded else found


def is_program(tree: Tree, path: PurePosixPath) -> bool:
    """Return whether a program can be one that is followed; False for a script, whose text can do anything."""
    is_followed = path.is_absolute() and not differs_by_process(tree.real_path(path))
    return is_followed and (tree.inode(path) is None or tree.is_elf(path) is not False)
