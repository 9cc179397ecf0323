"""What components reject in the files that their arguments name, by argument. Pure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agent.k3s.components.files import api_server_files, node_files, other_files, pem
from agent.k3s.components.files.admission_files import rejected_admission
from agent.k3s.components.files.decoding import located
from agent.k3s.components.files.file_rules import rejected_by
from agent.k3s.components.files.scheduler_files import SCHEDULER_CONFIGURATION
from agent.model import Component

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import PurePosixPath

    from agent.errors import InputError
    from agent.k3s.components.files.file_rules import FileContext

    _Reader = Callable[[bytes, PurePosixPath, FileContext], Iterator[InputError]]


def rejected_content(
    component: Component, argument: str, data: bytes, path: PurePosixPath, context: FileContext
) -> Iterator[InputError]:
    """Yield why a component rejects the content of a file that an argument names."""
    reader = _READERS.get((component, argument))
    if reader is None:
        return located(pem.wrong_content(argument, data), path)
    return reader(data, path, context)


_READERS: Mapping[tuple[Component, str], _Reader] = {
    (Component.API_SERVER, "admission-control-config-file"): rejected_admission,
    (Component.API_SERVER, "token-auth-file"): other_files.rejected_tokens,
    (Component.KUBE_PROXY, "config"): node_files.rejected_kube_proxy,
    **{
        (component, argument): partial(rejected_by, kind)
        for component, argument, kind in (
            (Component.API_SERVER, "authentication-config", api_server_files.AUTHENTICATION),
            (Component.API_SERVER, "authorization-config", api_server_files.AUTHORIZATION),
            (Component.API_SERVER, "egress-selector-config-file", api_server_files.EGRESS_SELECTOR),
            (Component.API_SERVER, "encryption-provider-config", api_server_files.ENCRYPTION),
            (Component.API_SERVER, "tracing-config-file", api_server_files.TRACING),
            (Component.CONTROLLER_MANAGER, "leader-migration-config", node_files.LEADER_MIGRATION),
            (Component.KUBELET, "image-credential-provider-config", node_files.CREDENTIAL_PROVIDERS),
            (Component.SCHEDULER, "config", SCHEDULER_CONFIGURATION),
        )
    },
    **{
        (component, argument): other_files.rejected_kubeconfig
        for component, arguments in (
            (
                Component.API_SERVER,
                (f"{name}-webhook-config-file" for name in ("audit", "authentication-token", "authorization")),
            ),
            (Component.KUBELET, ("kubeconfig",)),
            *(
                (component, ("authentication-kubeconfig", "authorization-kubeconfig", "kubeconfig"))
                for component in (Component.CONTROLLER_MANAGER, Component.SCHEDULER)
            ),
        )
        for argument in arguments
    },
    **{
        (Component.CONTROLLER_MANAGER, f"pv-recycler-pod-template-filepath-{kind}"): other_files.rejected_recycler_pod
        for kind in ("hostpath", "nfs")
    },
}
