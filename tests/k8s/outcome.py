r"""Trials that start one component with a configuration, in one to five seconds each.

    with Trials(place, binaries) as trials:
        outcome = trials.outcome(
            "kube-apiserver",
            {"/etc/rancher/k3s/config.yaml": "kube-apiserver-arg: [audit-log-maxage=30d]\n"},
        )
        assert outcome.exited
        assert "--audit-log-maxage" in outcome.last_words

In tests, the fixture `trials` is shared by all tests of the session. A trial writes the files on the node, merges
/etc/rancher/k3s as K3s does, starts the component with the arguments and certificates of K3s, and waits
until it is ready or exits. Then the process is killed and /etc/rancher, the data directory and the given files are
removed. An exit because of an argument takes 0.5 s, a start 2 to 4 s.

Beside it run etcd, an API server on port 6443 for the other components, and containerd for the kubelet. The API server
under trial uses the same etcd. The kernel values that the kubelet reads are private copies: by default hardened ones.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tests.k8s import containers
from tests.k8s.binaries import Binaries
from tests.k8s.client import Client
from tests.k8s.components import API_SERVER, CONTAINERD, CONTROLLER_MANAGER, KUBE_PROXY, KUBELET, SCHEDULER
from tests.k8s.namespaces import ADDRESS, NAME, REQUIRED, Namespaces, on_cgroup_v1

_DATA_DIR = "/var/lib/rancher/k3s"
_ETCD = "http://127.0.0.1:2379"
_SHARED_PORT = 6443
_PATIENCE = 60.0
"""Seconds. On an idle machine each component is ready, or exits, in less than five."""
_SETTLED = 0.7
"""Seconds for which a ready component must keep running, because some parts fail after it is ready."""
_PORTS = {API_SERVER: 6444, CONTROLLER_MANAGER: 10257, SCHEDULER: 10259, KUBELET: 10248, KUBE_PROXY: 10256}
_PORT_ARGUMENT = {KUBELET: "healthz-port", KUBE_PROXY: "healthz-port"}
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"


class Outcome(NamedTuple):
    """The result of starting a component with a configuration."""

    code: int | None
    """The exit code; None if it did not exit."""
    ready: bool
    """Whether it reported that it is healthy. A component that neither exits nor becomes ready hangs."""
    seconds: float
    output: str
    """Its whole output, after the line `Running ...` with its arguments."""

    @property
    def exited(self) -> bool:
        """Whether it exited by itself."""
        return self.code is not None

    @property
    def arguments(self) -> list[str]:
        found = re.search(r'msg="Running \S+ (.*)"$', self.output, re.MULTILINE)
        return found[1].replace('\\"', '"').split(" --") if found else []

    @property
    def last_words(self) -> str:
        """The error lines, or the last lines if there are none; without the usage text of unknown flags."""
        lines = self.output.strip().splitlines()
        stated = [line for line in lines if re.match(r"(E\d{4}|F\d{4}|Error|error|panic|unknown flag|invalid)", line)]
        return "\n".join((stated or lines)[-8:])


class Trials:
    """A node on which components are started one after the other, as a context manager."""

    def __init__(self, place: Path, binaries: Binaries, *, real_kernel: bool = False) -> None:
        self.binaries = binaries
        self._logs = place / "logs"
        self._node = Namespaces(place / "node", real_kernel=real_kernel, lifetime=3600)
        self._running: list[subprocess.Popen[str]] = []
        self._number = 0
        self._arguments: dict[str, dict[str, str]] = {}

    def __enter__(self) -> Trials:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._node.__enter__()
        self._client = Client(self._node)
        try:
            self._start_shared()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()
        self._node.__exit__()
        for process in self._running:
            process.wait(10)

    def outcome(
        self,
        component: str,
        files: Mapping[str, str | None],
        *,
        kernel: Mapping[str, str] | None = None,
        tolerate_cgroup_v1: bool = True,
        seconds: float = _PATIENCE,
    ) -> Outcome:
        """Start a component on a node with these files (None is a directory), and return what it does.

        `kernel` are values that differ from the hardened ones. With `tolerate_cgroup_v1`, a kubelet on a machine with
        control groups v1 gets `failCgroupV1: false` in a file, which its arguments override. After `seconds` without
        an exit, a component that is not ready has neither.
        """
        self._number += 1
        self._reset(files, {**REQUIRED, **(kernel or {})}, tolerate_cgroup_v1=tolerate_cgroup_v1)
        log = self._logs / f"{self._number:03}-{component}.log"
        started = time.monotonic()
        process = self._start(component, log, f"--api-server=https://127.0.0.1:{_SHARED_PORT}")
        try:
            ready = self._wait(component, process, log, started + seconds)
        finally:
            code = process.poll()
            kill(process)
            self._remove(files)
        output = log.read_text(errors="replace")
        return Outcome(code, ready and code is None, time.monotonic() - started, output)

    @contextmanager
    def running(self, component: str, files: Mapping[str, str | None]) -> Iterator[tuple[Callable[[str], Path], Path]]:
        """Start a component on a node with these files, and yield its paths on this machine and its log."""
        self._number += 1
        self._reset(files, REQUIRED, tolerate_cgroup_v1=True)
        log = self._logs / f"{self._number:03}-{component}.log"
        process = self._start(component, log, f"--api-server=https://127.0.0.1:{_SHARED_PORT}")
        try:
            assert self._wait(component, process, log, time.monotonic() + _PATIENCE), log.read_text(errors="replace")
            yield self._node.path, log
        finally:
            kill(process)
            self._remove(files)

    def rejection(self, component: str, arguments: Mapping[str, Sequence[str]], file: str = "") -> Outcome:
        """Start a component with K3s' arguments, some of them replaced, and return how it exits.

        `file` is another configuration file of the kubelet. It takes a quarter of the time of outcome(): it does not
        merge K3s' configuration, and nothing is removed after it.
        """
        if component not in self._arguments:
            started = self.outcome(component, {})
            assert started.ready, started.output[-2000:]
            words = [word.removeprefix("--").partition("=") for word in started.arguments]
            self._arguments[component] = {name: value for name, _, value in words}
        self._number += 1
        log = self._logs / f"{self._number:03}-{component}.log"
        program = next(path for path in self.binaries.directories if (path / component).exists()) / component
        merged = {name: (value,) for name, value in self._arguments[component].items()} | dict(arguments)
        own = Path(_DATA_DIR, "agent/etc/kubelet.conf.d/50-own.conf")
        if file:
            self._node.write(own, file, mode=0o600)
        self._expect_no_leader()
        started_at = time.monotonic()
        process = self._node.start(
            program, *(f"--{name}={value}" for name, values in merged.items() for value in values), log=log
        )
        try:
            while process.poll() is None and time.monotonic() < started_at + _PATIENCE:
                time.sleep(0.02)
        finally:
            code = process.poll()
            kill(process)
            self._remove({str(own): file} if file else {})
        return Outcome(code, ready=False, seconds=time.monotonic() - started_at, output=log.read_text(errors="replace"))

    def _start_shared(self) -> None:
        """Start the other components that trials need, and keep the certificates for all trials."""
        etcd = (f"--listen-client-urls={_ETCD}", f"--advertise-client-urls={_ETCD}", "--data-dir=/run/etcd")
        self._run_shared("etcd", *etcd, "--log-level=error")
        self._node.path(f"{_DATA_DIR}/agent").mkdir(parents=True)
        shared = (f"--add=secure-port={_SHARED_PORT}", f"--api-server=https://127.0.0.1:{_SHARED_PORT}")
        self._running.append(self._start(API_SERVER, self._logs / "shared-api-server.log", *shared))
        config = Path("/run/containerd.toml")
        self._node.write(config, containers.containerd(Path("/run/images"), Path("/run/cni")))
        self._node.write("/run/cni/10-bridge.conflist", containers.network("10.42.0.0/24"))
        self._run_shared("containerd", "--config", str(config))
        deadline = time.monotonic() + _PATIENCE
        while not (self._client.get(_SHARED_PORT, "/readyz").status == 200 and self._node.path(CONTAINERD).is_socket()):
            if time.monotonic() > deadline or any(process.poll() is not None for process in self._running):
                logs = "".join(path.read_text(errors="replace")[-2000:] for path in self._logs.iterdir())
                raise RuntimeError(f"cannot start what the trials need:\n{logs}")
            time.sleep(0.1)
        self._node.run("cp", "-a", _DATA_DIR, "/run/k3s-data", check=True)

    def _run_shared(self, *words: str) -> None:
        self._running.append(self._node.start(*words, log=self._logs / f"shared-{words[0]}.log"))

    def _start(self, component: str, log: Path, *options: str) -> subprocess.Popen[str]:
        command = ("only", component, f"--datastore={_ETCD}", *options)
        return self._node.start_python("tests.k8s.k3s", *command, log=log, env={"K8S_PATH": self.binaries.search_path})

    def _reset(self, files: Mapping[str, str | None], kernel: Mapping[str, str], *, tolerate_cgroup_v1: bool) -> None:
        new = f"rm -rf /etc/rancher {_DATA_DIR} /var/lib/kubelet/*; cp -a /run/k3s-data {_DATA_DIR}"
        no_pods = "find /sys/fs/cgroup -depth -type d -path '*/kubepods*' -exec rmdir {} +"
        self._node.run("sh", "-c", f"{new}; {no_pods}", check=True)
        self._node.set_kernel(kernel)
        if tolerate_cgroup_v1 and on_cgroup_v1():
            self._node.write(*containers.TOLERATE_CGROUP_V1, mode=0o600)
        for path, content in files.items():
            if content is None:
                self._node.path(path).mkdir(parents=True, exist_ok=True)
            else:
                self._node.write(path, content, mode=0o600)
        self._expect_no_leader()
        # kube-proxy waits for a Node with an address. No kubelet may have created one, or a controller has deleted it.
        status = {"addresses": [{"type": "InternalIP", "address": ADDRESS}]}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME}, "status": status}
        self._client.request("POST", _SHARED_PORT, "/api/v1/nodes", body=node)

    def _expect_no_leader(self) -> None:
        """Remove the leases of killed components, for whose end a new one would wait."""
        for lease in (CONTROLLER_MANAGER, SCHEDULER):
            self._client.request("DELETE", _SHARED_PORT, f"{_LEASES}/{lease}")

    def _remove(self, files: Mapping[str, str | None]) -> None:
        for name in files:
            path = self._node.path(name)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _wait(self, component: str, process: subprocess.Popen[str], log: Path, deadline: float) -> bool:
        """Wait until the component is ready, exits or exceeds the time limit; return whether it is ready."""
        while time.monotonic() < deadline and process.poll() is None:
            if self._is_ready(component, log):
                settled = min(time.monotonic() + _SETTLED, deadline)
                while time.monotonic() < settled and process.poll() is None:
                    time.sleep(0.05)
                return process.poll() is None
            time.sleep(0.1)
        return False

    def _is_ready(self, component: str, log: Path) -> bool:
        name = _PORT_ARGUMENT.get(component, "secure-port")
        chosen = re.findall(rf" --{name}=(\d+)", log.read_text(errors="replace").partition("\n")[0])
        port = int(chosen[-1]) if chosen else _PORTS[component]
        if component == API_SERVER:
            return self._client.get(port, "/readyz").status == 200
        if component == KUBELET:
            # The kubelet creates these groups after it checks the kernel values.
            started = any(self._node.path("/sys/fs/cgroup").glob("*/kubepods/besteffort"))
            return started and self._client.get(port, "/healthz", certificate=None, tls=False).status == 200
        if component == KUBE_PROXY:
            return self._client.get(port, "/healthz", certificate=None, tls=False).status == 200
        health = self._client.get(port, "/healthz?verbose")
        if component == CONTROLLER_MANAGER:
            # It adds the checks of its controllers to that of the leader election when it has created all of them.
            return health.status == 200 and health.text.count("[+]") > 1
        leads = self._client.get(_SHARED_PORT, f"{_LEASES}/{component}").status == 200
        return health.status == 200 and leads


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process that Namespaces.start started: nsenter(1), its parent, only waits for it."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        for number in children.read_text(encoding="ascii").split():
            os.kill(int(number), signal.SIGKILL)
    except FileNotFoundError:
        pass
    process.wait(10)
