"""The directories and files of the guide with their exact modes. agent/harden/desired adds their contents.

Paths are relative to K3s' data directory, or absolute. `data_dir / row.path` is correct for both, because pathlib
returns an absolute right operand unchanged.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from agent.base.model import PRIVATE_DIRECTORY, PRIVATE_FILE, PUBLIC_FILE, FileMode
from agent.harden.guide import guide_row
from agent.harden.guide.guide_row import GuideControl, Origin
from agent.harden.guide.sysctls import PARAMETERS_FILE
from agent.k3s.roles_and_versions import (
    DEFAULT_DATA_DIR,
    EVERYWHERE,
    K3S_CONFIG_FILE,
    ON_SERVERS,
    SERVERS,
    WITH_POD_SECURITY_POLICY,
    WITHOUT_POD_SECURITY_POLICY,
    Applies,
    VersionRange,
)

POLICY_FILE = "server/manifests/policy.yaml"
"""K3s names the Addon after the file, so no other manifest can be named policy.* (k3s, pkg/deploy/controller.go)."""

DROPIN_NAME = "90-k3s-harden.yaml"
"""The name of this program's file in the drop-in directory of K3s' configuration."""


class DirectoryRow(GuideControl):
    """A directory to which only root has access."""

    path: PurePosixPath
    """Relative to the data directory."""
    mode: FileMode


class FileRow(GuideControl):
    """A file or a part of one. Rows with the same path are parts of one file, in this order, with the same mode."""

    path: PurePosixPath
    mode: FileMode


def _directory(path: str, heading: str) -> DirectoryRow:
    return DirectoryRow(
        id=path,
        path=PurePosixPath(path),
        mode=PRIVATE_DIRECTORY,
        origin=Origin(heading),
        by_hand=f"sudo install -d -o root -g root -m {PRIVATE_DIRECTORY} {DEFAULT_DATA_DIR}/{path}",
        applies=ON_SERVERS,
    )


def _rendered(  # noqa: PLR0913 - the fields of a row, passed by name
    identifier: str, path: str, what: str, origin: Origin, *, applies: Applies = ON_SERVERS, afterwards: str = ""
) -> FileRow:
    """Return a file that `k3s-harden render` prints."""
    target = DEFAULT_DATA_DIR / path
    return FileRow(
        id=identifier,
        path=PurePosixPath(path),
        mode=PRIVATE_FILE,
        origin=origin,
        by_hand=f"k3s-harden render {what} | sudo install -D -o root -g root -m {PRIVATE_FILE} /dev/stdin {target}"
        + afterwards,
        applies=applies,
    )


SERVER_DIRECTORY = _directory("server", guide_row.POD_SECURITY)

MANIFESTS = _directory("server/manifests", guide_row.POD_SECURITY)

AUDIT_LOGS = _directory("server/logs", guide_row.AUDIT)

DIRECTORIES: tuple[DirectoryRow, ...] = (SERVER_DIRECTORY, MANIFESTS, AUDIT_LOGS)
"""Parents before their children, in the order of creation."""

KERNEL_PARAMETERS_FILE = FileRow(
    id="kernel-parameters-file",
    path=PurePosixPath(PARAMETERS_FILE),
    mode=PUBLIC_FILE,
    origin=Origin(guide_row.KERNEL_PARAMETERS),
    by_hand=(
        f"Write the four lines 'key=value' to {PARAMETERS_FILE}, mode {PUBLIC_FILE}, owner root, and run 'sudo sysctl"
        " --system'."
    ),
    applies=EVERYWHERE,
)

AUDIT_POLICY = _rendered("audit-policy", "server/audit.yaml", "audit-policy", Origin(guide_row.AUDIT, ("3.2.1",)))

POD_SECURITY_POLICIES = _rendered(
    "pod-security-policies",
    POLICY_FILE,
    "policy --k3s-version 1.24",
    Origin(guide_row.POD_SECURITY, ("5.2.1", "5.2.2", "5.2.3", "5.2.4", "5.2.5", "5.2.6", "5.2.7", "5.2.8", "5.2.9")),
    applies=Applies(SERVERS, WITH_POD_SECURITY_POLICY),
)

POD_SECURITY_ADMISSION = _rendered(
    "pod-security-admission",
    "server/psa.yaml",
    "psa",
    Origin(guide_row.POD_SECURITY),
    applies=Applies(SERVERS, WITHOUT_POD_SECURITY_POLICY),
    afterwards="; then set admission-control-config-file to the file.",
)

NETWORK_POLICIES = _rendered("network-policies", POLICY_FILE, "policy", Origin(guide_row.NETWORK_POLICIES))

K3S_CONFIG = _rendered(
    "k3s-config",
    f"{K3S_CONFIG_FILE}.d/{DROPIN_NAME}",
    "k3s-config",
    Origin(guide_row.TEMPLATE),
    applies=EVERYWHERE,
    afterwards="; then restart K3s.",
)

ADMISSION_POLICIES_APPLY = Applies(SERVERS, VersionRange(first=37))
"""v1.36 exits at an admission configuration that names policies; v1.35 and older ignore it."""

ADMISSION_POLICIES = {
    "ValidatingAdmissionPolicy": PurePosixPath("server/admission/validating/policies.yaml"),
    "MutatingAdmissionPolicy": PurePosixPath("server/admission/mutating/policies.yaml"),
}
"""The files of the settings `admission-policies`, by the plugin that loads their directory. They are beyond the guide.

A directory may have only objects of the kinds of its plugin.
"""

FILES: tuple[FileRow, ...] = (
    KERNEL_PARAMETERS_FILE,
    POD_SECURITY_ADMISSION,
    POD_SECURITY_POLICIES,
    NETWORK_POLICIES,
    AUDIT_POLICY,
    K3S_CONFIG,
)
"""In the guide's order."""
