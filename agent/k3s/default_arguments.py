"""Arguments that K3s itself passes to the components of Kubernetes, and that controls test.

kube-proxy gets none of them. The rows omit feature gates, and arguments that differ on every host, such as
hostname-override of the kubelet.

The rows follow K3s' source. Tests compare them with the lines that K3s logs at the start of a component, as shown in
the self-assessments of its documentation (k3s-io/docs, docs/security/self-assessment-*.md).
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import TYPE_CHECKING

from agent.k3s.encryption_configuration import ENCRYPTION_CONFIGURATION
from agent.model import ALL_VERSIONS, Component, VersionRange
from agent.value import Value

if TYPE_CHECKING:
    from agent.model import Version


class Needs(Enum):
    """A condition, besides the version, for K3s to pass an argument."""

    ETCD = "K3s runs etcd itself"
    SECRETS_ENCRYPTION = "K3s encrypts secrets"
    PROTECT_KERNEL_DEFAULTS = "K3s' own option protect-kernel-defaults is on"
    NO_AUTHENTICATION_CONFIG = "the operator sets no authentication-config"
    NO_AUTHORIZATION_CONFIG = "the operator sets no authorization-config"


class Channel(Enum):
    """How a component gets a default."""

    ARGUMENT = "K3s passes an argument"
    KUBELET_FILE = "K3s writes a field of 00-k3s-defaults.conf; later files and all arguments override it"
    BUILT_IN = "the kubelet's default without a --config file; any file and any argument override it"


class DefaultArgument(Value):
    """An argument that K3s sets."""

    component: Component
    name: str
    """Without dashes."""
    value: str
    """Can contain the fields {data_dir}, {loopback} and {apiserver_port}."""
    source: str
    """The upstream file, or issue, that shows it."""
    versions: VersionRange = ALL_VERSIONS
    since: tuple[tuple[int, int], ...] = ()
    """(minor, patch) of the first release with the argument, for minors that do not have it from their start."""
    before: tuple[tuple[int, int], ...] = ()
    """(minor, patch) of the first release without the argument."""
    needs: Needs | None = None
    channel: Channel = Channel.ARGUMENT

    @property
    def example(self) -> str:
        """The value with K3s' usual addresses and ports filled in."""
        return self.value.replace("{loopback}", "127.0.0.1").replace("{apiserver_port}", "6444")

    def in_version(self, version: Version) -> bool:
        """Return whether K3s of this version sets the argument if its condition is met."""
        return (
            self.versions.includes(version)
            and version.patch >= dict(self.since).get(version.minor, 0)
            and version.patch < dict(self.before).get(version.minor, version.patch + 1)
        )


FIRST_WITH_KUBELET_FILES = 32
"""The first minor that writes the kubelet's configuration to files instead of passing arguments."""

KUBELET_DIRECTORY = "agent/etc/kubelet.conf.d"
"""Path of the directory of these files, relative to the data directory. The kubelet reads all *.conf in it."""

KUBELET_DEFAULTS_FILE = f"{KUBELET_DIRECTORY}/00-k3s-defaults.conf"
"""The file that K3s rewrites at each start."""

_SERVER = "k3s pkg/daemons/control/server.go"
_SERVER_COMMAND = "k3s pkg/cli/server/server.go"
_KUBELET_ARGUMENTS = "k3s pkg/daemons/agent/agent_linux.go"
_KUBELET_FILE = "k3s pkg/daemons/agent/agent.go"
_TLS = "{data_dir}/server/tls"

_API_SERVER: tuple[DefaultArgument, ...] = tuple(
    DefaultArgument(Component.API_SERVER, name, value, _SERVER, needs=needs)
    for name, value, needs in (
        ("client-ca-file", f"{_TLS}/client-ca.crt", None),
        ("enable-admission-plugins", "NodeRestriction", None),
        (
            "encryption-provider-config",
            f"{{data_dir}}/{ENCRYPTION_CONFIGURATION}",
            Needs.SECRETS_ENCRYPTION,
        ),
        ("etcd-cafile", f"{_TLS}/etcd/server-ca.crt", Needs.ETCD),
        ("etcd-certfile", f"{_TLS}/etcd/client.crt", Needs.ETCD),
        ("etcd-keyfile", f"{_TLS}/etcd/client.key", Needs.ETCD),
        ("kubelet-certificate-authority", f"{_TLS}/server-ca.crt", None),
        ("kubelet-client-certificate", f"{_TLS}/client-kube-apiserver.crt", None),
        ("kubelet-client-key", f"{_TLS}/client-kube-apiserver.key", None),
        ("profiling", "false", None),
        ("secure-port", "{apiserver_port}", None),
        ("service-account-key-file", f"{_TLS}/service.key", None),
        ("tls-cert-file", f"{_TLS}/serving-kube-apiserver.crt", None),
        ("tls-private-key-file", f"{_TLS}/serving-kube-apiserver.key", None),
    )
)

_AUTHORIZATION_CONFIG = ((30, 12), (31, 8), (32, 4))
_AUTHENTICATION_CONFIG = ((30, 13), (31, 9), (32, 5), (33, 1))
"""The first releases in which K3s omits an argument of its own if the operator sets such a file.

Earlier ones pass both, and the API server exits at authorization-mode beside authorization-config. k3s-io/k3s #12042 is
in v1.32.4, and #12345 in v1.32.5; for the other minor versions, the releases of the same months are assumed.
"""

_REPLACED_BY_FILES: tuple[DefaultArgument, ...] = tuple(
    row
    for name, value, source, since, need in (
        (
            "anonymous-auth",
            "false",
            "k3s-io/k3s #12345",
            _AUTHENTICATION_CONFIG,
            Needs.NO_AUTHENTICATION_CONFIG,
        ),
        (
            "authorization-mode",
            "Node,RBAC",
            "k3s-io/k3s #12042",
            _AUTHORIZATION_CONFIG,
            Needs.NO_AUTHORIZATION_CONFIG,
        ),
    )
    for row in (
        DefaultArgument(
            Component.API_SERVER, name, value, source, versions=VersionRange(last=since[-1][0]), before=since
        ),
        DefaultArgument(
            Component.API_SERVER,
            name,
            value,
            _SERVER,
            versions=VersionRange(first=since[0][0]),
            since=since,
            needs=need,
        ),
    )
)

_CIPHER_SUITES = DefaultArgument(
    Component.API_SERVER,
    "tls-cipher-suites",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,"
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,"
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    _SERVER_COMMAND,
    versions=VersionRange(first=23),
    # K3s' supervisor has used them for longer; K3s passes them to the API server since January 2023 (k3s #6724).
    since=((23, 16), (24, 10), (25, 6), (26, 1)),
)

_ROTATING_KEY = ((23, 17), (24, 11), (25, 7), (26, 2))
"""The first releases in which K3s can rotate the key that signs service account tokens."""

_CONTROLLER_MANAGER: tuple[DefaultArgument, ...] = (
    *(
        DefaultArgument(Component.CONTROLLER_MANAGER, name, value, _SERVER)
        for name, value in (
            ("bind-address", "{loopback}"),
            ("profiling", "false"),
            ("root-ca-file", f"{_TLS}/server-ca.crt"),
            ("use-service-account-credentials", "true"),
        )
    ),
    DefaultArgument(
        Component.CONTROLLER_MANAGER,
        "service-account-private-key-file",
        f"{_TLS}/service.key",
        _SERVER,
        versions=VersionRange(last=26),
        before=_ROTATING_KEY,
    ),
    DefaultArgument(
        Component.CONTROLLER_MANAGER,
        "service-account-private-key-file",
        f"{_TLS}/service.current.key",
        _SERVER,
        versions=VersionRange(first=23),
        since=_ROTATING_KEY,
    ),
)

_SCHEDULER: tuple[DefaultArgument, ...] = (
    DefaultArgument(Component.SCHEDULER, "bind-address", "{loopback}", _SERVER),
    DefaultArgument(Component.SCHEDULER, "profiling", "false", _SERVER),
)

_KUBELET_SETTINGS: tuple[tuple[str, str, Needs | None], ...] = (
    ("anonymous-auth", "false", None),
    ("authentication-token-webhook", "true", None),
    ("authorization-mode", "Webhook", None),
    ("client-ca-file", "{data_dir}/agent/client-ca.crt", None),
    ("protect-kernel-defaults", "true", Needs.PROTECT_KERNEL_DEFAULTS),
    ("tls-cert-file", "{data_dir}/agent/serving-kubelet.crt", None),
    ("tls-private-key-file", "{data_dir}/agent/serving-kubelet.key", None),
)

_READ_ONLY_PORT_LOST = "k3s-io/k3s #12164"
_READ_ONLY_PORT_BACK = ((FIRST_WITH_KUBELET_FILES, 4),)

_KUBELET: tuple[DefaultArgument, ...] = (
    *(
        DefaultArgument(
            Component.KUBELET,
            name,
            value,
            _KUBELET_ARGUMENTS,
            versions=VersionRange(last=FIRST_WITH_KUBELET_FILES - 1),
            needs=needs,
        )
        for name, value, needs in _KUBELET_SETTINGS
    ),
    *(
        DefaultArgument(
            Component.KUBELET,
            name,
            value,
            _KUBELET_FILE,
            versions=VersionRange(first=FIRST_WITH_KUBELET_FILES),
            needs=needs,
            channel=Channel.KUBELET_FILE,
        )
        for name, value, needs in (*_KUBELET_SETTINGS, ("streaming-connection-idle-timeout", "4h0m0s", None))
    ),
    DefaultArgument(Component.KUBELET, "read-only-port", "0", _KUBELET_ARGUMENTS, since=_READ_ONLY_PORT_BACK),
    # Go omits a zero from the file, so these releases open the kubelet's default port.
    DefaultArgument(
        Component.KUBELET,
        "read-only-port",
        "10255",
        _READ_ONLY_PORT_LOST,
        versions=VersionRange(FIRST_WITH_KUBELET_FILES, FIRST_WITH_KUBELET_FILES),
        before=_READ_ONLY_PORT_BACK,
        channel=Channel.BUILT_IN,
    ),
)

DEFAULTS: tuple[DefaultArgument, ...] = (
    *_API_SERVER,
    *_REPLACED_BY_FILES,
    _CIPHER_SUITES,
    *_CONTROLLER_MANAGER,
    *_SCHEDULER,
    *_KUBELET,
)
"""By component. A component has at most one row per argument, version and channel."""


@cache
def defaults_of(component: Component) -> tuple[DefaultArgument, ...]:
    """Return the rows of a component, for all versions."""
    return tuple([row for row in DEFAULTS if row.component is component])
