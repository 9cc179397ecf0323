"""Preconditions of our drop-in: files and kernel values that K3s requires when it starts with it. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.model import Sysctl
from agent.harden.desired.dropin_options import named_paths
from agent.harden.guide.files import DROPIN_NAME
from agent.harden.guide.k3s_options import PROTECT_KERNEL_DEFAULTS
from agent.harden.guide.sysctls import PARAMETERS_FILE, SYSCTLS
from agent.k3s.config_merge import ConfigText, merge_configuration

if TYPE_CHECKING:
    from agent.base.model import File
    from agent.harden.plan.plan import Need


def needs_of_dropin(file: File, data_dir: PurePosixPath) -> tuple[Need, ...]:
    """Return what a file requires if it is our drop-in: the files that it names, and the kubelet's kernel values.

    K3s exits if one of them is missing or invalid. The file that sets the values at boot is one of them.
    """
    if file.path.name != DROPIN_NAME:
        return ()
    config = merge_configuration([ConfigText(file.path, file.content)])
    files = [named.path for named in named_paths(config, data_dir)]
    values: list[Sysctl] = []
    if config.boolean(PROTECT_KERNEL_DEFAULTS.key):
        files.append(PurePosixPath(PARAMETERS_FILE))
        values = [Sysctl(key=row.key, value=row.value) for row in SYSCTLS]
    return (*dict.fromkeys(files), *values)
