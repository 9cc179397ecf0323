"""Start the program in its archive. Python 2 parses this file too, so that it can report that it is too old."""

import sys

BYTE_CODE = ()


def main():
    if sys.version_info < (3, 9):
        return (
            "k3s-harden: cannot run on Python %d.%d, expected 3.9 or newer\n"
            "  fix: run this file directly, without python before it: it searches for a newer Python"
        ) % sys.version_info[:2]
    import _signal

    # Ctrl-C would end in a traceback while Python searches for the program; agent/__main__.py does the same.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    own = "cp%d%d" % sys.version_info[:2]
    sys.path[0] += "/" + (own if own in BYTE_CODE else "source")
    try:
        from agent.__main__ import main as run

        return run()
    except ModuleNotFoundError as error:
        return (
            "k3s-harden: cannot run: this Python is incomplete: %s\n"
            "  fix: install the complete Python: apt-get install python3"
        ) % error


sys.exit(main())
