"""Host trees with many objects of one kind, to measure how the cost grows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests import k3s_tree
from tests.k3s_tree import DATA_DIR
from tests.tools.bench.measure import HOME, Command, Cost, in_turn, once
from tests.tools.bench.work import OPTIONS, assessing, host_tree, populated_tree

COUNTS = (10, 100, 1_000, 10_000)
_MOST_IN_ROUNDS = 1_000
"""Larger counts run once, because noise is small compared with their cost."""

_ROUNDS = 5

_NUMBER = "NUMBER"
_DROPIN = ("etc/rancher/k3s/config.yaml.d/10-NUMBER.yaml", 'node-label+:\n  - "site/labelNUMBER=x"\n')
_POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: one-NUMBER
spec:
  podSelector: {}
  ingress:
    - from:
        - namespaceSelector: {}
"""
_MANIFEST = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one-NUMBER\ndata:\n  key: value\n"
_KUBELET_FILE = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 1NUMBER\n"
_APPLIED = {
    "files in sysctl.d": ("etc/sysctl.d/10-NUMBER.conf", "# A key that k3s-harden sets.\nkernel.panic = 10\n"),
    "drop-ins of K3s": _DROPIN,
    "manifests": (f"{DATA_DIR}/server/manifests/NUMBER.yaml", _MANIFEST),
    "manifests with a NetworkPolicy, which are parsed": (f"{DATA_DIR}/server/manifests/NUMBER.yaml", _POLICY),
}
_ASSESSED = {
    "certificates": (f"{DATA_DIR}/server/tls/NUMBER.crt", "a certificate\n"),
    "keys": (f"{DATA_DIR}/server/tls/NUMBER.key", "a key\n"),
    "kubeconfigs": (f"{DATA_DIR}/server/cred/NUMBER.kubeconfig", "apiVersion: v1\nkind: Config\n"),
    "drop-ins of K3s": _DROPIN,
    "drop-ins of the kubelet": (f"{DATA_DIR}/agent/etc/kubelet.conf.d/10-NUMBER.conf", _KUBELET_FILE),
}
"""By kind of object, the path and the content of one."""


class Growth(NamedTuple):
    """The cost of one kind of object by count."""

    name: str
    costs: dict[int, Cost]

    def each(self, fewer: int, more: int) -> float:
        """Return the seconds of processor time per object between two counts."""
        return (self.costs[more].processor - self.costs[fewer].processor) / (more - fewer)


def measured(program: Path) -> Iterator[Growth]:
    for name, of in _APPLIED.items():
        yield Growth(f"apply: {name}", _costs({count: _apply(program, count, of) for count in COUNTS}))
    for name, of in _ASSESSED.items():
        yield Growth(f"assess: {name}", _costs({count: _assess(program, count, of) for count in COUNTS}))
    shutil.rmtree(HOME / "trees")


def _costs(commands: dict[int, Command]) -> dict[int, Cost]:
    many = {str(count): command for count, command in commands.items() if count <= _MOST_IN_ROUNDS}
    found = in_turn(many, _ROUNDS)
    return {
        count: found[str(count)] if str(count) in found else Cost((once(command),))
        for count, command in commands.items()
    }


def _apply(program: Path, count: int, of: tuple[str, str]) -> Command:
    root = host_tree(f"growth-{count}")
    words = (str(program), "apply", "--root", str(root), *OPTIONS)
    once(Command(words))
    _put_many(root, count, of)
    # Of more than 500 files in a directory the rest is reported, and not read.
    return Command(words, codes=(0, 3))


def _assess(program: Path, count: int, of: tuple[str, str]) -> Command:
    root = populated_tree(program, f"growth-{count}")
    _put_many(root, count, of)
    return assessing(program, root)


def _put_many(root: Path, count: int, of: tuple[str, str]) -> None:
    for number in range(count):
        path, content = (text.replace(_NUMBER, f"{number:05}") for text in of)
        k3s_tree.put(root, path, content)
