"""Resources that this host should have, derived from the guide, the settings and the host's facts. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.linux.sysctl_order import (
    SysctlAssignment,
    SysctlFile,
    SysctlReader,
    at_boot,
    excluded,
    file_text,
    same_value,
)
from agent.base.model import (
    PRIVATE_DIRECTORY,
    PRIVATE_FILE,
    DefaultPermissions,
    Directory,
    File,
    FilePermissions,
    Location,
    Resource,
    Sysctl,
)
from agent.base.repair import Edit
from agent.base.value import Value
from agent.base.yaml_reader import read_documents, text_at
from agent.harden.desired import dropin_options
from agent.harden.guide import guide_files as rows
from agent.harden.guide import manifests
from agent.harden.guide import policy_files as assets
from agent.harden.guide.guide_files import ADMISSION_POLICIES, ADMISSION_POLICIES_APPLY, POLICY_FILE, FileRow
from agent.harden.guide.k3s_options import PROTECT_KERNEL_DEFAULTS
from agent.harden.guide.policy_files import Action
from agent.harden.guide.sysctls import PARAMETERS_FILE, SYSCTLS, SysctlRow
from agent.harden.settings.schema import PodSecurityStage, Settings
from agent.k3s.config import dropin
from agent.k3s.config_merge import ConfigText, merge_configuration
from agent.k3s.roles_and_versions import NETWORK_LEASES, Role

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence

    from agent.harden.node.facts import HostFacts
    from agent.harden.node.network_leases import NetworkLeases
    from agent.harden.plan.plan import Need


class Override(Value):
    """What keeps a kernel parameter from the guide's value at the next boot."""

    message: str
    expected: str
    location: Location
    new: str
    """The text of the line that corrects it; empty: the line is removed."""
    found: str = ""

    def edit(self, line: str) -> Edit:
        """Return the correction of this line of the file."""
        return Edit(self.location, line.strip(), self.new)


def files_after_apply(
    files: Iterable[SysctlFile], desired: Iterable[Resource], *, is_refused: bool
) -> tuple[SysctlFile, ...]:
    """Return the files as they are once apply has written its own; `is_refused` if it leaves another file there.

    Before the first apply, the missing file must not look like an override.
    """
    if is_refused:
        return tuple(files)
    ours = (resource for resource in desired if isinstance(resource, File) and resource.id == PARAMETERS_FILE)
    others = (file for file in files if str(file.path) != PARAMETERS_FILE)
    return (*others, *(SysctlFile(file.path, file.content) for file in ours))


def overrides(
    files: Sequence[SysctlFile], reader: SysctlReader, waived: Container[str], *, is_refused: bool
) -> dict[str, Override]:
    """Return by kernel parameter what overrides it, given the files after apply."""
    keys = [row.key for row in SYSCTLS]
    outcome = at_boot(files, keys, reader)
    removed = excluded(files, keys) if reader is SysctlReader.SYSTEMD else {}
    is_unset = is_refused and all(file.is_readable for file in files)
    found = {}
    for row in SYSCTLS:
        line = outcome[row.key]
        override = _by_line(row, line) if line is not None else _unset(row, removed.get(row.key), is_unset=is_unset)
        if override is not None and row.key not in waived:
            found[row.key] = override
    return found


def _by_line(row: SysctlRow, line: SysctlAssignment) -> Override | None:
    if same_value(line.value, row.value):
        return None
    message = f"the next boot sets {row.key} to {line.value or 'an empty value'}"
    if line.is_rejected:
        message = f"{row.key} keeps the kernel's default at the next boot: `{line.value}` is not a valid value"
    return Override(message, row.value, line.location, f"{row.key}={row.value}", line.value)


def _unset(row: SysctlRow, removed: Location | None, *, is_unset: bool) -> Override | None:
    if not row.written:
        return None
    message = f"the next boot leaves {row.key} at the kernel's default"
    if removed is not None:
        return Override(message, row.value, removed, "", f"-{row.key}")
    if is_unset:
        message = f"no file sets {row.key} at the next boot, which leaves it at the kernel's default"
        location = Location(PurePosixPath(PARAMETERS_FILE))
        return Override(message, row.value, location, f"{row.key}={row.value}")
    return None


def policy_files(settings: Settings, facts: HostFacts, *, denies: bool = True) -> Mapping[PurePosixPath, bytes]:
    """Return the files with policies, relative to the data directory, with their contents.

    They do not begin with `---`, since the API server rejects a document of comments before it.
    Without `denies`, a policy that the settings let deny warns.
    """
    return {
        ADMISSION_POLICIES[plugin]: text.removeprefix("---\n").encode()
        for plugin, text in _policy_texts(settings, facts, denies=denies).items()
    }


def pod_security_action(settings: Settings) -> Action:
    """Return what the policy about Pod Security does."""
    is_postponed = settings.stage_pod_security is not PodSecurityStage.RESTRICTED
    if is_postponed and settings.pod_security_policy is Action.DENY:
        return Action.WARN  # the default is not restricted yet, so a label can have the same level
    return settings.pod_security_policy


def plugin_entries(settings: Settings, facts: HostFacts) -> str:
    """Return the lines of psa.yaml with which the API server loads the policies; empty without policies."""
    return "".join(
        assets.plugin_entry(plugin, facts.data_dir / ADMISSION_POLICIES[plugin].parent)
        for plugin in _policy_texts(settings, facts)
    )


def _policy_texts(settings: Settings, facts: HostFacts, *, denies: bool = True) -> Mapping[str, str]:
    """Return the policies by the plugin that loads them."""
    if not ADMISSION_POLICIES_APPLY.to(facts.role, facts.version) or facts.rancher_managed:
        return {}
    actions = {
        text: Action.WARN if action is Action.DENY and not denies else action
        for text, action in _validating(settings, facts)
    }
    found = {}
    if actions:
        found["ValidatingAdmissionPolicy"] = assets.validating(
            actions, settings.policy_managers, bind_administrators=settings.policies_bind_administrators
        )
    if settings.service_account_policy:
        exempt = [name.partition("/")[0] for name in settings.exempt_accounts]
        found["MutatingAdmissionPolicy"] = assets.service_accounts(exempt)
    return found


def _validating(settings: Settings, facts: HostFacts) -> Iterator[tuple[str, Action]]:
    """Yield the validating policies that are not off, each with its action."""
    if (level := pod_security_action(settings)) is not Action.OFF:
        exempt = manifests.exempt_namespaces(facts.version, with_rancher=settings.exempt_rancher)
        yield assets.pod_security({*exempt, *settings.exempt_namespaces}), level
    if settings.network_policy_policy is not Action.OFF:
        yield assets.network_policies(_names_of_network_policies(settings)), settings.network_policy_policy
    if settings.binding_policy is not Action.OFF:
        yield assets.bindings(), settings.binding_policy


def _names_of_network_policies(settings: Settings) -> set[str]:
    """Return the NetworkPolicies of policy.yaml, each as NAMESPACE/NAME."""
    content = manifests.network_policies(settings.network_policy_namespaces, settings.network_policy_allow)
    documents = read_documents(content, PurePosixPath(POLICY_FILE))
    keys = ("namespace", "name")
    return {"/".join(text_at(document.node, "metadata", key) for key in keys) for document in documents}


HEADER = """\
Managed by k3s-harden. An edit made here is reported and kept, not overwritten;
what a site may change is in /etc/k3s-harden/config.yaml. See k3s-harden explain.
"""
"""Equal for every host and version, because servers with different manifests overwrite each other's manifests."""

MARK = f"# {HEADER.splitlines()[0]}\n".encode()
"""First line of each file of k3s-harden, except an audit policy of the site."""


class Inputs(Value):
    """What the resources depend on in addition to settings and facts."""

    audit_policy: bytes | None = None
    """Content of the site's own audit policy; None is the guide's policy."""
    waived: Collection[str] = frozenset()
    """Keys of the kernel parameters that apply does not change."""
    certificates: Iterable[PurePosixPath] = ()
    """Certificates of the control plane, which K3s creates."""
    leases: NetworkLeases | None = None
    """Directories and files of the CNI plugin host-local; None if the settings do not change their permissions."""
    policies_deny: bool = True
    """Whether an admission policy may deny. The gate on a hardened host only adds policies that warn."""


_NO_INPUTS = Inputs()


def desired_resources(settings: Settings, facts: HostFacts, inputs: Inputs = _NO_INPUTS) -> tuple[Resource, ...]:
    """Return the resources of this host, in the order in which apply creates them.

    K3s' configuration is last: the kernel values and files that it requires must exist if the run is interrupted. Live
    kernel values are omitted for a host tree without a kernel.
    """
    return (
        *_kernel(facts, inputs.waived),
        *(
            Directory(path=facts.data_dir / row.path, mode=row.mode)
            for row in rows.DIRECTORIES
            if row.applies.to(facts.role, facts.version)
        ),
        *_certificates(settings, facts, inputs),
        *_leases(settings, inputs),
        *_policies(settings, facts, denies=inputs.policies_deny),
        *_files(settings, facts, inputs.audit_policy),
    )


def needs_of(file: File, data_dir: PurePosixPath) -> tuple[Need, ...]:
    """Return what K3s, or the API server, requires when it starts with a file. It exits if that is missing or invalid.

    Our drop-in requires the files that it names, and the kubelet's kernel values with the file that sets them at boot.
    psa.yaml requires the policies in the directories that it names.
    """
    if file.path.name == rows.POD_SECURITY_ADMISSION.path.name:
        paths = [data_dir / path for path in rows.ADMISSION_POLICIES.values()]
        return tuple(path for path in paths if f"staticManifestsDir: {path.parent}\n".encode() in file.content)
    if file.path.name != rows.DROPIN_NAME:
        return ()
    config = merge_configuration([ConfigText(file.path, file.content)])
    files = [named.path for named in dropin_options.named_paths(config, data_dir)]
    values: list[Sysctl] = []
    if config.boolean(PROTECT_KERNEL_DEFAULTS.key):
        files.append(PurePosixPath(PARAMETERS_FILE))
        values = [Sysctl(key=row.key, value=row.value) for row in SYSCTLS]
    return (*dict.fromkeys(files), *values)


def sysctl_file(waived: Collection[str] = frozenset()) -> bytes:
    """Return the content of 90-kubelet.conf, without the waived keys."""
    return file_text({row.key: row.value for row in SYSCTLS if row.written and row.key not in waived}, HEADER)


def policy_manifest(settings: Settings, facts: HostFacts) -> bytes:
    """Return the content of policy.yaml: NetworkPolicies, and PodSecurityPolicies for versions that support them.

    Without objects it has only comments. K3s then removes what it created from the file.
    """
    parts = []
    if rows.POD_SECURITY_POLICIES.applies.to(facts.role, facts.version):
        parts.append(manifests.pod_security_policies(cis_operator_namespace=settings.cis_operator_namespace))
    parts.append(network_policies(settings))
    return _with_header(b"".join(parts))


def comments_only() -> bytes:
    """Return the content of a manifest of which K3s removes all objects: only the header."""
    return _with_header(b"")


def network_policies(settings: Settings) -> bytes:
    """Return the NetworkPolicies of policy.yaml; empty if a stage postpones them."""
    if not settings.stage_network_policies:
        return b""
    return manifests.network_policies(settings.network_policy_namespaces, settings.network_policy_allow)


def admission_configuration(settings: Settings, facts: HostFacts) -> bytes:
    """Return the content of psa.yaml."""
    exempt = manifests.exempt_namespaces(facts.version, with_rancher=settings.exempt_rancher)
    level = settings.stage_pod_security.level
    extra = settings.exempt_namespaces
    content = manifests.pod_security_admission(exempt, extra, settings.event_rate_limit, level)
    entries = plugin_entries(settings, facts) if settings.has_admission_policies else ""
    return _with_header(content + entries.encode())


def audit_policy_file(own: bytes | None) -> bytes:
    """Return the content of audit.yaml: the site's own policy, or the guide's."""
    return _with_header(manifests.audit_policy()) if own is None else own


def k3s_config(settings: Settings, facts: HostFacts) -> bytes:
    """Return the content of our drop-in for K3s' configuration: the options that the operator's files do not set."""
    scalars: dict[str, bool | str] = {}
    lists: dict[str, list[str]] = {}
    for row, value in dropin_options.options_to_set(settings, facts):
        if row.name:
            lists.setdefault(row.key, []).append(f"{row.name}={value}")
        else:
            scalars[row.key] = True if value == "true" else value
    return dropin(HEADER, scalars, lists)


def _certificates(settings: Settings, facts: HostFacts, inputs: Inputs) -> Iterator[FilePermissions]:
    mode = settings.certificate_permissions
    if mode is not None and facts.role is Role.SERVER:
        yield from (FilePermissions(path=path, mode=mode) for path in inputs.certificates)


def _leases(settings: Settings, inputs: Inputs) -> Iterator[Directory | DefaultPermissions | FilePermissions]:
    """Yield the directory, the default permissions of new files in it, and the modes of existing files.

    Only the default permissions last: host-local of the CNI plugins before v1.4.0 creates a file of 0644 for each pod.
    """
    mode = settings.cni_file_permissions
    if mode is None or inputs.leases is None:
        return
    from agent.base.linux import file_systems  # few sites set it

    for path in inputs.leases.directories:
        if path == NETWORK_LEASES:
            yield Directory(path=path, mode=PRIVATE_DIRECTORY)
        yield DefaultPermissions(path=path, acl=file_systems.OWNER_ONLY)
    yield from (FilePermissions(path=path, mode=mode) for path in inputs.leases.open_files)


def _policies(settings: Settings, facts: HostFacts, *, denies: bool) -> Iterator[Directory | File]:
    if not settings.has_admission_policies:
        return
    files = policy_files(settings, facts, denies=denies)
    for path in dict.fromkeys((*(path.parent.parent for path in files), *(path.parent for path in files))):
        yield Directory(path=facts.data_dir / path, mode=PRIVATE_DIRECTORY)
    for path, content in files.items():
        yield File(path=facts.data_dir / path, content=_with_header(content), mode=PRIVATE_FILE)


def _files(settings: Settings, facts: HostFacts, audit_policy: bytes | None) -> Iterator[File]:
    def file(row: FileRow, content: bytes, path: PurePosixPath | None = None) -> Sequence[File]:
        if not row.applies.to(facts.role, facts.version):
            return ()
        return (File(path=path or facts.data_dir / row.path, content=content, mode=row.mode),)

    yield from file(rows.AUDIT_POLICY, audit_policy_file(audit_policy))
    yield from file(rows.NETWORK_POLICIES, policy_manifest(settings, facts))
    if not facts.rancher_managed:
        yield from file(rows.POD_SECURITY_ADMISSION, admission_configuration(settings, facts))
        yield from file(rows.K3S_CONFIG, k3s_config(settings, facts), facts.dropin_path)


def _kernel(facts: HostFacts, waived: Collection[str]) -> Iterator[File | Sysctl]:
    row = rows.KERNEL_PARAMETERS_FILE
    yield File(path=facts.data_dir / row.path, content=sysctl_file(waived), mode=row.mode)
    if facts.platform.has_kernel:
        yield from (Sysctl(key=r.key, value=r.value) for r in SYSCTLS if r.written and r.key not in waived)


def _with_header(content: bytes) -> bytes:
    return "".join(f"# {line}\n" for line in HEADER.splitlines()).encode() + content
