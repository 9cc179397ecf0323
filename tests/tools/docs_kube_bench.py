"""The page docs/explanation/kube-bench.md: the reasons for other results, from tests/data/benchmark/kube-bench.tsv."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from agent.assess.benchmark.catalogue import all_controls
from agent.assess.benchmark.control import BenchmarkControl
from agent.assess.checks.cluster.cluster_check import ClusterCheck, cluster_rules
from agent.k3s.cis.versions import Benchmark
from tests.tools.markdown import generated, page, table

_DATA = Path(__file__).parents[1] / "data/benchmark"
RANCHER = {
    Benchmark(name): numbers.split()
    for name, numbers in (
        line.split("\t") for line in (_DATA / "rancher-profiles.tsv").read_text(encoding="utf-8").splitlines()
    )
}
"""The numbers in Rancher's profiles (rancher/security-scan, package/cfg, 38bebe71; 2.0: c483f45b, 7b5413bf) by their
benchmark. Those with `*` have no test."""

_INTRODUCTION = """\
`k3s-harden assess` and [kube-bench](https://github.com/aquasecurity/kube-bench) check the same controls, kube-bench up
to CIS 1.9 for K3s. Their results for a node can differ, for the reasons below, which come from kube-bench's profiles
(`cfg/k3s-cis-*`) and code (`check/check.go`, `check/test.go`) at commit a73ce378. Numbers without a version are from
`k3s-cis-1.9`.

`assess --format kube-bench` prints PASS as PASS; MANUAL as WARN; FAIL and UNKNOWN as FAIL, or as WARN if the profile
does not score the check; NOT_APPLICABLE and WAIVED as INFO."""
_STRICT = """\
## With the profile strict

On a node with SQLite and `profile: strict`, kube-bench with k3s-cis-1.9 fails 1.1.20, unless
`pki.certificate-permissions` is `"0600"`, 1.2.26, an argument for etcd, and 5.1.3, wildcards in Kubernetes' own roles
(`tests/k8s/test_strict.py`, without a K3s binary). With `profile: guide`, it also fails 1.1.9."""
_RANCHER = """\
[rancher/security-scan](https://github.com/rancher/security-scan) has profiles of kube-bench for K3s and CIS 1.10 to 2.0
(`package/cfg`, read at commit 38bebe71; 2.0 at c483f45b and 7b5413bf). They have the same controls as `assess`, except
4.2.15 of 1.11; the 131 of 2.0 are automated, manual or skipped there as here. The reasons above apply to them, too,
with these differences (numbers of 2.0):"""
_END = """\
The other controls agree. `assess` also has
[controls that no benchmark has](../reference/controls.md#the-host-beyond-the-benchmark)."""


def kube_bench() -> str:
    parts = ["# Differences from kube-bench", generated("tests/data/benchmark/kube-bench.tsv"), _INTRODUCTION]
    for heading, rows in itertools.groupby(reasons(), key=lambda row: row[0]):
        if heading == _RANCHERS:
            parts += [_STRICT, f"## {heading}", _RANCHER, table(_HEAD, [*(row[1:] for row in rows), _decided()]), _END]
        else:
            parts += [f"## {heading}", table(_HEAD, (row[1:] for row in rows))]
    return page(parts)


_HEAD = ("reason", "controls")
_RANCHERS = "Rancher's newer profiles"


def reasons() -> list[list[str]]:
    """Return heading, reason and controls of each row."""
    _, *lines = (_DATA / "kube-bench.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines]


def numbered(benchmark: Benchmark) -> dict[str, BenchmarkControl]:
    return {row.numbers[benchmark].text: row for row in all_controls() if benchmark in row.numbers}


def _decided() -> tuple[str, str]:
    """Return the row of the controls without a test in Rancher's newest profile that `assess --cluster` decides."""
    newest = [*RANCHER][-1]
    found = []
    for number in RANCHER[newest]:
        check = numbered(newest)[number.rstrip("*")].check_of(newest)
        if number.endswith("*") and isinstance(check, ClusterCheck) and cluster_rules()[check.rule].passes:
            found.append(number.rstrip("*"))
    text = "They leave to manual review what objects of the cluster decide. `assess --cluster` decides it."
    return text, ", ".join(_ranges(found))


def _ranges(numbers: Iterable[str]) -> Iterator[str]:
    """Yield the numbers, three and more in a row as their first and last."""
    key = enumerate(numbers)
    for _, group in itertools.groupby(
        key, lambda item: (item[1].rpartition(".")[0], int(item[1].rpartition(".")[2]) - item[0])
    ):
        found = [number for _, number in group]
        yield from (f"{found[0]}–{found[-1]}",) if len(found) > 2 else found
