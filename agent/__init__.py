"""k3s-harden: makes a Linux host ready for a CIS-hardened K3s, proves it, keeps it so, and can undo it."""

__version__ = "0.1.0"

__released__ = "2026-11-01"
"""The day before which no host can run this release, YYYY-MM-DD in UTC. It is changed together with the version."""
