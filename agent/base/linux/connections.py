"""Connections as the kernel tracks them."""

from __future__ import annotations

from typing import NamedTuple


class TrackedConnection(NamedTuple):
    """A connection. The addresses are those before and after NAT: who opened it, and what answers."""

    protocol: str
    client: str
    target: str
    port: int
    """The port of the target."""
