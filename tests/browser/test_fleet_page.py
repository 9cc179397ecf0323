"""The HTML page of a fleet in a real browser: filter, sort, narrow screens and print."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.cluster.fleet.members import Requirement, make_fleet
from agent.cluster.node_status import parse_node
from agent.reports.fleet_report import present_fleet
from agent.reports.formats import Format, Verbosity
from tests.browser.chromium import Page, installed, opened
from tests.unit.cluster.fleet.sample_nodes import NOW, node

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

FAILED: dict[str, Any] = {"result": "failed", "passed": "34", "failed": "2", "failed_controls": "a-control"}
ARGUMENTS = [f"--kubelet-arg=v{at}={'LONG_WORD_' * 7}" for at in range(10)]
SHOWN = "[...document.querySelectorAll('.nodes tbody tr')].filter((row) => row.getClientRects().length)"
NODES = f"{SHOWN}.map((row) => row.cells[0].textContent + '/' + row.cells[1].textContent)"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    program = installed()
    assert program
    directory = tmp_path_factory.mktemp("fleet")
    changes: dict[int, dict[str, Any]] = {2: {**FAILED, "arguments": ARGUMENTS}, 10: FAILED, 3: {"published": None}}
    items = [(name, node(f"work-{at}", **changes.get(at, {}))) for name in ("a", "b") for at in range(60)]
    nodes = [parse_node(item)._replace(cluster=name) for name, item in items]
    stream = io.StringIO()
    present_fleet(make_fleet(nodes, NOW.timestamp(), Requirement(1e6)), Format.HTML, Verbosity.NORMAL, stream)
    file = directory / "fleet.html"
    file.write_text(stream.getvalue(), encoding="ascii")
    with opened(program, directory / "profile") as found:
        found.look()
        found.show(file.as_uri())
        yield found
        assert found.complaints == []
        assert found.requests == [file.as_uri()]


def test_nodes_are_filtered_and_sorted_without_a_server(page: Page) -> None:
    assert page.value(NODES)[:5] == ["a/work-2", "a/work-10", "b/work-2", "b/work-10", "a/work-3"]
    page.value("document.querySelector('[value=unknown]').click()")
    assert page.value(NODES) == ["a/work-3", "b/work-3"]
    page.value("document.querySelector('[value=unknown]').click()")
    search = "document.querySelector('[type=search]')"
    page.value(f"{search}.value = 'b work-1', {search}.dispatchEvent(new Event('input', {{bubbles: true}}))")
    assert page.value("document.querySelector('output').value") == "11 of 120 nodes"
    page.value("document.querySelectorAll('.nodes th button')[1].click()")
    assert page.value(NODES)[:3] == ["b/work-1", "b/work-10", "b/work-11"]
    page.value("document.querySelectorAll('.nodes th button')[1].click()")
    assert page.value(NODES)[:2] == ["b/work-19", "b/work-18"]
    page.value(f"{search}.value = '', {search}.dispatchEvent(new Event('input', {{bubbles: true}}))")


def test_tiles_and_bars_have_the_counts_of_each_cluster(page: Page) -> None:
    assert page.value("[...document.querySelectorAll('.tiles b')].map((one) => one.textContent)") == [
        "4",
        "2",
        "114",
        "2",
    ]
    labels = page.value("[...document.querySelectorAll('svg.bar')].map((bar) => bar.getAttribute('aria-label'))")
    assert labels == ["2 fail, 1 unknown, 57 pass"] * 2


@pytest.mark.parametrize(("width", "highest"), [(1280, 80), (400, 200)])
def test_nothing_is_clipped_and_no_row_is_tall(page: Page, width: int, highest: int) -> None:
    """A node that differs in ten arguments has them as details."""
    page.look(width=width)
    assert page.value("document.documentElement.scrollWidth") == width
    assert page.value(f"Math.max(...{SHOWN}.map((row) => row.getBoundingClientRect().height))") < highest
    assert page.value("document.querySelector('.nodes details li').textContent").startswith("--kubelet-arg v")
    page.look()


def test_print_has_all_nodes_and_their_differences(page: Page) -> None:
    """Also those that a filter hides on the screen are only hidden there if the reader chose so."""
    page.look(media="print")
    assert page.value("document.querySelector('.nodes details li').getBoundingClientRect().height") > 5
    assert page.value("document.querySelector('.filters').getClientRects().length") == 0
    assert page.pdf().startswith(b"%PDF")
    page.look()


def test_many_nodes_without_a_problem_have_rows_on_request(page: Page, tmp_path: Path) -> None:
    """They can then be filtered and sorted as others, and look the same."""
    items = [node(f"work-{at}", **(FAILED if at == 7 else {})) for at in range(300)]
    stream = io.StringIO()
    present_fleet(
        make_fleet(map(parse_node, items), NOW.timestamp(), Requirement(1e6)), Format.HTML, Verbosity.NORMAL, stream
    )
    file = tmp_path / "many.html"
    file.write_text(stream.getvalue(), encoding="ascii")
    first = page.value("location.href")
    page.show(file.as_uri())
    assert page.value(NODES) == ["/work-7"]
    page.value("document.querySelector('.part-nodes p button').click()")
    assert page.value("document.querySelector('output').value") == "300 of 300 nodes"
    assert page.value("document.querySelectorAll('.nodes tbody tr .icon.PASS').length") == 299
    page.value("document.querySelectorAll('.nodes th button')[1].click()")
    assert page.value(NODES)[:8] == [f"/work-{at}" for at in range(8)]
    page.show(first)
