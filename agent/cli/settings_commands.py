"""The commands about a settings file, as Typer declares them."""

# Without `from __future__ import annotations`: Typer evaluates the annotations.

from pathlib import Path
from typing import Annotated, Optional

import typer
from typer import Argument

from agent.cli.commands.declaration import RENDERS
from agent.cli.host_options import absolute
from agent.cli.render import Output
from agent.cli.report_options import print_or_write
from agent.cli.shared_options import Grouped, epilog
from agent.cli.streams import print_text
from agent.harden.settings.schema import DEFAULT_SETTINGS

settings = typer.Typer(
    name="settings",
    cls=Grouped,
    help="Check or write a settings file.\n\nDoes not read the host that the settings are for.",
    epilog=epilog("k3s-harden settings check config.yaml", RENDERS, "the file is valid, or was printed"),
)


@settings.command(epilog=epilog("k3s-harden settings check config.yaml", RENDERS, "the file is valid"))
def check(
    file: Annotated[Optional[Path], Argument(help="Settings file.", metavar="[FILE]", show_default=False)] = None,
) -> None:
    """Say what a settings file means.

    Prints the profile, the settings that differ from their defaults, waivers and stages. Also reads the files that it
    names. Without FILE, it is /etc/k3s-harden/config.yaml.
    """
    from agent.base.host import Host
    from agent.reports.text import printable
    from agent.verbs.site_settings import meaning

    print_text(
        "".join(f"{printable(line)}\n" for line in meaning(Host.real(), absolute(file or Path(DEFAULT_SETTINGS))))
    )


@settings.command(epilog=epilog("k3s-harden settings init >config.yaml", RENDERS, "the sample was printed"))
def init(*, output: Output = None) -> None:
    """Print a sample of a settings file.

    It has every setting with its meaning and an example, each as a comment.
    """
    from agent.verbs.site_settings import sample

    print_or_write(sample().encode(), output)
