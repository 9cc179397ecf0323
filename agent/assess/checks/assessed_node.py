"""The node of an assessment: observations that are read once, and values that several checks derive from them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from agent.assess.checks.answer import Answer, ControlStatus, Effect, Evidence
from agent.assess.checks.host_paths import BINARIES, paths_on
from agent.base.linux.sysctl_order import SYSCTL_CONF, SysctlAssignment, at_boot
from agent.base.model import DefaultPermissions, FilePermissions, Location
from agent.base.repair import Edit, Repair, Restart, RunVerb, Set, Step
from agent.harden.desired.dropin_options import ExpectedOption, options_to_set
from agent.harden.guide.sysctls import SYSCTLS
from agent.harden.settings import schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import PurePosixPath

    from agent.assess.checks.evidence import CollectedEvidence
    from agent.base.report import Finding
    from agent.cluster.kubernetes.queries import Cluster
    from agent.harden.situation import Situation
    from agent.k3s.components.effective_arguments import EffectiveArguments
    from agent.k3s.roles_and_versions import Component


class AssessedNode:
    """A situation and the evidence of a node, with the results that several controls need."""

    def __init__(
        self,
        situation: Situation,
        evidence: CollectedEvidence,
        prevents_start: Sequence[Finding] = (),
        cluster: Cluster | None = None,
        settings_file: PurePosixPath = schema.DEFAULT_SETTINGS,
    ) -> None:
        """`prevents_start` has the findings that prevent K3s from starting.

        `cluster` contains the answers of the API server; None if it was not queried.
        """
        self.prevents_start = prevents_start
        self.situation = situation
        self.facts = situation.facts
        self.evidence = evidence
        self.cluster = cluster
        self.settings_file = settings_file
        self.effects: tuple[Effect, ...] = ()
        """What the running node shows; none unless the cluster is assessed."""

    def arguments(self, component: Component) -> EffectiveArguments:
        """Return a component's effective arguments."""
        return self.situation.arguments(component)

    @property
    def configured_name(self) -> str:
        """The name of this host's node, without what the option with-node-id adds."""
        option = self.facts.merged_config.scalar("node-name")
        return option.text if option is not None else self.evidence.node

    @cached_property
    def _found(self) -> list[PurePosixPath]:
        return [file.path for matches in self.evidence.files.values() for match in matches for file in match.found]

    @cached_property
    def has_started(self) -> bool:
        """Whether K3s has started here: it runs, or has written a kubeconfig for one of its components."""
        return self.facts.running_since is not None or any(
            path.suffix == ".kubeconfig" and self.facts.data_dir in path.parents for path in self._found
        )

    @cached_property
    def is_installed(self) -> bool:
        """Whether K3s is on this host: a service, a process, the program, or a file of an earlier start."""
        programs = [path for path in paths_on(BINARIES, self.facts) if path.rpartition("/")[2].startswith("k3s")]
        is_service = self.facts.units or self.facts.other_programs
        return bool(is_service) or self.has_started or any(str(path) in programs for path in self._found)

    def not_started(self, found: str, reason: str, evidence: tuple[Evidence, ...] = ()) -> Answer:
        """Return the answer if K3s has not yet written what a check reads."""
        steps = dict.fromkeys(step for finding in self.prevents_start for step in finding.repair.steps)
        repair = Repair(tuple(steps), Restart.START)
        return Answer(ControlStatus.UNKNOWN, found, evidence, reason, repair, awaits_start=True)

    @cached_property
    def at_boot(self) -> Mapping[str, SysctlAssignment | None]:
        """The line that sets each kernel parameter at the next boot."""
        return at_boot(self.situation.sysctl_files, [row.key for row in SYSCTLS], self.facts.platform.boot_reader)

    @cached_property
    def unreadable_sysctl_files(self) -> tuple[PurePosixPath, ...]:
        """Files that may set kernel parameters at boot, and could not be read."""
        files = self.situation.sysctl_files
        return tuple(file.path for file in files if not file.is_readable and file.path != SYSCTL_CONF)

    @cached_property
    def options_to_set(self) -> Mapping[str, ExpectedOption]:
        """By id, the guide's options that the drop-in has to set, or already sets."""
        return {option.row.id: option for option in options_to_set(self.situation.settings, self.facts)}

    @cached_property
    def pending(self) -> frozenset[str]:
        """The ids of the resources that `apply` would change."""
        return frozenset(change.id for change in self.situation.plan.changes)

    def set_by(self, key: str) -> tuple[Step, ...]:
        """Return the steps that set a key of the settings; empty if it has no effect here, or the site sets it."""
        facts, settings = self.facts, self.situation.settings
        row = schema.setting_row(key) if key else None
        if row is None or not row.applies.to(facts.role, facts.version) or row.differs_from_default(settings):
            return ()
        return Set(key, row.example, Location(self.settings_file)), RunVerb("apply")

    @cached_property
    def with_permissions_of_apply(self) -> frozenset[PurePosixPath]:
        """Files whose mode `apply` sets, and directories in which it sets that of new files."""
        desired = self.situation.desired
        return frozenset(
            resource.path for resource in desired if isinstance(resource, (FilePermissions, DefaultPermissions))
        )

    def by_hand(self, steps: Sequence[Step], restart: Restart = Restart.K3S) -> Repair:
        """Return a repair by hand. Nobody edits the drop-in of this program: `apply` writes it."""
        dropin = self.facts.dropin_path
        others = tuple(step for step in steps if not (isinstance(step, Edit) and step.location.path == dropin))
        return Repair((*others, *(self.rewritten(dropin) if len(others) < len(steps) else ())), restart)

    def rewritten(self, path: PurePosixPath) -> tuple[Step, ...]:
        """Return the steps for a file that a component cannot use."""
        refusal = next((item for item in self.situation.plan.refusals if item.id == str(path)), None)
        if refusal is not None and refusal.edited:
            return (RunVerb("apply", ("--force",)),)
        if refusal is not None:
            return *refusal.repair.steps, RunVerb("apply")
        if any(resource.id == str(path) for resource in self.situation.desired):
            return (RunVerb("apply"),)
        return ()
