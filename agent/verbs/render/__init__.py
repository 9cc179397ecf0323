"""What `render` prints: the bytes that apply would write, and documents for other hands. No host is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.desired import resources as desired
from agent.errors import InputError, UsageError
from agent.guide import manifests
from agent.host import Host
from agent.k3s.paths import DEFAULT_DATA_DIR
from agent.model import NEWEST_KNOWN, Location, Role
from agent.node.facts import assumed
from agent.node.site_files import read_audit_policy, read_settings, read_waivers
from agent.settings.loading import load, override
from agent.settings.schema import DEFAULT_SETTINGS, Overrides, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import PurePosixPath

    from agent.node.facts import HostFacts
    from agent.verbs.render.cloud_init import Download


class _Order(NamedTuple):
    """What a document is made from; `host` is for the settings' own file, if there is one, and those that it names."""

    settings: Settings
    facts: HostFacts
    host: Host
    settings_file: PurePosixPath | None
    download: Download | None

    @property
    def server(self) -> HostFacts:
        """The facts of a server, for what is the same whichever role is asked for: an agent knows nothing of it."""
        return self.facts._replace(role=Role.SERVER)


def rendered(
    what: str, settings_file: PurePosixPath | None, overrides: Overrides, download: Download | None = None
) -> bytes:
    """The document called `what`, a key of RENDERERS, for a fresh host of the role and version that is asked for.

    Only a settings file is read, and the files that it names. Raises InputError where they are bad, and UsageError
    where what is asked for gives no document. `download` is for cloud-init alone, which cannot do without.
    """
    host = Host.real()
    site = override(Settings(), overrides) if settings_file is None else read_settings(host, settings_file, overrides)
    facts = assumed(site.role or Role.SERVER, site.k3s_version or NEWEST_KNOWN, site.data_dir or DEFAULT_DATA_DIR)
    return RENDERERS[what](_Order(site, facts, host, settings_file, download))


def _rancher_cluster(order: _Order) -> bytes:
    from agent.verbs.render.rancher import cluster

    return cluster(order.settings, order.server)


def _cloud_init(order: _Order) -> bytes:
    from agent.verbs.render.cloud_init import user_data

    if order.download is None:
        raise UsageError(
            "cannot render cloud-init without --url and --sha256: they say which program root is to run on the host",
            "`make dist` builds it as one file and puts its sum into SHA256SUMS; serve that file, or put it into the"
            " image and say --url file:///PATH",
        )
    return user_data(order.facts, order.download, {**_settings_file(order), **_named_files(order)})


def _settings_file(order: _Order) -> dict[PurePosixPath, bytes]:
    """The settings as the site wrote them, and the role. Raises InputError where the command line contradicts them."""
    path = order.settings_file or DEFAULT_SETTINGS
    data = order.host.machine_tree.read(path) or b"" if order.settings_file else b""
    written = load(data, path)
    for name in Overrides._fields:
        own, asked = getattr(written, name), getattr(order.settings, name)
        if own not in (None, asked):
            key = name.replace("_", "-")
            raise InputError(Location(path), f"it says `{key}: {own}`, and --{key} is {asked}", "say the same in both")
    if written.role is None:
        data += (b"" if data.endswith(b"\n") or not data else b"\n") + f"role: {order.facts.role}\n".encode()
        try:
            load(data, path)
        except InputError as error:
            hint = f"write role: {order.facts.role} into it"
            raise InputError(Location(path), "it does not say the role, and no line can be added", hint) from error
    return {DEFAULT_SETTINGS: data}


def _named_files(order: _Order) -> dict[PurePosixPath, bytes]:
    """The files that the settings name, by their paths, which are the same here and on the host."""
    found: dict[PurePosixPath, bytes] = {}
    own_policy = read_audit_policy(order.host, order.settings)
    if order.settings.audit_policy_file is not None and own_policy is not None:
        found[order.settings.audit_policy_file] = own_policy
    if order.settings.waivers_file is not None:
        read_waivers(order.host, order.settings)
        found[order.settings.waivers_file] = order.host.tree.read(order.settings.waivers_file) or b""
    return found


def _account_update_pair(_: _Order) -> bytes:
    """Both files as one script that writes them, so that one command makes the pair."""
    parts = [b"# Writes account_update.yaml and account_update.sh into this directory; run by: sh\n"]
    for name, content in (
        ("account_update.yaml", manifests.account_update()),
        ("account_update.sh", manifests.account_update_script()),
    ):
        parts.append(b"cat >%s <<'END-OF-FILE'\n%sEND-OF-FILE\n" % (name.encode(), content))
    parts.append(b"chmod +x account_update.sh\n")
    return b"".join(parts)


RENDERERS: Mapping[str, Callable[[_Order], bytes]] = {
    "sysctl": lambda _: desired.sysctl_file(),
    "audit-policy": lambda order: desired.audit_policy_file(read_audit_policy(order.host, order.settings)),
    "policy": lambda order: desired.policy_manifest(order.settings, order.server),
    "psa": lambda order: desired.admission_configuration(order.settings),
    "k3s-config": lambda order: desired.k3s_config(order.settings, order.facts),
    "rancher-cluster": _rancher_cluster,
    "service-accounts": _account_update_pair,
    "cloud-init": _cloud_init,
}
