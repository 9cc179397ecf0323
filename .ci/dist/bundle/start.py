"""Start the program of the bundle."""

import _signal
import sys

# Ctrl-C would end in a traceback while Python searches for the program; agent/__main__.py does the same.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

# The name that the program was called by can be one without a directory. The gate needs the path.
sys.argv[0] = sys.executable

if sys.argv[1:2] == ["--exchange-directories"]:  # only for the script `install`
    from pathlib import Path

    from agent.base.host.writable_tree import exchange

    exchange(*map(Path, sys.argv[2:]))
    sys.exit()

from agent.__main__ import main

main()
