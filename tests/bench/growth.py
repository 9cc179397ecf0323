"""Host trees with many objects of one kind, to measure how the cost grows."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

from tests import k3s_tree
from tests.bench.measure import HOME, Command, Cost, in_turn, once
from tests.bench.work import OPTIONS, assessing, host_tree, populated_tree
from tests.k3s_tree import DATA_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COUNTS = (10, 100, 1_000, 10_000)
_MOST_IN_ROUNDS = 1_000
"""Larger counts run once, because noise is small compared with their cost."""

_ROUNDS = 5


class Growth(NamedTuple):
    """The cost of one kind of object by count."""

    name: str
    costs: dict[int, Cost]

    def each(self, fewer: int, more: int) -> float:
        """Return the seconds of processor time per object between two counts."""
        return (self.costs[more].processor - self.costs[fewer].processor) / (more - fewer)


def measured(program: Path) -> Iterator[Growth]:
    """Yield the measured growth of each kind."""
    for name, fill in _APPLIED.items():
        yield Growth(f"apply: {name}", _costs({count: _apply(program, count, fill) for count in COUNTS}))
    for name, fill in _ASSESSED.items():
        yield Growth(f"assess: {name}", _costs({count: _assess(program, count, fill) for count in COUNTS}))
    shutil.rmtree(HOME / "trees")


def _costs(commands: dict[int, Command]) -> dict[int, Cost]:
    many = {str(count): command for count, command in commands.items() if count <= _MOST_IN_ROUNDS}
    found = in_turn(many, _ROUNDS)
    return {
        count: found[str(count)] if str(count) in found else Cost((once(command),))
        for count, command in commands.items()
    }


def _sysctl_file(number: int) -> tuple[str, str]:
    return f"etc/sysctl.d/10-{number:05}.conf", "# A key that k3s-harden sets.\nkernel.panic = 10\n"


def _dropin(number: int) -> tuple[str, str]:
    return f"etc/rancher/k3s/config.yaml.d/10-{number:05}.yaml", f'node-label+:\n  - "site/label{number}=x"\n'


def _manifest(number: int) -> tuple[str, str]:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one-{number}\ndata:\n  key: value\n"
    return f"{DATA_DIR}/server/manifests/{number:05}.yaml", text


def _policy(number: int) -> tuple[str, str]:
    text = (
        f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: one-{number}\nspec:\n"
        "  podSelector: {}\n  ingress:\n    - from:\n        - namespaceSelector: {}\n"
    )
    return f"{DATA_DIR}/server/manifests/{number:05}.yaml", text


def _certificate(number: int) -> tuple[str, str]:
    return f"{DATA_DIR}/server/tls/{number:05}.crt", "a certificate\n"


def _key(number: int) -> tuple[str, str]:
    return f"{DATA_DIR}/server/tls/{number:05}.key", "a key\n"


def _kubeconfig(number: int) -> tuple[str, str]:
    return f"{DATA_DIR}/server/cred/{number:05}.kubeconfig", "apiVersion: v1\nkind: Config\n"


def _kubelet_file(number: int) -> tuple[str, str]:
    text = f"apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: {100 + number}\n"
    return f"{DATA_DIR}/agent/etc/kubelet.conf.d/10-{number:05}.conf", text


_APPLIED: dict[str, Callable[[int], tuple[str, str]]] = {
    "files in sysctl.d": _sysctl_file,
    "drop-ins of K3s": _dropin,
    "manifests": _manifest,
    "manifests with a NetworkPolicy, which are parsed": _policy,
}


_ASSESSED: dict[str, Callable[[int], tuple[str, str]]] = {
    "certificates": _certificate,
    "keys": _key,
    "kubeconfigs": _kubeconfig,
    "drop-ins of K3s": _dropin,
    "drop-ins of the kubelet": _kubelet_file,
}


def _apply(program: Path, count: int, fill: Callable[[int], tuple[str, str]]) -> Command:
    root = host_tree(f"growth-{count}")
    words = (str(program), "apply", "--root", str(root), *OPTIONS)
    once(Command(words))
    _fill(root, count, fill)
    # Of more than 500 files in a directory the rest is reported, and not read.
    return Command(words, codes=(0, 3))


def _assess(program: Path, count: int, fill: Callable[[int], tuple[str, str]]) -> Command:
    root = populated_tree(program, f"growth-{count}")
    _fill(root, count, fill)
    return assessing(program, root)


def _fill(root: Path, count: int, fill: Callable[[int], tuple[str, str]]) -> None:
    for number in range(count):
        path, content = fill(number)
        k3s_tree.put(root, path, content)
