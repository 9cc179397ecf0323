"""What a site chose: its waivers, its stages, and the controls that its settings leave open; and what follows."""

from __future__ import annotations

import pytest

from agent.assess.assessment import Assessment, ControlStatus, Note, SiteChoices
from agent.base.repair import NO_REPAIR
from agent.base.value import replace
from agent.cluster.node_status import Annotation
from agent.harden.settings.schema import Settings
from agent.verbs.node_publication import node_annotations, node_condition, published_result
from tests.k3s_tree import K3s, started
from tests.unit.assess.checks.nodes import SETTINGS, CheckedNode
from tests.unit.assess.conftest import Nodes
from tests.unit.assessed import KEYS, assessment, verdict

SITE = """\
stages: {until: 2027-03-31, pod-security: warn, network-policies: off}
waivers:
  - {control: vm.panic_on_oom, reason: this host has to panic, host: "other-*"}
  - {control: audit-log-maxage, reason: the logs are shipped every day}
"""


def failed(found: Assessment) -> set[str]:
    return {verdict.control.id for verdict in found.verdicts if verdict.status is ControlStatus.FAIL}


def test_what_profile_guide_leaves_open_does_not_count_as_failed(server: CheckedNode) -> None:
    """After `apply` says that the host is compliant, the condition is not False for ever."""
    found = server.assess()
    assert found.left_open == {
        "apiserver-external-ips-denied",
        "apiserver-event-rate-limit",
        "apiserver-always-pull-images",
        "kubelet-pod-max-pids",
        "kubelet-seccomp-default",
    }
    published = node_annotations(found, Settings(), {})
    assert published[Annotation.LEFT_OPEN] == "5"
    assert int(published[Annotation.FAILED]) == len(failed(found)) - 5


@pytest.mark.parametrize(("role", "left_open"), [("server", 5), ("agent", 2)])
def test_the_condition_of_a_host_that_apply_has_hardened_is_true(nodes: Nodes, role: str, left_open: int) -> None:
    host = nodes()
    host.role = role
    host.harden()
    started(host.root, K3s(role=role))
    condition = node_condition(host.assess(), "")
    assert (condition["status"], condition["reason"]) == ("True", "Compliant")
    ending = f" controls passed, 0 failed, 0 could not be determined, {left_open} left open by profile guide"
    assert condition["message"].endswith(ending)


def test_what_the_site_chose_and_does_not_have_is_a_failure(server: CheckedNode) -> None:
    server.put(SETTINGS, "always-pull-images: true\n")
    found = server.assess()
    assert "apiserver-always-pull-images" in failed(found) - found.left_open
    server.put(SETTINGS, "profile: strict\n")
    assert server.assess().left_open == set()


def test_waivers_of_this_host_are_counted_and_all_are_in_the_digest(server: CheckedNode) -> None:
    """The settings of all servers are the same, also those about another host."""
    server.put(SETTINGS, SITE)
    found = server.assess()
    published = node_annotations(found, Settings(), {})
    assert [published[name] for name in (Annotation.WAIVED, Annotation.POSTPONED)] == ["1", "2"]
    assert published[Annotation.POSTPONED_UNTIL] == "2027-03-31"
    assert published.keys().isdisjoint((Annotation.WAIVED_UNTIL, Annotation.BROKEN))
    assert node_annotations(replace(found, broken=0), Settings(), {})[Annotation.BROKEN] == "0"
    assert ", 1 waived, 2 postponed until 2027-03-31" in node_condition(found, "")["message"]
    server.put(SETTINGS, SITE.replace("every day}", "every day, expires: 2999-03-31}"))
    assert node_annotations(server.assess(), Settings(), {})[Annotation.WAIVED_UNTIL] == "2999-03-31"
    digests = found.choices.digests()
    server.put(SETTINGS, f"# a comment\n{SITE}")
    assert server.assess().choices.digests() == digests
    server.put(SETTINGS, SITE.replace("other-", "others-").replace("warn", "baseline"))
    changed = server.assess().choices.digests()
    assert all(changed[name] != digests[name] for name in ("waivers", "stages"))


@pytest.mark.parametrize("name", ["stage-expired", "stage-too-long", "gate-observes-too-long", "started-unhardened"])
def test_what_check_reports_as_an_error_is_never_published_as_compliant(name: str) -> None:
    calm = assessment(verdict(KEYS))
    assert published_result(calm) == "compliant"
    late = replace(calm, notes=(Note("late", None, NO_REPAIR, name),), choices=SiteChoices(postponed=1))
    condition = node_condition(late, "")
    assert (published_result(late), condition["status"]) == ("failed", "False")
    ends = ("a stage has passed", "`waivers-must` allows", "observes for too long", "the gate judged")
    assert condition["message"].endswith(ends)


def test_a_gate_that_observes_is_a_note_and_an_annotation(server: CheckedNode) -> None:
    server.put("/var/lib/k3s-harden/gate-observes", "2023-11-01\n", 0o600)
    found = server.assess()
    assert found.choices.observes_since == "2023-11-01"
    assert [note.finding for note in found.notes if "observes" in note.finding] == ["gate-observes"]
    assert node_annotations(found, Settings(), {})[Annotation.OBSERVING_SINCE] == "2023-11-01"
