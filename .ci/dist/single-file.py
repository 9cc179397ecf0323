"""Starts the program from within its archive. Any Python can read this, so that an old one can say that it is too old."""

import sys

BYTE_CODE = ()


def main():
    if sys.version_info < (3, 9):
        return (
            "k3s-harden: cannot run on Python %d.%d: it needs 3.9 or newer\n"
            "  fix: start this file by its own name, without python before it: it looks for a newer one"
        ) % sys.version_info[:2]
    own = "cp%d%d" % sys.version_info[:2]
    sys.path[0] += "/" + (own if own in BYTE_CODE else "source")
    try:
        from agent.__main__ import main as run

        return run()
    except ModuleNotFoundError as error:
        return (
            "k3s-harden: cannot run on this Python, of which a part is missing: %s\n"
            "  fix: install all of it: apt-get install python3"
        ) % error


sys.exit(main())
