"""Start the program for /usr/bin/k3s-harden."""

import sys

sys.path.append("/usr/lib/k3s-harden")
sys.argv[0] = "/usr/bin/k3s-harden"

from agent.__main__ import main

main()
