"""What `render` prints: the bytes that apply would write, and documents for other hands. No host is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent import desired, settings
from agent.cloud_init import user_data
from agent.facts import assumed
from agent.guide import manifests
from agent.guide.files import DEFAULT_DATA_DIR
from agent.host import Host
from agent.model import NEWEST_KNOWN, Role
from agent.situation import Request, read_audit_policy, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import PurePosixPath

    from agent.cloud_init import Download
    from agent.facts import HostFacts
    from agent.settings import Overrides, Settings


class _Order(NamedTuple):
    """What a document is made from; `host` is for the files that the settings name."""

    settings: Settings
    facts: HostFacts
    host: Host
    download: Download | None


def rendered(
    what: str, settings_file: PurePosixPath | None, overrides: Overrides, download: Download | None = None
) -> bytes:
    """The document called `what`, a key of RENDERERS, for a fresh host of the role and version that is asked for.

    Only a settings file is read, and an audit policy that it names. Raises InputError where they are bad. `download`
    is for cloud-init alone.
    """
    host = Host.real()
    if settings_file is None:
        site = settings.override(settings.Settings(), overrides)
    else:
        site = read_settings(host, Request(overrides, settings_file))
    facts = assumed(site.role or Role.SERVER, site.k3s_version or NEWEST_KNOWN, site.data_dir or DEFAULT_DATA_DIR)
    return RENDERERS[what](_Order(site, facts, host, download))


def _rancher_cluster(order: _Order) -> bytes:
    from agent.rancher import cluster

    return cluster(order.settings, order.facts)


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
    "policy": lambda order: desired.policy_manifest(order.settings, order.facts),
    "psa": lambda order: desired.admission_configuration(order.settings),
    "k3s-config": lambda order: desired.k3s_config(order.settings, order.facts),
    "rancher-cluster": _rancher_cluster,
    "service-accounts": _account_update_pair,
    "cloud-init": lambda order: user_data(order.facts, order.download),
}
