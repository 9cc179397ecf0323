"""Controls of the files of the kubelet and kube-proxy: modes and owners (section 4.1)."""

from __future__ import annotations

from agent.assess.benchmark.control import BenchmarkControl, benchmark_control
from agent.assess.checks.check import AllOf
from agent.assess.checks.files import Ownership, Permissions
from agent.assess.checks.host_paths import KUBELET_DIRECTORIES, KUBELET_FILES
from agent.assess.checks.manual import NotInK3s
from agent.base.model import PRIVATE_FILE, PUBLIC_DIRECTORY, PUBLIC_FILE, Applies, FileMode, VersionRange
from agent.k3s.cis.versions import Benchmark, up_to
from agent.k3s.default_arguments import FIRST_WITH_KUBELET_FILES, KUBELET_DIRECTORY

_KUBE_PROXY_KUBECONFIG = ("agent/kubeproxy.kubeconfig",)
_KUBELET_KUBECONFIG = ("agent/kubelet.kubeconfig",)
_CLIENT_CA = ("agent/client-ca.crt",)
_DROP_IN_DIRECTORY = (KUBELET_DIRECTORY,)
_DROP_INS = (f"{KUBELET_DIRECTORY}/**",)

_NO_SERVICE_FILE = NotInK3s("K3s runs the kubelet in its own process, so the kubelet has no service file.")


def _kubelet_files(at_most: FileMode) -> AllOf:
    directories = Permissions(KUBELET_DIRECTORIES, at_most=PUBLIC_DIRECTORY, directories=True)
    return AllOf((directories, Permissions(KUBELET_FILES, at_most=at_most)))


NODE_FILES: tuple[BenchmarkControl, ...] = (
    benchmark_control("kubelet-service-permissions", _NO_SERVICE_FILE),
    benchmark_control("kubelet-service-ownership", _NO_SERVICE_FILE),
    benchmark_control(
        "kube-proxy-kubeconfig-permissions",
        Permissions(_KUBE_PROXY_KUBECONFIG),
        earlier={Benchmark.CIS_1_23: Permissions(_KUBE_PROXY_KUBECONFIG, at_most=PUBLIC_FILE)},
    ),
    benchmark_control("kube-proxy-kubeconfig-ownership", Ownership(_KUBE_PROXY_KUBECONFIG)),
    benchmark_control(
        "kubelet-kubeconfig-permissions",
        Permissions(_KUBELET_KUBECONFIG),
        earlier={Benchmark.CIS_1_23: Permissions(_KUBELET_KUBECONFIG, at_most=PUBLIC_FILE)},
    ),
    benchmark_control("kubelet-kubeconfig-ownership", Ownership(_KUBELET_KUBECONFIG)),
    benchmark_control(
        "kubelet-client-ca-permissions",
        Permissions(_CLIENT_CA, at_most=PUBLIC_FILE),
        # CIS 1.11 and 1.12 accept 644 (kube-bench, cfg/cis-1.11), but K3s' self-assessments of them require 600.
        earlier=dict.fromkeys(up_to(Benchmark.CIS_2_0, Benchmark.CIS_1_24), Permissions(_CLIENT_CA)),
    ),
    benchmark_control("kubelet-client-ca-ownership", Ownership(_CLIENT_CA)),
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
