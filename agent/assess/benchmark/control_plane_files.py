"""Controls of the control plane's files: modes and owners (section 1.1)."""

from __future__ import annotations

from functools import partial

from agent.assess.benchmark.control import BenchmarkControl, benchmark_control
from agent.assess.checks.check import AllOf
from agent.assess.checks.files import Ownership, Permissions
from agent.assess.checks.manual import NotInK3s
from agent.base.model import ON_SERVERS, PUBLIC_FILE, FileMode
from agent.k3s.cis.versions import Benchmark, up_to
from agent.k3s.paths import CERTIFICATE_DIRECTORIES, NETWORK_LEASES

_LEASES = (f"{NETWORK_LEASES}/**",)
_ETCD_DATA = ("server/db/etcd",)
_ADMIN = ("server/cred/admin.kubeconfig",)
_SCHEDULER = ("server/cred/scheduler.kubeconfig",)
_CONTROLLER_MANAGER = ("server/cred/controller.kubeconfig",)
_CERTIFICATE_FILES = tuple(f"{directory}/*.crt" for directory in CERTIFICATE_DIRECTORIES)
_KEY_FILES = ("server/tls/**/*.key",)

_POD_SPECS = {
    "apiserver": "the API server",
    "controller-manager": "the controller manager",
    "scheduler": "the scheduler",
    "etcd": "etcd",
}
"""The components with a pod spec in other distributions, by the start of the IDs of its controls."""

_row = partial(benchmark_control, applies=ON_SERVERS)


CONTROL_PLANE_FILES: tuple[BenchmarkControl, ...] = (
    *(
        _row(f"{name}-pod-spec-{what}", NotInK3s(f"K3s runs {component} in its own process, so it has no pod spec."))
        for name, component in _POD_SPECS.items()
        for what in ("permissions", "ownership")
    ),
    benchmark_control(
        "cni-permissions",
        # host-local locks its directory with an empty file named lock, which it creates with 0750.
        Permissions(_LEASES, except_names=("lock",)),
        earlier={Benchmark.CIS_1_23: Permissions(_LEASES, at_most=PUBLIC_FILE, except_names=("lock",))},
        setting="cni.file-permissions",
    ),
    benchmark_control("cni-ownership", Ownership(_LEASES)),
    _row("etcd-data-permissions", Permissions(_ETCD_DATA, at_most=FileMode(0o700), directories=True)),
    _row(
        "etcd-data-ownership",
        NotInK3s(
            "K3s runs etcd in its own process, as root, and not as a user etcd. The control etcd-data-access, which is"
            " beyond the benchmark, checks who can read and change the data."
        ),
    ),
    _row("admin-kubeconfig-permissions", Permissions(_ADMIN)),
    _row("admin-kubeconfig-ownership", Ownership(_ADMIN)),
    _row(
        "scheduler-kubeconfig-permissions",
        Permissions(_SCHEDULER),
        earlier={Benchmark.CIS_1_23: Permissions(_SCHEDULER, at_most=PUBLIC_FILE)},
    ),
    _row("scheduler-kubeconfig-ownership", Ownership(_SCHEDULER)),
    _row(
        "controller-manager-kubeconfig-permissions",
        Permissions(_CONTROLLER_MANAGER),
        earlier={Benchmark.CIS_1_23: Permissions(_CONTROLLER_MANAGER, at_most=PUBLIC_FILE)},
    ),
    _row("controller-manager-kubeconfig-ownership", Ownership(_CONTROLLER_MANAGER)),
    _row(
        "pki-ownership",
        AllOf((Ownership(("server/tls", "server/tls/**"), directories=True), Ownership(("server/tls/**",)))),
    ),
    _row(
        "pki-certificate-permissions",
        Permissions(_CERTIFICATE_FILES, at_most=PUBLIC_FILE),
        # CIS 1.23 requires 644; 1.24 to 1.10 require 600, and 1.11 and newer require 644 again.
        earlier=dict.fromkeys(up_to(Benchmark.CIS_1_10, Benchmark.CIS_1_24), Permissions(_CERTIFICATE_FILES)),
        setting="pki.certificate-permissions",
    ),
    _row("pki-key-permissions", Permissions(_KEY_FILES)),
)
"""In the benchmarks' order."""
