"""The group of all verbs, which reports wrong words to `agent.cli`, and a command with arguments like options."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from agent.errors import HardenError, UsageError

# Click's classes are those of `click` or of `typer._click`, by the release of Typer: hence Any.
_Any = Any


class WrongWordsError(Exception):
    """A verb that does not exist, or words that its verb cannot use."""

    def __init__(self, verb: str, error: Exception | None = None) -> None:
        """`error` is that of Click, None if the verb itself is unknown."""
        super().__init__(verb)
        self.verb = verb
        self.error = error


class VerbGroup(TyperGroup):
    """A group that raises WrongWordsError instead of each usage error of Click."""

    def resolve_command(self, ctx: _Any, args: list[str]) -> _Any:
        """Return the verb that the arguments name. Raises UsageError if the value of an option is empty."""
        if args[0] not in self.commands and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise WrongWordsError(args[0])
        found = super().resolve_command(ctx, args)
        if not ctx.resilient_parsing and not isinstance(found[1], TopicCommand):
            _refuse_empty_values(args)
        return found

    def make_context(self, info_name: str | None, args: list[str], parent: _Any = None, **extra: _Any) -> _Any:
        """Parse the options before the verb."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except Exception as error:
            _replace(error, "")
            raise

    def invoke(self, ctx: _Any) -> _Any:
        """Run the verb."""
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


def _refuse_empty_values(words: list[str]) -> None:
    # An empty path would be the current directory.
    for word, following in zip(words, [*words[1:], "--"]):
        name, equals, value = word.partition("=")
        if name.startswith("--") and not value and (equals or not following):
            raise UsageError(f"cannot use {name}: the value is empty", "check that the variable it comes from is set")


def _replace(error: Exception, verb: str) -> None:
    """Raise WrongWordsError instead of Click's errors, whose classes have another module in each release of Typer."""
    if not isinstance(error, HardenError) and any(one.__name__ == "UsageError" for one in type(error).__mro__):
        raise WrongWordsError(verb, error) from error
