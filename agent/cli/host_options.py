"""The options that choose the host and its settings, and what a run derives from them."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import HostError, UsageError
from agent.base.model import StrEnum
from agent.base.repair import Instruction
from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from agent.base.host import Host
    from agent.harden.settings.schema import Overrides
    from agent.harden.situation import Request
    from agent.reports.repair_texts import Caller


class RoleChoice(StrEnum):
    """Values of --role."""

    SERVER = "server"
    AGENT = "agent"
    AUTO = "auto"


class HostOptions(Value):
    """The root directory and the settings file of a host, and the options that override the settings."""

    root: str = "/"
    allow_empty_root: bool = False
    config: Path | None = None
    role: RoleChoice = RoleChoice.AUTO
    k3s_version: str | None = None
    data_dir: Path | None = None
    profile: str | None = None
    unit: str | None = None
    """The K3s service that a run is about, with `.service`."""
    node: str = ""
    """The name of the Node whose root directory is `root`, in a pod."""

    def host(self, *others: tuple[str, object]) -> Host:
        """Return this machine, or the host tree that --root names.

        Commands in reports repeat the options of the run, and `others`. Raises UsageError if there is no such
        directory, or if it is empty and that is not allowed.
        """
        from agent.base.host import Host

        self.complete_commands(*others)
        if self.root == "/" and not self.node:
            return Host.real()
        if not self.root:
            raise UsageError(
                "cannot use --root: the value is empty", "check that the variable that it comes from is set"
            )
        try:
            path = str(absolute(Path(self.root)))
            if self.node:
                from agent.base.host.confinement import confine

                confine(path)
            host = Host.mounted_node(path, self.node) if self.node else Host.tree_at(path)
        except HostError as error:
            raise UsageError(
                f"cannot use --root {self.root}: {error.message.partition(': ')[2]}",
                *(error.repair.steps or (Instruction("pass the mount point of an image, or another host tree"),)),
            ) from error
        if host.is_this_machine and not self.node:
            return Host.real()
        if host.is_empty and not self.allow_empty_root:
            raise UsageError(
                f"cannot use --root {self.root}: it contains neither etc nor usr, so it is not the root of a host",
                "check that the image is mounted there; for a new tree, pass --allow-empty-root",
            )
        return host

    def request(self, *, force: bool = False, service: str = "") -> Request:
        """Return the request of a verb that reads the host."""
        from agent.harden.situation import Request

        return Request(self.overrides, self.settings_file, force, service or (self.unit or "").removesuffix(".service"))

    @property
    def settings_file(self) -> PurePosixPath | None:
        """The settings file as an absolute path of this machine."""
        return None if self.config is None else absolute(self.config)

    @property
    def overrides(self) -> Overrides:
        """The settings that the command line overrides."""
        from agent.harden.settings.schema import Overrides

        return Overrides(
            role=None if self.role is RoleChoice.AUTO else self.role.value,
            k3s_version=self.k3s_version,
            data_dir=None if self.data_dir is None else str(self.data_dir),
            profile=self.profile,
        )

    def complete_commands(self, *others: tuple[str, object]) -> None:
        """Let the commands that a report recommends call this program as it was called."""
        from agent.reports.repair_texts import CALLER

        CALLER.set(cache(partial(self._caller, CALLER.get()().accepted, *others)))

    def _caller(self, accepted: Callable[[str], Collection[str]] | None, *others: tuple[str, object]) -> Caller:
        from agent.cli.caller import caller

        # A command that a pod recommends runs on the host itself.
        root = "/" if self.node else self.root
        all_options = (
            ("--root", root if root != "/" else None),
            ("--config", self.config),
            ("--role", self.role.value if self.role is not RoleChoice.AUTO else None),
            ("--k3s-version", self.k3s_version),
            ("--data-dir", self.data_dir),
            ("--unit", self.unit),
            *others,
        )
        given = [(name, str(value)) for name, value in all_options if value is not None]
        words: tuple[str, ...] = ()
        if given:
            from shlex import quote

            words = tuple(f"{name} {quote(value)}" for name, value in given)
        words += ("--allow-empty-root",) if self.allow_empty_root else ()
        return caller(root, words, accepted, in_pod=bool(self.node))


def absolute(path: Path) -> PurePosixPath:
    """Return an absolute path. Raises UsageError for a relative one if the current directory was deleted."""
    try:
        return PurePosixPath(path.absolute())
    except FileNotFoundError:
        raise UsageError(
            f"cannot use {path}: the current directory does not exist", "pass an absolute path, or change the directory"
        ) from None
