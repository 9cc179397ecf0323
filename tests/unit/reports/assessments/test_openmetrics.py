"""Metrics, read by the parsers of Prometheus and of OpenMetrics."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus
from prometheus_client.samples import Sample

from agent.assess.assessment import Assessment, ControlStatus, Note, SiteChoices
from agent.base.repair import Repair
from agent.base.report import Fact
from agent.base.value import replace
from agent.reports.assessments import assessment_text
from agent.reports.formats import Format
from tests.unit.reports.assessments.samples import CALM, FULL


def metrics(assessment: Assessment) -> str:
    return assessment_text(assessment, Format.OPENMETRICS)


def samples(assessment: Assessment) -> dict[str, list[Sample]]:
    """Return the samples of each metric; both parsers must agree. The collector rejects samples with timestamps."""
    text = metrics(assessment)
    first, second = ({family.name: family for family in parse(text)} for parse in (prometheus, open_metrics))
    assert first.keys() == second.keys()
    for name, family in first.items():
        assert (family.type, family.documentation) == (second[name].type, second[name].documentation)
        assert family.samples == second[name].samples
        assert family.type == "gauge"
        assert family.documentation
        assert all(sample.timestamp is None for sample in family.samples)
        labels = [tuple(sample.labels.items()) for sample in family.samples]
        assert len(labels) == len(set(labels))
    return {name: list(family.samples) for name, family in first.items()}


def validate(assessment: Assessment) -> None:
    """Assert that each metric has its number of series, even if the role is hostile."""
    for assessed in (assessment, replace(assessment, facts=assessment.facts[3:])):
        counts = {name: len(found) for name, found in samples(assessed).items()}
        expire = [item for item in assessed.verdicts if item.waiver and item.waiver.expires]
        assert counts.pop("k3s_harden_waiver_expiry_timestamp_seconds", 0) == len(expire)
        assert counts.pop("k3s_harden_in_force", 0) == len(assessed.effects)
        assert counts == {
            "k3s_harden_info": 1,
            "k3s_harden_assessment_timestamp_seconds": 1,
            "k3s_harden_controls": len(ControlStatus),
            "k3s_harden_controls_beyond_benchmark": len(ControlStatus),
            "k3s_harden_control_open": len({verdict.control.id for verdict in assessed.verdicts if verdict.is_open}),
            "k3s_harden_choices_info": 1,
            "k3s_harden_left_open": 1,
            "k3s_harden_waivers": 1,
            "k3s_harden_stages": 1,
            "k3s_harden_started_unhardened": 1,
        }


def test_what_the_site_chose_is_counted() -> None:
    """Digests show whether the servers of a cluster chose the same."""
    chosen = ("one",), ("stages.pod-security: warn",)
    choices = SiteChoices("guide", 13, 2, "2027-03-31", *chosen, observes_since="2027-01-01")
    found = samples(replace(CALM, choices=choices))
    counts = {name: found[f"k3s_harden_{name}"][0].value for name in ("waivers", "stages", "left_open")}
    assert counts == {"waivers": 13, "stages": 2, "left_open": 0}
    (end,) = found["k3s_harden_stages_end_timestamp_seconds"]
    assert end.value == datetime(2027, 4, 1, tzinfo=timezone.utc).timestamp()
    (since,) = found["k3s_harden_gate_observes_since_timestamp_seconds"]
    assert since.value == datetime(2027, 1, 1, tzinfo=timezone.utc).timestamp()
    (info,), (other,) = found["k3s_harden_choices_info"], samples(CALM)["k3s_harden_choices_info"]
    assert all(info.labels[name] != other.labels[name] for name in ("waivers", "stages"))


def test_a_start_with_other_arguments_is_a_metric() -> None:
    note = Note("k3s.service runs with other arguments", None, Repair(), "started-unhardened")
    (calm,), (other,) = (samples(one)["k3s_harden_started_unhardened"] for one in (CALM, replace(CALM, notes=(note,))))
    assert (calm.value, other.value) == (0, 1)


def test_a_duplicate_control_has_one_series() -> None:
    """The collector rejects a file with duplicate series."""
    twice = replace(FULL, verdicts=FULL.verdicts * 2)
    assert len(samples(twice)["k3s_harden_control_open"]) == sum(verdict.is_open for verdict in FULL.verdicts)


@pytest.mark.parametrize(
    ("value", "seen"),
    [('a"b', 'a"b'), ("a\\b", "a\\b"), ("a\\nb", "a\\nb"), ("é", "\\xe9"), ("日", "\\u65e5"), ("a\nb", "a\\nb")],
)
def test_a_label_keeps_its_value(value: str, seen: str) -> None:
    (info,) = samples(replace(FULL, facts=(Fact("role", value, ""),)))["k3s_harden_info"]
    assert info.labels["role"] == seen
