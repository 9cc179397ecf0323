"""Start the program for /usr/bin/k3s-harden."""

import _signal
import sys

# Ctrl-C would end in a traceback while Python searches for the program; agent/__main__.py does the same.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

sys.path.append("/usr/lib/k3s-harden")
sys.argv[0] = "/usr/bin/k3s-harden"

from agent.__main__ import main

main()
