"""Start the program of the bundle."""

import sys

# The name that the program was called by can be one without a directory. The gate needs the path.
sys.argv[0] = sys.executable

from agent.__main__ import main

main()
