"""Preconditions of files: what K3s requires when it starts with our drop-in, or the API server with psa.yaml. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.model import Sysctl
from agent.harden.desired.dropin_options import named_paths
from agent.harden.guide.files import ADMISSION_POLICIES, DROPIN_NAME, POD_SECURITY_ADMISSION
from agent.harden.guide.k3s_options import PROTECT_KERNEL_DEFAULTS
from agent.harden.guide.sysctls import PARAMETERS_FILE, SYSCTLS
from agent.k3s.config_merge import ConfigText, merge_configuration

if TYPE_CHECKING:
    from agent.base.model import File
    from agent.harden.plan.plan import Need


def needs_of(file: File, data_dir: PurePosixPath) -> tuple[Need, ...]:
    """Return what a file requires. K3s exits if it is missing or invalid.

    Our drop-in requires the files that it names, and the kubelet's kernel values with the file that sets them at boot.
    psa.yaml requires the policies in the directories that it names.
    """
    if file.path.name == POD_SECURITY_ADMISSION.path.name:
        paths = [data_dir / path for path in ADMISSION_POLICIES.values()]
        return tuple(path for path in paths if f"staticManifestsDir: {path.parent}\n".encode() in file.content)
    if file.path.name != DROPIN_NAME:
        return ()
    config = merge_configuration([ConfigText(file.path, file.content)])
    files = [named.path for named in named_paths(config, data_dir)]
    values: list[Sysctl] = []
    if config.boolean(PROTECT_KERNEL_DEFAULTS.key):
        files.append(PurePosixPath(PARAMETERS_FILE))
        values = [Sysctl(key=row.key, value=row.value) for row in SYSCTLS]
    return (*dict.fromkeys(files), *values)
