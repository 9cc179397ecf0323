"""k3s-harden: makes a Linux host ready for a CIS-hardened K3s, proves it, keeps it so, and can undo it."""

__version__ = "0.1.0"
