"""The command line: reads arguments, calls a verb, prints its report and exits. The only package that exits."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # as in agent.__main__
import os
import sys
from contextlib import redirect_stdout, suppress
from typing import NoReturn

from agent.cli import commands as _declares_them  # noqa: F401
from agent.cli import completion
from agent.cli.plain_words import requested
from agent.cli.streams import discard_output, open_standard_streams, print_error
from agent.errors import ExitCode, HardenError, InputError, RootRequiredError

_INTERRUPTED = 130
"""The exit code after Ctrl-C, as in shells and of Typer: 128 and the number of SIGINT."""


def main() -> None:
    """Run the command line and exit."""
    open_standard_streams()
    if completion.is_requested():
        sys.exit(completion.complete())
    try:
        _raise_interrupts()
        run = requested(sys.argv[1:], os.environ) or _read_by_typer
        run()
    except HardenError as error:
        _fail(error)
    except OSError as error:
        _fail_to_write(error)
    except KeyboardInterrupt:
        _fail_interrupted()
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            _fail_interrupted()
        raise


def _read_by_typer() -> None:
    """Read a command line that is not plain, and run its command."""
    from agent.cli.application import application
    from agent.cli.declared import named
    from agent.cli.group import WrongWordsError

    words = sys.argv[1:]
    app = application(named(words[0] if words else ""))
    try:
        if words:
            app(prog_name="k3s-harden")
        # Click before 8.2 treats a missing command as --help: on standard output, with exit code 0.
        with redirect_stdout(sys.stderr), suppress(SystemExit):
            app(["--help"], prog_name="k3s-harden")
        sys.exit(int(ExitCode.USAGE))
    except WrongWordsError as error:
        from agent.cli.suggestions import usage_error

        raise usage_error(error, words) from error


def _raise_interrupts() -> None:
    """Make Ctrl-C raise KeyboardInterrupt, unless it is ignored, as in a background job of a shell."""
    if _signal.getsignal(_signal.SIGINT) == _signal.SIG_DFL:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _fail_interrupted() -> NoReturn:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # for the second Ctrl-C of somebody who does not wait
    print_error("interrupted", "run k3s-harden check; the next run completes what this run started")
    sys.exit(_INTERRUPTED)


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
        return error.hint or (f"correct that in {error.location.path}" if isinstance(error, InputError) else "")
    from agent.cli.caller import as_root

    return as_root()
