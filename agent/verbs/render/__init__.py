"""Documents of `render`: files that apply would write, and documents for Rancher, cloud-init and Ignition."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.base.errors import InputError, UsageError
from agent.base.host import Host
from agent.base.model import Location
from agent.base.repair import Set
from agent.base.value import replace
from agent.harden.desired import dropin_options
from agent.harden.desired import resources as desired
from agent.harden.desired.dropin_options import ADMISSION_CONFIGURATION_ARGUMENT
from agent.harden.guide import manifests
from agent.harden.guide.guide_files import AUDIT_POLICY, POD_SECURITY_ADMISSION
from agent.harden.node.facts import HostFacts, assumed_facts
from agent.harden.node.site_files import read_audit_policy, read_settings, read_waivers
from agent.harden.node.version import require_covered
from agent.harden.settings.loading import apply_overrides, load_settings
from agent.harden.settings.schema import DEFAULT_SETTINGS, Overrides, SecretsEncryption, Settings
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, NEWEST_KNOWN, Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import PurePosixPath

    from agent.harden.guide.guide_files import FileRow
    from agent.verbs.render.first_boot import Joining
    from agent.verbs.render.pods import AssessmentJob


class _Source(NamedTuple):
    """What a document is made from."""

    settings: Settings
    facts: HostFacts
    host: Host
    """This machine, for the settings file and the files that it names."""
    settings_file: PurePosixPath | None

    @property
    def server(self) -> HostFacts:
        """The facts of a server, for documents that only servers need."""
        return replace(self.facts, role=Role.SERVER)


class Document(NamedTuple):
    """A document that depends only on the settings."""

    summary: str
    content: Callable[[_Source], bytes]
    file: FileRow | None = None
    """The file of some hosts only that it is. A manifest is for the whole cluster."""


def rendered(what: str, settings_file: PurePosixPath | None, overrides: Overrides) -> bytes:
    """Return the document `what`, a key of DOCUMENTS, for a new host with this role and version.

    Reads only the settings file and the files that it names. Raises InputError if one is invalid, UsageError if such a
    host does not have the document.
    """
    source = _source(settings_file, overrides)
    facts, document = source.facts, DOCUMENTS[what]
    if document.file and not document.file.applies.to(facts.role, facts.version):
        raise UsageError(
            f"cannot render {what} for K3s {facts.version} and role {facts.role}: apply writes it on"
            f" {document.file.applies}",
            "pass the --role and --k3s-version of such a host",
        )
    return document.content(source)


def new_host(
    settings_file: PurePosixPath | None, overrides: Overrides, joins: Joining
) -> tuple[HostFacts, dict[PurePosixPath, bytes]]:
    """Return the facts of a new host, and its settings file with the files that it names. Raises as `rendered`."""
    source = _source(settings_file, overrides)
    found, host, site = _settings_file(source, joins), source.host, source.settings
    # The paths are the same here and on the host.
    own_policy = read_audit_policy(host, site)
    if site.audit_policy_file is not None and own_policy is not None:
        found[site.audit_policy_file] = own_policy
    if site.waivers_file is not None:
        read_waivers(host, site)
        found[site.waivers_file] = host.tree.read(site.waivers_file) or b""
    return source.facts, found


def rendered_assessment_job(job: AssessmentJob, overrides: Overrides) -> bytes:
    """Return the manifests of a job for a cluster of this version. Raises UsageError if a name is invalid."""
    import yaml

    manifests = job.manifests(_source(None, overrides).facts.version)
    return yaml.safe_dump_all(manifests, sort_keys=False).encode()


def _source(settings_file: PurePosixPath | None, overrides: Overrides) -> _Source:
    host = Host.real()
    site = (
        apply_overrides(Settings(), overrides)
        if settings_file is None
        else read_settings(host, settings_file, overrides)
    )
    version = site.k3s_version or NEWEST_KNOWN
    require_covered(version)
    facts = assumed_facts(site.role or Role.SERVER, version, site.data_dir or DEFAULT_DATA_DIR)
    return _Source(site, facts, host, settings_file)


def _settings_file(source: _Source, joins: Joining) -> dict[PurePosixPath, bytes]:
    """Return the settings file with what it lacks added. Raises InputError if it contradicts the command line."""
    path = source.settings_file or DEFAULT_SETTINGS
    data = source.host.machine_tree.read(path) or b"" if source.settings_file else b""
    written = load_settings(data, path)
    for name in Overrides._fields:
        own, given = getattr(written, name), getattr(source.settings, name)
        if own not in (None, given):
            key = name.replace("_", "-")
            problem = f"it sets `{key}: {own}`, but --{key} is {given}"
            raise InputError(Location(path), problem, Set(key, str(given), Location(path)))
    added = {} if written.role else {"role": str(source.facts.role)}
    is_unset = written.secrets_encryption is SecretsEncryption.AUTO
    if "server" in joins.options and source.facts.role is Role.SERVER and is_unset:
        # K3s refuses to join with another value than that of the first server, which encrypts a new cluster by default.
        added["secrets-encryption"] = str(SecretsEncryption.ON)
    for key, value in added.items():
        data += (b"" if data.endswith(b"\n") or not data else b"\n") + f"{key}: {value}\n".encode()
        try:
            load_settings(data, path)
        except InputError as error:
            problem = f"it does not set `{key}`, which cannot be appended"
            raise InputError(Location(path), problem, Set(key, value, Location(path))) from error
    return {DEFAULT_SETTINGS: data}


def _account_update_pair(_: _Source) -> bytes:
    """Return a script that writes both files."""
    return (
        b"# Writes account_update.yaml and account_update.sh into the current directory. Run it with: sh\n"
        b"cat >account_update.yaml <<'END-OF-FILE'\n%sEND-OF-FILE\n"
        b"cat >account_update.sh <<'END-OF-FILE'\n%sEND-OF-FILE\n"
        b"chmod +x account_update.sh\n" % (manifests.account_update(), manifests.account_update_script())
    )


def _impact_role(_: _Source) -> bytes:
    import yaml

    from agent.cluster.reader import read_role

    return yaml.safe_dump(read_role(), sort_keys=False).encode()


DOCUMENTS = {
    "sysctl": Document("Print the file with the kernel parameters.", lambda _: desired.sysctl_file()),
    "audit-policy": Document(
        "Print the audit policy.",
        lambda source: desired.audit_policy_file(read_audit_policy(source.host, source.settings)),
        AUDIT_POLICY,
    ),
    "policy": Document(
        "Print the manifest with the policies.",
        lambda source: desired.policy_manifest(source.settings, source.server),
    ),
    "psa": Document(
        "Print the Pod Security configuration.",
        lambda source: desired.admission_configuration(source.settings, source.server),
        POD_SECURITY_ADMISSION,
    ),
    "k3s-config": Document(
        "Print the drop-in of the K3s configuration.",
        lambda source: desired.k3s_config(source.settings, source.facts),
    ),
    "rancher-cluster": Document(
        "Print a Cluster for Rancher.",
        lambda source: _rancher_cluster(source.settings, source.server),
    ),
    "impact-role": Document("Print a ClusterRole that suffices for impact.", _impact_role),
    "service-accounts": Document("Print the guide's script for default tokens.", _account_update_pair),
}


_PSA_TEMPLATE = "rancher-restricted"
"""Pod Security template of Rancher; it provides the admission configuration, so no argument names one."""


def _rancher_cluster(settings: Settings, facts: HostFacts) -> bytes:
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
        *_machine_config(servers, "      "),
        "    machineSelectorConfig:",
        "      - config:",
        *_machine_config(all_nodes, "          "),
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _machine_config(part: dict[str, list[str] | str], indent: str) -> list[str]:
    lines = []
    for key, value in part.items():
        if isinstance(value, str):
            lines.append(f"{indent}{key}: {value}")
        else:
            lines += [f"{indent}{key}:", *(f"{indent}  - {argument}" for argument in value)]
    return lines
