"""The commands of the groups `render`, one for each document, and `settings`, as Typer declares them."""

# Without `from __future__ import annotations`: Typer evaluates the annotations.

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from typer import Argument, Option

from agent.base.errors import UsageError
from agent.base.repair import Instruction
from agent.cli.commands.declaration import RENDERS
from agent.cli.host_options import HostOptions, RoleChoice, absolute
from agent.cli.report_options import print_or_write
from agent.cli.shared_options import Grouped, Image, epilog, expand, flag, hours, k3s_version, option
from agent.cli.streams import print_error, print_text
from agent.harden.settings.schema import DEFAULT_SETTINGS
from agent.k3s.roles_and_versions import EXAMPLE_MINOR
from agent.reports.formats import Format
from agent.verbs.render import DOCUMENTS, new_host, rendered, rendered_assessment_job
from agent.verbs.render.pods import IMAGE

if TYPE_CHECKING:
    from agent.verbs.render.first_boot import Download

documents = typer.Typer(
    name="render",
    cls=Grouped,
    help="Print a document for other programs.\n\n"
    "Prints the content that apply would write, or a document for Rancher, cloud-init, Ignition or kubectl. Does not"
    " read the host.",
    epilog=epilog(f"k3s-harden render k3s-config --k3s-version {EXAMPLE_MINOR}", RENDERS, "the document was printed"),
)

Output = Annotated[Optional[Path], option("FILE", "File to write with mode 0600. [default: standard output]")]
OPTIONS = {
    "config": Annotated[Optional[Path], option("FILE", "Settings file. [default: none]")],
    "role": Annotated[RoleChoice, Option(help="Role of K3s on the host; auto: from the settings, or server.")],
    "k3s_version": k3s_version("newest known"),
    "data_dir": Annotated[Optional[Path], option("DIR", "Data directory of K3s. [default: /var/lib/rancher/k3s]")],
}
"""The options of the host that a document is for, which is not read."""
_NewHost = Annotated[HostOptions, OPTIONS]
_NewExtension = Annotated[HostOptions, {name: OPTIONS[name] for name in ("config", "role", "data_dir")}]
_OfVersion = Annotated[HostOptions, {"k3s_version": OPTIONS["k3s_version"]}]

_OMIT = "omit a password: user-data is not secret"
_HOURS = 24
"""Between the assessments of all nodes."""


def _epilog(words: str) -> str:
    return epilog(f"k3s-harden render {words}", RENDERS, "the document was printed")


def _add_file(name: str, summary: str) -> None:
    """Add the command for a document that depends only on the settings."""

    @documents.command(name, help=summary, epilog=_epilog(f"{name} --k3s-version {EXAMPLE_MINOR}"))
    @expand
    def _file(*, output: Output = None, options: _NewHost) -> None:
        print_or_write(rendered(name, options.settings_file, options.overrides), output)


for _name, _document in DOCUMENTS.items():
    _add_file(_name, _document.summary)


@documents.command(epilog=_epilog('cloud-init --url "$URL" --sha256 "$SHA256"'))
@expand
def cloud_init(
    *,
    url: Annotated[Optional[str], option("URL", "URL of the program as a single file.")] = None,
    sha256: Annotated[Optional[str], option("HEX", "SHA-256 checksum of that file.")] = None,
    join: Annotated[str, option("URL", "URL of the server to join. [default: start a cluster]")] = "",
    proxy: Annotated[str, option("URL", "HTTP proxy for all downloads of the host.")] = "",
    k3s_mirror: Annotated[str, option("URL", "Mirror of K3s' releases on GitHub.")] = "",
    installer_url: Annotated[str, option("URL", "URL of K3s' installer.")] = "https://get.k3s.io",
    installer_sha256: Annotated[Optional[str], option("HEX", "SHA-256 checksum of K3s' installer.")] = None,
    cluster_init: Annotated[bool, flag("First of several servers, with etcd.")] = False,
    token_file: Annotated[str, option("PATH", "File on the host with the cluster's token.")] = "",
    embed_token: Annotated[Optional[Path], option("FILE", "File here whose token to include.")] = None,
    output: Output = None,
    options: _NewHost,
) -> None:
    """Print user-data for cloud-init.

    It installs the program and K3s on a new host, which is hardened before K3s starts.
    """
    from agent.base.host import Host
    from agent.verbs.render.first_boot import EXAMPLE, K3sDownload, joining, published_file, user_data

    is_printed = output in (None, Path("-"))
    if embed_token is not None and is_printed:
        raise UsageError("cannot use --embed-token without --output, which writes a file with mode 0600", "pass both")
    token = b"" if embed_token is None else Host.real().machine_tree.read_input(absolute(embed_token)) or b"\n"
    joins = joining(join, token_file, token, cluster_init=cluster_init)
    if proxy and not re.fullmatch(r"https?://[\w.:-]+", proxy, re.ASCII):
        raise UsageError("cannot use --proxy: expected http://HOST:PORT", _OMIT)
    k3s = K3sDownload(
        _url("--installer-url", installer_url, is_verified=installer_sha256 is not None),
        _digest("--installer-sha256", installer_sha256) if installer_sha256 is not None else "",
        _url("--k3s-mirror", k3s_mirror, is_verified=False) if k3s_mirror else "",
        proxy,
    )
    download = _download("cloud-init", url or published_file(), sha256, EXAMPLE)
    facts, files = new_host(options.settings_file, options.overrides, joins)
    print_or_write(user_data(facts, download, files, joins, k3s), output)
    if embed_token is not None:
        warning = f"{output} contains the token: most clouds show user-data to every process on the host"
        print_error(warning, Instruction("deliver the token in another way, and use only --token-file"))


@documents.command(epilog=_epilog('ignition --role server --url "$URL" --sha256 "$SHA256"'))
@expand
def ignition(
    *,
    url: Annotated[Optional[str], option("URL", "URL of the system extension.")] = None,
    sha256: Annotated[Optional[str], option("HEX", "SHA-256 checksum of that file.")] = None,
    output: Output = None,
    options: _NewExtension,
) -> None:
    """Print an Ignition config.

    For Flatcar and Fedora CoreOS. It adds the system extension, the settings and the gate, so that a new host is
    hardened before each start of K3s, which it does not install.
    """
    from agent.verbs.render.first_boot import ALONE, ignition_config

    download = _download("ignition", url, sha256, "`sudo make bundle` builds the extension, a file in dist/*.raw")
    if not download.url.startswith(("https:", "http:")):
        raise UsageError(f"cannot use --url: found {url}, expected https://HOST/PATH", "serve the file to new hosts")
    facts, files = new_host(options.settings_file, options.overrides, ALONE)
    print_or_write(ignition_config(facts, download, files), output)


@documents.command(epilog=_epilog("assessment-job --all-nodes >nodes.yaml"))
@expand
def assessment_job(
    *,
    node: Annotated[str, option("NAME", "Assess this node once, by a Job.")] = "",
    all_nodes: Annotated[bool, flag("Assess all nodes again and again.")] = False,
    every: Annotated[Optional[float], hours("Time between assessments of all nodes. [default: 24]")] = None,
    namespace: Annotated[str, option("NAME", "Namespace to create.")] = "k3s-harden",
    image: Image = IMAGE,
    report_to_api: Annotated[bool, flag("Also write OpenReports' ClusterReports.")] = False,
    output_format: Annotated[Format, option("FORMAT", "Format of the report.", "--format")] = Format.AUTO,
    options: _OfVersion,
    output: Output = None,
) -> None:
    """Print a Job that assesses a node.

    With --all-nodes, it is a DaemonSet. kubectl applies it with its namespace, kubectl logs shows the report, and
    kubectl delete removes everything. Nothing is installed on the nodes, which must have the image or pull it.
    With --k3s-version, nodes are assessed for that version, and before 1.30 without what Kubernetes does not support.
    """
    from agent.verbs.render.pods import AssessmentJob

    if bool(node) == all_nodes:
        raise UsageError("cannot render assessment-job without --node or --all-nodes, or with both", "pass one of them")
    if node and every is not None:
        raise UsageError("cannot use --every with --node: a Job assesses once", "omit it, or pass --all-nodes")
    words = [f"--k3s-version={options.k3s_version}"] if options.k3s_version else []
    words += [f"--format={output_format}"] if output_format is not Format.AUTO else []
    job = AssessmentJob(node, namespace, image, every or _HOURS, tuple(words), reports_to_api=report_to_api)
    print_or_write(rendered_assessment_job(job, options.overrides), output)


def _download(document: str, url: Optional[str], sha256: Optional[str], hint: str) -> "Download":
    """Return the download of --url and --sha256. Raises UsageError if one is missing or unsafe in a shell."""
    from agent.verbs.render.first_boot import Download

    if url is None or sha256 is None:
        problem = f"cannot render {document} without --url and --sha256, which name the program to run on the host"
        raise UsageError(problem, hint)
    return Download(_url("--url", url), _digest("--sha256", sha256))


def _url(option: str, url: str, *, is_verified: bool = True) -> str:
    """Return a URL for a script. Raises UsageError; also if nothing verifies what root runs from there."""
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise UsageError(f"cannot use {option}: expected a URL without a user and password", _OMIT)
    if not (is_verified or url.startswith(("https://", "file://"))):
        hint = "serve it by https" + ", or pass --installer-sha256" * (option == "--installer-url")
        raise UsageError(f"cannot use {option}: found {url}, expected https:// if no checksum verifies it", hint)
    if not re.fullmatch(r"[a-z]+://[\w.:/?&=%~+@#,-]+", url, re.ASCII):
        problem = f"cannot use {option}: found {url}, expected a URL without shell characters"
        raise UsageError(problem, "percent-encode them, or rename the file")
    return url


def _digest(option: str, sha256: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        problem = f"cannot use {option}: found {sha256}, expected 64 hexadecimal digits"
        raise UsageError(problem, "pass the first word that `sha256sum FILE` prints")
    return sha256.lower()


@documents.command(epilog=_epilog("upgrade-plan --image registry.example/k3s-harden:1.0.0"))
def upgrade_plan(*, image: Image = IMAGE, output: Output = None) -> None:
    """Print a Plan that upgrades this program.

    The system-upgrade-controller brings this version to all nodes on which the archive is installed, one by one.
    """
    from agent.verbs.render.pods import upgrade_plan as plan

    print_or_write(plan(image), output)


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
