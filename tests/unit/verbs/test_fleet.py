"""The verb fleet: what it reads from kubectl or from standard input, and how it fails."""

from __future__ import annotations

import io
import json
import os
import re
import time
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from agent.base.errors import HardenError, HostError, UsageError
from agent.base.report import Progress, no_progress
from agent.cluster.fleet.members import Fleet, Requirement
from agent.reports import repair_texts
from agent.verbs.fleet import Sources, requirement, results
from agent.verbs.fleet import fleet as verb
from tests.unit.cluster.fleet.sample_nodes import node, node_list

LOOSE = Requirement(1e12)


class Kubectl:
    """A kubectl in PATH that prints files by the end of its second argument, and records its arguments."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.replace('case $3 in *continue=*) page=${3##*=} ;; *) page=first ;; esac; exec cat "$PAGES/$page"')

    def replace(self, body: str) -> None:
        path = self.directory / "kubectl"
        path.write_text(f'#!/bin/sh\necho "$@" >>"$PAGES/calls"\n{body}\n')
        path.chmod(0o755)

    def pages(self, *pages: list[dict[str, Any]]) -> None:
        """Write pages, as the API server lists nodes."""
        names = ["first", *(f"t%2B{at}" for at in range(1, len(pages)))]
        for at, (name, items) in enumerate(zip(names, pages)):
            metadata = {"continue": f"t+{at + 1}"} if at + 1 < len(pages) else {}
            bare = [{key: value for key, value in item.items() if key != "kind"} for item in items]
            document = {"kind": "NodeList", "metadata": metadata, "items": bare}
            (self.directory / name).write_text(json.dumps(document))

    @property
    def calls(self) -> list[str]:
        return (self.directory / "calls").read_text().splitlines()

    def fleet(self, sources: Sources = Sources(), progress: Progress = no_progress) -> Fleet:  # noqa: B008 - immutable
        environment = {"PATH": f"{self.directory}:{os.environ['PATH']}", "PAGES": str(self.directory)}
        return verb(environment, sources, LOOSE, progress)


@pytest.fixture
def kubectl(tmp_path: Path) -> Kubectl:
    return Kubectl(tmp_path)


def test_all_pages_are_read(kubectl: Kubectl) -> None:
    """The token of a page is quoted, and no other request is sent. A cluster can be empty."""
    kubectl.pages([])
    assert kubectl.fleet().nodes == ()
    (kubectl.directory / "calls").unlink()
    kubectl.pages([node("a"), node("b")], [node("c")], [node("d")])
    assert [found.name for found in kubectl.fleet().nodes] == ["a", "b", "c", "d"]
    paths = ["/api/v1/nodes?limit=250", *(f"/api/v1/nodes?limit=250&continue=t%2B{at}" for at in (1, 2))]
    assert kubectl.calls == [f"get --raw {path} --request-timeout=30s" for path in paths]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "echo 'x' >&2; echo 'Error from server (Forbidden): nodes is forbidden' >&2; exit 1",
            "HTTP status 403 (Forbidden)",
        ),
        ("exit 7", "kubectl failed with exit code 7"),
        ("head -c 70000000 /dev/zero", "it printed more than"),
    ],
)
def test_a_kubectl_that_fails_is_an_error(kubectl: Kubectl, body: str, message: str) -> None:
    kubectl.replace(body)
    with pytest.raises(HostError, match=r"cannot (read /api/v1/nodes|run kubectl): ") as raised:
        kubectl.fleet()
    assert message in raised.value.message
    assert raised.value.exit_code == 1


def test_a_page_that_cannot_be_read_gives_no_result(kubectl: Kubectl) -> None:
    """A part of a cluster is no answer."""
    kubectl.pages([node("a")], [node("b")])
    (kubectl.directory / "t%2B1").unlink()
    with pytest.raises(HostError, match="No such file"):
        kubectl.fleet()


def test_a_missing_kubectl_is_an_error() -> None:
    with pytest.raises(HostError, match="cannot run kubectl: No such file or directory") as error:
        verb({"PATH": "/nonexistent"}, Sources(), LOOSE, no_progress)
    assert repair_texts.text(error.value.repair) == "install kubectl"


def fleet_of_document(text: str) -> Fleet:
    stream = io.TextIOWrapper(io.BytesIO(text.encode("utf-8", "surrogateescape")), encoding="utf-8")
    return verb({}, Sources([stream]), LOOSE, no_progress)


KUBECONFIG = {
    "contexts": [
        {"name": "b", "context": {"cluster": "two"}},
        {"name": "a", "context": {"cluster": "one"}},
        {"name": "a-readonly", "context": {"cluster": "one"}},
        {"name": "down", "context": {"cluster": "three"}},
    ]
}
BY_CONTEXT = """\
case $1 in config) exec cat "$PAGES/kubeconfig" ;; *=down) echo "Unable to connect" >&2; exit 1 ;; esac
exec cat "$PAGES/${1#--context=}"
"""


def of_contexts(kubectl: Kubectl, sources: Sources) -> Fleet:
    """Read three clusters with nodes of equal names, of which one does not answer."""
    kubectl.replace(BY_CONTEXT)
    (kubectl.directory / "kubeconfig").write_text(json.dumps(KUBECONFIG))
    for name in "ab":
        nodes = [node("cp-0", role="server", machine=name), node("work-1", machine=name + "1")]
        for item in nodes:
            item["metadata"]["uid"] += name
        (kubectl.directory / name).write_text(node_list(*nodes))
    return kubectl.fleet(sources)


def test_nodes_of_several_contexts_have_the_name_of_their_cluster(kubectl: Kubectl) -> None:
    """Each cluster of the kubeconfig is read once. One that does not answer hides no other, and is a problem."""
    names = ["a/cp-0", "b/cp-0", "a/work-1", "b/work-1"]
    found = of_contexts(kubectl, Sources(contexts=["a", "b"]))
    assert (sorted(row.full_name for row in found.nodes), found.problems) == (sorted(names), [])
    assert {row.reason for row in found.nodes} == {"the report is from the future"}
    found = of_contexts(kubectl, Sources(all_contexts=True))
    (unread,) = (row for row in found.nodes if not row.name)
    assert sorted(row.full_name for row in found.nodes) == sorted([*names, "down"])
    assert (unread.cluster, unread.result, unread.reason) == ("down", "unknown", found.problems[0].partition(": ")[2])
    assert len(found.clusters) == 3
    assert found.problems == ["down: cannot read /api/v1/nodes: Unable to connect"]
    assert found.exit_code == 3


ENDLESS = """\
case $1 in *=endless*) exec cat "$PAGES/endless" ;; *=hangs*) exec sleep 1000 ;; *) exec cat "$PAGES/a" ;; esac
"""


@pytest.mark.parametrize("page", [[node("a")], [node(f"n{at}") for at in range(500)]], ids=len)
def test_each_cluster_has_one_limit_and_all_have_it_at_the_same_time(
    kubectl: Kubectl, page: list[dict[str, Any]]
) -> None:
    """An API server that always names another page, and one that does not answer, hide and delay no other one."""
    kubectl.replace(ENDLESS)
    endless = {"kind": "NodeList", "metadata": {"continue": "next"}, "items": page}
    (kubectl.directory / "endless").write_text(json.dumps(endless))
    (kubectl.directory / "a").write_text(node_list(node("cp-0")))
    contexts = ["a", "endless-1", "endless-2", "hangs-1", "hangs-2", "b"]
    shown: list[str] = []

    def progress(text: str, done: int = 0, total: int = 0) -> None:
        shown.append(f"{done} of {total}: {text}")

    start = time.monotonic()
    found = kubectl.fleet(Sources(contexts=contexts, longest=4), progress)
    assert time.monotonic() - start < 4 * 4
    assert {row.full_name for row in found.nodes} == {"a/cp-0", "b/cp-0", *contexts[1:5]}
    assert [problem.partition(":")[0] for problem in found.problems] == ["endless-1", "endless-2", "hangs-1", "hangs-2"]
    assert shown[0] == "0 of 6: reading a, endless-1, endless-2 and 3 more"
    assert re.fullmatch("5 of 6: reading (endless|hangs)-[12]", shown[-1])


def test_a_single_context_that_does_not_answer_is_an_error(kubectl: Kubectl) -> None:
    with pytest.raises(HostError, match="Unable to connect"):
        of_contexts(kubectl, Sources(contexts=["down"]))
    (kubectl.directory / "kubeconfig").write_text("{}")
    kubectl.replace('exec cat "$PAGES/kubeconfig"')
    with pytest.raises(HostError, match="the kubeconfig has no contexts"):
        kubectl.fleet(Sources(all_contexts=True))


def test_the_output_of_kubectl_get_is_read() -> None:
    """The list may also come from the API server itself."""
    found = fleet_of_document(node_list(node("a"), node("b")))
    assert [row.name for row in found.nodes] == ["a", "b"]
    raw = {"kind": "NodeList", "items": [{"metadata": {"name": "a"}}, node("b")]}
    assert len(fleet_of_document(json.dumps(raw)).nodes) == 2


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "[" * 100_000, '{"kind": "List", "items": [', "\udcff", "null", "[]", "{}", json.dumps(node("a"))),
        *('{"kind": "List"}', '{"kind": "List", "items": {}}', '{"kind": "NodeList", "items": null}'),
        *('{"kind": ["List"], "items": []}', '{"kind": "PodList", "items": []}'),
        '{"kind": "List", "items": [{"kind": "Pod"}]}',
        '{"kind": "List", "items": [{"metadata": {"name": "a"}}]}',
        '{"kind": "List", "items": [3]}',
        '{"kind": "NodeList", "items": [{"kind": "Pod"}]}',
        '{"kind": "NodeList", "items": [{"kind": []}]}',
        pytest.param('{"kind": "List", "items": []' + ', "k": 1' * 100_000 + "}", id="too many values"),
    ],
)
def test_anything_else_is_invalid_usage(text: str) -> None:
    """Nothing is assumed about a list of other objects."""
    with pytest.raises(UsageError, match=r"cannot use the nodes: found (invalid JSON|JSON that)"):
        fleet_of_document(text)


@pytest.mark.parametrize("text", ["", "\n", "# sites\n\n", " #a\n"])
def test_a_file_that_names_no_node_requires_nothing_by_mistake(tmp_path: Path, text: str) -> None:
    """Such as one that a script could not fill."""
    (tmp_path / "names").write_text(text)
    with pytest.raises(HardenError, match="it names no node and no cluster") as raised:
        requirement(None, "1h", None, PurePosixPath(tmp_path / "names"))
    assert raised.value.exit_code == 2


def test_requirements_are_checked() -> None:
    assert requirement("compliant", "26h", 5, None) == Requirement(26 * 3600.0, is_compliant=True, expected=5)
    assert requirement("full", "1h", None, None) == Requirement(3600.0, is_compliant=True, is_full=True)
    assert requirement(None, "90m", None, None) == Requirement(5400.0)
    for state, age in (("perfect", "26h"), (None, "26"), (None, "-1h"), (None, "0h"), (None, "1h30m"), (None, "")):
        with pytest.raises(HardenError) as raised:
            requirement(state, age, None, None)
        assert raised.value.exit_code == 2
    assert results("failed,unknown") == ("failed", "unknown")
    assert results("postponed") == ("postponed",)
    assert results(None) == ("compliant", "failed", "unknown")
    with pytest.raises(UsageError, match="cannot use --only: found bad, expected compliant, failed, unknown"):
        results("bad")
