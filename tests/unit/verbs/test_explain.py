"""Whatever has an id is explained, and an id that is nearly right leads to the right one."""

from __future__ import annotations

import re

import pytest

from agent.benchmark.catalogue import CATALOGUE
from agent.errors import ExitCode, UsageError
from agent.findings import KINDS
from agent.guide.controls import CONTROLS
from agent.verbs.explain import explained, listed

NAMES = dict.fromkeys((*(control.id for control in CONTROLS), *KINDS, *(row.id for row in CATALOGUE)))


@pytest.mark.parametrize("name", NAMES)
def test_whatever_the_list_shows_is_explained(name: str) -> None:
    """Each control and finding is in the list, and says something when it is asked for."""
    assert f"  {name} " in listed()
    assert explained(name).startswith(name)


def test_a_control_that_changed_with_the_versions_is_explained_for_all_of_them() -> None:
    """Each range of versions has its own words."""
    text = explained("terminated-pod-gc-threshold")
    assert text.index("v1.28 and older") < text.index("v1.29 and newer")


def test_what_to_do_by_hand_is_on_one_line() -> None:
    """A line break in a command would spoil it for whoever copies it."""
    (line,) = (line for line in explained("audit-policy").splitlines() if "render audit-policy" in line)
    assert line.strip() == next(control.by_hand for control in CONTROLS if control.id == "audit-policy")


def test_a_control_of_the_guide_is_told_with_its_numbers() -> None:
    """One text: what the guide says first, and nothing of it twice."""
    text = explained("audit-log-maxage")
    order = ("In the guide", "As benchmarks have it", "1.2.17 (not scored) in cis-1.9")
    assert list(order) == sorted(order, key=text.index)
    assert text.count("\nWhy\n") == 1


def test_a_number_is_taken_for_what_each_benchmark_means_by_it() -> None:
    """Numbers move: without a benchmark it is all that ever had it."""
    several, one = explained("1.2.16"), explained("cis-1.9/1.2.16")
    assert {"apiserver-profiling: ", "audit-log-path: ", "enable-admission-plugins: "} <= set(
        re.findall(r"^[a-z-]+: ", several, re.MULTILINE)
    )
    assert re.findall(r"^[a-z-]+: ", one, re.MULTILINE) == ["audit-log-path: "]


def test_an_older_benchmark_that_wants_something_else_says_so() -> None:
    """Both values, each with its benchmarks."""
    text = explained("pki-certificate-permissions")
    files = "`<data-dir>/server/tls/*.crt`, `<data-dir>/server/tls/etcd/*.crt`"
    assert f"Wanted\n  {files}: mode 0644 or stricter\n" in text
    assert f"Wanted in cis-1.24 to cis-1.10\n  {files}: mode 0600 or stricter\n" in text


def test_where_kube_bench_can_differ_each_reason_is_a_paragraph() -> None:
    """With the benchmarks that it is about; where both agree there is no such part."""
    heading = "Where kube-bench can say something else\n"
    _, _, reasons = explained("request-timeout").partition(heading)
    assert "  cis-1.23: It leaves this to a person, or skips it on K3s. Here the host is looked at.\n" in reasons
    assert heading not in explained("etcd-data-ownership")


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("audit-log-maxaeg", "did you mean audit-log-maxage"),
        ("overcommit", "did you mean vm.overcommit_memory?"),
        ("maxsize", "did you mean audit-log-maxsize?"),
        ("qqqq", "k3s-harden explain lists them"),
    ],
)
def test_an_id_that_is_nearly_right_leads_to_the_right_one(wanted: str, hint: str) -> None:
    """A wrong id is a usage error that helps."""
    with pytest.raises(UsageError) as error:
        explained(wanted)
    assert error.value.exit_code is ExitCode.USAGE
    assert error.value.hint.startswith(hint)
