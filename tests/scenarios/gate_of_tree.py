"""The verb gate on a host tree. The program has it only for the host on which K3s starts."""

from agent.cli import verbs_without_options
from agent.cli.commands import app
from agent.cli.host_options import HostOptions
from agent.cli.report_options import ReportOptions
from agent.cli.shared_options import HOST, REPORT, expand

NAME = "gate-of-tree"


@app.command(NAME, hidden=True)
@expand(options=HOST, printed=REPORT)
def gate_of_tree(*, service: str = "", options: HostOptions, printed: ReportOptions) -> None:
    """Run the gate of a service below --root."""
    verbs_without_options.gate(service=service, options=options, printed=printed)
