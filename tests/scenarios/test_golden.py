"""Host trees after `apply`, compared with golden files: contents, modes and owners.

`UPDATE_GOLDEN=1 python -m pytest tests/scenarios/test_golden.py` rewrites the golden files; review each change
before the commit.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.harden.settings.schema import example_settings
from agent.k3s.roles_and_versions import NEWEST_KNOWN
from tests.scenarios.host_tree import CONFIG, DROPINS, SETTINGS, HostTree
from tests.tree import Entry

GOLDEN = Path(__file__).with_name("golden")
FAMILIES = ("1.23", "1.24", "1.25", "1.26", "1.28", "1.29", "newest")

RANCHER = {f"{DROPINS}/50-rancher.yaml": '{\n  "token": "t0ken",\n  "server": "https://10.0.0.1:9345"\n}\n'}
MOVED = {CONFIG: "data-dir: /srv/k3s\n"}
OPERATED = {
    CONFIG: """\
token: t0ken
protect-kernel-defaults: true
kube-apiserver-arg:
  - audit-log-maxage=90
  - audit-log-maxbackup=3
  - enable-admission-plugins=DenyServiceExternalIPs
kubelet-arg: max-pods=200
"""
}
STRICT = {SETTINGS: "profile: strict\n", "/var/lib/cni/networks/cbr0/10.42.0.7": "a pod\n"}
EVERYTHING = {
    SETTINGS: "".join(
        # The command line sets both and overrides the settings.
        line
        for line in example_settings().replace(": false\n", ": true\n").splitlines(keepends=True)
        if not line.startswith(("role:", "k3s-version:"))
    ),
    "/etc/k3s-harden/waivers.yaml": "[]\n",
    "/etc/k3s-harden/audit-webhook.yaml": """\
apiVersion: v1
kind: Config
clusters: [{name: receiver, cluster: {server: "https://127.0.0.1:9"}}]
contexts: [{name: receiver, context: {cluster: receiver, user: node}}]
users: [{name: node, user: {token: x}}]
current-context: receiver
""",
    "/etc/k3s-harden/audit-policy.yaml": """\
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
  - level: RequestResponse
    resources:
      - group: ""
        resources: [secrets]
  - level: Metadata
""",
}

EVERYTHING_BEFORE_1_25 = {
    **EVERYTHING,
    # From 1.25 on, psa.yaml contains the configuration of the plugin.
    SETTINGS: re.sub(r"event-rate-limit: .*\n", "", EVERYTHING[SETTINGS]),
}


class Case(NamedTuple):
    """A host before its first apply: its options and existing files."""

    name: str
    role: str
    version: str
    files: Mapping[str, str] = {}
    kernel: bool = True


CASES = (
    *(Case(f"{role}-{family}", role, family) for role in ("server", "agent") for family in FAMILIES),
    Case("rancher-server-1.24", "server", "1.24", RANCHER),
    Case("rancher-server-newest", "server", "newest", RANCHER),
    Case("rancher-agent-newest", "agent", "newest", RANCHER),
    Case("data-dir-server-1.24", "server", "1.24", MOVED),
    Case("data-dir-server-newest", "server", "newest", MOVED),
    Case("everything-server-1.24", "server", "1.24", EVERYTHING_BEFORE_1_25),
    Case("everything-server-newest", "server", "newest", EVERYTHING),
    Case("everything-agent-newest", "agent", "newest", EVERYTHING),
    *(Case(f"strict-server-{family}", "server", family, STRICT) for family in ("1.23", "1.25", "newest")),
    Case("strict-agent-newest", "agent", "newest", STRICT),
    Case("operated-server-newest", "server", "newest", OPERATED),
    Case("image-server-newest", "server", "newest", kernel=False),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_apply_leaves_the_golden_tree(case: Case, host: HostTree) -> None:
    for path, content in case.files.items():
        host.write(path, content)
    if not case.kernel:
        shutil.rmtree(host["/proc"])
    version = f"1.{NEWEST_KNOWN.minor}" if case.version == "newest" else case.version
    host.options = ("--role", case.role, "--k3s-version", version)
    before = host.entries()
    assert host.run("apply").code == 0
    found = "".join(f"{line}\n" for line in as_text(before, host.entries()))
    golden = GOLDEN / f"{case.name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")


def test_each_golden_file_belongs_to_a_case() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{case.name}.txt" for case in CASES}


def as_text(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> Iterator[str]:
    """List all paths with mode and owner (+ new, ~ changed), then the contents of these files."""
    marks = {
        path: "+" if path not in before else " " if before[path] == entry else "~" for path, entry in after.items()
    }
    for path, entry in after.items():
        slash = "/" if entry.kind == "directory" else ""
        yield f"{marks[path]} {entry.mode:04o} {entry.owner[0]}:{entry.owner[1]} {path}{slash}"
    yield from (f"- {path}" for path in before.keys() - after.keys())
    for path, entry in after.items():
        if marks[path] != " " and entry.kind == "file":
            yield ""
            yield f"{path}:"
            yield from (line and f"    {line}" for line in entry.content.decode().split("\n"))
