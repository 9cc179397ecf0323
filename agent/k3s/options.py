"""K3s' own options, from options.tsv: their names, environment variables, and which of them hold secrets. Pure."""

from __future__ import annotations

from typing import NamedTuple

from agent.base import package_data


class _Option(NamedTuple):
    """A row of options.tsv."""

    name: str
    command: str
    kind: str
    others: str
    variable: str
    secret: str
    gone: str


_OPTIONS = [_Option(*cells) for cells in package_data.rows("k3s", "options.tsv")]


def _of_kind(*kinds: str) -> frozenset[str]:
    return frozenset([option.name for option in _OPTIONS if option.kind in kinds])


ALIASES = {other: option.name for option in _OPTIONS for other in option.others.split()}
"""Short and deprecated names, by the name in use."""

AGENT_KEYS = frozenset([option.name for option in _OPTIONS if option.command == "agent"])
"""Options of `k3s agent`. It exits on any other option."""

SERVER_ONLY_KEYS = frozenset([option.name for option in _OPTIONS if option.command == "server"])

REMOVED_KEYS = frozenset([option.name for option in _OPTIONS if option.gone])
REMOVED_IN = 26

FATAL_KEYS = frozenset([option.name for option in _OPTIONS if option.gone == "fatal"])
FATAL_IN = 25
"""The minor that exits at them, on servers and agents."""

SWITCHES, WHOLE_NUMBERS, DURATIONS = map(_of_kind, ("switch", "number", "duration"))

CHECKED_KEYS = _of_kind("switch", "number", "duration", "other")
"""Options whose values option_values.py checks."""

TOKEN_FILE_KEYS = frozenset({"agent-token-file", "token-file"})
"""Options with a file that K3s waits for, up to four minutes, if it does not exist (k3s, pkg/util/file.go)."""

CONFIG_FILE_VARIABLE = "K3S_CONFIG_FILE"
"""The variable with the path of the main configuration file. K3s reads it before `--config` (pkg/configfilearg)."""

VARIABLES = {option.variable: option.name for option in _OPTIONS if option.variable}
"""Environment variables and the options that they set."""

SECRET_KEYS = frozenset([option.name for option in _OPTIONS if option.secret])
"""Options whose values are, or can contain, a password or a token."""
