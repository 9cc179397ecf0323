"""Controls of the control plane's files: modes and owners (section 1.1)."""

from __future__ import annotations

from functools import partial

from agent.benchmark.control import WHY_OWNERSHIP, BenchmarkControl, numbered
from agent.benchmark.versions import Benchmark, up_to
from agent.checks.check import AllOf
from agent.checks.files import Ownership, Permissions
from agent.checks.manual import NotInK3s
from agent.k3s.paths import CERTIFICATE_DIRECTORIES, NETWORK_LEASES
from agent.model import ON_SERVERS, PUBLIC_FILE, FileMode

_CERTIFICATES = "k3s-io/k3s pkg/daemons/control/deps/deps.go"
_EMBEDDED = "k3s-io/k3s pkg/daemons/executor/embed.go"

_LEASES = (f"{NETWORK_LEASES}/**",)
_ETCD_DATA = ("server/db/etcd",)
_ADMIN = ("server/cred/admin.kubeconfig",)
_SCHEDULER = ("server/cred/scheduler.kubeconfig",)
_CONTROLLER_MANAGER = ("server/cred/controller.kubeconfig",)
_CERTIFICATE_FILES = tuple(f"{directory}/*.crt" for directory in CERTIFICATE_DIRECTORIES)
_KEY_FILES = ("server/tls/**/*.key",)

_A_POD_SPEC = (
    "The kubelet runs a static pod with the rights of the control plane, so everyone who can write its file can take"
    " over the cluster."
)


_row = partial(BenchmarkControl, applies=ON_SERVERS, source=_CERTIFICATES)


def _pod_spec(name: str, component: str, *, permissions: str, ownership: str) -> tuple[BenchmarkControl, ...]:
    row = partial(
        _row,
        check=NotInK3s(f"K3s runs {component} in its own process, so it has no pod spec."),
        why=_A_POD_SPEC,
        source=_EMBEDDED,
    )
    return (
        row(
            id=f"{name}-pod-spec-permissions",
            title=f"The pod spec of {component} has restrictive permissions",
            numbers=numbered(f"{permissions}S " * len(Benchmark)),
        ),
        row(
            id=f"{name}-pod-spec-ownership",
            title=f"The pod spec of {component} belongs to root:root",
            numbers=numbered(f"{ownership}S " * len(Benchmark)),
        ),
    )


CONTROL_PLANE_FILES: tuple[BenchmarkControl, ...] = (
    *_pod_spec("apiserver", "the API server", permissions="1.1.1", ownership="1.1.2"),
    *_pod_spec("controller-manager", "the controller manager", permissions="1.1.3", ownership="1.1.4"),
    *_pod_spec("scheduler", "the scheduler", permissions="1.1.5", ownership="1.1.6"),
    *_pod_spec("etcd", "etcd", permissions="1.1.7", ownership="1.1.8"),
    BenchmarkControl(
        "cni-permissions",
        "The files of the container network have restrictive permissions",
        # host-local locks its directory with an empty file named lock, which it creates with 0750.
        Permissions(_LEASES, except_names=("lock",)),
        "They record the address of each pod. Everyone who can change them can get an address assigned twice and"
        " receive another pod's traffic.",
        numbers=numbered("1.1.9S 1.1.9S 1.1.9u 1.1.9A 1.1.9A 1.1.9A 1.1.9A 1.1.9A 1.1.9A 1.1.9M"),
        earlier={Benchmark.CIS_1_23: Permissions(_LEASES, at_most=PUBLIC_FILE, except_names=("lock",))},
        setting="cni.file-permissions",
        source="containernetworking/plugins plugins/ipam/host-local/backend/disk/backend.go",
    ),
    BenchmarkControl(
        "cni-ownership",
        "The files of the container network belong to root:root",
        Ownership(_LEASES),
        f"{WHY_OWNERSHIP} These files record the address of each pod.",
        numbers=numbered("1.1.10S 1.1.10S 1.1.10A 1.1.10A 1.1.10A 1.1.10A 1.1.10A 1.1.10A 1.1.10A 1.1.10M"),
        source="containernetworking/plugins plugins/ipam/host-local/backend/disk/backend.go",
    ),
    _row(
        "etcd-data-permissions",
        "etcd's data directory has restrictive permissions",
        Permissions(_ETCD_DATA, at_most=FileMode(0o700), directories=True),
        "This directory contains the whole cluster, including its Secrets. Everyone with access to the files can"
        " read and change all of it without the API server.",
        numbers=numbered("1.1.11A 1.1.11A 1.1.11A 1.1.11A 1.1.11u 1.1.11M 1.1.11M 1.1.11M 1.1.11M 1.1.11A"),
        source="k3s-io/k3s pkg/daemons/executor/executor.go",
    ),
    _row(
        "etcd-data-ownership",
        "etcd's data directory belongs to etcd:etcd",
        NotInK3s(
            "K3s runs etcd in its own process, as root, and not as a user etcd. The control etcd-data-access, which is"
            " beyond the benchmark, checks who can read and change the data."
        ),
        "An etcd that runs as a separate user cannot be used to attack the rest of the host.",
        numbers=numbered("1.1.12S 1.1.12S 1.1.12S 1.1.12S 1.1.12S 1.1.12S 1.1.12S 1.1.12S 1.1.12S 1.1.12S"),
        source=_EMBEDDED,
    ),
    _row(
        "admin-kubeconfig-permissions",
        "The administrator's kubeconfig has restrictive permissions",
        Permissions(_ADMIN),
        "It gives access to a certificate of the group system:masters, which RBAC does not restrict and which"
        " cannot be revoked. Everyone who can change it can connect the administrator to another API server.",
        numbers=numbered("1.1.13S 1.1.13S 1.1.13A 1.1.13A 1.1.13A 1.1.13A 1.1.13A 1.1.13A 1.1.13A 1.1.13A"),
    ),
    _row(
        "admin-kubeconfig-ownership",
        "The administrator's kubeconfig belongs to root:root",
        Ownership(_ADMIN),
        f"{WHY_OWNERSHIP} This file gives access to the administrator's certificate.",
        numbers=numbered("1.1.14A 1.1.14A 1.1.14A 1.1.14A 1.1.14A 1.1.14A 1.1.14A 1.1.14A 1.1.14A 1.1.14A"),
    ),
    _row(
        "scheduler-kubeconfig-permissions",
        "The scheduler's kubeconfig has restrictive permissions",
        Permissions(_SCHEDULER),
        "It gives access to the certificate of the scheduler, which may assign any pod to any node. Everyone who"
        " can change it can connect the scheduler to another API server.",
        numbers=numbered("1.1.15A 1.1.15A 1.1.15A 1.1.15A 1.1.15A 1.1.15A 1.1.15A 1.1.15A 1.1.15A 1.1.15A"),
        earlier={Benchmark.CIS_1_23: Permissions(_SCHEDULER, at_most=PUBLIC_FILE)},
    ),
    _row(
        "scheduler-kubeconfig-ownership",
        "The scheduler's kubeconfig belongs to root:root",
        Ownership(_SCHEDULER),
        f"{WHY_OWNERSHIP} This file gives access to the scheduler's certificate.",
        numbers=numbered("1.1.16A 1.1.16A 1.1.16A 1.1.16A 1.1.16A 1.1.16A 1.1.16A 1.1.16A 1.1.16A 1.1.16A"),
    ),
    _row(
        "controller-manager-kubeconfig-permissions",
        "The controller manager's kubeconfig has restrictive permissions",
        Permissions(_CONTROLLER_MANAGER),
        "It gives access to the certificate of the controller manager, which may create a token for any service"
        " account. Everyone who can change it can connect the controller manager to another API server.",
        numbers=numbered("1.1.17A 1.1.17A 1.1.17A 1.1.17A 1.1.17A 1.1.17A 1.1.17A 1.1.17A 1.1.17A 1.1.17A"),
        earlier={Benchmark.CIS_1_23: Permissions(_CONTROLLER_MANAGER, at_most=PUBLIC_FILE)},
    ),
    _row(
        "controller-manager-kubeconfig-ownership",
        "The controller manager's kubeconfig belongs to root:root",
        Ownership(_CONTROLLER_MANAGER),
        f"{WHY_OWNERSHIP} This file gives access to the controller manager's certificate.",
        numbers=numbered("1.1.18A 1.1.18A 1.1.18A 1.1.18A 1.1.18A 1.1.18A 1.1.18A 1.1.18A 1.1.18A 1.1.18A"),
    ),
    _row(
        "pki-ownership",
        "The directory of certificates and keys, and all directories and files in it, belong to root:root",
        AllOf((Ownership(("server/tls", "server/tls/**"), directories=True), Ownership(("server/tls/**",)))),
        "Everyone who owns a certificate authority's file, or its directory, can replace it. The cluster then"
        " trusts all certificates that the replacement signs.",
        numbers=numbered("1.1.19A 1.1.19A 1.1.19A 1.1.19A 1.1.19A 1.1.19A 1.1.19A 1.1.19A 1.1.19A 1.1.19A"),
    ),
    _row(
        "pki-certificate-permissions",
        "The certificates of the control plane have restrictive permissions",
        Permissions(_CERTIFICATE_FILES, at_most=PUBLIC_FILE),
        "Everyone who can change the certificate of an authority decides whom the cluster trusts. A certificate"
        " reveals names and addresses, but no secret. K3s creates them with 0644, and again when"
        " it rotates them by hand. A renewal at its start keeps the mode. A file that K3s restores from the"
        " datastore has 0600.",
        numbers=numbered("1.1.20u 1.1.20u 1.1.20u 1.1.20u 1.1.20A 1.1.20M 1.1.20A 1.1.20A 1.1.20A 1.1.20M"),
        # CIS 1.23 requires 644; 1.24 to 1.10 require 600, and 1.11 and newer require 644 again.
        earlier=dict.fromkeys(up_to(Benchmark.CIS_1_10, Benchmark.CIS_1_24), Permissions(_CERTIFICATE_FILES)),
        source="rancher/dynamiclistener cert/io.go; k3s-io/k3s pkg/daemons/control/deps/deps.go",
        setting="pki.certificate-permissions",
    ),
    _row(
        "pki-key-permissions",
        "The private keys of the control plane have restrictive permissions",
        Permissions(_KEY_FILES),
        "Everyone who can read a certificate authority's key can sign any certificate, including one of a cluster"
        " administrator. The key for service accounts can create tokens for all of them.",
        numbers=numbered("1.1.21u 1.1.21A 1.1.21A 1.1.21A 1.1.21A 1.1.21A 1.1.21A 1.1.21A 1.1.21A 1.1.21M"),
    ),
)
"""In the benchmarks' order."""
