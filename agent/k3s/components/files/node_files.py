"""Configuration files of the kubelet, kube-proxy and the controller manager. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import InputError
from agent.k3s.components import prediction
from agent.k3s.components.files.fields_as_arguments import fields_as_arguments
from agent.k3s.components.files.file_rules import FileKind, rejected_by
from agent.model import Component

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.k3s.components.files.file_rules import FileContext

CREDENTIAL_PROVIDERS = FileKind("CredentialProviderConfig", Component.KUBELET)
LEADER_MIGRATION = FileKind("LeaderMigrationConfiguration", Component.CONTROLLER_MANAGER)
_KUBE_PROXY = FileKind("KubeProxyConfiguration", Component.KUBE_PROXY, is_strict=False)


def rejected_kube_proxy(data: bytes, path: PurePosixPath, context: FileContext) -> Iterator[InputError]:
    """Yield what kube-proxy rejects in its file. It ignores its arguments beside a file."""
    fields = fields_as_arguments(Component.KUBE_PROXY, ((path, data),), context.minor)
    yield from fields.problems
    if not fields.problems:
        yield from rejected_by(_KUBE_PROXY, data, path, context)
        more = prediction.Context(fields=fields.others, gates=fields.gates)
        for problem in prediction.rejected_arguments(Component.KUBE_PROXY, fields.arguments, context.minor, more):
            name = fields.paths.get(problem.argument, problem.argument)
            message = problem.message.replace(problem.argument, name)
            yield InputError(problem.location, f"{Component.KUBE_PROXY} {message}; expected {problem.expected}")
