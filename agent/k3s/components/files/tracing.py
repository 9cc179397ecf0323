"""The tracing configuration of the API server. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import InputError
from agent.k3s.components.files import decoding, schema
from agent.k3s.components.files.decoding import HEAD
from agent.k3s.components.files.schema import Problem
from agent.k3s.components.values import is_endpoint
from agent.yaml_reader import Scalar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath


_TRACING: schema.Schema = {**HEAD, "endpoint": "string", "samplingRatePerMillion": "int32"}
_MOST_SAMPLES = 1_000_000


def problems(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield what the API server rejects in its tracing configuration (component-base, tracing/api/v1/config.go)."""
    root = decoding.first(data, path, "kind TracingConfiguration", can_be_empty=True)
    if isinstance(root, InputError):
        yield root
        return
    # Kind and version can be missing, because the API server decodes the file into a TracingConfiguration.
    kinds = ("TracingConfiguration",) if root.get("kind") else ()
    versions = tuple(f"apiserver.config.k8s.io/{one}" for one in ("v1", "v1beta1", "v1alpha1"))
    wrong = list(decoding.head(root, kinds, versions if root.get("apiVersion") else ()))
    if wrong:
        yield decoding.error(path, wrong[0])
        return
    yield from decoding.located(schema.problems(root, _TRACING), path)
    rate, endpoint = root.get("samplingRatePerMillion"), root.text("endpoint")
    samples = rate.value if isinstance(rate, Scalar) else None
    if isinstance(samples, (int, float)) and not 0 <= samples <= _MOST_SAMPLES:
        message = f"`samplingRatePerMillion` must be from 0 to {_MOST_SAMPLES}"
        yield decoding.error(path, Problem((rate or root).line, message))
    if endpoint and not is_endpoint(endpoint):
        line = root.line_of("endpoint")
        yield decoding.error(path, Problem(line, "`endpoint` must be HOST:PORT, or begin with dns:// or unix://"))
