"""A node as the checks see it: what was looked at once, and what several of them work out from it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from agent.assess import arguments as component_arguments
from agent.desired.dropin_options import missing
from agent.findings.kernel import overridden
from agent.guide.sysctls import SYSCTLS
from agent.linux.sysctl_order import SYSCTL_CONF, at_boot
from agent.model import Component

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePosixPath

    from agent.assess.arguments import Arguments
    from agent.assess.evidence import Evidence
    from agent.desired.dropin_options import WantedOption
    from agent.findings.registry import Trouble
    from agent.linux.sysctl_order import Assignment
    from agent.situation import Situation


class AssessedNode:
    """What was looked at on a node, with what several controls ask for worked out once."""

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
    def services(self) -> frozenset[PurePosixPath]:
        """The files that have K3s' command line: units, their drop-ins and scripts."""
        return frozenset(word.location.path for unit in self.facts.units for word in unit.arguments)

    @cached_property
    def at_boot(self) -> Mapping[str, Assignment | None]:
        """The line that sets each kernel parameter at the next boot."""
        return at_boot(self.seen.sysctl_files, [row.key for row in SYSCTLS], self.facts.platform.boot_reader)

    @cached_property
    def overridden(self) -> Mapping[str, Trouble]:
        """By kernel parameter, what takes its value back at the next boot."""
        return overridden(self.seen)

    @cached_property
    def unreadable_sysctl_files(self) -> tuple[PurePosixPath, ...]:
        """Files that decide over kernel parameters at boot, and could not be read."""
        return tuple(file.path for file in self.seen.sysctl_files if not file.is_readable and file.path != SYSCTL_CONF)

    @cached_property
    def options_to_set(self) -> Mapping[str, WantedOption]:
        """By id the guide's options that our drop-in has to set, or already sets."""
        return {option.row.id: option for option in missing(self.seen.settings, self.facts)}

    @cached_property
    def pending(self) -> frozenset[str]:
        """The ids of the resources that `apply` would change."""
        return frozenset(change.id for change in self.seen.plan.changes)
