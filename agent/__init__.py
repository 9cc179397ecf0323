"""k3s-harden: hardens a Linux host for K3s by the CIS guide, assesses it, detects drift, and can revert its changes."""

__version__ = "1.0.0"

__released__ = "2026-11-29"
"""The date of this release, YYYY-MM-DD in UTC. It is changed together with the version."""

__releases__ = ""
"""The URL of the releases in [project.urls] of pyproject.toml; empty as long as it has none."""
