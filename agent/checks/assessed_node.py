"""The node of an assessment: observations that are read once, and values that several checks derive from them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from agent.checks.effective_arguments import effective
from agent.checks.host_paths import BINARIES, paths_on
from agent.desired import boot_parameters
from agent.desired.dropin_options import options_to_set
from agent.guide.sysctls import PARAMETERS_FILE, SYSCTLS
from agent.linux.sysctl_order import SYSCTL_CONF, at_boot
from agent.model import Component, FixOwner, Instruction, OwnCommand, Remediation, Restart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import PurePosixPath

    from agent.checks.argument_values import Arguments
    from agent.checks.evidence import CollectedEvidence
    from agent.desired.boot_parameters import Override
    from agent.desired.dropin_options import ExpectedOption
    from agent.kubernetes.objects import Cluster
    from agent.linux.sysctl_order import Assignment
    from agent.situation import Situation


class AssessedNode:
    """A situation and the evidence of a node, with the results that several controls need."""

    def __init__(
        self,
        situation: Situation,
        evidence: CollectedEvidence,
        prevents_start: Sequence[str] = (),
        cluster: Cluster | None = None,
    ) -> None:
        """`prevents_start` has the ID and the location of each finding that prevents K3s from starting.

        `cluster` contains the answers of the API server; None if it was not queried.
        """
        self.prevents_start = prevents_start
        self.situation = situation
        self.facts = situation.facts
        self.evidence = evidence
        self.cluster = cluster
        self._arguments: dict[Component, Arguments] = {}

    def arguments(self, component: Component) -> Arguments:
        """Return a component's effective arguments."""
        if component not in self._arguments:
            kubelet = self.evidence.kubelet if component is Component.KUBELET else None
            self._arguments[component] = effective(component, self.facts, kubelet)
        return self._arguments[component]

    @cached_property
    def has_started(self) -> bool:
        """Whether K3s has started here: it runs, or has written a kubeconfig for one of its components."""
        found = (file.path for matches in self.evidence.files.values() for match in matches for file in match.found)
        return self.facts.running_since is not None or any(
            path.suffix == ".kubeconfig" and self.facts.data_dir in path.parents for path in found
        )

    @cached_property
    def is_installed(self) -> bool:
        """Whether K3s is on this host: a service, a process, the program, or a file of an earlier start."""
        found = (file.path for matches in self.evidence.files.values() for match in matches for file in match.found)
        programs = [path for path in paths_on(BINARIES, self.facts) if path.rpartition("/")[2].startswith("k3s")]
        is_service = self.facts.units or self.facts.other_programs
        return bool(is_service) or self.has_started or any(str(path) in programs for path in found)

    @property
    def after_start(self) -> Remediation:
        """The fix if K3s has not yet written what a check reads."""
        blockers = ", ".join(self.prevents_start)
        first = (Instruction(f"correct what prevents K3s from starting: {blockers}"),) if blockers else ()
        return Remediation((*first, Instruction("start K3s"), OwnCommand("assess")), owner=FixOwner.K3S)

    @cached_property
    def at_boot(self) -> Mapping[str, Assignment | None]:
        """The line that sets each kernel parameter at the next boot."""
        return at_boot(self.situation.sysctl_files, [row.key for row in SYSCTLS], self.facts.platform.boot_reader)

    @cached_property
    def overrides(self) -> Mapping[str, Override]:
        """By kernel parameter what overrides it at the next boot, once apply has written its file."""
        seen = self.situation
        is_refused = any(refusal.id == PARAMETERS_FILE for refusal in seen.plan.refusals)
        files = boot_parameters.files_after_apply(seen.sysctl_files, seen.desired, is_refused=is_refused)
        return boot_parameters.overrides(
            files, self.facts.platform.boot_reader, seen.waivers.kernel_parameters, is_refused=is_refused
        )

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

    def repair_of(self, path: PurePosixPath | None) -> Remediation:
        """Return the fix for a file that a component cannot use; None for a plugin that has no file."""
        if path is None:
            step = Instruction("set `event-rate-limit` in the settings, or remove the plugin")
            return Remediation((step, OwnCommand("apply")), restart=Restart.K3S)
        refusal = next((one for one in self.situation.plan.refusals if one.id == str(path)), None)
        if refusal is not None and refusal.edited:
            return Remediation((OwnCommand("apply", ("--force",)),), restart=Restart.K3S)
        if refusal is not None:
            return Remediation((Instruction(refusal.hint), OwnCommand("apply")), restart=Restart.K3S)
        if any(one.id == str(path) for one in self.situation.desired):
            return Remediation((OwnCommand("apply"),), restart=Restart.K3S)
        repair = Instruction("fix the file, or remove the argument so that apply sets its own")
        return Remediation((repair,), restart=Restart.K3S)
