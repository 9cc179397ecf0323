"""The verb gate on a host tree. The program has it only for the host on which K3s starts."""

from typing import Annotated

from agent.base.value import replace
from agent.cli.commands import COMMANDS
from agent.cli.commands.hardening import gate
from agent.cli.host_options import HostOptions
from agent.cli.report_options import ReportOptions
from agent.cli.shared_options import HostTree, Report, option

NAME = "gate-of-tree"
THIS_HOST, PRINTED = HostOptions(), ReportOptions()
Service = Annotated[str, option("NAME", "K3s service that is about to start.")]


def gate_of_tree(*, service: Service = "", options: HostTree = THIS_HOST, printed: Report = PRINTED) -> None:
    """Run the gate of a service below --root."""
    gate(service=service, options=options, printed=printed)


COMMANDS[NAME] = replace(COMMANDS["gate"], function=gate_of_tree)
