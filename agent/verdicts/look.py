"""One look at a host for all controls, and what each check makes of it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from agent import component_arguments
from agent.assessment import Evidence as Shown
from agent.assessment import Status
from agent.facts import Datastore
from agent.findings.kernel import overridden
from agent.guide.sysctls import SYSCTLS
from agent.k3s_arguments import missing
from agent.model import Component
from agent.sysctl_order import SYSCTL_CONF, at_boot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePosixPath

    from agent.component_arguments import Arguments, GivenBy
    from agent.evidence import Evidence
    from agent.findings.registry import Trouble
    from agent.k3s_arguments import Argument
    from agent.situation import Situation
    from agent.sysctl_order import Assignment

ONCE_STARTED = "start K3s, then assess this host again"
LOOK_AT_IT = "put right what the reason names, or look at it by hand, then assess this host again"
"""What is left to do where something cannot be told."""


class Answer(NamedTuple):
    """What a check says, without regard to whose control it is.

    `remedy` is what an operator does by hand; `instead` says that it counts and not what the control's row has, since
    it is about this very host. `needs` has the ids of the resources that have to change, where that is enough. `by` is
    who gave the value that decides.
    """

    status: Status
    found: str = ""
    evidence: tuple[Shown, ...] = ()
    reason: str = ""
    remedy: str = ""
    by: GivenBy | None = None
    instead: bool = False
    needs: frozenset[str] = frozenset()


class Look:
    """One look at a host, with what several controls ask for worked out once."""

    def __init__(self, seen: Situation, evidence: Evidence) -> None:
        self.seen = seen
        self.facts = seen.facts
        self.evidence = evidence
        self._arguments: dict[Component, Arguments] = {}

    def arguments(self, component: Component) -> Arguments:
        """The arguments that a component has in the end."""
        if component not in self._arguments:
            kubelet = self.evidence.kubelet if component is Component.KUBELET else None
            self._arguments[component] = component_arguments.effective(component, self.facts, kubelet)
        return self._arguments[component]

    @cached_property
    def has_started(self) -> bool:
        """Whether K3s has started here: it runs, or has written a kubeconfig for one of its components."""
        seen = (file.path for matches in self.evidence.files.values() for match in matches for file in match.seen)
        return self.facts.running_since is not None or any(
            path.suffix == ".kubeconfig" and self.facts.data_dir in path.parents for path in seen
        )

    @cached_property
    def at_boot(self) -> Mapping[str, Assignment | None]:
        """The line that sets each kernel parameter at the next boot."""
        return at_boot(self.seen.sysctl_files, [row.key for row in SYSCTLS], self.facts.boot_reader)

    @cached_property
    def overridden(self) -> Mapping[str, Trouble]:
        """By kernel parameter, what takes its value back at the next boot."""
        return overridden(self.seen)

    @cached_property
    def unreadable_sysctl_files(self) -> tuple[PurePosixPath, ...]:
        """Files that decide over kernel parameters at boot, and could not be read."""
        return tuple(file.path for file in self.seen.sysctl_files if not file.is_readable and file.path != SYSCTL_CONF)

    @cached_property
    def options_to_set(self) -> Mapping[str, Argument]:
        """By id the guide's options that our drop-in has to set, or already sets."""
        return {argument.row.id: argument for argument in missing(self.seen.settings, self.facts)}

    @cached_property
    def pending(self) -> frozenset[str]:
        """The ids of the resources that `apply` would change."""
        return frozenset(change.id for change in self.seen.plan.changes)


def no_etcd(look: Look) -> Answer:
    """Why there is nothing of etcd on this host."""
    datastore = look.facts.datastore
    if datastore is Datastore.NONE:
        reason = "K3s has made no datastore yet, so it cannot be told whether etcd will be it"
        return Answer(Status.UNKNOWN, "no datastore", reason=reason, remedy=ONCE_STARTED)
    return Answer(Status.NOT_APPLICABLE, str(datastore), reason=f"the datastore here is {datastore}, not etcd")
