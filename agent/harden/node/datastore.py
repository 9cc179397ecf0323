"""Datastore of the cluster on this host, and whether K3s encrypts Secrets in it."""

from __future__ import annotations

from pathlib import PurePosixPath

from agent.base.errors import HostError
from agent.base.host import Host
from agent.base.model import StrEnum
from agent.k3s.component_configuration import ENCRYPTION_CONFIGURATION, IDENTITY, providers_of_secrets
from agent.k3s.config import ConfigValue


class Datastore(StrEnum):
    """The kind of datastore that K3s has on this host."""

    NONE = "none yet"
    SQLITE = "SQLite"
    ETCD = "embedded etcd"
    EXTERNAL = "external"


_INITIALIZED_ETCD = "server/db/etcd/member/wal"
"""The directory by which K3s recognizes an etcd that it has started before (IsInitialized in k3s, pkg/etcd)."""


_DATABASE = "db/state.db"
"""K3s' own SQLite database, relative to the directory of the server."""


def detect_datastore(host: Host, data_dir: PurePosixPath, endpoint: ConfigValue | None = None) -> tuple[Datastore, str]:
    """Return the kind of datastore and its source; `endpoint` is datastore-endpoint of K3s' configuration.

    K3s ignores that option if it has an etcd on disk (assignManagedDriver in k3s, pkg/cluster/managed.go).
    """
    if endpoint is not None and endpoint.text:
        etcd = data_dir / _INITIALIZED_ETCD
        if host.tree.exists(etcd):
            return Datastore.ETCD, f"{etcd}; K3s ignores `datastore-endpoint` at {endpoint.location}"
        database = sqlite_database(endpoint, data_dir)
        if database is None:
            return Datastore.EXTERNAL, f"`datastore-endpoint` at {endpoint.location}"
        if host.tree.exists(database):
            return Datastore.SQLITE, f"{database}, of `datastore-endpoint` at {endpoint.location}"
        return Datastore.NONE, f"no file {database}, which `datastore-endpoint` at {endpoint.location} names"
    for name, kind in (("etcd", Datastore.ETCD), ("state.db", Datastore.SQLITE)):
        path = data_dir / "server/db" / name
        if host.tree.exists(path):
            return kind, str(path)
    return Datastore.NONE, f"nothing in {data_dir}/server/db"


def sqlite_database(endpoint: ConfigValue | None, data_dir: PurePosixPath) -> PurePosixPath | None:
    """Return the file of a SQLite datastore, K3s' own one without an endpoint; None for an endpoint of another kind.

    A relative path is below K3s' working directory, as its own `./db/state.db` (kine, pkg/drivers/sqlite).
    """
    scheme, _, address = ((endpoint and endpoint.text) or "sqlite://").partition("://")
    if scheme != "sqlite":
        return None
    path = address.partition("?")[0]
    return data_dir / "server" / PurePosixPath(path or _DATABASE)


def encrypts_secrets(host: Host, data_dir: PurePosixPath) -> bool | None:
    """Return whether K3s encrypts new Secrets; None if it could not be determined.

    K3s writes with the first provider for Secrets.
    """
    try:
        data = host.tree.read(data_dir / ENCRYPTION_CONFIGURATION)
        providers = providers_of_secrets(data) if data is not None else ()
    except (HostError, ValueError):
        return None
    return bool(providers) and providers[0] != IDENTITY
