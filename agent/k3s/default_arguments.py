"""The arguments that K3s itself hands to the components of Kubernetes, as far as a control asks for them.

kube-proxy gets none of these. Left out are feature gates, of which K3s sets some that no control asks for, and what is
different on every host, such as the kubelet's hostname-override.

The rows follow K3s' code, and are held against the lines that K3s logs when it starts a component, as the
self-assessments of its documentation show them (k3s-io/docs, docs/security/self-assessment-*.md).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from agent.k3s.encryption_configuration import ENCRYPTION_CONFIGURATION
from agent.model import ALL_VERSIONS, Component, VersionRange

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.model import Version


class Needs(Enum):
    """What has to be so, beside the version, for K3s to hand an argument on."""

    ETCD = "K3s runs etcd itself"
    SECRETS_ENCRYPTION = "K3s encrypts secrets"
    PROTECT_KERNEL_DEFAULTS = "K3s' own option protect-kernel-defaults is on"
    NO_AUTHENTICATION_CONFIG = "the operator gives no authentication-config"
    NO_AUTHORIZATION_CONFIG = "the operator gives no authorization-config"


class Place(Enum):
    """How K3s tells a component."""

    ARGUMENT = "an argument"
    KUBELET_FILE = "a field of 00-k3s-defaults.conf, which the kubelet's later files and all arguments win over"
    NOTHING = "no word of K3s': what the kubelet does without a --config file, which any file or argument wins over"


class Default(NamedTuple):
    """An argument that K3s sets: its name without dashes, and its value.

    The value may hold the fields {data_dir}, {loopback} and {apiserver_port}. `since` has (minor, patch) of the first
    release that has it, for minors whose earlier releases have not, and `before` those of the first that no longer has
    it. `source` is the upstream file, or thread, that decides it.
    """

    component: Component
    name: str
    value: str
    source: str
    versions: VersionRange = ALL_VERSIONS
    since: tuple[tuple[int, int], ...] = ()
    before: tuple[tuple[int, int], ...] = ()
    needs: Needs | None = None
    place: Place = Place.ARGUMENT

    def in_version(self, version: Version) -> bool:
        """Whether K3s of this version sets it, its needs given."""
        return (
            self.versions.includes(version)
            and version.patch >= dict(self.since).get(version.minor, 0)
            and version.patch < dict(self.before).get(version.minor, version.patch + 1)
        )


FIRST_WITH_KUBELET_FILES = 32
"""The minor from which on K3s writes the kubelet's configuration into files instead of arguments."""

KUBELET_DIRECTORY = "agent/etc/kubelet.conf.d"
"""Where, below the data directory; the kubelet reads all *.conf in it."""

KUBELET_DEFAULTS_FILE = f"{KUBELET_DIRECTORY}/00-k3s-defaults.conf"
"""What K3s writes there anew at each start."""

_SERVER = "k3s pkg/daemons/control/server.go"
_SERVER_COMMAND = "k3s pkg/cli/server/server.go"
_KUBELET_ARGUMENTS = "k3s pkg/daemons/agent/agent_linux.go"
_KUBELET_FILE = "k3s pkg/daemons/agent/agent.go"
_TLS = "{data_dir}/server/tls"

_API_SERVER: tuple[Default, ...] = tuple(
    Default(Component.API_SERVER, name, value, _SERVER, needs=needs)
    for name, value, needs in (
        ("anonymous-auth", "false", Needs.NO_AUTHENTICATION_CONFIG),
        ("authorization-mode", "Node,RBAC", Needs.NO_AUTHORIZATION_CONFIG),
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

_CIPHER_SUITES = Default(
    Component.API_SERVER,
    "tls-cipher-suites",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,"
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,"
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    _SERVER_COMMAND,
    versions=VersionRange(first=23),
    # K3s' supervisor had them long before; it hands them on to the API server since January 2023 (k3s #6724).
    since=((23, 16), (24, 10), (25, 6), (26, 1)),
)

_ROTATING_KEY = ((23, 17), (24, 11), (25, 7), (26, 2))
"""The releases from which on K3s can rotate the key that it signs service account tokens with."""

_CONTROLLER_MANAGER: tuple[Default, ...] = (
    *(
        Default(Component.CONTROLLER_MANAGER, name, value, _SERVER)
        for name, value in (
            ("bind-address", "{loopback}"),
            ("profiling", "false"),
            ("root-ca-file", f"{_TLS}/server-ca.crt"),
            ("use-service-account-credentials", "true"),
        )
    ),
    Default(
        Component.CONTROLLER_MANAGER,
        "service-account-private-key-file",
        f"{_TLS}/service.key",
        _SERVER,
        versions=VersionRange(last=26),
        before=_ROTATING_KEY,
    ),
    Default(
        Component.CONTROLLER_MANAGER,
        "service-account-private-key-file",
        f"{_TLS}/service.current.key",
        _SERVER,
        versions=VersionRange(first=23),
        since=_ROTATING_KEY,
    ),
)

_SCHEDULER: tuple[Default, ...] = (
    Default(Component.SCHEDULER, "bind-address", "{loopback}", _SERVER),
    Default(Component.SCHEDULER, "profiling", "false", _SERVER),
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

_KUBELET: tuple[Default, ...] = (
    *(
        Default(
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
        Default(
            Component.KUBELET,
            name,
            value,
            _KUBELET_FILE,
            versions=VersionRange(first=FIRST_WITH_KUBELET_FILES),
            needs=needs,
            place=Place.KUBELET_FILE,
        )
        for name, value, needs in (
            *_KUBELET_SETTINGS,
            ("streaming-connection-idle-timeout", "4h0m0s", None),
        )
    ),
    Default(Component.KUBELET, "read-only-port", "0", _KUBELET_ARGUMENTS, since=_READ_ONLY_PORT_BACK),
    # A zero is left out where Go writes the file, so that these releases have the port of a kubelet without --config.
    Default(
        Component.KUBELET,
        "read-only-port",
        "10255",
        _READ_ONLY_PORT_LOST,
        versions=VersionRange(FIRST_WITH_KUBELET_FILES, FIRST_WITH_KUBELET_FILES),
        before=_READ_ONLY_PORT_BACK,
        place=Place.NOTHING,
    ),
)

DEFAULTS: tuple[Default, ...] = (
    *_API_SERVER,
    _CIPHER_SUITES,
    *_CONTROLLER_MANAGER,
    *_SCHEDULER,
    *_KUBELET,
)
"""By component. Of one name in one version there is at most one row, for each of a component's arguments."""


def of(component: Component) -> Iterable[Default]:
    """The rows of a component, for all versions."""
    return (row for row in DEFAULTS if row.component is component)
