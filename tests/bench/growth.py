"""Host trees that have a lot of one thing, to see how the cost grows with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.measure import HOME, Command, Cost, in_turn, once
from tests.bench.work import OPTIONS, host_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COUNTS = (10, 100, 1_000, 10_000)
_MOST_IN_ROUNDS = 1_000
"""Beyond it one run tells enough: what disturbs it is small against what it takes."""

_ROUNDS = 5

_KUBECTL = """\
#!/bin/sh
here=${0%/*}
case "$1 $2" in
"get namespaces") cat "$here/namespaces" ;;
"get serviceaccounts") if [ -e "$here/patched" ]; then cat "$here/protected"; else cat "$here/accounts"; fi ;;
"patch serviceaccount") : >>"$here/patched" ;;
esac
"""
"""Answers as kubectl does to what service-accounts asks, from files beside it."""


class Growth(NamedTuple):
    """What one kind of thing costs, by how many of it there are, in processor time: other load hides small growth."""

    name: str
    costs: dict[int, Cost]

    def each(self, fewer: int, more: int) -> float:
        """Seconds for one more of it, between two counts."""
        return (self.costs[more].processor - self.costs[fewer].processor) / (more - fewer)


def measured(program: Path) -> Iterator[Growth]:
    """Each kind of thing, measured."""
    for name, fill in _KINDS.items():
        commands = {}
        for count in COUNTS:
            root = host_tree(f"growth-{count}")
            apply = Command((str(program), "apply", "--root", str(root), *OPTIONS))
            once(apply)
            for number in range(count):
                path, content = fill(number)
                file = root / path
                file.write_text(content, encoding="utf-8")
            commands[count] = apply
        yield Growth(name, _costs(commands))
    for name, automounts in (("namespaces, all protected already", False), ("namespaces, all to be protected", True)):
        commands = {count: _service_accounts(program, count, automounts=automounts) for count in COUNTS}
        yield Growth(name, _costs(commands))
    shutil.rmtree(HOME / "trees")


def _costs(commands: dict[int, Command]) -> dict[int, Cost]:
    many = {str(count): command for count, command in commands.items() if count <= _MOST_IN_ROUNDS}
    found = in_turn(many, _ROUNDS)
    return {
        count: found[str(count)] if str(count) in found else Cost((once(command),))
        for count, command in commands.items()
    }


def _sysctl_file(number: int) -> tuple[str, str]:
    return f"etc/sysctl.d/10-{number:05}.conf", "# One of the keys that matter.\nkernel.panic = 10\n"


def _dropin(number: int) -> tuple[str, str]:
    return f"etc/rancher/k3s/config.yaml.d/10-{number:05}.yaml", f'node-label+:\n  - "site/label{number}=x"\n'


def _manifest(number: int) -> tuple[str, str]:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one-{number}\ndata:\n  key: value\n"
    return f"var/lib/rancher/k3s/server/manifests/{number:05}.yaml", text


def _policy(number: int) -> tuple[str, str]:
    text = (
        f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: one-{number}\nspec:\n"
        "  podSelector: {}\n  ingress:\n    - from:\n        - namespaceSelector: {}\n"
    )
    return f"var/lib/rancher/k3s/server/manifests/{number:05}.yaml", text


_KINDS: dict[str, Callable[[int], tuple[str, str]]] = {
    "files in sysctl.d": _sysctl_file,
    "drop-ins of K3s": _dropin,
    "manifests": _manifest,
    "manifests with a NetworkPolicy, which are parsed": _policy,
}


def _service_accounts(program: Path, count: int, *, automounts: bool) -> Command:
    root = host_tree(f"growth-{count}")
    tools = root / "usr/local/bin"
    tools.mkdir(parents=True)
    kubectl = tools / "kubectl"
    kubectl.write_text(_KUBECTL, encoding="utf-8")
    kubectl.chmod(0o755)
    with (tools / "namespaces").open("w", encoding="utf-8") as file:
        file.writelines(f"namespace/one-{number}\n" for number in range(count))
    _write_accounts(tools / "accounts", count, automounts=automounts)
    _write_accounts(tools / "protected", count, automounts=False)
    script = Path(__file__).with_name("namespaces.py")
    return Command((str(program.with_name("python")), str(script), str(root)), stale=tools / "patched")


def _write_accounts(path: Path, count: int, *, automounts: bool) -> None:
    """What `kubectl get serviceaccounts --output=json` prints, written piece by piece to keep this process small."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{"apiVersion": "v1", "kind": "List", "items": [')
        for number in range(count):
            metadata = {
                "creationTimestamp": "2024-05-01T10:00:00Z",
                "name": "default",
                "namespace": f"one-{number}",
                "resourceVersion": str(1000 + number),
                "uid": f"5f0c3c1e-6f0e-4e4b-9d6e-{number:012}",
            }
            account: dict[str, object] = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
            if not automounts:
                account["automountServiceAccountToken"] = False
            file.write((", " if number else "") + json.dumps(account, indent=4))
        file.write("]}\n")
