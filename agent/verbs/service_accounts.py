"""After K3s is up: the default ServiceAccount of each namespace hands out no token by itself (guide: CIS 5.1.5).

Through kubectl, since the API is reachable by it on every server, with the credentials that K3s keeps for root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.errors import HostError
from agent.report import Fact, Item, ItemStatus, Report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.host import Host

_PAUSE = 3.0
_PATCH = '{"automountServiceAccountToken":false}'


class _Kubectl(NamedTuple):
    """A way to reach the API; `timeout` is in seconds, for one call."""

    host: Host
    words: tuple[str, ...]
    timeout: float

    def __call__(self, *arguments: str) -> str:
        """What kubectl prints. Raises HostError with the last line of its complaint."""
        limit = f"--request-timeout={self.timeout:g}s"
        # kubectl's own limit comes first and says what was not answered; ours is for a kubectl that hangs.
        done = self.host.run([*self.words, *arguments, limit], timeout=self.timeout + min(self.timeout, 5))
        if done.code:
            complaint = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise HostError(
                f"cannot {arguments[0]} {arguments[1]}: {complaint}", "is K3s up, and this one of its servers?"
            )
        return done.stdout


def protect(host: Host, *, kubeconfig: str | None, timeout: float, wait: float = 0) -> Report:
    """Patch what is not yet so, namespace by namespace; one that fails does not stop the others.

    `timeout` is in seconds for one call, `wait` in seconds until the API server must have answered for the first time.

    Raises HostError where there is no kubectl or the API does not answer at all.
    """
    kubectl = _Kubectl(host, _command(host, kubeconfig), timeout)
    before = _first_tokens(kubectl, host.now() + wait)
    failures: dict[str, str] = {}
    for namespace, automounts in before.items():
        if automounts:
            try:
                kubectl("patch", "serviceaccount", "default", f"--namespace={namespace}", f"--patch={_PATCH}")
            except HostError as error:
                failures[namespace] = error.message
    unseen: tuple[Item, ...] = ()
    try:
        after = _tokens(kubectl) if any(before.values()) else before
    except HostError as error:
        # What kubectl called patched is taken for it: that nothing was changed would be further from the truth.
        after = {name: automounts and name in failures for name, automounts in before.items()}
        unseen = (Item("the cluster", ItemStatus.FAILED, f"cannot be looked at again: {error.message}", error.hint),)
    items = (*(_item(namespace, before, after, failures) for namespace in before), *unseen)
    facts = (Fact("command", " ".join(kubectl.words), "the first that is installed"),)
    return Report(verb="service-accounts", writes=True, facts=facts, items=items, findings=())


def _item(
    namespace: str, before: Mapping[str, bool | None], after: Mapping[str, bool | None], failures: Mapping[str, str]
) -> Item:
    name = f"{namespace}/default"
    if before[namespace] is None:
        return Item(
            name, ItemStatus.KEPT, "the namespace has no default ServiceAccount yet", "run again once it has one"
        )
    if not before[namespace]:
        return Item(name, ItemStatus.COMPLIANT, "automountServiceAccountToken false")
    if namespace not in after:
        return Item(name, ItemStatus.KEPT, "the namespace was deleted meanwhile")
    if namespace in failures:
        return Item(name, ItemStatus.FAILED, failures[namespace])
    if after[namespace]:
        return Item(
            name, ItemStatus.FAILED, "patched, but it automounts its token still", "what else writes this account?"
        )
    return Item(name, ItemStatus.CHANGED, "automountServiceAccountToken → false")


def _first_tokens(kubectl: _Kubectl, deadline: float) -> dict[str, bool | None]:
    while True:
        try:
            return _tokens(kubectl)
        except HostError:
            if kubectl.host.now() + _PAUSE > deadline:
                raise
            kubectl.host.sleep(_PAUSE)


def _tokens(kubectl: _Kubectl) -> dict[str, bool | None]:
    """For each namespace whether its default ServiceAccount automounts its token; None where it has none yet."""
    import json

    names = kubectl("get", "namespaces", "--output=name").split()
    accounts = kubectl(
        "get", "serviceaccounts", "--all-namespaces", "--field-selector=metadata.name=default", "--output=json"
    )
    try:
        # The field defaults to true where it is absent.
        found = {
            account["metadata"]["namespace"]: account.get("automountServiceAccountToken") is not False
            for account in json.loads(accounts)["items"]
        }
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise HostError("cannot understand kubectl: its answer is not a list of ServiceAccounts") from error
    return {name.removeprefix("namespace/"): found.get(name.removeprefix("namespace/")) for name in names}


def _command(host: Host, kubeconfig: str | None) -> tuple[str, ...]:
    options = () if kubeconfig is None else (f"--kubeconfig={kubeconfig}",)
    for words in (("k3s", "kubectl"), ("kubectl",)):
        tool = host.tool(words[0])
        if tool is not None:
            problem = host.tree.trust_problem(tool)
            if problem:
                raise HostError(f"cannot run {tool} as root: {problem}", f"chown root:root {tool}; chmod go-w {tool}")
            return (str(tool), *words[1:], *options)
    raise HostError("cannot reach the cluster: neither k3s nor kubectl is installed", "run this on a K3s server")
