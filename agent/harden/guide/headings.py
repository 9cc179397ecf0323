"""The guide's headings in English."""

from __future__ import annotations

from typing import Final

PROTECT_KERNEL_DEFAULTS: Final = "Ensure protect-kernel-defaults is set"
KERNEL_PARAMETERS: Final = "Set kernel parameters"
POD_SECURITY: Final = "Pod Security"
NETWORK_POLICIES: Final = "Network Policies"
AUDIT: Final = "API Server audit configuration"
CONTROLLER_MANAGER: Final = "Controller Manager Requirements"
SERVICE_ACCOUNTS: Final = "Configure default Service Account"
TEMPLATE: Final = "Reference Hardened K3s Template Configuration"

IN_ORDER: Final = (
    PROTECT_KERNEL_DEFAULTS,
    KERNEL_PARAMETERS,
    POD_SECURITY,
    NETWORK_POLICIES,
    AUDIT,
    CONTROLLER_MANAGER,
    SERVICE_ACCOUNTS,
    TEMPLATE,
)

K3S_GUIDE: Final = "the K3s project's own CIS Hardening Guide"
"""The source for versions that the guide does not cover (k3s-io/docs, docs/security/hardening-guide.md)."""
