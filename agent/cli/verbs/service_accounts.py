"""Automatic tokens of the default ServiceAccounts (guide: CIS 5.1.5).

Uses kubectl, which reaches the API on every server with the credentials that K3s keeps for root.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from agent.base.errors import HostError
from agent.base.report import Fact, Item, ItemStatus, Report, no_progress
from agent.base.value import replace
from agent.cli.advice import next_steps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.base.host import Host
    from agent.base.report import Progress

_PAUSE = 3.0
_LARGEST_ANSWER = 64 << 20
"""Bytes; the accounts of about 50,000 namespaces."""

_KUBECONFIG = PurePosixPath("/etc/rancher/k3s/k3s.yaml")
"""The default of `k3s kubectl`; a symlink if `write-kubeconfig` sets another path (k3s, pkg/server/server.go)."""
_ROOTS_KUBECONFIG = "/var/lib/rancher/k3s/server/cred/admin.kubeconfig"

_PATCH = '{"automountServiceAccountToken":false}'


class _DistrustedError(HostError):
    """Another user can change what this program would run."""


class _Kubectl(NamedTuple):
    """A kubectl command."""

    host: Host
    command: tuple[str, ...]
    kubeconfig: PurePosixPath | None
    """The file that kubectl reads; None for a kubectl without one."""
    timeout: float
    """Seconds for one call."""

    def __call__(self, *arguments: str) -> str:
        """Return the output of kubectl. Raises HostError with the last line of its error."""
        self._refuse_distrusted()
        limit = f"--request-timeout={self.timeout:g}s"
        # The limit of kubectl expires first, with a useful error. The longer one is for a kubectl that hangs.
        done = self.host.run(
            [*self.command, *arguments, limit],
            timeout=self.timeout + min(self.timeout, 5),
            largest_output=_LARGEST_ANSWER,
        )
        if done.code:
            error = (done.stderr.strip().splitlines() or [f"kubectl failed with exit code {done.code}"])[-1]
            raise HostError(
                f"cannot {arguments[0]} {arguments[1]}: {error}",
                "run this on a server where K3s is running, or pass a working kubeconfig with --kubeconfig",
            )
        return done.stdout

    def _refuse_distrusted(self) -> None:
        """Raise _DistrustedError if another user can change the kubeconfig, which can name a program (`exec`)."""
        # Before each call, because K3s can create the file during --wait.
        tree = self.host.own_tree
        if self.kubeconfig is None or not tree.exists(self.kubeconfig):
            return
        problem = tree.trust_problem(self.kubeconfig)
        if problem:
            raise _DistrustedError(
                f"cannot use {self.kubeconfig}, because kubectl runs programs that it names: {problem}",
                f"pass a kubeconfig that no other user can change, such as --kubeconfig {_ROOTS_KUBECONFIG}",
            )


def disable_default_tokens(
    host: Host, *, kubeconfig: str | None, timeout: float, wait: float = 0, progress: Progress = no_progress
) -> Report:
    """Patch the default ServiceAccount of each namespace; a failure does not stop the others.

    `timeout` is in seconds for one call, `wait` in seconds for the first answer of the API server. Raises HostError if
    there is no kubectl, another user can change it or its kubeconfig, or the API server does not answer.
    """
    kubectl = _Kubectl(host, *_command(host, kubeconfig), timeout)
    progress("reading the ServiceAccounts" if not wait else "waiting for the API server")
    before = _first_tokens(kubectl, host.now() + wait)
    failures: dict[str, str] = {}
    automounting = [namespace for namespace, automounts in before.items() if automounts]
    for number, namespace in enumerate(automounting, 1):
        progress(f"patching {namespace}/default", number, len(automounting))
        try:
            kubectl("patch", "serviceaccount", "default", f"--namespace={namespace}", f"--patch={_PATCH}")
        except HostError as error:
            failures[namespace] = error.message
    progress("reading the ServiceAccounts again")
    unread: tuple[Item, ...] = ()
    try:
        after = _tokens(kubectl) if any(before.values()) else before
    except HostError as error:
        # kubectl reported success for these patches.
        after = {name: automounts and name in failures for name, automounts in before.items()}
        unread = (Item("the cluster", ItemStatus.FAILED, f"cannot be read again: {error.message}", error.hint),)
    items = (*(_item(namespace, before, after, failures) for namespace in before), *unread)
    facts = (Fact("command", " ".join(kubectl.command), "first of k3s kubectl and kubectl"),)
    report = Report(verb="service-accounts", writes=True, facts=facts, items=items, findings=())
    return replace(report, next_steps=next_steps.steps_after_service_accounts(report))


def _item(
    namespace: str, before: Mapping[str, bool | None], after: Mapping[str, bool | None], failures: Mapping[str, str]
) -> Item:
    name = f"{namespace}/default"
    if before[namespace] is None:
        return Item(name, ItemStatus.KEPT, "the namespace has no default ServiceAccount yet", "run this again later")
    if not before[namespace]:
        return Item(name, ItemStatus.COMPLIANT, "automountServiceAccountToken is false")
    if namespace not in after:
        return Item(name, ItemStatus.KEPT, "the namespace was deleted during this run")
    if namespace in failures:
        return Item(name, ItemStatus.FAILED, failures[namespace])
    if after[namespace]:
        return Item(
            name,
            ItemStatus.FAILED,
            "still automounts its token after the patch",
            "find the controller that changes it back",
        )
    return Item(name, ItemStatus.CHANGED, "automountServiceAccountToken → false")


def _first_tokens(kubectl: _Kubectl, deadline: float) -> dict[str, bool | None]:
    while True:
        try:
            return _tokens(kubectl)
        except _DistrustedError:
            raise
        except HostError:
            if kubectl.host.now() + _PAUSE > deadline:
                raise
            kubectl.host.sleep(_PAUSE)


def _tokens(kubectl: _Kubectl) -> dict[str, bool | None]:
    """Return by namespace whether its default ServiceAccount automounts its token; None if there is no account yet."""
    import json

    names = kubectl("get", "namespaces", "--output=name").split()
    accounts = kubectl(
        "get", "serviceaccounts", "--all-namespaces", "--field-selector=metadata.name=default", "--output=json"
    )
    try:
        # The field defaults to true.
        found = {
            account["metadata"]["namespace"]: account.get("automountServiceAccountToken") is not False
            for account in json.loads(accounts)["items"]
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise HostError("cannot read the output of kubectl: expected a list of ServiceAccounts") from error
    return {name.removeprefix("namespace/"): found.get(name.removeprefix("namespace/")) for name in names}


def _command(host: Host, kubeconfig: str | None) -> tuple[tuple[str, ...], PurePosixPath | None]:
    """Return the command for kubectl, and the kubeconfig that it reads."""
    options = () if kubeconfig is None else (f"--kubeconfig={kubeconfig}",)
    named = None if kubeconfig is None else PurePosixPath(kubeconfig)
    for command, default in ((("k3s", "kubectl"), _KUBECONFIG), (("kubectl",), None)):
        tool = host.tool(command[0])
        if tool is not None:
            problem = host.tree.trust_problem(tool)
            if problem:
                name = quote(str(tool))
                raise HostError(
                    f"cannot run {tool} as root: {problem}", f"sudo chown root:root {name} && sudo chmod go-w {name}"
                )
            return (str(tool), *command[1:], *options), named or default
    raise HostError("cannot reach the cluster: neither k3s nor kubectl is installed", "run this on a K3s server")
