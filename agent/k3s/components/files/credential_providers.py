"""The image credential providers of the kubelet. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import InputError
from agent.k3s.components.files import decoding
from agent.k3s.components.files.schema import Problem
from agent.yaml_reader import Mapping, Sequence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath


def problems(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield what the kubelet rejects in its image credential providers (kubernetes, pkg/credentialprovider/plugin)."""
    versions = tuple(f"kubelet.config.k8s.io/{one}" for one in ("v1", "v1beta1", "v1alpha1"))
    root = decoding.read(data, path, "CredentialProviderConfig", versions)
    if isinstance(root, InputError):
        yield root
        return
    providers = decoding.mappings(root.get("providers"))
    if not providers:
        yield decoding.error(path, Problem(root.line, "`providers` must contain at least one provider"))
    seen: set[str] = set()
    for one in providers:
        yield from decoding.located(_credential_provider(one, seen), path)


def _credential_provider(provider: Mapping, seen: set[str]) -> Iterator[Problem]:
    line, name = provider.line, provider.text("name") or ""
    if not name or "/" in name or " " in name or name in (".", "..") or name in seen:
        yield Problem(line, "`name` must be the name of a program, different for each provider")
    seen.add(name)
    if provider.text("apiVersion") not in _CREDENTIALS:
        yield Problem(line, f"`apiVersion` must be {_CREDENTIALS[0]}, v1beta1 or v1alpha1")
    images = provider.get("matchImages")
    if not isinstance(images, Sequence) or not images.items:
        yield Problem(line, "`matchImages` must contain at least one image")
    cached = decoding.duration_of(provider, "defaultCacheDuration")
    if cached is None or cached < 0:
        yield Problem(line, "`defaultCacheDuration` must be a duration of at least 0s")


_CREDENTIALS = tuple(f"credentialprovider.kubelet.k8s.io/{one}" for one in ("v1", "v1beta1", "v1alpha1"))
