"""The reference Cluster of the guide for Rancher, which configures K3s on its nodes. Pure."""

from __future__ import annotations

from agent.base.value import replace
from agent.harden.desired import dropin_options
from agent.harden.desired.dropin_options import ADMISSION_CONFIGURATION_ARGUMENT
from agent.harden.guide.guide_files import POD_SECURITY_ADMISSION
from agent.harden.node.facts import HostFacts
from agent.harden.settings.schema import Settings
from agent.k3s.roles_and_versions import Role

_PSA_TEMPLATE = "rancher-restricted"
"""Pod Security template of Rancher; it provides the admission configuration, so no argument names one."""


def cluster(settings: Settings, facts: HostFacts) -> bytes:
    """Return a `provisioning.cattle.io/v1` Cluster (guide: Reference Hardened K3s Template Configuration).

    Options that only servers support are in machineGlobalConfig, the others in machineSelectorConfig. `facts` are those
    of a server.
    """
    all_nodes: dict[str, list[str] | str] = {}
    servers: dict[str, list[str] | str] = {}
    # Rancher's admission configuration does not have the limits of EventRateLimit, without which the API server exits.
    site = replace(settings, event_rate_limit=None)
    for row, value in dropin_options.expected_options(site, facts):
        if row.name == ADMISSION_CONFIGURATION_ARGUMENT:
            continue
        part = all_nodes if Role.AGENT in row.applies.roles else servers
        if row.name:
            arguments = part.setdefault(row.key, [])
            if isinstance(arguments, list):
                arguments.append(f"{row.name}={value}")
        else:
            part[row.key] = value
    lines = [
        "apiVersion: provisioning.cattle.io/v1",
        "kind: Cluster",
        "metadata:",
        "  name: # the name of the cluster",
        "spec:",
    ]
    if POD_SECURITY_ADMISSION.applies.to(Role.SERVER, facts.version):
        lines.append(f"  defaultPodSecurityAdmissionConfigurationTemplateName: {_PSA_TEMPLATE}")
    release = str(facts.version) if facts.version.build else f"# a K3s version, such as {facts.version.family}"
    lines += [
        "  enableNetworkPolicy: true",
        f"  kubernetesVersion: {release}",
        "  rkeConfig:",
        "    machineGlobalConfig:",
        *_keys(servers, "      "),
        "    machineSelectorConfig:",
        "      - config:",
        *_keys(all_nodes, "          "),
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _keys(part: dict[str, list[str] | str], indent: str) -> list[str]:
    lines = []
    for key, value in part.items():
        if isinstance(value, str):
            lines.append(f"{indent}{key}: {value}")
        else:
            lines += [f"{indent}{key}:", *(f"{indent}  - {argument}" for argument in value)]
    return lines
