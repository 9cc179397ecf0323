"""The commands that change a host, and those that let K3s start on it."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import ExitCode
from agent.base.report import Wording
from agent.cli.commands.declaration import CHANGES, READS, RENDERS, REPORT, THIS_HOST, command, program_path
from agent.cli.host_options import HostOptions, absolute
from agent.cli.streams import print_text, progress
from agent.k3s.roles_and_versions import EXAMPLE_MINOR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Annotated, Optional

    from agent.base.host import Host
    from agent.cli import shared_options as shared
    from agent.cli.shared_options import flag, option
    from agent.verbs.installation import Installation

SERVICE_VARIABLE = "K3S_HARDEN_SERVICE"
"""Environment variable of the gate and its confirmation: the K3s service that is about to start, or has started."""


@command("Harden", "sudo k3s-harden apply --role server", CHANGES)
def apply(
    *,
    force: shared.Force = False,
    accept_impact: Annotated[bool, flag("Apply even if objects of the cluster break.")] = False,
    options: shared.Service = THIS_HOST,
    printed: shared.Report = REPORT,
) -> None:
    """Apply the hardening guide to this host.

    Writes files, directories, kernel parameters and K3s options, then reads the host again and reports. Makes no
    changes if the host is already compliant. Starts a K3s that the gate of `install` blocked. `revert` undoes all
    changes. On a server where K3s runs, a run that changes NetworkPolicies or Pod Security makes no changes and ends
    with 3 if objects of the cluster would break; `impact` lists them.
    """
    from agent.verbs import check_and_apply

    host = options.host()
    with progress("apply", quiet=printed.quiet) as shown:
        report = check_and_apply.apply(host, options.request(force=force), shown, accept_impact=accept_impact)
    printed.finish(report)


@command("Harden", "sudo k3s-harden check", READS)
def check(*, options: shared.Service = THIS_HOST, printed: shared.Report = REPORT) -> None:
    """Check this host against the hardening guide.

    Reports whether the host meets the hardening guide, now and after the next boot, and whether K3s would start. Makes
    no changes. `assess` reports the controls of the CIS benchmark.
    """
    from agent.verbs import check_and_apply

    printed.finish(check_and_apply.check(options.host(), options.request()))


@command("Harden", f"k3s-harden diff --role server --k3s-version {EXAMPLE_MINOR}", READS)
def diff(*, force: shared.Force = False, options: shared.Service = THIS_HOST, printed: shared.Report = REPORT) -> None:
    """Show what apply would change.

    Prints each difference, for files as a unified diff. Makes no changes.
    """
    from agent.verbs import check_and_apply

    printed.finish(check_and_apply.diff(options.host(), options.request(force=force)))


_REVERT = Wording("every change was undone", "Reverted", "Nothing to revert", "reverted")


_NOT_REVERTED = {
    ExitCode.ERROR: "error; nothing was reverted",
    ExitCode.NOT_COMPLIANT: "reverted, and a finding of level error remains",
    ExitCode.PARTIAL: "partially reverted; the report lists what is left",
}


@command("Harden", "sudo k3s-harden revert", {**CHANGES, **_NOT_REVERTED}, _REVERT.success)
def revert(
    *,
    last: Annotated[bool, flag("Undo only the newest run.")] = False,
    force: shared.Force = False,
    options: shared.Tree = THIS_HOST,
    printed: shared.Report = REPORT,
) -> None:
    """Undo the changes of apply.

    Restores files, modes and kernel parameters from the journal, as they were before the first apply. If the gate is
    installed, run uninstall first; otherwise the gate hardens the host again at the next start of K3s.
    """
    from agent.verbs.revert import revert as verb

    printed.finish(verb(options.host(), last=last, force=force), _REVERT)


_INSTALL = Wording("everything is installed", "Installed", "Already installed; nothing was changed", "installed")


@command("Start", "sudo k3s-harden install", CHANGES, _INSTALL.success)
def install(
    *,
    unit: shared.Services = None,
    program: shared.Program = None,
    enforce: Annotated[bool, flag("Install the gate on a cluster that apply never hardened.")] = False,
    options: shared.HostTree = THIS_HOST,
    printed: shared.Report = REPORT,
) -> None:
    """Install the gate, timers and completions.

    Installs the systemd units and shell completions, and starts nothing. From then on, K3s does not start unless the
    host is hardened: the gate runs apply before each start. If K3s has run on this host and apply has never hardened
    it, it changes nothing and ends with 3.
    """
    from agent.verbs.install import install as verb

    host, installation = _installation(options, unit or (), program)
    printed.finish(verb(host, installation, enforce=enforce), _INSTALL)


_UNINSTALL = Wording("everything is removed", "Uninstalled", "Nothing to uninstall", "uninstalled")


@command("Start", "sudo k3s-harden uninstall", CHANGES, _UNINSTALL.success)
def uninstall(
    *, program: shared.Program = None, options: shared.HostTree = THIS_HOST, printed: shared.Report = REPORT
) -> None:
    """Remove what install installed.

    The host stays hardened; `revert` undoes the hardening.
    """
    from agent.verbs.install import uninstall as verb

    printed.finish(verb(*_installation(options, (), program)), _UNINSTALL)


def _installation(options: HostOptions, services: Sequence[str], program: Path | None) -> tuple[Host, Installation]:
    """Return the host, and the installation of this program, or of the named one."""
    from agent.verbs.installation import installation_for

    host = options.host(("--program", program), *(("--unit", service) for service in services))
    return host, installation_for(
        host, options.request(), services, PurePosixPath(program) if program else program_path()
    )


_BYPASS = Wording(
    "K3s may start without its gate", "Bypassed: K3s may start without its gate", "Nothing to bypass", "bypassed"
)


@command("Start", "sudo k3s-harden bypass --for 2h", CHANGES, _BYPASS.success)
def bypass(
    *,
    duration: Annotated[
        Optional[str], option("DURATION", "Let each start pass for this time, at most 24h.", "--for")
    ] = None,
    expires_in: Annotated[
        int, option("MINUTES", "Without --for: minutes until an unused bypass ends.", min=1, max=1440)
    ] = 15,
    unit: shared.Services = None,
    printed: shared.Report = REPORT,
) -> None:
    """Let K3s start without its gate.

    For emergencies: K3s starts although the host is not compliant, once, or with --for each time, such as in a crash
    loop. A K3s that the gate blocks starts at once. check, assess and the drift check report the bypass, and the start
    until a run finds the host compliant, which also ends the bypass.
    """
    from agent.verbs import bypass as verb

    minutes = expires_in if duration is None else verb.minutes_of(duration)
    printed.finish(verb.bypass(THIS_HOST.host(), unit or (), minutes, each=duration is not None), _BYPASS)


_SERVICE_ACCOUNTS = Wording(
    "no namespace hands out default tokens", "Compliant", "Compliant; nothing was changed", "applied"
)
_UNDO = Wording(_SERVICE_ACCOUNTS.success, "Restored", "Nothing to restore", "restored")


@command(
    "Start",
    "sudo k3s-harden service-accounts --wait 300",
    {code: CHANGES[code] for code in (ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE, ExitCode.PARTIAL)},
    _SERVICE_ACCOUNTS.success,
)
def service_accounts(
    *,
    kubeconfig: Annotated[Optional[Path], option("FILE", "Kubeconfig file. [default: as for k3s kubectl]")] = None,
    timeout: Annotated[
        float, option("SECONDS", "Timeout for each call.", min=1, max=600, callback=shared.a_number)
    ] = 20,
    wait: Annotated[
        float, option("SECONDS", "Time to wait for the API server.", min=0, max=3600, callback=shared.a_number)
    ] = 0,
    dry_run: Annotated[bool, flag("Show the changes, and make none.")] = False,
    undo: Annotated[bool, flag("Restore the values before the first run.")] = False,
    options: shared.ConfigOnly = THIS_HOST,
    printed: shared.Report = REPORT,
) -> None:
    """Disable default ServiceAccount tokens.

    With the setting network-policies.new-namespaces, it also creates the NetworkPolicies of new namespaces.

    Sets automountServiceAccountToken to false on the default ServiceAccount of each namespace, except those in the
    setting service-accounts.exempt. An annotation on the account holds the earlier value, which --undo restores. Run it
    on a server after K3s has started.
    """
    from agent.harden.node.site_files import read_settings
    from agent.verbs.service_accounts import KubectlAccess, change_default_tokens

    host, request = options.host(), options.request()
    settings = read_settings(host, request.settings_file, request.overrides)
    access = KubectlAccess(None if kubeconfig is None else str(absolute(kubeconfig)), timeout, wait)
    with progress("service-accounts", quiet=printed.quiet) as shown:
        report = change_default_tokens(host, settings, access, undo=undo, dry_run=dry_run, progress=shown)
    printed.finish(report, _UNDO if undo else _SERVICE_ACCOUNTS)


GATE_WORDING = Wording("K3s may start")


@command(
    "",
    "sudo systemctl start k3s-harden@k3s.service",
    {**CHANGES, ExitCode.NOT_COMPLIANT: "K3s may not start: it would run unhardened"},
    GATE_WORDING.success,
)
def gate(
    *,
    service: Annotated[str, option("NAME", f"K3s service that is about to start. [default: ${SERVICE_VARIABLE}]")] = "",
    options: shared.Live = THIS_HOST,
    printed: shared.Report = REPORT,
) -> None:
    """Run apply and decide if K3s may start.

    k3s-harden@.service runs it before each start of a K3s service, whose name is in K3S_HARDEN_SERVICE. systemd starts
    K3s only if it succeeds.
    """
    from agent.verbs import check_and_apply

    service = service or os.environ.get(SERVICE_VARIABLE, "")
    report = check_and_apply.gate(options.host(), options.request(service=service))
    printed.finish(report, GATE_WORDING)


@command(
    "",
    "sudo systemctl start k3s-harden-started@k3s.service",
    RENDERS,
    "K3s runs with the arguments that the gate judged, or that is not known",
)
def confirm(
    *, service: Annotated[str, option("NAME", f"K3s service that has started. [default: ${SERVICE_VARIABLE}]")] = ""
) -> None:
    """Confirm that K3s runs as its gate has judged.

    k3s-harden-started@.service runs it after each start of a K3s service. It waits for up to ten minutes, and
    compares what K3s logged for this start with what the gate judged. It changes and stops nothing.
    """
    from agent.harden.gate.confirmation import confirm as verb

    print_text(f"{verb(THIS_HOST.host(), service or os.environ.get(SERVICE_VARIABLE, ''))}\n")


@command("", "k3s-harden upgrade-node", CHANGES, "the node has this version, and check succeeded")
def upgrade_node() -> None:
    """Replace the program of a node by this one.

    The container of `render upgrade-plan` runs it, with the node below /host and the archive installed on it. The new
    version runs `gate` and `check` beside the installed one; if one fails, nothing is replaced. Then it runs `install`
    and `check`. The exit code is that of the failed one. Without a gate on the node, only `check` runs.
    """
    from agent.base.host import Host
    from agent.base.host.process import run_below
    from agent.verbs.install import upgrade_node as verb

    host, bundle = Host.tree_at("/host"), program_path().parents[1]
    sys.exit(verb(host, bundle, partial(run_below, host.root), lambda line: print_text(f"{line}\n")))
