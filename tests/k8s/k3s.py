"""A program with K3s' command line that runs the Kubernetes components, each as its own process.

    python -m tests.k8s.k3s server [--disable-agent]   all components, until one of them exits or a signal arrives
    python -m tests.k8s.k3s agent --node-name NAME --node-ip IP --api-server URL   the components of a further node
    python -m tests.k8s.k3s only COMPONENT [...]       one component, in place of this process

As K3s does: merges /etc/rancher/k3s, creates certificates and kubeconfigs, passes the arguments of components.py, logs
`Running kube-apiserver ...`, uses kine with SQLite, or etcd with `cluster-init`, starts containerd and a network policy
controller, applies server/manifests, and exits when a component exits.

Not as K3s does: the components are programs of upstream Kubernetes instead of goroutines of a patched one; no tunnel to
the kubelets, no cloud controller, no flannel (CNI's bridge plugin instead), no packaged components, no Helm. Manifests
are applied once, in the order of their names, and never again. Unknown options are ignored.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.k8s import certificates, components, containers
from tests.k8s.components import API_SERVER, CONTROLLER_MANAGER, KUBE_PROXY, KUBELET, SCHEDULER, Host
from tests.k8s.configuration import Configuration, merged

DATA_DIR = Path("/var/lib/rancher/k3s")
LOGS = Path("/var/log/k3s")
"""The output of each component; K3s has all of it in its own log."""
KUBECONFIG = Path("/etc/rancher/k3s/k3s.yaml")
_PATIENCE = 120.0
_POLL = 0.1


class ComponentError(Exception):
    """A component exited, or did not become ready."""


class Server:
    """The processes of one server."""

    def __init__(self, configuration: Configuration, host: Host, *, agent: bool) -> None:
        self.configuration = configuration
        self.host = host
        self.agent = agent
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._answer = self._last_error = ""

    def run_agent(self) -> NoReturn:
        """Start the components of a node, whose certificates are those of the server's authorities."""
        self._write_kubeconfig()
        self._start_agent()
        self._wait()

    def run(self) -> NoReturn:
        """Start everything, and wait until a component exits. Raises ComponentError then."""
        self._write_kubeconfig()
        self._start_datastore()
        self._start(API_SERVER)
        self._until("the API server is ready", lambda: self._kubectl("get", "--raw=/readyz"))
        for component in (CONTROLLER_MANAGER, SCHEDULER):
            self._start(component)
        if self.agent:
            self._start_agent()
        self._deploy()
        self._wait()

    def _wait(self) -> NoReturn:
        log("k3s is up and running")
        while True:
            self._check()
            time.sleep(1)

    def stop(self) -> None:
        """End all processes, the datastore last."""
        for process in reversed(self._processes.values()):
            process.terminate()
        for process in reversed(self._processes.values()):
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()

    def _write_kubeconfig(self) -> None:
        tls = self.host.data_dir / "server/tls"
        KUBECONFIG.parent.mkdir(parents=True, exist_ok=True)
        certificates.kubeconfig(KUBECONFIG, self.host.api_server, tls / "server-ca.crt", tls / "client-admin")

    def _start_datastore(self) -> None:
        database = self.host.data_dir / "server/db"
        database.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.configuration.true("cluster-init"):
            self._start_program("etcd", *containers.etcd_arguments(database / "etcd"))
        else:
            source = f"sqlite://{database}/state.db?_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate"
            listen = ("--listen-address", self.host.datastore, "--metrics-bind-address", "0")
            self._start_program("kine", "--endpoint", source, *listen)

    def _start_agent(self) -> None:
        agent = self.host.data_dir / "agent"
        config, networks = agent / "etc/containerd/config.toml", agent / "etc/cni/net.d"
        for directory in (config.parent, networks):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        certificates.write(config, containers.containerd(agent / "containerd", networks), 0o600)
        self._start_program("containerd", "--config", str(config))
        self._until("containerd is ready", lambda: Path(components.CONTAINERD).exists())
        containers.import_images(self.host.data_dir)
        self._start(KUBELET)
        if not self.configuration.true("disable-kube-proxy"):
            self._start(KUBE_PROXY)
        # As K3s' flannel: the file of CNI is written after the controller manager assigns a range to the node.
        range_of_node = ("get", "node", self.host.node_name, "--output=jsonpath={.spec.podCIDR}")
        self._until("the node has a range of addresses", lambda: self._kubectl(*range_of_node) and bool(self._answer))
        certificates.write(networks / "10-bridge.conflist", containers.network(self._answer), 0o600)
        if not self.configuration.true("disable-network-policy"):
            self._start_network_policy_controller()

    def _start_network_policy_controller(self) -> None:
        roles = json.dumps({"apiVersion": "v1", "kind": "List", "items": containers.CONTROLLER_ROLE})
        self._until("the roles exist", partial(self._kubectl, "apply", "--filename=-", text=roles))
        name = f"--hostname-override={self.host.node_name}"
        kubeconfig = f"--kubeconfig={self.host.data_dir}/agent/k3scontroller.kubeconfig"
        self._start_program("kube-router", *containers.NETWORK_POLICY_CONTROLLER, name, kubeconfig)

    def _deploy(self) -> None:
        directory = self.host.data_dir / "server/manifests"
        for file in sorted(directory.glob("*")):
            lines = file.read_text(encoding="utf-8").splitlines() if file.suffix in {".yaml", ".yml", ".json"} else []
            if any(line and not line.startswith("#") for line in lines):
                self._until(f"{file.name} is applied", partial(self._kubectl, "apply", f"--filename={file}"))

    def _start(self, component: str) -> None:
        arguments = components.arguments(component, self.configuration, self.host)
        log(f"Running {component} {' '.join(arguments)}")
        self._start_program(component, *arguments)

    def _start_program(self, name: str, *arguments: str) -> None:
        LOGS.mkdir(parents=True, exist_ok=True)
        with (LOGS / f"{name}.log").open("wb") as output:
            self._processes[name] = subprocess.Popen(
                (_program(name), *arguments), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def _kubectl(self, *words: str, text: str = "") -> bool:
        command = (_program("kubectl"), f"--kubeconfig={KUBECONFIG}", *words)
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
        self._answer, self._last_error = done.stdout.strip(), done.stderr.strip()
        return done.returncode == 0

    def _until(self, state: str, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not reached():
            self._check()
            if time.monotonic() > deadline:
                raise ComponentError(f"not within {_PATIENCE:.0f} s: {state}; {self._last_error}")
            time.sleep(_POLL)
        log(f"{state[0].upper()}{state[1:]}")

    def _check(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                last = "\n".join((LOGS / f"{name}.log").read_text(errors="replace").splitlines()[-5:])
                if name == KUBELET and "server is not initialized yet" in last:
                    # K3s waits until containerd has read its state, which takes longer the more pods it had.
                    self._start(KUBELET)
                    return
                raise ComponentError(f"{name} exited: {process.returncode}\n{last}")


def log(message: str, level: str = "info") -> None:
    """Write a line in the format of K3s' log."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    escaped = message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    sys.stderr.write(f'time="{now}" level={level} msg="{escaped}"\n')
    sys.stderr.flush()


def _program(name: str) -> str:
    """Return the path of a program in K8S_PATH, otherwise in PATH."""
    found = shutil.which(name, path=f"{os.environ.get('K8S_PATH', '')}:{os.environ['PATH']}")
    if found is None:
        raise ComponentError(f"{name} is missing")
    return found


def _host(words: argparse.Namespace, configuration: Configuration) -> Host:
    default = components.ETCD if configuration.true("cluster-init") else components.KINE
    return Host(
        data_dir=Path(configuration.one("data-dir", str(DATA_DIR))),
        node_name=configuration.one("node-name", words.node_name),
        node_ip=configuration.one("node-ip", words.node_ip),
        datastore=words.datastore or default,
        api_server=words.api_server,
    )


def _only(component: str, configuration: Configuration, host: Host, added: Mapping[str, str]) -> NoReturn:
    arguments = components.arguments(component, configuration, host, added)
    log(f"Running {component} {' '.join(arguments)}")
    os.execv(_program(component), [component, *arguments])  # noqa: S606 - a shell is not needed


def main() -> int:
    parser = argparse.ArgumentParser(prog="k3s")
    parser.add_argument("verb", choices=("server", "agent", "only"))
    parser.add_argument("component", nargs="?", default="")
    parser.add_argument("--disable-agent", action="store_true")
    parser.add_argument("--node-name", default="node-1")
    parser.add_argument("--node-ip", default="10.99.0.1")
    parser.add_argument("--datastore", default="")
    parser.add_argument("--api-server", default=f"https://127.0.0.1:{components.API_SERVER_PORT}")
    parser.add_argument("--add", action="append", default=[], help="another default argument, name=value")
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, _exit)
    try:
        configuration = merged()
        host = _host(words, configuration)
        certificates.create(host.data_dir, host.node_name, host.node_ip)
        components.prepare(configuration, host)
        if words.verb == "only":
            _only(words.component, configuration, host, dict(text.split("=", 1) for text in words.add))
        server = Server(configuration, host, agent=not (words.disable_agent or configuration.true("disable-agent")))
        try:
            if words.verb == "agent":
                server.run_agent()
            server.run()
        finally:
            server.stop()
    except (ComponentError, OSError, TypeError) as error:
        log(str(error), "fatal")
        return 1


def _exit(_: int, __: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
