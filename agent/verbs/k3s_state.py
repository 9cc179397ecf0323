"""The facts about K3s on a host that the next steps depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.value import replace
from agent.harden.node.configuration import data_directory, read_configuration
from agent.harden.node.installed_services import candidate_units
from agent.k3s.options import options_of
from agent.k3s.redaction import TOKEN_PLACEHOLDER, is_secret
from agent.k3s.roles_and_versions import Role
from agent.k3s.services import OPENRC_DIRECTORY, only_unit
from agent.verbs.advice.installed_k3s import InstalledK3s

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import PurePosixPath

    from agent.base.host import Host
    from agent.harden.node.configuration import Configuration
    from agent.harden.node.facts import HostFacts
    from agent.harden.settings.schema import Settings
    from agent.k3s.config import MergedConfig
    from agent.k3s.roles_and_versions import Version
    from agent.k3s.services import K3sUnit


def installed_k3s(host: Host, facts: HostFacts) -> InstalledK3s:
    """Return K3s on a host that was observed."""
    k3s = _k3s(host, facts.unit, facts.operator_config, facts.role, facts.data_dir, facts.known_version)
    runs = facts.running_since is not None
    return replace(k3s, is_installed=k3s.is_installed or runs, runs=runs, is_elsewhere=facts.rancher_managed)


def configured_k3s(
    host: Host, site: Settings, installed: Sequence[K3sUnit]
) -> tuple[K3sUnit | None, Configuration, InstalledK3s]:
    """Return the service that starts K3s, if there is one, its configuration, and K3s, on a host that is not observed.

    `installed` are the services of the host.
    """
    processes = host.probe()
    unit = only_unit(candidate_units(host, installed, site.role, processes))
    configuration = read_configuration(host, unit, site.k3s_config)
    data_dir, _ = data_directory(site, configuration)
    role = site.role or Role.SERVER
    k3s = _k3s(host, unit, configuration.operator_config, role, data_dir, site.k3s_version)
    return unit, configuration, replace(k3s, runs=bool(processes))


def _k3s(
    host: Host, unit: K3sUnit | None, config: MergedConfig, role: Role, data_dir: PurePosixPath, version: Version | None
) -> InstalledK3s:
    """Return K3s with this service; None if it is not installed. `role` is then the role to install."""
    usual = "k3s" if role is Role.SERVER else "k3s-agent"
    server = config.scalar("server")
    variables = () if unit is None else unit.environment.items()
    return InstalledK3s(
        role=role if unit is None else unit.role,
        service=usual if unit is None else unit.path.name.removesuffix(".service"),
        data_dir=data_dir,
        version=version,
        is_installed=unit is not None,
        is_openrc=unit is not None and unit.path.parent == OPENRC_DIRECTORY,
        joins=server is not None and server.text != "",
        names_data_dir=config.scalar("data-dir") is not None,
        is_tree=not host.is_live,
        arguments=() if unit is None else tuple(_without_secrets([word.text for word in unit.arguments])),
        variables=tuple(
            f"{name}={TOKEN_PLACEHOLDER if is_secret(name) else word.text}"
            for name, word in variables
            if name.startswith("K3S_")
        ),
    )


def _without_secrets(words: Sequence[str]) -> Iterator[str]:
    """Yield the options with a placeholder for each secret."""
    for word, option in zip(words, options_of(words)):
        name, separator, _ = word.partition("=")
        if option and is_secret(option):
            yield TOKEN_PLACEHOLDER
        elif option == "" and separator and is_secret(name.lstrip("-")):
            yield f"{name}={TOKEN_PLACEHOLDER}"
        elif option is not None:
            yield word
