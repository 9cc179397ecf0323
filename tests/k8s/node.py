"""A node on which K3s runs: a real one with K3S=/path/to/k3s, otherwise the components behind tests/k8s/k3s.py.

Both are /usr/local/bin/k3s on the node, with a service file, so that k3s-harden finds them as on a real host.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.k8s import containers, pods
from tests.k8s.binaries import Binaries, real_k3s
from tests.k8s.client import Client
from tests.k8s.namespaces import ADDRESS, NAME, Namespaces, on_cgroup_v1
from tests.machine import CHECKOUT

DATA_DIR = "/var/lib/rancher/k3s"
_K3S = "/usr/local/bin/k3s"
_SCRIPT = "/usr/local/libexec/k3s"
_KUBECONFIG = "/etc/rancher/k3s/k3s.yaml"
_PATIENCE = 120.0
_UNIT = "[Service]\nType=notify\nExecStart=/usr/local/bin/k3s server\n"
_STAND_IN = """\
#!/bin/sh
export PYTHONPATH={checkout} PYTHONDONTWRITEBYTECODE=1 K8S_PATH={path}
PATH=$K8S_PATH:$PATH
case $1 in
--version) echo 'k3s version v{version}+k3s1 (00000000)' ;;
kubectl) shift; export KUBECONFIG="${{KUBECONFIG:-{kubeconfig}}}"; exec kubectl "$@" ;;
*) exec {python} -m tests.k8s.k3s "$@" ;;
esac
"""
# Switches off the downloads and deployments of a real K3s that the tests do not need, and sets the image of its pods.
_WITHOUT_NETWORK = {
    "disable": ["coredns", "local-storage", "metrics-server", "servicelb", "traefik"],
    "disable-helm-controller": True,
    "pause-image": containers.IMAGE,
}


class NodeError(Exception):
    """K3s exited, or a state was not reached in time."""


class Node(Namespaces):
    """A node with K3s installed and not started."""

    def __init__(
        self, place: Path, binaries: Binaries, *, real_kernel: bool = False, name: str = NAME, ip: str = ADDRESS
    ) -> None:
        super().__init__(place / "node", real_kernel=real_kernel, name=name, ip=ip)
        self.binaries = binaries
        self.log = place / "k3s.log"
        self._server: subprocess.Popen[str] | None = None

    def __enter__(self) -> Node:
        super().__enter__()
        self.client = Client(self)
        self._install()
        return self

    def __exit__(self, *words: object) -> None:
        self.client.close()
        super().__exit__(*words)
        if self._server is not None:
            self._server.wait(20)

    def config(self, files: Mapping[str, object]) -> None:
        """Write K3s' configuration: `config.yaml`, or the name of a drop-in, with its content."""
        for name, content in files.items():
            directory = "/etc/rancher/k3s" if name == "config.yaml" else "/etc/rancher/k3s/config.yaml.d"
            text = content if isinstance(content, str) else yaml.safe_dump(content)
            self.write(f"{directory}/{name}", text, mode=0o600)

    def run_alone(self) -> None:
        """Elect no leader: otherwise K3s exits while the API server hangs."""
        components = ("kube-controller-manager-arg", "kube-scheduler-arg")
        self.config({"20-alone.yaml": {name: ["leader-elect=false"] for name in components}})

    def start_server(self, *options: str, verb: str = "server") -> None:
        """Start `k3s server`, or `k3s agent`."""
        self._server = self.start(_K3S, verb, *options, log=self.log)

    def check_problems(self) -> list[str]:
        """Return the ids of what `check` reports as not compliant.

        In the stand-in for K3s, each component is a process of its own, whose ports are not those of K3s' process.
        """
        report = json.loads(self.harden("check", "--format", "json").stdout)
        items = [item["id"] for item in report["items"] if item["status"] != "compliant"]
        errors = {found["id"] for found in report["findings"] if found["level"] == "error"}
        return [*items, *sorted(errors - (set() if real_k3s() else {"port-in-use"}))]

    def kubectl(self, *words: str, text: str = "") -> str:
        """Run kubectl as the cluster's administrator and return its output. Raises NodeError if it fails."""
        done = self.try_kubectl(*words, text=text)
        if done.returncode:
            raise NodeError(f"kubectl {' '.join(words)}: {done.stderr}")
        return done.stdout

    def try_kubectl(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return self.run(_K3S, "kubectl", *words, text=text, env={"KUBECONFIG": _KUBECONFIG}, timeout=90)

    def get(self, *words: str) -> Any:
        return yaml.safe_load(self.kubectl("get", "--output=json", *words))

    def apply(self, *objects: Mapping[str, object]) -> None:
        # Without the annotation of client-side apply, which repeats the whole object.
        self.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", text=yaml.safe_dump_all(objects))

    def until(self, state: str, reached: Callable[[], bool], seconds: float = _PATIENCE) -> None:
        """Wait for a state. Raises NodeError if K3s exits or the time is over."""
        deadline = time.monotonic() + seconds
        while not reached():
            if self.exit_code is not None:
                raise NodeError(f"K3s exited with {self.exit_code}:\n{self.last_log()}")
            if time.monotonic() > deadline:
                raise NodeError(f"not within {seconds:.0f} s: {state}\n{self.last_log()}")
            time.sleep(0.2)

    def wait_for_api(self) -> None:
        self.until("the API server is ready", lambda: self.client.get(6444, "/readyz").status == 200)

    def wait_until_deployed(self) -> None:
        """Wait until the manifests are applied and pods can be created in `default`."""
        self.wait_for_api()
        account, policies = "/api/v1/namespaces/default/serviceaccounts/default", "/apis/networking.k8s.io/v1"
        self.until("the default ServiceAccount exists", lambda: self.client.get(6444, account).status == 200)
        count = len(list(yaml.safe_load_all(self.path(f"{DATA_DIR}/server/manifests/policy.yaml").read_text())))
        self.until(
            "policy.yaml is applied",
            lambda: len(self.client.get(6444, f"{policies}/networkpolicies").json["items"]) == count,
        )

    def wait_until_ready(self) -> None:
        self.until("the node is Ready", self.is_ready)

    def is_ready(self, name: str = NAME) -> bool:
        answer = self.client.get(6444, f"/api/v1/nodes/{name}")
        conditions = answer.json["status"].get("conditions", ()) if answer.status == 200 else ()
        return any((condition["type"], condition["status"]) == ("Ready", "True") for condition in conditions)

    def until_exit(self) -> None:
        """Wait until K3s exits. Raises NodeError if it still runs."""
        deadline = time.monotonic() + _PATIENCE
        while self.exit_code is None:
            if time.monotonic() > deadline:
                raise NodeError(f"K3s still runs after {_PATIENCE:.0f} s\n{self.last_log()}")
            time.sleep(0.1)

    def create_namespaces(self, *names: str) -> None:
        """Create namespaces, and wait for their ServiceAccounts, which pods need."""
        self.apply(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names))
        for name in names:
            account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
            self.until("the account exists", partial(self._exists, account))

    def _exists(self, path: str) -> bool:
        return self.client.get(6444, path).status == 200

    def run_pods(self, *manifests: Mapping[str, Any]) -> dict[str, str]:
        """Create pods, wait until they are ready, and return their addresses by name."""
        self.apply(*manifests)
        for manifest in manifests:
            name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
            self.kubectl("wait", f"--namespace={namespace}", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
        found = self.get("pods", "--all-namespaces")["items"]
        names = {manifest["metadata"]["name"] for manifest in manifests}
        return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in found if pod["metadata"]["name"] in names}

    @property
    def exit_code(self) -> int | None:
        """The exit code of K3s, None while it runs."""
        return self._server.poll() if self._server else None

    def last_log(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:]) if self.log.exists() else ""

    def component_log(self, component: str) -> str:
        """Return the log of a component; a real K3s has one log for all."""
        path = self.path(f"/var/log/k3s/{component}.log")
        return path.read_text(errors="replace") if path.exists() else self.log.read_text(errors="replace")

    def _install(self) -> None:
        self.write("/etc/systemd/system/k3s.service", _UNIT)
        self.path("/usr/local/bin").mkdir(exist_ok=True, parents=True)
        program = Path(real_k3s()) if real_k3s() else self.binaries.path("k3s")
        self.path(_K3S).write_bytes(program.read_bytes())
        self.path(_K3S).chmod(0o755)
        if real_k3s():
            self.config({"00-tests.yaml": _WITHOUT_NETWORK})
        else:
            self.write(_SCRIPT, _stand_in(self.binaries), mode=0o755)
        if on_cgroup_v1():
            self.write(*containers.TOLERATE_CGROUP_V1, mode=0o600)
        self.write("/etc/rancher/node/password", "of-the-tests\n", mode=0o600)
        archive = pods.image(self.binaries.path("tools"))
        self.write(f"{DATA_DIR}/agent/images/tools.tar", archive)
        for directory in (DATA_DIR, f"{DATA_DIR}/agent"):
            self.path(directory).chmod(0o755)


def _stand_in(binaries: Binaries) -> str:
    words = {"checkout": CHECKOUT, "path": binaries.search_path, "python": sys.executable}
    quoted = {name: shlex.quote(str(word)) for name, word in words.items()}
    return _STAND_IN.format(**quoted, version=binaries.version, kubeconfig=_KUBECONFIG)
