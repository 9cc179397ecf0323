"""The group of all verbs, which suggests the right verb or option, and a command with arguments like options."""

from __future__ import annotations

import sys
from typing import Any

from typer.core import TyperCommand, TyperGroup

# Click's classes are those of `click` or of `typer._click`, by the release of Typer: hence Any.
_Any = Any


class SuggestingGroup(TyperGroup):
    """A group that suggests the right verb or option. Hidden verbs are never suggested."""

    def resolve_command(self, ctx: _Any, args: list[str]) -> _Any:
        """Return the verb that the arguments name. Raises UsageError for an unknown one."""
        if args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            from agent.cli.suggestions import unknown_verb

            raise unknown_verb(args[0], sys.argv[1:])
        return super().resolve_command(ctx, args)

    def make_context(self, info_name: str | None, args: list[str], parent: _Any = None, **extra: _Any) -> _Any:
        """Parse the options before the verb. Raises UsageError for an unknown one."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except Exception as error:
            _replace(error, "")
            raise

    def invoke(self, ctx: _Any) -> _Any:
        """Run the verb. Raises UsageError for an unknown option of it."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            _replace(error, ctx.invoked_subcommand or "")
            raise


class TopicCommand(TyperCommand):
    """A command whose arguments can look like options: `explain --anonymous-auth`."""

    def parse_args(self, ctx: _Any, args: list[str]) -> list[str]:
        """Take all words as arguments, unless help is requested."""
        is_help = any(word in ctx.help_option_names for word in args)
        return super().parse_args(ctx, args if is_help or ctx.resilient_parsing else ["--", *args])


def _replace(error: Exception, verb: str) -> None:
    """Raise UsageError instead of Click's errors, whose classes have another module in each release of Typer."""
    name = type(error).__name__
    if name in ("MissingParameter", "BadParameter"):
        from agent.cli.suggestions import wrong_parameter

        raise wrong_parameter(error, verb) from error
    if name == "NoSuchOption":
        from agent.cli.suggestions import unknown_option

        raise unknown_option(str(getattr(error, "option_name", "")), verb, sys.argv[1:]) from error
