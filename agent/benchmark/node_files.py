"""Controls of the files of the kubelet and kube-proxy: modes and owners (section 4.1)."""

from __future__ import annotations

from functools import partial

from agent.benchmark.control import WHY_OWNERSHIP, BenchmarkControl, numbered
from agent.benchmark.versions import Benchmark, up_to
from agent.checks.check import AllOf
from agent.checks.files import Ownership, Permissions
from agent.checks.host_paths import KUBELET_DIRECTORIES, KUBELET_FILES
from agent.checks.manual import NotInK3s
from agent.k3s.default_arguments import FIRST_WITH_KUBELET_FILES, KUBELET_DIRECTORY
from agent.model import PRIVATE_FILE, PUBLIC_DIRECTORY, PUBLIC_FILE, Applies, FileMode, VersionRange

_AGENT = "k3s-io/k3s pkg/agent/config/config.go"
_KUBELET = "k3s-io/k3s pkg/daemons/agent/agent.go"

_KUBE_PROXY_KUBECONFIG = ("agent/kubeproxy.kubeconfig",)
_KUBELET_KUBECONFIG = ("agent/kubelet.kubeconfig",)
_CLIENT_CA = ("agent/client-ca.crt",)
_DROP_IN_DIRECTORY = (KUBELET_DIRECTORY,)
_DROP_INS = (f"{KUBELET_DIRECTORY}/**",)

_row = partial(BenchmarkControl, source=_AGENT)
_service = partial(
    BenchmarkControl,
    check=NotInK3s("K3s runs the kubelet in its own process, so the kubelet has no service file."),
    why="Everyone who can write a service file can run commands as root at the next start.",
    source=_KUBELET,
)
_config_file = partial(
    BenchmarkControl,
    why=(
        "The files configure how the kubelet authenticates and authorizes clients, so everyone who can write one, or"
        " add one to a directory of drop-ins, controls the node."
    ),
    source=_KUBELET,
)


def _kubelet_files(at_most: FileMode) -> AllOf:
    directories = Permissions(KUBELET_DIRECTORIES, at_most=PUBLIC_DIRECTORY, directories=True)
    return AllOf((directories, Permissions(KUBELET_FILES, at_most=at_most)))


NODE_FILES: tuple[BenchmarkControl, ...] = (
    _service(
        id="kubelet-service-permissions",
        title="The kubelet's service file has restrictive permissions",
        numbers=numbered("4.1.1S 4.1.1S 4.1.1S 4.1.1S 4.1.1S 4.1.1S 4.1.1S 4.1.1S 4.1.1S 4.1.1S"),
    ),
    _service(
        id="kubelet-service-ownership",
        title="The kubelet's service file belongs to root:root",
        numbers=numbered("4.1.2S 4.1.2S 4.1.2S 4.1.2S 4.1.2S 4.1.2S 4.1.2S 4.1.2S 4.1.2S 4.1.2S"),
    ),
    _row(
        "kube-proxy-kubeconfig-permissions",
        "kube-proxy's kubeconfig has restrictive permissions",
        Permissions(_KUBE_PROXY_KUBECONFIG),
        "It gives access to the certificate of kube-proxy, which can read all Services and endpoints. Everyone who"
        " can change it can connect kube-proxy to another API server, and so redirect the node's traffic.",
        numbers=numbered("4.1.3u 4.1.3A 4.1.3A 4.1.3A 4.1.3A 4.1.3A 4.1.3A 4.1.3A 4.1.3A 4.1.3M"),
        earlier={Benchmark.CIS_1_23: Permissions(_KUBE_PROXY_KUBECONFIG, at_most=PUBLIC_FILE)},
    ),
    _row(
        "kube-proxy-kubeconfig-ownership",
        "kube-proxy's kubeconfig belongs to root:root",
        Ownership(_KUBE_PROXY_KUBECONFIG),
        f"{WHY_OWNERSHIP} This file gives access to kube-proxy's certificate.",
        numbers=numbered("4.1.4u 4.1.4A 4.1.4A 4.1.4A 4.1.4A 4.1.4A 4.1.4A 4.1.4A 4.1.4A 4.1.4M"),
    ),
    _row(
        "kubelet-kubeconfig-permissions",
        "The kubelet's kubeconfig has restrictive permissions",
        Permissions(_KUBELET_KUBECONFIG),
        "It gives access to the node's certificate, which can read the Secrets of every pod on the node. Everyone"
        " who can change it can connect the kubelet to another API server, and so run any pod.",
        numbers=numbered("4.1.5A 4.1.5A 4.1.5A 4.1.5A 4.1.5A 4.1.5A 4.1.5A 4.1.5A 4.1.5A 4.1.5A"),
        earlier={Benchmark.CIS_1_23: Permissions(_KUBELET_KUBECONFIG, at_most=PUBLIC_FILE)},
    ),
    _row(
        "kubelet-kubeconfig-ownership",
        "The kubelet's kubeconfig belongs to root:root",
        Ownership(_KUBELET_KUBECONFIG),
        f"{WHY_OWNERSHIP} This file gives access to the node's certificate.",
        numbers=numbered("4.1.6A 4.1.6A 4.1.6A 4.1.6A 4.1.6A 4.1.6A 4.1.6A 4.1.6A 4.1.6A 4.1.6A"),
    ),
    _row(
        "kubelet-client-ca-permissions",
        "The certificate authority of the kubelet's clients has restrictive permissions",
        Permissions(_CLIENT_CA, at_most=PUBLIC_FILE),
        "The kubelet trusts clients whose certificate an authority in this file has signed. Everyone who can write"
        " it can add an authority, and run commands in any container of the node. K3s' self-assessments of cis-1.24"
        " to cis-2.0 require 0600, the mode that K3s sets; those of cis-1.23 and cis-2.1 accept 0644.",
        numbers=numbered("4.1.7A 4.1.7A 4.1.7A 4.1.7A 4.1.7A 4.1.7A 4.1.7A 4.1.7A 4.1.7A 4.1.7M"),
        # CIS 1.11 and 1.12 accept 644 (kube-bench, cfg/cis-1.11), but K3s' self-assessments of them require 600.
        earlier=dict.fromkeys(up_to(Benchmark.CIS_2_0, Benchmark.CIS_1_24), Permissions(_CLIENT_CA)),
        source="k3s-io/docs docs/security/self-assessment-*.md",
    ),
    _row(
        "kubelet-client-ca-ownership",
        "The certificate authority of the kubelet's clients belongs to root:root",
        Ownership(_CLIENT_CA),
        f"{WHY_OWNERSHIP} This file defines which clients the kubelet trusts.",
        numbers=numbered("4.1.8u 4.1.8A 4.1.8A 4.1.8A 4.1.8A 4.1.8A 4.1.8A 4.1.8A 4.1.8A 4.1.8M"),
    ),
    _config_file(
        id="kubelet-config-permissions",
        title="The kubelet's configuration files and their directories have restrictive permissions",
        numbers=numbered("4.1.9S 4.1.9S 4.1.9S 4.1.9S 4.1.9S 4.1.9S 4.1.9S 4.1.9S 4.1.9S 4.1.9S"),
        check=_kubelet_files(PRIVATE_FILE),
        earlier={Benchmark.CIS_1_23: _kubelet_files(PUBLIC_FILE)},
    ),
    _config_file(
        id="kubelet-config-ownership",
        title="The kubelet's configuration files and their directories belong to root:root",
        numbers=numbered("4.1.10S 4.1.10S 4.1.10S 4.1.10S 4.1.10S 4.1.10S 4.1.10S 4.1.10S 4.1.10S 4.1.10S"),
        check=AllOf((Ownership(KUBELET_DIRECTORIES, directories=True), Ownership(KUBELET_FILES))),
    ),
    _row(
        "kubelet-drop-ins",
        "Only root can change the kubelet's drop-ins and their directory",
        AllOf(
            (
                Permissions(_DROP_IN_DIRECTORY, at_most=FileMode(0o755), directories=True),
                Ownership(_DROP_IN_DIRECTORY, directories=True),
                Permissions(_DROP_INS, at_most=PUBLIC_FILE),
                Ownership(_DROP_INS),
            )
        ),
        "A drop-in overrides any setting of the kubelet, so everyone who can write one can disable authentication"
        " and authorization.",
        # K3s' self-assessment marks it as not applicable, but K3s has the directory since v1.32.
        numbers=numbered("- - - - - - - - - 4.1.11S"),
        applies=Applies(versions=VersionRange(first=FIRST_WITH_KUBELET_FILES)),
    ),
)
"""In the benchmarks' order. A server also runs a kubelet."""
