"""Which configuration files the kubelet reads (KubeletConfiguration), in which order. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.value import Value
from agent.k3s.default_arguments import FIRST_WITH_KUBELET_FILES, KUBELET_DIRECTORY
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from agent.k3s.config import ConfigValue, MergedConfig
    from agent.k3s.roles_and_versions import Version

_COPY_OF_CONFIG = "10-cli-config.conf"
_COPY_OF_CONFIG_DIR = "20-cli-config-dir"
_FIRST_WITH_CONFIG_DIR = 30
"""The first minor whose kubelet accepts --config-dir without the variable KUBELET_CONFIG_DROPIN_DIR_ALPHA.

Source: kubernetes, cmd/kubelet/app/server.go.
"""


class KubeletSource(Value):
    """A file that the kubelet reads, or a directory in which it reads all *.conf files at any depth."""

    names: tuple[str, ...]
    """Sort key. For a file it is complete; for a directory it is the prefix of the names of its files."""
    path: PurePosixPath
    is_directory: bool


def other_spelling_of_config_dir(config: MergedConfig) -> ConfigValue | None:
    """Return the argument `config_dir`; None if there is none.

    For K3s it has another name than `--config-dir`, which K3s passes too, with its own directory. For the kubelet it is
    the same argument, so the kubelet does not read K3s' defaults in that directory.
    """
    values = config.argument(Component.KUBELET, "config-dir")
    return values[-1] if values and values[-1].spelling else None


def sources(config: MergedConfig, version: Version, data_dir: PurePosixPath) -> tuple[KubeletSource, ...]:
    """Return what the kubelet reads at K3s' next start, each with its present path.

    Of two sources with the same names the later one applies. Raises ValueError for a relative path.
    """
    given = (config.argument(Component.KUBELET, name) for name in ("config", "config-dir"))
    file, directory = (values[-1].text if values else "" for values in given)
    if any(path and not path.startswith("/") for path in (file, directory)):
        raise ValueError("the path of the kubelet's configuration is not absolute")
    found = []
    if version.minor >= FIRST_WITH_KUBELET_FILES:
        # K3s copies the operator's files into its own directory (k3s, pkg/daemons/agent/agent.go).
        own = data_dir / KUBELET_DIRECTORY
        if other_spelling_of_config_dir(config) is not None:
            return (KubeletSource((), PurePosixPath(directory), is_directory=True),)
        found.append(KubeletSource((), own, is_directory=True))
        if file and not file.startswith(str(own)):
            found.append(KubeletSource((_COPY_OF_CONFIG,), PurePosixPath(file), is_directory=False))
        if directory and not directory.startswith(str(own)):
            found.append(KubeletSource((_COPY_OF_CONFIG_DIR,), PurePosixPath(directory), is_directory=True))
        return tuple(found)
    if file:
        found.append(KubeletSource((), PurePosixPath(file), is_directory=False))
    if directory and version.minor >= _FIRST_WITH_CONFIG_DIR:
        found.append(KubeletSource((), PurePosixPath(directory), is_directory=True))
    return tuple(found)
