"""Effective arguments of a host with a configuration of K3s and files of the kubelet."""

from __future__ import annotations

from agent.base.value import replace
from agent.harden.node.arguments.effective import KubeletFile, KubeletFiles, effective_arguments
from agent.harden.node.facts import HostFacts, assumed_facts
from agent.k3s.components.effective_arguments import EffectiveArguments
from agent.k3s.config_merge import ConfigText, merge_configuration
from agent.k3s.default_arguments import KUBELET_DIRECTORY
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, K3S_CONFIG_FILE, Component, Role, Version
from tests.component_files import KUBELET

DROPINS = DEFAULT_DATA_DIR / KUBELET_DIRECTORY


def facts(config: str = "", dropin: str = "", *, version: str = "v1.34.1+k3s1", role: Role = Role.SERVER) -> HostFacts:
    """Return the facts of a host with these texts as configuration of K3s and as drop-in of this program."""
    base = assumed_facts(role, Version.parse(version))
    texts = [ConfigText(K3S_CONFIG_FILE, config.encode()), ConfigText(base.dropin_path, dropin.encode())]
    return replace(base, configuration=replace(base.configuration, merged_config=merge_configuration(texts)))


def kubelet_file(fields: str, name: str = "50-site.conf") -> KubeletFile:
    return KubeletFile(DROPINS / name, f"{KUBELET}{fields}\n".encode())


def effective(
    component: Component, *arguments: str, files: tuple[str, ...] = (), minor: int = 37
) -> EffectiveArguments:
    text = f"{component.config_key}:\n" + "".join(f"- '{argument}'\n" for argument in arguments)
    text = text if arguments else ""
    dropins = tuple(kubelet_file(fields, f"5{number}-own.conf") for number, fields in enumerate(files))
    return effective_arguments(component, facts(text, version=f"v1.{minor}.9+k3s1"), KubeletFiles(dropins))
