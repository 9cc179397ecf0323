"""The commands in the order of the help: their options, their help and what they call.

The annotations are text, so that a run without options needs no Typer, whose import takes longer than such a run.
`shared_options` evaluates those of the command that a command line with options runs, among its own names.
"""

from __future__ import annotations

from agent.cli.commands import hardening, verification  # noqa: F401 - each module declares its commands
from agent.cli.commands.declaration import COMMANDS

__all__ = ["COMMANDS"]
