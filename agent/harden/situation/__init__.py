"""State of one host: what it should have, what it has, and the plan between them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from agent.base.model import File, Location, Observed, Resource
from agent.base.value import Value
from agent.harden.desired import resources
from agent.harden.guide.sysctls import PARAMETERS_FILE
from agent.harden.node.facts import HostFacts, not_run
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePosixPath

    from agent.base.errors import HardenError, HostError
    from agent.base.linux.sysctl_order import SysctlFile
    from agent.harden.changes.journal import Run
    from agent.harden.changes.last_run import LastRun
    from agent.harden.changes.state import NotificationState
    from agent.harden.desired.resources import Inputs, Override
    from agent.harden.gate.installed_gate import Gate
    from agent.harden.gate.starting_service import StartingService
    from agent.harden.node.machine import Machine
    from agent.harden.plan.plan import Plan
    from agent.harden.settings.schema import Overrides, Settings
    from agent.harden.settings.stages import Stage
    from agent.harden.settings.waivers import Waivers
    from agent.harden.situation.k3s_files import K3sFiles
    from agent.harden.situation.run_record import Today
    from agent.k3s.components.effective_arguments import EffectiveArguments, Rejection


class Request(Value):
    """The request of the command line."""

    overrides: Overrides
    settings_file: PurePosixPath | None = None
    """A path of this machine; None is the default file of the host."""
    force: bool = False
    """Whether the plan replaces edited files."""
    service: str = ""
    """Name of the K3s service that the run is for, without `.service`; empty for the only one on the host."""
    for_gate: bool = False
    """Whether K3s waits for this run. It then uses the recorded settings if the current ones cannot be used."""
    start: StartingService | None = None
    """The start of the service that waits for this run, if there is one."""


class JournalState(Value):
    """The journal of this host."""

    runs: tuple[Run, ...]
    """Oldest first."""
    damaged: dict[PurePosixPath, HostError]
    """Why a run's record is invalid, by path."""


class Substitute(Value):
    """The recorded settings that the gate uses because the current ones cannot be used."""

    problem: HardenError
    """Why the current settings cannot be used."""
    day: str
    """The day of the run that recorded the settings, YYYY-MM-DD in UTC."""


class Situation(Value):
    """The state of one host: what it should have, what it has, and the plan between them."""

    settings: Settings
    facts: HostFacts
    inputs: Inputs
    """What `desired` depends on besides the settings and the facts."""
    desired: tuple[Resource, ...]
    observed: dict[str, Observed]
    """By id: each desired resource, the directories above it, and the kernel parameters of the guide."""
    plan: Plan
    had_pod_security_policies: bool
    """Whether policy.yaml has or had a PodSecurityPolicy, which K3s v1.25 and newer reject.

    Only determined if the K3s version is unknown; False otherwise.
    """
    sysctl_files: tuple[SysctlFile, ...]
    """The files of sysctl.d, and others that set kernel parameters at boot."""
    k3s_files: K3sFiles
    obsolete: dict[PurePosixPath, bytes]
    """Content of k3s-harden's files that this host should not have, by path."""
    changed_since_start: tuple[str, ...]
    """Paths of the files that K3s reads only when it starts, and that changed after it started."""
    machine: Machine
    gate: Gate
    journal: JournalState
    waivers: Waivers
    stages: tuple[Stage, ...]
    """The parts of the hardening that the settings postpone on this host."""
    ignored_settings: tuple[PurePosixPath, ...]
    """YAML files beside the settings file that no setting names."""
    unreadable: tuple[HardenError, ...]
    """What could not be read, once for each message."""
    today: Today
    to_record: LastRun
    """What a run records that finds this host compliant."""
    for_gate: bool = False
    """Whether K3s waits for this run."""
    substitute: Substitute | None = None
    recorded_config: PurePosixPath | None = None
    """K3s' main configuration file, if only an earlier release has found it."""
    unseen: tuple[PurePosixPath, ...] = ()
    """Files that K3s reads, and of which it can see others than this host."""
    unseen_before: bool = False
    """Whether an earlier release, which did not look for them, let K3s start."""
    start_problem: str = ""
    """How the start that waits for this run differs from what was judged."""
    rivals: tuple[str, ...] = ()
    """The services that start or run, and need other content in the files of the start that waits for this run."""
    notifications: NotificationState | None = None
    """None if the settings have no `drift.notify`."""

    def arguments(self, component: Component) -> EffectiveArguments:
        """Return the effective arguments of a component."""
        if component not in self._arguments:
            from agent.harden.node.arguments.effective import effective_arguments  # on few hosts

            self._arguments[component] = effective_arguments(component, self.facts, self.k3s_files.kubelet)
        return self._arguments[component]

    @cached_property
    def _arguments(self) -> dict[Component, EffectiveArguments]:
        """Cached results of arguments()."""
        return {}

    @cached_property
    def rejections(self) -> tuple[Rejection, ...]:
        """Why components of this host exit at their arguments; empty for a version that no table describes."""
        from agent.k3s.components import prediction, tables  # on few hosts

        facts = self.facts
        if not facts.version_is_known or not tables.describe_or_preview(facts.version):
            return ()
        run = (component for component in Component if not not_run(component, facts))
        minor = facts.version.minor
        return tuple(
            found for component in run for found in prediction.rejected_arguments(self.arguments(component), minor)
        )

    @cached_property
    def _keeps_parameters_file(self) -> bool:
        """Whether apply refuses to write the file of kernel parameters."""
        return any(refusal.id == PARAMETERS_FILE for refusal in self.plan.refusals)

    @cached_property
    def boot_files(self) -> tuple[SysctlFile, ...]:
        """The files that set kernel parameters at boot, once apply has written its own."""
        is_refused = self._keeps_parameters_file
        return resources.files_after_apply(self.sysctl_files, self.desired, is_refused=is_refused)

    @cached_property
    def boot_overrides(self) -> Mapping[str, Override]:
        """By kernel parameter what overrides it at the next boot, once apply has written its file."""
        reader, waived = self.facts.platform.boot_reader, self.waivers.kernel_parameters
        return resources.overrides(self.boot_files, reader, waived, is_refused=self._keeps_parameters_file)

    @cached_property
    def _lines(self) -> Mapping[PurePosixPath, list[str]]:
        """The lines of the files that configure K3s, the kubelet, the kernel and this program."""
        texts = [(text.path, text.data) for text in self.facts.configuration.texts]
        texts += [(file.path, file.data) for file in self.k3s_files.kubelet.files]
        texts += [(file.path, file.data or b"") for file in self.sysctl_files]
        texts += self.to_record.settings.files.items() if self.to_record.settings else ()
        return {path: data.decode(errors="replace").split("\n") for path, data in texts}

    def line_at(self, location: Location) -> str:
        """Return the text of a line; empty if the file was not read."""
        lines = self._lines.get(location.path, [])
        return lines[location.line - 1] if 0 < location.line <= len(lines) else ""

    def line_of_key(self, path: PurePosixPath, key: str, before: int = 0) -> int:
        """Return the last line, up to `before` if given, that sets a key at the top of a YAML file; 0 without one."""
        lines = self._lines.get(path, [])[: before or None]
        starts = tuple(f"{quote}{key}{end}{quote}:" for quote in ("", "'", '"') for end in ("", "+"))
        return max((number for number, line in enumerate(lines, 1) if line.startswith(starts)), default=0)

    def is_as_applied(self, path: PurePosixPath) -> bool:
        """Return whether a file that K3s reads has the content that apply writes.

        That content is valid, and to parse it would take longer than all other work.
        """
        data = self.k3s_files.contents.get(path)
        return any(
            isinstance(resource, File) and resource.path == path and resource.content == data
            for resource in self.desired
        )
