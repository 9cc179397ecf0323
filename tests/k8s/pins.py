"""Pin the Go modules of these tests: `python -m tests.k8s.pins NAME VERSION` writes modules/NAME-VERSION.

NAME is a key of SOURCES, for example `python -m tests.k8s.pins kubernetes 1.37.2`. Each directory has a go.mod, whose
`tool` lines are the programs to build, and a go.sum. Remove the directory of a version that is replaced.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

MODULES = Path(__file__).parent / "modules"


class Source(NamedTuple):
    """A Go module and its packages that are programs."""

    module: str
    programs: tuple[str, ...]


SOURCES = {
    "kubernetes": Source(
        "k8s.io/kubernetes",
        (
            "/cmd/kube-apiserver",
            "/cmd/kube-controller-manager",
            "/cmd/kube-proxy",
            "/cmd/kube-scheduler",
            "/cmd/kubectl",
            "/cmd/kubelet",
        ),
    ),
    "kine": Source("github.com/k3s-io/kine", ("",)),
    "ignition": Source("github.com/coreos/ignition/v2", ("/validate",)),
    "ignition-apply": Source("github.com/coreos/ignition/v2", ("/internal",)),
    "kube-router": Source("github.com/cloudnativelabs/kube-router/v2", ("/cmd/kube-router",)),
}


def main(name: str, version: str) -> None:
    """Write go.mod and go.sum."""
    source, directory = SOURCES[name], MODULES / f"{name}-{version}"
    directory.mkdir(parents=True, exist_ok=True)
    upstream = _upstream(source.module, version)
    found = re.search(r"^go (\S+)$", upstream, re.MULTILINE)
    lines = ["module components", "", f"go {found[1] if found else '1.26.0'}", ""]
    lines += [f"tool {source.module}{program}" for program in source.programs]
    lines += ["", f"require {source.module} v{version}", "", *_replacements(upstream, version)]
    (directory / "go.mod").write_text("\n".join(lines) + "\n", encoding="utf-8")
    subprocess.run(("go", "mod", "tidy"), cwd=directory, check=True)


def _upstream(module: str, version: str) -> str:
    """Return the go.mod of the module itself."""
    command = ("go", "mod", "download", "-json", f"{module}@v{version}")
    answer = subprocess.run(command, cwd="/", check=True, capture_output=True, text=True).stdout
    found = re.search(r'"GoMod": "([^"]+)"', answer)
    assert found
    return Path(found[1]).read_text(encoding="utf-8")


def _replacements(upstream: str, version: str) -> list[str]:
    """Return lines that replace Kubernetes' staging modules, which it has in folders, by their published versions."""
    names = sorted(set(re.findall(r"^\s*(k8s\.io/\S+) (?:v0\.0\.0$|=> \./staging)", upstream, re.MULTILINE)))
    return (
        ["replace (", *(f"\t{name} => {name} v0.{version.partition('.')[2]}" for name in names), ")"] if names else []
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
