"""Other frameworks than CIS, and the references of controls to them: the Kubernetes STIG, and NIST SP 800-53."""

from __future__ import annotations

from agent.base.model import StrEnum


class Framework(StrEnum):
    """A framework besides the CIS benchmarks."""

    STIG = "stig"
    NIST = "nist"

    @property
    def full_name(self) -> str:
        """The name with its release."""
        return "Kubernetes STIG V2R6" if self is Framework.STIG else "NIST SP 800-53 revision 5"
