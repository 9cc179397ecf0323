"""The HTML report in a real browser: filters, copying, accessibility, layout and print."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from agent.assess.assessment import Assessment, ControlStatus, Evidence, Verdict
from agent.assess.benchmark.catalogue import SECTIONS
from agent.assess.benchmark.control import Rating, Severity
from agent.base.model import Location
from agent.base.repair import FixOwner, Repair, Run
from agent.base.report import Fact
from agent.base.value import replace
from agent.reports.html.assessment_overview import as_html
from tests.browser.chromium import Page, installed, opened
from tests.unit.reports.assessments import html_sample as sample
from tests.unit.reports.assessments import samples

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

LARGE = replace(sample.large(), known=frozenset({"control-with-a-name-7"}), notes=sample.MIXED.notes)

SHOWN = """
[...document.querySelectorAll(".section tbody")].filter((body) => body.getClientRects().length).map((body) => body.id)
"""
"""The visible controls."""

DETAILS = "[...document.querySelectorAll('.more div[id]')].map((one) => one.getBoundingClientRect().height > 10)"
"""Whether the details of each control are expanded."""

UNREADABLE = """
(() => {
  const channels = (text) => {
    const parts = text.match(/[\\d.]+/g).map(Number);
    const scale = text.startsWith("color(") ? 255 : 1;
    return [parts[0] * scale, parts[1] * scale, parts[2] * scale, parts.length > 3 ? parts[3] : 1];
  };
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(channels(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce(([r, g, b], [x, y, z, a]) =>
      [r + (x - r) * a, g + (y - g) * a, b + (z - b) * a], [255, 255, 255]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((value) => value / 255)
      .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [dark, bright] = [light(one.slice(0, 3)), light(other.slice(0, 3))].sort((x, y) => x - y);
    return (bright + 0.05) / (dark + 0.05);
  };
  const seen = [...document.body.querySelectorAll("*")].filter((element) => element.getClientRects().length);
  const found = new Set();
  let looked = 0;
  for (const element of seen) {
    const style = getComputedStyle(element);
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const isIcon = element.matches("svg.icon");
    if (!hasText && !isIcon) continue;
    looked += 1;
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = contrast(channels(isIcon ? style.stroke : style.color), behind(element));
    if (ratio < (isIcon || large ? 3 : 4.5)) {
      found.add(`${element.tagName}.${element.getAttribute("class")} ${ratio.toFixed(2)}`);
    }
  }
  return [looked, ...found];
})()
"""
"""The number of texts and icons, and those whose contrast is below level AA of WCAG."""


@dataclass
class Reader:
    """A browser and the file that it shows."""

    page: Page
    directory: Path
    url: str = ""

    def open(self, assessment: Assessment, state: str = "") -> None:
        file = self.directory / "report.html"
        file.write_text(as_html(assessment), encoding="utf-8")
        self.url = file.as_uri()
        self.page.complaints.clear()
        self.page.show(self.url + state)

    def shown(self) -> set[str]:
        return {anchor.removeprefix("control:") for anchor in self.page.value(SHOWN)}

    def state(self) -> str:
        return str(self.page.value("location.hash"))

    def pause(self) -> None:
        """Wait until the page has handled an event."""
        self.page.value("new Promise((done) => setTimeout(done, 100))")

    def click(self, selector: str) -> None:
        box = self.page.value(
            f"(() => {{ const found = document.querySelector({selector!r}); found.scrollIntoView({{block: 'center'}});"
            " const box = found.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.page.call(
                "Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", buttons=1, clickCount=1
            )


@pytest.fixture(scope="module")
def browser() -> Iterator[Reader]:
    program = installed()
    assert program
    # Chromium may still write to its profile while the directory is removed.
    directory = Path(tempfile.mkdtemp())
    with opened(program, directory / "profile") as page:
        yield Reader(page, directory)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def reader(browser: Reader) -> Iterator[Reader]:
    """A browser with a large window and a light theme; it must request nothing else and log no error."""
    browser.page.look()
    yield browser
    assert browser.page.complaints == []
    assert {url.partition("#")[0] for url in browser.page.requests} <= {browser.url}


def ids(selects: Callable[[Verdict], bool]) -> set[str]:
    return {shown.control.id for shown in LARGE.verdicts if selects(shown)}


ALL = ids(lambda _: True)


def test_the_browser_requests_only_the_file(reader: Reader) -> None:
    reader.open(LARGE)
    assert reader.page.requests == [reader.url]
    assert reader.page.complaints == []
    assert reader.page.value("getComputedStyle(document.body).fontVariantNumeric") == "tabular-nums"
    assert reader.page.value("document.documentElement.className") == "js"


def test_the_content_security_policy_blocks_other_scripts(reader: Reader) -> None:
    """A script or image added later is blocked, and the browser logs it."""
    reader.open(sample.MIXED)
    reader.page.value(
        "(() => { const bad = document.createElement('script'); bad.textContent = 'window.bad = 1';"
        " document.body.append(bad); const image = new Image(); image.src = 'http://127.0.0.1:9/x.png';"
        " document.body.append(image); return new Promise((done) => setTimeout(done, 200)); })()"
    )
    assert reader.page.value("window.bad") is None
    assert len(reader.page.complaints) >= 2
    assert all("Content Security Policy" in complaint for complaint in reader.page.complaints)
    reader.page.complaints.clear()
    reader.page.requests[:] = [url for url in reader.page.requests if not url.startswith("http://127.0.0.1:9/")]


def test_markup_in_values_is_shown_as_text(reader: Reader) -> None:
    payload = "</td></script></style><script>window.bad=1</script><img src=x onerror=window.bad=1>\"'`<b>"
    failed = samples.WARNS._replace(
        expected=payload, found=payload, evidence=(Evidence(payload, source=payload),), repair=Repair((Run(payload),))
    )
    reader.open(
        replace(sample.MIXED, node=payload, facts=(Fact(payload, payload, payload),), verdicts=(failed,)),
        "#control:etcd-client-certificate",
    )
    assert reader.page.value("window.bad") is None
    assert reader.page.value("[document.scripts.length, document.images.length]") == [1, 0]
    assert reader.page.value("document.querySelector('h1').textContent") == payload
    assert reader.page.value("document.querySelector('.more pre').firstChild.data") == payload


def test_details_are_collapsed_and_expand(reader: Reader) -> None:
    reader.open(LARGE)
    assert set(reader.page.value(DETAILS)) == {False}
    reader.click(".section tbody .line button")
    assert reader.page.value(DETAILS)[:2] == [True, False]
    assert reader.page.value("document.querySelector('.line button').ariaExpanded") == "true"
    reader.page.value("document.querySelectorAll('.line button')[1].focus()")
    reader.page.press("Enter", 13, "\r")
    assert reader.page.value(DETAILS)[:3] == [True, True, False]
    reader.click("[name=expand]")
    assert set(reader.page.value(DETAILS)) == {False}
    reader.click("[name=expand]")
    assert set(reader.page.value(DETAILS)) == {True}


def test_find_in_page_expands_a_collapsed_control(reader: Reader) -> None:
    """Chromium expands a control if it finds a match in its collapsed text."""
    reader.open(sample.MIXED)
    reader.page.value("document.getElementById('control:pod-pids:more').dispatchEvent(new Event('beforematch'))")
    assert reader.page.value("document.getElementById('control:pod-pids').className") == "open"
    assert reader.page.value("document.getElementById('control:vm.panic_on_oom:more').hidden") == "until-found"


STATES: dict[str, Callable[[Verdict], bool]] = {
    "#status=FAIL": lambda shown: shown.status is ControlStatus.FAIL,
    "#status=FAIL,UNKNOWN": lambda shown: shown.is_open,
    "#section=1.2": lambda shown: shown.section == "1.2",
    "#section=host": lambda shown: shown.section == "",
    "#owner=apply": lambda shown: shown.owner is FixOwner.APPLY,
    "#severity=high": lambda shown: shown.control.rating.severity == "high",
    "#text=NAME-14": lambda shown: "name-14" in shown.control.id,
    "#text=agent+reads": lambda shown: shown.waiver is not None,
    "#status=FAIL&owner=k3s": lambda shown: shown.status is ControlStatus.FAIL and shown.owner is FixOwner.K3S,
    "#text=no+such+words": lambda _: False,
    "#status=%3Cb%3E&section=%22&owner=x": lambda _: True,
    "#%E0%A4%A": lambda _: True,
    "#controls": lambda _: True,
}
"""Hashes of the address, and the controls that they show."""


@pytest.mark.parametrize("state", STATES)
def test_the_address_sets_the_filters(reader: Reader, state: str) -> None:
    """An invalid state filters nothing. Sections without a match are hidden."""
    expected = ids(STATES[state])
    reader.open(LARGE, state)
    assert reader.shown() == expected
    assert reader.page.value("document.querySelector('output').textContent") == f"{len(expected)} of 150 shown"
    sections = reader.page.value("[...document.querySelectorAll('.section')].filter((one) => !one.hidden).length")
    assert sections == len({shown.section for shown in LARGE.verdicts if shown.control.id in expected})
    assert reader.page.value("document.querySelector('.none').hidden") is bool(expected)


def test_the_filters_write_the_address(reader: Reader) -> None:
    reader.open(LARGE)
    reader.click("label.FAIL")
    assert (reader.state(), reader.shown()) == ("#status=FAIL", ids(lambda shown: shown.status is ControlStatus.FAIL))
    reader.click("label.UNKNOWN")
    assert (reader.state(), reader.shown()) == ("#status=FAIL,UNKNOWN", ids(lambda shown: shown.is_open))
    reader.page.press("/", 191, "/")
    assert reader.page.value("document.activeElement.name") == "text"
    reader.page.type("argument-18")
    assert reader.state() == "#status=FAIL,UNKNOWN&text=argument-18"
    assert reader.shown() == ids(lambda shown: shown.is_open and "argument-18" in shown.control.recommendation)
    reader.click("[name=clear]")
    assert (reader.state(), reader.shown()) == ("#controls", ALL)


def test_a_link_to_a_control_shows_it_despite_filters(reader: Reader) -> None:
    reader.open(LARGE, "#status=PASS")
    failed = next(shown for shown in LARGE.verdicts if shown.status is ControlStatus.FAIL)
    anchor = f"control:{failed.control.id}"
    assert failed.control.id not in reader.shown()
    reader.page.value(f"document.querySelector('.fixes a[href=\"#{anchor}\"]').click()")
    reader.pause()
    assert reader.shown() == ALL
    assert reader.page.value(f"document.getElementById({anchor!r}).className") == "open"
    top = reader.page.value(f"document.getElementById({anchor!r}).getBoundingClientRect().top")
    bar = reader.page.value("document.querySelector('.filters').getBoundingClientRect().bottom")
    assert bar - 2 <= top < 900


def test_the_evidence_of_many_files_is_one_block(reader: Reader) -> None:
    """The first five are shown, and the others on request."""
    failed = next(shown for shown in LARGE.verdicts if shown.status is ControlStatus.FAIL)
    files = tuple(Evidence(f"0666 {number}", Location(PurePosixPath(f"/srv/{number}"))) for number in range(50))
    many = tuple(shown._replace(evidence=files) if shown is failed else shown for shown in LARGE.verdicts)
    reader.open(replace(LARGE, verdicts=many))
    more = f"document.getElementById('control:{failed.control.id}:more')"
    assert reader.page.value(f"{more}.querySelectorAll('details li').length") == 45
    assert reader.page.value(f"{more}.querySelector('details summary').textContent") == "45 more"
    assert reader.page.value(f"{more}.querySelector('details').open") is False


def test_the_most_severe_controls_of_an_owner_come_first(reader: Reader) -> None:
    order = [*Severity]
    rated = (
        shown._replace(control=replace(shown.control, rating=Rating(order[-(number // 7) % len(order)], "")))
        for number, shown in enumerate(LARGE.verdicts)
    )
    reader.open(replace(LARGE, verdicts=tuple(rated)))
    links = "[...body.querySelectorAll('a[href^=\"#control:\"]')]"
    found = reader.page.value(
        f"[...document.querySelectorAll('.fixes tbody')].map((body) => {links}"
        ".map((link) => document.getElementById(link.hash.slice(1)).dataset.severity))"
    )
    firsts = [[*dict.fromkeys(severities)] for severities in found]
    assert any(len(severities) > 1 for severities in firsts)
    assert all(severities == sorted(severities, key=order.index) for severities in firsts)


def test_the_link_to_manual_controls_sets_the_filter(reader: Reader) -> None:
    reader.open(LARGE)
    reader.click("a.filter")
    reader.pause()
    assert reader.shown() == ids(lambda shown: shown.status is ControlStatus.MANUAL)


def test_a_command_can_be_copied(reader: Reader) -> None:
    """The clipboard contains exactly the text of the block, without the label of the button."""
    reader.open(sample.MIXED)
    reader.page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    reader.click(".fixes pre button")
    reader.pause()
    assert reader.page.value("document.querySelector('.fixes pre button').textContent") == "Copied"
    assert reader.page.value("navigator.clipboard.readText()") == "sudo k3s-harden apply"
    reader.page.value("document.querySelector('.fixes code + button').click()")
    copied = reader.page.value("navigator.clipboard.readText()")
    assert copied == "etcd-arg+: [client-cert-auth=true]"


def test_without_scripts_everything_is_shown(reader: Reader) -> None:
    reader.page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        reader.open(LARGE)
        assert reader.shown() == ALL
        assert reader.page.value(DETAILS) == [True] * 150
        assert reader.page.value("document.querySelectorAll('button[type=button]:not(.filters *)').length") == 0
        assert reader.page.value("document.querySelector('.filters').getClientRects().length") == 0
        assert reader.page.value("getComputedStyle(document.querySelector('a.filter')).pointerEvents") == "none"
    finally:
        reader.page.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_contrast_meets_wcag_aa(reader: Reader, scheme: str, width: int) -> None:
    reader.page.look(scheme=scheme, width=width)
    reader.open(LARGE, "#status=" + ",".join(map(str, ControlStatus)))
    reader.page.value("document.querySelector('[name=expand]').click()")
    count, *unreadable = reader.page.value(UNREADABLE)
    assert count > 3000
    assert unreadable == []
    background = reader.page.value("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(245, 246, 248)", "dark": "rgb(16, 19, 23)"}[scheme]


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_the_page_does_not_scroll_horizontally_at_any_width(reader: Reader, width: int) -> None:
    long = samples.WARNS._replace(found="/very/long/path" * 40, expected="x" * 300)
    reader.page.look(width=width)
    reader.open(replace(LARGE, node="n" * 200, verdicts=(long, *LARGE.verdicts)))
    for _ in ("collapsed", "expanded"):
        assert reader.page.value("document.documentElement.scrollWidth") == width
        reader.page.value("document.querySelector('[name=expand]').click()")


@pytest.mark.parametrize("width", [390, 1280])
def test_no_line_ends_inside_an_option(reader: Reader, width: int) -> None:
    """A title with an option has it on one line, and it does not overlap the words before it."""
    verdicts = tuple(
        one._replace(control=replace(one.control, title="word " * (length // 4) + "x" * (length % 4) + " --tls-suites"))
        for length, one in enumerate(sample.large(40).verdicts)
    )
    reader.page.look(width=width)
    reader.open(replace(LARGE, verdicts=verdicts, notes=()))
    split = """[...document.querySelectorAll(".fixes .title, .line th button")].filter((title) => {
      const boxes = (select) => {
        const range = document.createRange();
        select(range);
        return [...range.getClientRects()].filter((box) => box.width);
      };
      const word = title.querySelector(".whole");
      const own = boxes((range) => range.selectNodeContents(word));
      const before = boxes((range) => { range.setStart(title, 0); range.setEndBefore(word); }).pop();
      return own.length !== 1 || (own[0].top < before.bottom - 2 && own[0].left < before.right - 1);
    }).length"""
    assert reader.page.value('document.querySelectorAll(".line th .whole").length') == len(verdicts)
    assert reader.page.value(split) == 0


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_uses_its_width(reader: Reader, width: int) -> None:
    reader.page.look(width=width)
    reader.open(LARGE)
    heights = reader.page.value("[...document.querySelectorAll('.rest label')].map((one) => one.clientHeight)")
    assert max(heights) < 40
    for selector in (".line th", ".waivers td:nth-child(4)"):
        share = "(one) => one.clientWidth / one.parentElement.clientWidth"
        widths = reader.page.value(f"[...document.querySelectorAll({selector!r})].map({share})")
        assert min(widths) > 0.95, selector


def test_print_keeps_a_command_on_one_page(reader: Reader) -> None:
    """A command that goes on at the next page is copied in part."""
    reader.open(LARGE)
    reader.page.look(media="print", width=720)
    rule = "[...new Set([...document.querySelectorAll('pre')].map((one) => getComputedStyle(one).breakInside))]"
    assert reader.page.value(rule) == ["avoid"]


def roles(tree: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree["nodes"] if not node["ignored"]
    ]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_accessibility_tree_has_names_and_roles(reader: Reader, width: int) -> None:
    reader.page.look(width=width)
    reader.open(sample.MIXED)
    tree = roles(reader.page.call("Accessibility.getFullAXTree"))
    tables = [name for role, name in tree if role == "table"]
    assert tables[-6:] == [
        "1.1 Control plane node configuration files",
        "1.2 API server",
        "2 etcd node configuration",
        "4.2 kubelet",
        "5.1 RBAC and service accounts",
        "The host, beyond the benchmark",
    ]
    assert {"row", "cell", "rowheader", "columnheader"} <= {role for role, _ in tree}
    assert ("heading", "Remediation") in tree
    assert ("image", "1 unknown, 2 waived") in tree
    assert ("button", "Ensure that the title of pki-certificate-mode") in tree
    assert ("search", "Filter the controls") in tree


def test_print_shows_all_controls_despite_filters(reader: Reader) -> None:
    reader.open(LARGE, "#status=WAIVED&section=1.2")
    assert len(reader.shown()) < 5
    reader.page.look(media="print", scheme="dark", width=720)
    assert reader.shown() == ALL
    assert reader.page.value(DETAILS).count(False) == len(
        ids(lambda shown: shown.status is ControlStatus.NOT_APPLICABLE)
    )
    evidence = (
        "[...document.querySelectorAll('[data-status=PASS] .evidence li')].map((li) => li.getClientRects().length)"
    )
    assert set(reader.page.value(evidence)) == {1}
    for selector in (".filters", "pre button", ".skip"):
        assert reader.page.value(f"document.querySelector({selector!r}).getClientRects().length") == 0
    assert reader.page.value("document.querySelector('.sign').getClientRects().length") == 1
    assert reader.page.value("document.documentElement.scrollWidth") == 720
    count, *unreadable = reader.page.value(UNREADABLE)
    assert count > 1500
    assert unreadable == []


def pages(reader: Reader) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", reader.page.pdf()))


def test_the_report_of_a_hardened_server_prints_on_few_pages(reader: Reader) -> None:
    """Of passed controls only evidence and its location are printed, unless they are expanded on the screen."""
    reader.open(sample.hardened())
    reader.page.look(media="print", width=720)
    commands = "[...document.querySelectorAll('%s .evidence pre')].map((pre) => pre.getClientRects().length)"
    assert set(reader.page.value(commands % "[data-status=PASS]")) == {0}
    assert set(reader.page.value(commands % "[data-status=FAIL]")) == {1}
    few = pages(reader)
    assert few <= 14
    reader.page.look()
    reader.page.value("document.querySelector('[name=expand]').click()")
    assert pages(reader) > 2 * few


def test_a_pdf_has_every_section_in_its_outline(reader: Reader) -> None:
    reader.open(LARGE, "#status=WAIVED")
    pdf = reader.page.pdf()
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 5
    titles = {
        bytes.fromhex(text.decode()).decode("utf-16") for text in re.findall(rb"/Title\s*<(FEFF[0-9A-F]+)>", pdf)
    } | {text.decode("latin-1") for text in re.findall(rb"/Title\s*\(((?:[^()\\]|\\.)*)\)", pdf)}
    for number, title in SECTIONS.items():
        assert f"{number} {title}".strip() in titles
