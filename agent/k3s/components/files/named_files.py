"""What components reject in the files that their arguments name, by argument. Pure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agent.base.model import Component
from agent.base.yaml_reader import BoundsError
from agent.k3s.components import prediction
from agent.k3s.components.arguments import EffectiveArgument, EffectiveArguments
from agent.k3s.components.files import api_server_files, other_files
from agent.k3s.components.files.admission_files import rejected_admission
from agent.k3s.components.files.decoding import FileRejectionError
from agent.k3s.components.files.fields import read_fields
from agent.k3s.components.files.file_rules import FileKind, rejected_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import PurePosixPath

    from agent.base.errors import InputError
    from agent.k3s.components.files.file_rules import FileContext

    _Reader = Callable[[bytes, PurePosixPath, FileContext], Iterator[InputError]]

_KUBE_PROXY = FileKind("KubeProxyConfiguration", Component.KUBE_PROXY, is_strict=False)


def rejected_content(
    component: Component, argument: str, data: bytes, path: PurePosixPath, context: FileContext
) -> Iterator[InputError]:
    """Yield why a component rejects the content of a file that an argument names."""
    if argument == "config":
        reader = _CONFIGURATIONS.get(component)
    else:
        reader = _READERS.get(argument) if component is not Component.KUBE_PROXY else None
    return reader(data, path, context) if reader else iter(())


def _kube_proxy(data: bytes, path: PurePosixPath, context: FileContext) -> Iterator[InputError]:
    """Yield what kube-proxy rejects in its file. It ignores its arguments beside a file."""
    fields, problems = read_fields(Component.KUBE_PROXY, ((path, data),), context.minor)
    yield from (problem for problem in problems if not isinstance(problem, BoundsError))
    if not problems:
        yield from rejected_by(_KUBE_PROXY, data, path, context)
        found = {field.name: EffectiveArgument(field.name, "", field.given) for field in fields if field.given}
        arguments = EffectiveArguments(Component.KUBE_PROXY, found, {})
        for problem in prediction.rejected_arguments(arguments, context.minor):
            text = f"{Component.KUBE_PROXY} {problem.message}; expected {problem.expected}"
            yield FileRejectionError(problem.location, text, problem.prediction)


_CONFIGURATIONS: Mapping[Component, _Reader] = {
    Component.KUBE_PROXY: _kube_proxy,
    Component.SCHEDULER: partial(rejected_by, FileKind("KubeSchedulerConfiguration", Component.SCHEDULER)),
}
"""The files of the argument `config`. That of the kubelet is one of its drop-ins (fields.py)."""

_READERS: Mapping[str, _Reader] = {
    "admission-control-config-file": rejected_admission,
    "authentication-config": partial(rejected_by, api_server_files.AUTHENTICATION),
    "authorization-config": partial(rejected_by, api_server_files.AUTHORIZATION),
    "encryption-provider-config": partial(rejected_by, api_server_files.ENCRYPTION),
    "image-credential-provider-config": partial(rejected_by, FileKind("CredentialProviderConfig", Component.KUBELET)),
    **{f"{name}kubeconfig": other_files.rejected_kubeconfig for name in ("", "authentication-", "authorization-")},
    **{
        f"{name}-webhook-config-file": other_files.rejected_kubeconfig
        for name in ("audit", "authentication-token", "authorization")
    },
}
