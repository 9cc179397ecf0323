"""The command line: reads arguments, calls a verb, prints its report and exits. The only package that exits."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout, suppress
from typing import NoReturn

from agent.cli import completion
from agent.cli.commands import app
from agent.cli.group import WrongWordsError
from agent.cli.streams import discard_output, open_standard_streams, print_error
from agent.errors import ExitCode, HardenError, RootRequiredError

__all__ = ("app", "main")

_INTERRUPTED = 130
"""Typer's exit code after Ctrl-C, as in shells: 128 and the number of SIGINT."""


def main() -> None:
    """Run the command line and exit."""
    open_standard_streams()
    if completion.is_requested():
        sys.exit(completion.complete(_keep_command))
    _keep_command(*sys.argv[1:2])
    if not sys.argv[1:]:
        _print_help_and_exit()
    try:
        app(prog_name="k3s-harden")
    except WrongWordsError as error:
        from agent.cli.suggestions import usage_error

        _fail(usage_error(error, sys.argv[1:]))
    except HardenError as error:
        _fail(error)
    except OSError as error:
        _fail_to_write(error)
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            print_error("interrupted", "run k3s-harden check; the next run completes what this run started")
        raise


def _print_help_and_exit() -> NoReturn:
    # Click before 8.2 treats a missing command as --help: on standard output, with exit code 0.
    with redirect_stdout(sys.stderr), suppress(SystemExit):
        app(["--help"], prog_name="k3s-harden")
    sys.exit(int(ExitCode.USAGE))


def _fail(error: HardenError) -> NoReturn:
    print_error(error.message, _hint(error))
    sys.exit(int(error.exit_code))


def _fail_to_write(error: OSError) -> NoReturn:
    if error.filename is not None:
        if not any(word.startswith("--install-completion") for word in sys.argv):
            raise error
        print_error(f"cannot install the completion: {error.filename}: {error.strerror}")
    else:
        # Typer could not print its help: verbs report other errors of the operating system as HardenError.
        discard_output()
        print_error(f"cannot print: {error.strerror}")
    sys.exit(int(ExitCode.ERROR))


def _hint(error: HardenError) -> str:
    """Return what to do about an error; for root's verbs, the same command line with sudo."""
    if not isinstance(error, RootRequiredError):
        return error.hint
    from agent.cli.caller import as_root

    return as_root()


def _keep_command(name: str = "") -> None:
    """Register only the command of this name, if there is one: Typer would build all of them (docs/adr/0012)."""
    asked = [one for one in app.registered_commands if one.callback and name in (one.name, one.callback.__name__)]
    app.registered_commands = asked or app.registered_commands
