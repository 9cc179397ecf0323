"""The verb gate on a host tree. The program has it only for the host on which K3s starts."""

from agent.base.value import replace
from agent.cli.commands import COMMANDS, gate
from agent.cli.host_options import HostOptions
from agent.cli.report_options import ReportOptions
from agent.cli.shared_options import HostTree, Report

NAME = "gate-of-tree"
THIS_HOST, PRINTED = HostOptions(), ReportOptions()


def gate_of_tree(*, service: str = "", options: HostTree = THIS_HOST, printed: Report = PRINTED) -> None:
    """Run the gate of a service below --root."""
    gate(service=service, options=options, printed=printed)


COMMANDS[NAME] = replace(COMMANDS["gate"], function=gate_of_tree)
