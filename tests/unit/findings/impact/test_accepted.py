"""Objects that the settings accept, and the rules that the settings get."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.base.errors import ExitCode
from agent.harden.settings.loading import SettingsError, load_settings
from agent.harden.settings.schema import Settings
from tests.unit.findings.impact.sample_cluster import WEB, Json, container, impact, pod
from tests.unit.findings.impact.test_traffic import DATABASE, FRONT

PATH = PurePosixPath("/etc/k3s-harden/config.yaml")


def loaded(text: str) -> Settings:
    return load_settings(text.encode(), PATH)


def accepting(*items: str) -> Settings:
    return loaded("impact:\n  accepted:\n" + "".join(f"    - {item}\n" for item in items))


REASON = "reason: no other client"
CLIENT = f"{{object: shop/Pod/front, {REASON}, expires: 2027-01-31}}"
TARGET = f"{{object: default/Pod/web, {REASON}, expires: 2027-01-31}}"


def test_accepted_objects_are_listed_and_do_not_count() -> None:
    found = impact(*WEB, FRONT, settings=accepting(CLIENT, TARGET))
    assert found.exit_code is ExitCode.COMPLIANT
    assert {str(entry.object): entry.is_accepted for entry in found.breaks} == {
        "shop/Pod/front": True,
        "default/Pod/web": True,
    }
    assert {name: count for name, count in found.counts.items() if count} == {"accepted": 2}
    assert impact(*WEB, FRONT, settings=accepting(TARGET)).exit_code is ExitCode.NOT_COMPLIANT


def test_an_acceptance_counts_on_its_last_day_and_not_after_it() -> None:
    for day, expected in (("2026-12-02", ExitCode.COMPLIANT), ("2026-12-01", ExitCode.NOT_COMPLIANT)):
        items = (item.replace("2027-01-31", day) for item in (CLIENT, TARGET))
        assert impact(*WEB, FRONT, settings=accepting(*items)).exit_code is expected


def test_an_acceptance_that_names_nothing_is_a_note() -> None:
    found = impact(*WEB, settings=accepting(CLIENT))
    assert "`impact.accepted` names shop/Pod/front, which does not break" in found.notes


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (f"{{{REASON}, expires: 2027-01-31}}", "`object` is missing"),
        ("{object: default/Pod/web, expires: 2027-01-31}", "`reason` is missing"),
        (f"{{object: default/Pod/web, {REASON}}}", "`expires` is missing; it must be a date such as 2027-06-30"),
        (f"{{object: web, {REASON}, expires: 2027-01-31}}", "`object` must be an object as `impact` names it"),
        (f"{{object: default/Pod/web, {REASON}, expires: soon}}", "`expires` must be a date"),
        ("{object: default/Pod/web, reason: todo, expires: 2027-01-31}", "`reason` must be a sentence"),
        (f"{{object: default/Pod/web, {REASON}, expires: 2027-01-31, host: x}}", "unknown key `host`"),
        ("default/Pod/web", "must be a list of mappings"),
    ],
)
def test_a_malformed_acceptance_is_an_error_of_its_line(item: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        accepting(TARGET, item)
    (error,) = caught.value.problems
    assert error.location.line == 4
    assert problem in error.problem


def clients(number: int) -> list[Json]:
    """Return clients of one database, each with labels of its own."""
    return [
        pod(f"c{at}", "shop", f"10.42.2.{at % 250}", container(env="db.default:5432"), on="n2") for at in range(number)
    ]


def test_the_clients_of_one_database_are_one_rule_and_one_policy() -> None:
    found = impact(*DATABASE, *clients(300))
    assert len({str(entry.object) for entry in found.breaks if entry.allow}) == 300
    (rule,) = found.allow
    assert len(rule.policy["spec"]["ingress"][0]["from"]) == 300


def test_pasted_rules_and_acceptances_end_with_nothing_that_breaks() -> None:
    first = impact(*DATABASE, *WEB, FRONT, *clients(3))
    lines = "".join(f"    - {rule}\n" for rule in first.allow)
    settings = loaded(f"network-policies:\n  allow:\n{lines}")
    second = impact(*DATABASE, *WEB, FRONT, *clients(3), settings=settings)
    assert second.allow == settings.network_policy_allow
    names = [str(entry.object) for entry in second.breaks]
    assert set(names) == {"default/Pod/db", "default/Pod/web"}
    items = "".join(f"    - {{object: {name}, {REASON}, expires: 2027-01-31}}\n" for name in names)
    last = loaded(f"network-policies:\n  allow:\n{lines}impact:\n  accepted:\n{items}")
    assert impact(*DATABASE, *WEB, FRONT, *clients(3), settings=last).exit_code is ExitCode.COMPLIANT


def test_a_new_rule_is_merged_into_that_of_the_settings() -> None:
    own = "{namespace: default, pods: {app: web}, ports: [8080], from: {namespace: a}}"
    (rule,) = impact(*WEB, FRONT, settings=loaded(f"network-policies: {{allow: [{own}]}}")).allow
    assert str(rule) == (
        "{namespace: default, pods: {app: web}, ports: [8080],"
        " from: [{namespace: a}, {namespace: shop, pods: {app: front}}]}"
    )
