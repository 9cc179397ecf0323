"""Controls of files of the control plane (section 1.1) and of the kubelet and kube-proxy (4.1): modes and owners."""

from __future__ import annotations

from functools import partial

from agent.assess.benchmark.control import BenchmarkControl, benchmark_control
from agent.assess.checks.check import AllOf, NotInK3s
from agent.assess.checks.file_modes import Ownership, Permissions
from agent.assess.checks.host_paths import KUBELET_DIRECTORIES, KUBELET_FILES
from agent.base.model import PRIVATE_FILE, PUBLIC_DIRECTORY, PUBLIC_FILE, FileMode
from agent.k3s.cis.versions import Benchmark, up_to
from agent.k3s.default_arguments import FIRST_WITH_KUBELET_FILES, KUBELET_DIRECTORY
from agent.k3s.roles_and_versions import (
    CERTIFICATE_DIRECTORIES,
    EVERYWHERE,
    NETWORK_LEASES,
    ON_SERVERS,
    Applies,
    Component,
    VersionRange,
)

_LEASES = (f"{NETWORK_LEASES}/**",)
_ADMIN = ("server/cred/admin.kubeconfig",)
_CERTIFICATE_FILES = tuple(f"{directory}/*.crt" for directory in CERTIFICATE_DIRECTORIES)
_CLIENT_CA = ("agent/client-ca.crt",)
_CA_ARGUMENT = ((Component.KUBELET, "client-ca-file"),)
_KEYS = (
    (Component.API_SERVER, "tls-private-key-file"),
    (Component.API_SERVER, "service-account-signing-key-file"),
    (Component.API_SERVER, "kubelet-client-key"),
    (Component.API_SERVER, "etcd-keyfile"),
    (Component.API_SERVER, "proxy-client-key-file"),
    (Component.CONTROLLER_MANAGER, "service-account-private-key-file"),
    (Component.CONTROLLER_MANAGER, "tls-private-key-file"),
    (Component.SCHEDULER, "tls-private-key-file"),
)
"""Arguments of the control plane that name a private key."""
_DROP_IN_DIRECTORY = (KUBELET_DIRECTORY,)
_DROP_INS = (f"{KUBELET_DIRECTORY}/**",)

_POD_SPECS = {
    "apiserver": "the API server",
    "controller-manager": "the controller manager",
    "scheduler": "the scheduler",
    "etcd": "etcd",
}
"""The components with a pod spec in other distributions, by the start of the IDs of its controls."""
_NO_SERVICE_FILE = NotInK3s("K3s runs the kubelet in its own process, so the kubelet has no service file.")

_row = partial(benchmark_control, applies=ON_SERVERS)


def _kubeconfig(name: str, path: str, component: Component) -> tuple[BenchmarkControl, ...]:
    """Return the controls of a component's kubeconfig, which others can read by CIS 1.23."""
    applies = EVERYWHERE if component in (Component.KUBELET, Component.KUBE_PROXY) else ON_SERVERS
    named_by = ((component, "kubeconfig"),)
    readable = Permissions((path,), at_most=PUBLIC_FILE, named_by=named_by)
    return (
        benchmark_control(
            f"{name}-kubeconfig-permissions",
            Permissions((path,), named_by=named_by),
            applies=applies,
            earlier={Benchmark.CIS_1_23: readable},
        ),
        benchmark_control(f"{name}-kubeconfig-ownership", Ownership((path,), named_by=named_by), applies=applies),
    )


def _kubelet_files(at_most: FileMode) -> AllOf:
    directories = Permissions(KUBELET_DIRECTORIES, at_most=PUBLIC_DIRECTORY, directories=True)
    return AllOf((directories, Permissions(KUBELET_FILES, at_most=at_most)))


def _leases(at_most: FileMode) -> Permissions:
    return Permissions(_LEASES, except_names=("lock",), setting="cni.file-permissions", at_most=at_most)


def _certificates(at_most: FileMode) -> Permissions:
    return Permissions(_CERTIFICATE_FILES, setting="pki.certificate-permissions", at_most=at_most)


COMPONENT_FILES: tuple[BenchmarkControl, ...] = (
    *(
        _row(f"{name}-pod-spec-{what}", NotInK3s(f"K3s runs {component} in its own process, so it has no pod spec."))
        for name, component in _POD_SPECS.items()
        for what in ("permissions", "ownership")
    ),
    benchmark_control(
        "cni-permissions",
        # host-local locks its directory with an empty file named lock, which it creates with 0750.
        _leases(PRIVATE_FILE),
        earlier={Benchmark.CIS_1_23: _leases(PUBLIC_FILE)},
    ),
    benchmark_control("cni-ownership", Ownership(_LEASES)),
    _row("etcd-data-permissions", Permissions(("server/db/etcd",), at_most=FileMode(0o700), directories=True)),
    _row(
        "etcd-data-ownership",
        NotInK3s(
            "K3s runs etcd in its own process, as root, and not as a user etcd. The control etcd-data-access, which is"
            " beyond the benchmark, checks who can read and change the data."
        ),
    ),
    _row("admin-kubeconfig-permissions", Permissions(_ADMIN)),
    _row("admin-kubeconfig-ownership", Ownership(_ADMIN)),
    *_kubeconfig("scheduler", "server/cred/scheduler.kubeconfig", Component.SCHEDULER),
    *_kubeconfig("controller-manager", "server/cred/controller.kubeconfig", Component.CONTROLLER_MANAGER),
    _row(
        "pki-ownership",
        AllOf((Ownership(("server/tls", "server/tls/**"), directories=True), Ownership(("server/tls/**",)))),
    ),
    _row(
        "pki-certificate-permissions",
        _certificates(PUBLIC_FILE),
        # CIS 1.23 requires 644; 1.24 to 1.10 require 600, and 1.11 and newer require 644 again.
        earlier=dict.fromkeys(up_to(Benchmark.CIS_1_10, Benchmark.CIS_1_24), _certificates(PRIVATE_FILE)),
    ),
    _row("pki-key-permissions", Permissions(("server/tls/**/*.key",), named_by=_KEYS)),
    benchmark_control("kubelet-service-permissions", _NO_SERVICE_FILE),
    benchmark_control("kubelet-service-ownership", _NO_SERVICE_FILE),
    *_kubeconfig("kube-proxy", "agent/kubeproxy.kubeconfig", Component.KUBE_PROXY),
    *_kubeconfig("kubelet", "agent/kubelet.kubeconfig", Component.KUBELET),
    benchmark_control(
        "kubelet-client-ca-permissions",
        Permissions(_CLIENT_CA, at_most=PUBLIC_FILE, named_by=_CA_ARGUMENT),
        # CIS 1.11 and 1.12 accept 644 (kube-bench, cfg/cis-1.11), but K3s' self-assessments of them require 600.
        earlier=dict.fromkeys(
            up_to(Benchmark.CIS_2_0, Benchmark.CIS_1_24), Permissions(_CLIENT_CA, named_by=_CA_ARGUMENT)
        ),
    ),
    benchmark_control("kubelet-client-ca-ownership", Ownership(_CLIENT_CA, named_by=_CA_ARGUMENT)),
    benchmark_control(
        "kubelet-config-permissions",
        _kubelet_files(PRIVATE_FILE),
        earlier={Benchmark.CIS_1_23: _kubelet_files(PUBLIC_FILE)},
    ),
    benchmark_control(
        "kubelet-config-ownership", AllOf((Ownership(KUBELET_DIRECTORIES, directories=True), Ownership(KUBELET_FILES)))
    ),
    # K3s' self-assessment marks it as not applicable, but K3s has the directory since v1.32.
    benchmark_control(
        "kubelet-drop-ins",
        AllOf(
            (
                Permissions(_DROP_IN_DIRECTORY, at_most=FileMode(0o755), directories=True),
                Ownership(_DROP_IN_DIRECTORY, directories=True),
                Permissions(_DROP_INS, at_most=PUBLIC_FILE),
                Ownership(_DROP_INS),
            )
        ),
        applies=Applies(versions=VersionRange(first=FIRST_WITH_KUBELET_FILES)),
    ),
)
"""In the benchmarks' order. A server also runs a kubelet."""
