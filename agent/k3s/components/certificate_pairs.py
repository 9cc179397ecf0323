"""Arguments of the components that name a certificate and its private key. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.model import Component

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIGNERS = ("kube-apiserver-client", "kubelet-client", "kubelet-serving", "legacy-unknown")
SIGNING = tuple([(f"cluster-signing-{name}-cert-file", f"cluster-signing-{name}-key-file") for name in _SIGNERS])
"""Arguments of the controller manager for its signers of certificates. K3s passes all of them."""

SIGNING_ALL = ("cluster-signing-cert-file", "cluster-signing-key-file")
"""Arguments of the controller manager for all signers. They exclude those of SIGNING."""

_SERVING = ("tls-cert-file", "tls-private-key-file")

PASSED: Mapping[Component, tuple[tuple[str, str], ...]] = {
    Component.API_SERVER: (_SERVING, ("proxy-client-cert-file", "proxy-client-key-file")),
    Component.CONTROLLER_MANAGER: (_SERVING, *SIGNING),
    Component.SCHEDULER: (_SERVING,),
    Component.KUBELET: (_SERVING,),
    Component.KUBE_PROXY: (),
}
"""Arguments of each component with a certificate and its key, both of which K3s passes or writes to a file."""

CERTIFICATE_PAIRS: Mapping[Component, tuple[tuple[str, str], ...]] = {
    **PASSED,
    Component.API_SERVER: (*PASSED[Component.API_SERVER], ("etcd-certfile", "etcd-keyfile")),
    Component.CONTROLLER_MANAGER: (*PASSED[Component.CONTROLLER_MANAGER], SIGNING_ALL),
}
"""All of them."""
