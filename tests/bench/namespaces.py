"""`k3s-harden service-accounts` with the kubectl of a host tree: `namespaces.py ROOT`.

The program itself only runs the kubectl of the machine.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import agent.cli  # noqa: F401 - the program loads it too, which counts for the memory
from agent.host import Host, process
from agent.host.process import LARGEST_OUTPUT
from agent.present import Format, Verbosity, present
from agent.value import replace
from agent.verbs.service_accounts import disable_default_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.host.process import Completed


def main(root: str) -> None:
    """Protect all namespaces of the tree's kubectl and print the report."""

    def run(argv: Sequence[str], *, timeout: float, largest_output: int = LARGEST_OUTPUT) -> Completed:
        return process.run([f"{root}{argv[0]}", *argv[1:]], timeout=timeout, largest_output=largest_output)

    report = disable_default_tokens(replace(Host.tree_at(root), run=run), kubeconfig=None, timeout=20)
    present(report, Format.AUTO, Verbosity.NORMAL, sys.stdout)
    sys.exit(int(report.exit_code))


main(sys.argv[1])
