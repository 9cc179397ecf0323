"""What /usr/bin/k3s-harden has Python run."""

import sys

sys.path.append("/usr/lib/k3s-harden")
sys.argv[0] = "/usr/bin/k3s-harden"

from agent.__main__ import main

main()
