"""Values of K3s' own options that make K3s exit. Pure.

Sources: k3s, pkg/cli/cmds (kinds of the options), pkg/cli/server/server.go and pkg/agent/flannel/setup.go. K3s parses
the values of boolean and numeric options as Go's package flag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from agent.k3s import go_values
from agent.k3s.components import values
from agent.k3s.config import ConfigValue, MergedConfig
from agent.k3s.go_values import InvalidValueError
from agent.k3s.options import DURATIONS, SERVER_ONLY_KEYS, SWITCHES, WHOLE_NUMBERS

_NOT_IN_ALL_VERSIONS = frozenset({"disable-selinux", "docker", "kine-tls", "no-flannel", "nonroot-devices"})
"""Boolean options that only some supported versions of K3s have."""

_MODES = ("agent", "cluster", "pod", "disabled")
_BACKENDS = ("none", "vxlan", "host-gw", "tailscale", "wireguard-native")
_FEWEST_SERVICES = 3
"""The bits of 8 addresses, the fewest of service-cidr."""


class OptionRejection(NamedTuple):
    """A value of an option that makes K3s exit."""

    key: str
    value: ConfigValue
    expected: str


def invalid_options(config: MergedConfig, *, is_server: bool) -> Iterator[OptionRejection]:
    """Yield the invalid values of the options that `k3s server` or `k3s agent` has."""
    for key, parse in _PARSERS.items():
        if key in config.values and (is_server or key not in SERVER_ONLY_KEYS):
            for value in config.items(key):
                yield from _problem(key, value, value.text, parse)
    if is_server:
        yield from _of_server(config)


def _problem(key: str, value: ConfigValue, text: str, parse: Callable[[str], object]) -> Iterator[OptionRejection]:
    """Yield a text that cannot be parsed. An empty text is not reported, because some options ignore it."""
    try:
        if text:
            parse(text)
    except InvalidValueError as error:
        yield OptionRejection(key, value, str(error))


def _of_server(config: MergedConfig) -> Iterator[OptionRejection]:
    for key, parse in _LISTS.items():
        for value in config.items(key):
            for item in value.text.split(","):
                yield from _problem(key, value, item, parse)
    for key, parse in _SCALARS.items():
        last = config.scalar(key)
        if last is not None:
            yield from _problem(key, last, last.text, parse)
    backend = config.scalar("flannel-backend")
    runs_flannel = not config.boolean("disable-agent") and config.scalar("flannel-conf") is None
    if backend is not None and runs_flannel and backend.text and backend.text.partition("=")[0] not in _BACKENDS:
        yield OptionRejection("flannel-backend", backend, f"one of {', '.join(_BACKENDS)}")
    yield from _combinations(config)


def _combinations(config: MergedConfig) -> Iterator[OptionRejection]:
    joins = config.scalar("server")
    for key, needed, is_met in (
        ("disable-etcd", "server: URL", joins is not None and bool(joins.text)),
        ("cluster-reset-restore-path", "cluster-reset: true", config.boolean("cluster-reset") is True),
    ):
        found = config.scalar(key)
        if found is not None and not is_met and (config.boolean(key) if key in SWITCHES else found.text):
            yield OptionRejection(key, found, f"{needed} beside {key}")


_range = values.checked(lambda text: values.cidr(text.strip()), "a CIDR, such as 10.42.0.0/16")
_ip = values.PARSERS["ip"]


def _services(text: str) -> None:
    bits, prefix = values.cidr(_range(text).strip()) or (0, 0)
    if bits - prefix < _FEWEST_SERVICES:
        raise InvalidValueError(f"a CIDR with a prefix up to /{bits - _FEWEST_SERVICES}")


_PARSERS: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(sorted(SWITCHES - _NOT_IN_ALL_VERSIONS), go_values.boolean),
    **dict.fromkeys(WHOLE_NUMBERS, go_values.integer),
    **dict.fromkeys(DURATIONS, go_values.duration),
}
_LISTS: dict[str, Callable[[str], object]] = {
    "cluster-cidr": _range,
    "cluster-dns": _ip,
    "node-ip": _ip,
    "service-cidr": _services,
}
_SCALARS: dict[str, Callable[[str], object]] = {
    "advertise-address": _ip,
    "egress-selector-mode": values.checked(_MODES.__contains__, f"one of {', '.join(_MODES)}"),
    "service-node-port-range": values.port_range,
}
