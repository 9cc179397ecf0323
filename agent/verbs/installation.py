"""An installation: the files that install writes, and what they depend on."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.base import package_data
from agent.base.errors import UsageError
from agent.base.linux.unit_files import PACKAGED_UNITS
from agent.base.model import EXECUTABLE_FILE, PUBLIC_FILE, File
from agent.base.repair import Instruction
from agent.base.report import NextStep
from agent.findings.node import unknown_config
from agent.harden.gate import gate_units, installed_gate
from agent.harden.node.installed_services import installed_units
from agent.harden.node.service_units import DROPIN, TEMPLATE, UNIT, is_of_k3s
from agent.harden.node.site_files import read_settings
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, Role
from agent.verbs.advice.installed_k3s import InstalledK3s
from agent.verbs.k3s_state import configured_k3s

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.base.host import Host
    from agent.harden.situation import Request
    from agent.k3s.services import OtherProgram

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
    "k3s-harden-started@.service",
    "k3s-harden-traffic.service",
    "k3s-harden-traffic.timer",
)

DATA_DIR_DROPINS = (f"{TEMPLATE}.d/10-data-dir.conf", f"{UNIT}.d/10-data-dir.conf")
"""Drop-ins with K3s' data directory for the units of a package, which contain the default directory."""

CLEAN_HOOK = PurePosixPath("/etc/cloud/clean.d/50-k3s-harden")
"""Run by `cloud-init clean`; written only if cloud-init is installed."""

COMPLETIONS = {
    "bash": PurePosixPath("/usr/local/share/bash-completion/completions/k3s-harden"),
    "zsh": PurePosixPath("/usr/local/share/zsh/site-functions/_k3s-harden"),
    "fish": PurePosixPath("/etc/fish/completions/k3s-harden.fish"),
}
"""Paths of completions that an administrator installs, by shell. Debian's fish searches only /etc/fish and /usr/share.

The scripts in agent/completions speak Typer's protocol, as those of --show-completion do. Unlike those, they hide all
errors, such as those of a program that this user must not run, complete at the first attempt in zsh, and run the
program once in fish.
"""

FORMER_COMPLETION = PurePosixPath("/usr/local/share/fish/vendor_completions.d/k3s-harden.fish")
"""The path for fish up to 1.4."""

USUAL = {"k3s.service": Role.SERVER, "k3s-agent.service": Role.AGENT}
"""The services of install.sh. Their drop-ins are installed even if the services do not exist yet."""

MISFIT = "its name has a quote, a backslash, a $ or a control character"
"""Why a unit cannot name a path; see fits_in_a_unit."""
_DATA_DIR_DROPIN = """\
# Written by `k3s-harden install`, because the unit of the package contains only the default data directory of K3s.
[Unit]
RequiresMountsFor={data_dir}
"""


class Installation(NamedTuple):
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


def installation_for(host: Host, request: Request, named: Sequence[str], program: PurePosixPath) -> Installation:
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
    completions = (
        {path: package_data.read("completions", f"k3s-harden.{shell}") for shell, path in COMPLETIONS.items()}
        if local
        else {}
    )
    is_openrc = gate_units.starts_services(host)
    blocked = tuple(
        NextStep(step)
        for problem in unknown_config(unit, others, k3s.data_dir, site.k3s_config)
        for step in (Instruction(f"the gate will block K3s: {problem.message}"), *problem.repair.steps)
    )
    found = Installation(
        program, k3s.data_dir, services, completions, has_cloud_init, k3s=k3s, is_openrc=is_openrc, blocked=blocked
    )
    if not installed_gate.detect_gate(host).packaged:
        return found
    places = (name for name in named_units(found) if host.tree.exists(PACKAGED_UNITS / name))
    return found._replace(packaged=frozenset(places))


def installed_files(installation: Installation) -> tuple[File, ...]:
    """Return all files of an installation, without those that a package has installed."""
    if installation.is_openrc:
        return (*gate_units.gate_files(installation.program), *_other_files(installation))
    units = {name: content for name, content in named_units(installation).items() if name not in installation.packaged}
    if installation.packaged and installation.data_dir != DEFAULT_DATA_DIR:
        content = _DATA_DIR_DROPIN.format(data_dir=gate_units.unit_word(installation.data_dir))
        units |= dict.fromkeys(DATA_DIR_DROPINS, content.encode())
    found = [File(path=UNIT_DIRECTORY / name, content=content, mode=PUBLIC_FILE) for name, content in units.items()]
    return (*found, *(() if installation.packaged else _other_files(installation)))


def _other_files(installation: Installation) -> Iterator[File]:
    """Yield the files besides the gate."""
    for path, content in installation.completions.items():
        yield File(path=path, content=content, mode=PUBLIC_FILE)
    if installation.has_cloud_init:
        yield File(path=CLEAN_HOOK, content=package_data.read("units", "cloud-init-clean"), mode=EXECUTABLE_FILE)


def named_units(installation: Installation) -> dict[str, bytes]:
    """Return the units, and the drop-ins of the services, by their names below a directory of units."""
    names = {name: name for name in UNITS}
    for service, role in installation.services.items():
        usual = next(name for name, usual_role in USUAL.items() if usual_role is role)
        names[f"{service}.d/{DROPIN}"] = f"{usual}.d/{DROPIN}"
    # The units are first, so that an interrupted install leaves no drop-in without the unit that it starts.
    return {
        name: gate_units.unit_content(source, installation.program, installation.data_dir)
        for name, source in names.items()
    }


def fits_in_a_unit(path: PurePosixPath) -> bool:
    """Return whether a unit can name this path."""
    return str(path).isprintable() and not set(str(path)) & set("\"'\\$")


def require_name_for_units(data_dir: PurePosixPath) -> None:
    """Raise UsageError if the units cannot name this data directory."""
    if not fits_in_a_unit(data_dir):
        problem = f"cannot install a gate that waits for the mount of {data_dir}: {MISFIT}"
        raise UsageError(problem, "rename the directory")


def _refuse_service(name: str) -> None:
    if is_of_k3s(name):
        return
    if name.startswith("k3s-harden"):
        raise UsageError(
            f"cannot install the gate for {name}: it is a service of k3s-harden", "pass a service that starts K3s"
        )
    raise UsageError(
        f"cannot install the gate for {name}: expected k3s.service or k3s-NAME.service",
        "pass the service of K3s, such as --unit k3s-east.service for INSTALL_K3S_NAME=east",
    )
