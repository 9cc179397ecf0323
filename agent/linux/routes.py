"""Default routes, from the files of /proc/net (proc(5))."""

from __future__ import annotations

_NOWHERE = "0" * 32
_IPV4_NOWHERE = "0" * 8


def has_ipv4_default_route(text: str) -> bool:
    """Return whether /proc/net/route has a default route (apimachinery, pkg/util/net/interface.go)."""
    return any(len(fields) > 1 and fields[1] == _IPV4_NOWHERE for fields in map(str.split, text.splitlines()))


def has_ipv6_default_route(text: str) -> bool:
    """Return whether /proc/net/ipv6_route has a default route with a gateway, as Kubernetes requires."""
    rows = (line.split()[:5] for line in text.splitlines())
    return any(fields[:1] == [_NOWHERE] and fields[-1] != _NOWHERE for fields in rows)
