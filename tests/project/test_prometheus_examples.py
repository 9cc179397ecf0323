"""The alert rules and the dashboard of docs/examples/prometheus, run by promtool on metrics of the program."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from agent import __version__
from agent.assess.assessment import SiteChoices
from agent.base.value import replace
from agent.reports.assessments.openmetrics import as_openmetrics
from tests.programs_here import ran
from tests.unit.reports.assessments import samples

EXAMPLES = Path(__file__).parents[2] / "docs/examples/prometheus"
RULES = yaml.safe_load((EXAMPLES / "alerts.yaml").read_bytes())["groups"][0]["rules"]
TESTS = yaml.safe_load((EXAMPLES / "alerts.test.yaml").read_bytes())["tests"]
PANELS = json.loads((EXAMPLES / "dashboard.json").read_bytes())["panels"]
METRICS = as_openmetrics(samples.FULL, {"worse": 2, "better": 1, "other": 0}, undelivered=True)
OF_STAGES = as_openmetrics(replace(samples.FULL, choices=SiteChoices(until="2027-03-31", observes_since="2027-01-01")))
CONDITION = (
    'kube_node_status_condition{cluster="%s", node="a", condition="k3s-harden.internal/Hardened", status="true"}'
)
EXPIRY = "k3s_harden_waiver_expiry_timestamp_seconds"
INFO = '__name__="k3s_harden_info", benchmark="cis-1.9", k3s_version="v1.28.5+k3s1", role="server"'
SHOWN: dict[str, dict[str, float]] = {
    "Nodes with open controls": {"": 2},
    "Failed controls": {"": 6},
    "Newly open controls": {"": 4},
    "Oldest assessment": {"": 300 - samples.WHEN},
    "Controls by status": {
        'status="FAIL"': 6,
        'status="MANUAL"': 2,
        'status="PASS"': 6,
        'status="UNKNOWN"': 4,
        'status="WAIVED"': 2,
    },
    "Nodes with the most open controls": {f'cluster="{name}", instance="a"': 5 for name in ("one", "two")},
    "Nodes by open control": {
        'id="encryption-providers", number="1.2.10", status="UNKNOWN"': 2,
        'id="etcd-client-certificate", number="2.2", status="FAIL"': 2,
        'id="kubelet-tls", number="4.2.9", status="UNKNOWN"': 2,
        'id="pki-certificate-mode", number="1.1.20", status="FAIL"': 2,
        'id="vm.panic_on_oom", status="FAIL"': 2,
    },
    "Waivers that expire within 30 days": {'id="kubelet-read-only-port", cluster="two", instance="a"': 86400 - 300},
    "Nodes that are not hardened (kube-state-metrics)": {'cluster="one"': 0, 'cluster="two"': 1},
    "Nodes": {f'{INFO}, cluster="{name}", instance="a", version="{__version__}"': 1 for name in ("one", "two")},
    "Number of nodes": {"": 2},
}
"""The samples of each panel, by their labels."""


def promtool(*words: str | Path) -> None:
    done = ran("promtool", *words, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.promtool
def test_the_rules_pass_their_tests() -> None:
    promtool("check", "rules", "--lint-fatal", EXAMPLES / "alerts.yaml")
    promtool("test", "rules", EXAMPLES / "alerts.test.yaml")


@pytest.mark.parametrize("alert", [rule["alert"] for rule in RULES])
def test_each_rule_is_tested_with_and_without_its_problem(alert: str) -> None:
    calm, raised = (
        [bool(case.get("exp_alerts")) for case in test["alert_rule_test"] if case["alertname"] == alert]
        for test in TESTS[:2]
    )
    assert calm == [False]
    assert True in raised


def series() -> Iterator[dict[str, str]]:
    """Yield the series of a node in each of two clusters, as the program writes them, and their conditions."""
    for cluster in ("one", "two"):
        for line in METRICS.splitlines():
            name, labels, value = re.fullmatch(r"(#|\w+)(?:\{(.*)\})? (.+)", line).groups()  # type: ignore[union-attr]
            if name != "#":
                value = "86400" if (name, cluster) == (EXPIRY, "two") else value
                own = ",".join(filter(None, (f'cluster="{cluster}",instance="a"', labels)))
                yield {"series": f"{name}{{{own}}}", "values": f"{value}x10"}
        yield {"series": CONDITION % cluster, "values": f"{int(cluster == 'one')}x10"}


def test_queries_name_only_metrics_that_exist() -> None:
    known = {
        *re.findall(r"^# TYPE (\w+)", METRICS + OF_STAGES, re.MULTILINE),
        "kube_node_status_condition",
        "kube_node_info",
        "kube_node_annotations",
    }
    texts = [target["expr"] for panel in PANELS for target in panel["targets"]] + [rule["expr"] for rule in RULES]
    used = set(re.findall(r"\b(?:k3s_harden|kube)_\w+", " ".join(texts)))
    chosen = {f"k3s_harden_{name}" for name in ("choices_info", "left_open", "waivers", "stages", "started_unhardened")}
    assert known - used == {"k3s_harden_controls_beyond_benchmark", *chosen}
    assert used <= known


@pytest.mark.promtool
def test_each_query_of_the_dashboard_has_the_expected_result(tmp_path: Path) -> None:
    cases = []
    for panel in PANELS:
        (target,) = panel["targets"]
        expected = [{"labels": f"{{{labels}}}", "value": value} for labels, value in SHOWN[panel["title"]].items()]
        query = target["expr"].replace("$instance", ".+").replace("$cluster", ".*")
        cases.append({"expr": query, "eval_time": "5m", "exp_samples": expected})
    file = tmp_path / "queries.yaml"
    tests = [{"interval": "1m", "input_series": list(series()), "promql_expr_test": cases}]
    file.write_text(yaml.safe_dump({"tests": tests}), encoding="utf-8")
    promtool("test", "rules", file)


def test_the_number_of_series_of_a_node_is_stated() -> None:
    """As the page has it: all but those of open controls and waivers are always there."""
    lines = [line for line in METRICS.splitlines() if not line.startswith("#")]
    fixed = [line for line in lines if not line.startswith(("k3s_harden_control_open", EXPIRY))]
    page = (EXAMPLES.parents[1] / "howto/prometheus.md").read_text(encoding="utf-8")
    assert f"A node has {len(fixed)} series" in page
    assert '"k3s_harden_control_open|k3s_harden_controls_beyond_benchmark"' in page
