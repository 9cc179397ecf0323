"""What `render` prints: the bytes that apply would write, and documents for other hands. No host is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

    Renderer = Callable[[Settings, HostFacts], bytes]


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
    if what == "audit-policy":
        return desired.audit_policy_file(read_audit_policy(host, site))
    if what == "cloud-init":
        return user_data(facts, download)
    return RENDERERS[what](site, facts)


def _rancher_cluster(site: Settings, facts: HostFacts) -> bytes:
    from agent.rancher import cluster

    return cluster(site, facts)


def _account_update_pair(_site: Settings, _facts: HostFacts) -> bytes:
    """Both files as one script that writes them, so that one command makes the pair."""
    parts = [b"# Writes account_update.yaml and account_update.sh into this directory; run by: sh\n"]
    for name, content in (
        ("account_update.yaml", manifests.account_update()),
        ("account_update.sh", manifests.account_update_script()),
    ):
        parts.append(b"cat >%s <<'END-OF-FILE'\n%sEND-OF-FILE\n" % (name.encode(), content))
    parts.append(b"chmod +x account_update.sh\n")
    return b"".join(parts)


RENDERERS: Mapping[str, Renderer] = {
    "sysctl": lambda _site, _facts: desired.sysctl_file(),
    "audit-policy": lambda _site, _facts: desired.audit_policy_file(None),
    "policy": desired.policy_manifest,
    "psa": lambda site, _facts: desired.admission_configuration(site),
    "k3s-config": desired.k3s_config,
    "rancher-cluster": _rancher_cluster,
    "service-accounts": _account_update_pair,
    "cloud-init": lambda _site, facts: user_data(facts),
}
