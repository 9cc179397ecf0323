"""K3s as installed on a host, and the commands that install, start, stop and restart it. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath

from agent.base.repair import Run
from agent.base.report import NextStep
from agent.base.value import Value
from agent.k3s.redaction import TOKEN_PLACEHOLDER
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, TOKEN_FILE, Role, Version

_INSTALLER = "curl -sfL https://get.k3s.io |"


class InstalledK3s(Value):
    """The facts about K3s on a host that the next steps depend on."""

    role: Role
    service: str
    """Such as k3s or k3s-agent."""
    data_dir: PurePosixPath = DEFAULT_DATA_DIR
    version: Version | None = None
    """The version that is installed or that was given; None if it is not known."""
    is_installed: bool = False
    runs: bool = False
    is_openrc: bool = False
    """Whether OpenRC starts K3s, not systemd."""
    joins: bool = False
    """Whether its configuration names the server to join."""
    names_data_dir: bool = False
    """Whether its configuration sets the data directory."""
    is_elsewhere: bool = False
    """Whether another program installs K3s, such as Rancher."""
    lacks_gate: bool = False
    """Whether the gate could start K3s, and is not installed."""
    is_tree: bool = False
    """Whether the host is a tree, where nothing runs."""
    arguments: tuple[str, ...] = ()
    """The arguments of its service after the role, with a placeholder for each secret."""
    variables: tuple[str, ...] = ()
    """The variables of its service as `K3S_NAME=value`, with a placeholder for each secret."""

    def restart(self) -> NextStep:
        """Return the restart of the service."""
        return NextStep(self._control("restart"), "restart K3s, which then reads the changed files")

    def start(self) -> NextStep:
        """Return the start of the service."""
        return NextStep(self._control("start"), "start K3s")

    def stop(self) -> NextStep:
        """Return the stop of the service."""
        return NextStep(self._control("stop"), "stop K3s")

    def _control(self, verb: str) -> Run:
        if self.is_openrc:
            return Run(f"sudo rc-service {self.service} {verb}")
        return Run(f"sudo systemctl {verb} {self.service}")

    @property
    def can_start_a_cluster(self) -> bool:
        """Whether the installation of this server starts a new cluster."""
        return self.role is Role.SERVER and not (self.joins or self.arguments or self.variables or self.is_tree)

    def install(self, version: Version | None = None, name: str = "K3s", *, joins: bool = False) -> NextStep:
        """Return K3s' documented installation for this role and version (docs.k3s.io/installation/configuration).

        `name` is the name of K3s in the text of the step. With `joins`, a server joins a cluster.
        """
        from shlex import quote

        version = version or self.version
        variables = [] if version is None else [_release(version)]
        if self.service.startswith("k3s-") and self.service != "k3s-agent":
            variables.append(f"INSTALL_K3S_NAME={quote(self.service[len('k3s-') :])}")
        arguments: list[str] = []
        purpose = f"install {name}"
        if self.arguments or self.variables:
            # The installer replaces the service and its environment file: what is not passed again is lost.
            purpose += ", with the arguments and variables of its service"
            if any(TOKEN_PLACEHOLDER in word for word in (*self.arguments, *self.variables)):
                purpose += f"; replace {TOKEN_PLACEHOLDER} with the secret that the service has there"
            arguments = ["-s -", str(self.role), *map(quote, self.arguments)]
            variables += [
                f"{key}={quote(value)}" for key, _, value in (variable.partition("=") for variable in self.variables)
            ]
        elif joins or (self.role is Role.AGENT and not self.joins):
            # The shell refuses it without the variable.
            variables += ['K3S_URL="https://${SERVER:?}:6443"', f"K3S_TOKEN_FILE={TOKEN_FILE}"]
            purpose += "; set SERVER to a server of the cluster first, and write its node-token to that file, mode 0600"
            purpose = f"or, to join a cluster whose first server has `--cluster-init`, {purpose}" if joins else purpose
        has_default = self.names_data_dir or self.data_dir == DEFAULT_DATA_DIR
        if not arguments and (self.role is Role.AGENT or joins or not has_default):
            data_dir = [] if has_default else ["--data-dir", quote(str(self.data_dir))]
            arguments = ["-s -", str(self.role), *data_dir]
        line = " ".join((_INSTALLER, *variables, "sh", *(arguments or ["-"])))
        return NextStep(Run(line), f"on the host that boots from this tree, {purpose}" if self.is_tree else purpose)


def _release(version: Version) -> str:
    if version.build:
        return f"INSTALL_K3S_VERSION={version}"
    return f"INSTALL_K3S_VERSION={version}+k3s1" if version.patch else f"INSTALL_K3S_CHANNEL=v{version.family}"
