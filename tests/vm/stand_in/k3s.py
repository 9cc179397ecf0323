"""A stand-in for k3s without a cluster: it validates its configuration as K3s does at startup, and records each start.

It runs only in guests, where install.sh installs it, and shares no code with the program under test: what K3s reads and
rejects is implemented a second time, from the sources of K3s, which each error names. Its version is in
/usr/local/lib/k3s-stand-in/version, so that changing the file is an upgrade.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import socket
import stat
import sys
import time
from pathlib import Path
from typing import Any

import yaml

HOME = Path("/usr/local/lib/k3s-stand-in")
RECORD = Path("/var/lib/k3s-stand-in/starts")
"""One JSON object per line for each start that was not rejected."""

DEFAULT_CONFIG = "/etc/rancher/k3s/config.yaml"
DEFAULT_DATA_DIR = "/var/lib/rancher/k3s"


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# k3s pkg/cli/cmds/agent.go, NewAgentCommand: the flags of a k3s agent.
AGENT_FLAGS = words(
    """
    airgap-extra-registry alsologtostderr bind-address config container-runtime-endpoint data-dir debug
    default-runtime disable-apiserver-lb disable-default-registry-endpoint docker enable-pprof flannel-cni-conf
    flannel-conf flannel-iface image-credential-provider-bin-dir image-credential-provider-config
    image-service-endpoint kube-proxy-arg kubelet-arg lb-server-port log node-external-dns node-external-ip
    node-internal-dns node-ip node-label node-name node-taint nonroot-devices pause-image prefer-bundled-bin
    private-registry protect-kernel-defaults resolv-conf rootless selinux server snapshotter token token-file v
    vmodule vpn-auth vpn-auth-file with-node-id
    """
)

# kubernetes pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables, with the values of
# staging/src/k8s.io/component-helpers/node/util/sysctl/sysctl.go.
KERNEL = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


class RefusedError(Exception):
    """K3s would exit; the message contains the line that K3s logs, and the source file."""

    def __init__(self, message: str, source: str) -> None:
        super().__init__(f"{message} [as in {source}]")


def version() -> str:
    return (HOME / "version").read_text().strip()


def configured_flags(command_line: list[str]) -> list[tuple[str, str]]:
    """Return the flags of config.yaml and its drop-ins, as k3s pkg/configfilearg/parser.go, readConfigFile."""
    main = os.environ.get("K3S_CONFIG_FILE") or given(parsed(command_line), "config", "c")
    if main == "":
        return []
    main = main or DEFAULT_CONFIG
    directory = Path(f"{main}.d")
    files = [Path(main)] if Path(main).exists() else []
    if directory.is_dir():
        with os.scandir(directory) as entries:
            names = sorted(entry.name for entry in entries if not entry.is_dir(follow_symlinks=False))
        files += [directory / name for name in names if name.lower().endswith((".yaml", ".yml"))]
    values: dict[str, list[Any]] = {}
    for file in files:
        try:
            content = yaml.safe_load(file.read_text()) or {}
        except FileNotFoundError:
            return []  # a dangling link as drop-in: Parse then uses no configuration at all
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise RefusedError(f"{file}: {error}", "k3s pkg/configfilearg/parser.go") from error
        for key, value in content.items():
            name, appends = str(key).removesuffix("+"), str(key).endswith("+")
            listed = value if isinstance(value, list) else [value]
            values[name] = (values.get(name, []) if appends else []) + listed
    return [(name, text(value)) for name, listed in values.items() for value in listed]


def text(value: object) -> str:
    """Return a YAML scalar as Go prints it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def parsed(command_line: list[str]) -> list[tuple[str, str]]:
    """Return the flags of a command line, `--name=value` or `--name value`; a flag without value is true."""
    flags: list[tuple[str, str]] = []
    waiting = list(command_line)
    while waiting:
        name, separator, value = waiting.pop(0).lstrip("-").partition("=")
        if not separator:
            value = "true" if not waiting or waiting[0].startswith("-") else waiting.pop(0)
        flags.append((name, value))
    return flags


def given(flags: list[tuple[str, str]], *names: str) -> str | None:
    found = [value for name, value in flags if name in names]
    return found[-1] if found else None


def refuse_flags_of_a_server(flags: list[tuple[str, str]]) -> None:
    """Reject flags of a server on an agent; a server drops unknown flags with a warning."""
    for name, _ in flags:
        if len(name) > 1 and name not in AGENT_FLAGS:
            message = f"Incorrect Usage: flag provided but not defined: -{name}"
            raise RefusedError(message, "k3s pkg/cli/cmds/agent.go; pkg/configfilearg/parser.go, stripInvalidFlags")


def refuse_an_agent_without_server(flags: list[tuple[str, str]]) -> None:
    """Reject an agent without server or token."""
    file = given(flags, "token-file") or os.environ.get("K3S_TOKEN_FILE", "")
    if file and not Path(file).exists():
        raise RefusedError(f"open {file}: no such file or directory", "k3s pkg/cli/agent/agent.go, Run")
    if not (file or given(flags, "token", "t") or os.environ.get("K3S_TOKEN")):
        raise RefusedError("--token is required", "k3s pkg/cli/agent/agent.go, Run")
    if not (given(flags, "server", "s") or os.environ.get("K3S_URL")):
        raise RefusedError("--server is required", "k3s pkg/cli/agent/agent.go, Run")


def kernel() -> dict[str, str]:
    return {key: Path("/proc/sys", key).read_text().strip() for key in KERNEL}


def refuse_or_set_kernel(*, protected: bool) -> None:
    """Reject wrong kernel values with protect-kernel-defaults; without it, kubelet sets them."""
    wrong = {key: found for key, found in kernel().items() if found != KERNEL[key]}
    if wrong and protected:
        problems = [
            f"invalid kernel flag: {key}, expected value: {KERNEL[key]}, actual value: {found}"
            for key, found in wrong.items()
        ]
        message = f"Failed to start ContainerManager: [{', '.join(problems)}]"
        raise RefusedError(message, "kubernetes pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables")
    for key in wrong:
        Path("/proc/sys", key).write_text(KERNEL[key])


def start_server(flags: list[tuple[str, str]]) -> Path:
    """Do what `k3s server` does before it reports that it is up; return the data directory."""
    data_dir = Path(given(flags, "data-dir", "d") or DEFAULT_DATA_DIR)
    refuse_or_set_kernel(protected=given(flags, "protect-kernel-defaults") == "true")
    # K3s creates missing directories with these modes and never changes existing ones (pkg/cli/server, pkg/datadir).
    for name in ("server", "server/cred", "server/db", "server/manifests", "server/tls"):
        (data_dir / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    (data_dir / "server/db/state.db").touch(mode=0o600)
    configuration = data_dir / "server/cred/encryption-config.json"
    if given(flags, "secrets-encryption") == "true" and not configuration.exists():
        # As K3s creates it (pkg/daemons/control/deps/deps.go), with an unused key.
        key = {"name": "aescbckey", "secret": base64.b64encode(bytes(32)).decode()}
        providers = [{"aescbc": {"keys": [key]}}, {"identity": {}}]
        content = {
            "kind": "EncryptionConfiguration",
            "apiVersion": "apiserver.config.k8s.io/v1",
            "resources": [{"resources": ["secrets"], "providers": providers}],
        }
        configuration.touch(mode=0o600)
        configuration.write_text(json.dumps(content))
    return data_dir


def start_agent(flags: list[tuple[str, str]]) -> Path:
    """Do what `k3s agent` does before it reports that it is up; return the data directory."""
    refuse_flags_of_a_server(flags)
    refuse_an_agent_without_server(flags)
    refuse_or_set_kernel(protected=given(flags, "protect-kernel-defaults") == "true")
    data_dir = Path(given(flags, "data-dir", "d") or DEFAULT_DATA_DIR)
    (data_dir / "agent").mkdir(mode=0o700, parents=True, exist_ok=True)
    return data_dir


def record(command: str, flags: list[tuple[str, str]], seen: dict[str, str], data_dir: Path) -> None:
    server = data_dir / "server"
    manifests = server / "manifests"
    places = [Path("/etc/sysctl.d/90-kubelet.conf"), server, server / "logs", manifests]
    places += sorted((*server.glob("*.yaml"), *manifests.rglob("*")))
    start = {
        "time": time.time(),
        "uptime": float(Path("/proc/uptime").read_text().split()[0]),
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "version": version(),
        "command": command,
        "flags": [f"{name}={value}" for name, value in flags],
        "kernel": seen,
        "files": {str(path): described(path) for path in places if path.exists()},
    }
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    with RECORD.open("a") as file:
        file.write(json.dumps(start) + "\n")
        file.flush()
        os.fsync(file.fileno())


def described(path: Path) -> dict[str, object]:
    """Return the mode of a file, its checksum, and the kinds of its objects."""
    found: dict[str, object] = {"mode": f"{stat.S_IMODE(path.stat().st_mode):04o}"}
    if path.is_file():
        data = path.read_bytes()
        found["sha256"] = hashlib.sha256(data).hexdigest()
        if path.suffix in {".yaml", ".yml"}:
            found["kinds"] = sorted({str(document.get("kind")) for document in yaml.safe_load_all(data) if document})
    return found


def log_arguments(command: str, flags: list[tuple[str, str]]) -> None:
    """Log the arguments of components (k3s pkg/daemons/control/server.go, pkg/daemons/agent/agent.go)."""
    for component in ("kube-apiserver", "kube-controller-manager", "kubelet") if command == "server" else ("kubelet",):
        arguments = " ".join(sorted(f"--{value}" for name, value in flags if name == f"{component}-arg"))
        sys.stderr.write(f'time="{time.strftime("%FT%TZ")}" level=info msg="Running {component} {arguments}"\n')
    sys.stderr.flush()


def tell_systemd(message: str) -> None:
    """Send a message of the protocol of sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.connect("\0" + address[1:] if address.startswith("@") else address)
            line.send(message.encode())


def main() -> None:
    """Run as `k3s server`, `k3s agent`, `k3s kubectl` or `k3s --version`."""
    words_ = sys.argv[1:]
    while words_[0] in {
        "--debug",
        "--data-dir",
        "-d",
    }:  # k3s pkg/cli/cmds/root.go; the server has a data-dir of its own
        words_ = words_[1 if words_[0] == "--debug" else 2 :]
    command, *command_line = words_
    if command in {"--version", "-v"}:
        sys.stdout.write(f"k3s version {version()} (00000000)\ngo version go1.24.0\n")
    elif command == "kubectl":
        os.environ.setdefault("KUBECONFIG", "/etc/rancher/k3s/k3s.yaml")
        os.execv("/usr/bin/kubectl", ["kubectl", *command_line])  # noqa: S606 - as K3s does
    elif command in {"server", "agent"}:
        # K3s renames its process and hides its arguments (pkg/proctitle); the wrapper has already set the command line.
        Path("/proc/self/comm").write_text(f"k3s-{command}")
        flags = configured_flags(command_line) + parsed(command_line)
        seen = kernel()
        try:
            data_dir = start_server(flags) if command == "server" else start_agent(flags)
        except RefusedError as refusal:
            sys.exit(f"level=fatal msg={refusal}")
        record(command, flags, seen, data_dir)
        log_arguments(command, flags)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        if command == "agent":
            tell_systemd("READY=1")
            signal.pause()
        sys.path.insert(0, str(HOME))
        import api  # type: ignore[import-not-found, unused-ignore]

        objects = data_dir / "stand-in-objects.json"
        api.prepare(objects, Path("/etc/rancher/k3s/k3s.yaml"))
        tell_systemd("READY=1")
        api.serve(objects)
    else:
        sys.exit(f"no help topic for '{command}'")


if __name__ == "__main__":
    main()
