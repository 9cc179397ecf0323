"""The HTML report in a real browser: what a person sees, types and prints."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.assess.assessment import Actor, ControlStatus, Evidence
from agent.benchmark.sections import SECTIONS
from agent.present.assessments.html import as_html
from agent.report import Fact
from tests.browser.chromium import Page, installed, opened
from tests.unit.present.assessments import html_sample as sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.assess.assessment import Assessment, Verdict

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

LARGE = sample.large()._replace(known=frozenset({"control-with-a-name-7"}), notices=sample.MIXED.notices)

SHOWN = """
[...document.querySelectorAll(".section tbody")].filter((body) => body.getClientRects().length).map((body) => body.id)
"""
"""The controls that can be seen."""

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
"""How many texts and icons were looked at, and those whose contrast is below level AA of WCAG."""


@dataclass
class Reader:
    """A person with a browser, and the file that was opened last."""

    page: Page
    directory: Path
    url: str = ""

    def open(self, assessment: Assessment, state: str = "") -> None:
        """Read the report of this assessment from a file."""
        file = self.directory / "report.html"
        file.write_text(as_html(assessment), encoding="utf-8")
        self.url = file.as_uri()
        self.page.complaints.clear()
        self.page.show(self.url + state)

    def shown(self) -> set[str]:
        """The ids of the controls that are there to be seen."""
        return {anchor.removeprefix("control:") for anchor in self.page.value(SHOWN)}

    def state(self) -> str:
        """What stands behind the address."""
        return str(self.page.value("location.hash"))

    def click(self, selector: str) -> None:
        """Click the middle of the first such element, where it is."""
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
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        opened(program, Path(name) / "profile") as page,
    ):
        yield Reader(page, Path(name))


@pytest.fixture
def reader(browser: Reader) -> Iterator[Reader]:
    """A browser with a large window and a light theme; at the end nothing was fetched and nothing complained of."""
    browser.page.look()
    yield browser
    assert browser.page.complaints == []
    assert {url.partition("#")[0] for url in browser.page.requests} <= {browser.url}


def ids(wanted: Callable[[Verdict], bool]) -> set[str]:
    return {shown.control.id for shown in LARGE.verdicts if wanted(shown)}


ALL = ids(lambda _: True)


def test_one_request_and_no_complaint(reader: Reader) -> None:
    """The file is all that the browser asks for; the policy lets its own style and script work."""
    reader.open(LARGE)
    assert reader.page.requests == [reader.url]
    assert reader.page.complaints == []
    assert reader.page.value("getComputedStyle(document.body).fontVariantNumeric") == "tabular-nums"
    assert reader.page.value("document.documentElement.className") == "js"


def test_the_policy_stops_a_foreign_script(reader: Reader) -> None:
    """What is put into the page later is neither run nor fetched, and the browser says so."""
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


def test_hostile_text_is_shown_and_nothing_else(reader: Reader) -> None:
    """Markup of a host is text to be read: no element is made of it, no script runs, nothing is fetched."""
    payload = "</td></script></style><script>window.bad=1</script><img src=x onerror=window.bad=1>\"'`<b>"
    failed = sample.FAILED_BY_HAND._replace(
        wanted=payload, found=payload, evidence=(Evidence(payload, payload),), remedy=f"{payload}\n  {payload}"
    )
    reader.open(
        sample.MIXED._replace(node=payload, facts=(Fact(payload, payload, payload),), verdicts=(failed,)),
        "#control:encryption",
    )
    assert reader.page.value("window.bad") is None
    assert reader.page.value("[document.scripts.length, document.images.length]") == [1, 0]
    assert reader.page.value("document.querySelector('h1').textContent") == payload
    assert reader.page.value("document.querySelector('.more pre').firstChild.data") == payload


def test_all_is_folded_at_first_and_unfolds(reader: Reader) -> None:
    """A click, or Enter on the title, shows what is known of a control; one button unfolds all of them."""
    reader.open(LARGE)
    height = "[...document.querySelectorAll('.more div[id]')].map((one) => one.getBoundingClientRect().height > 20)"
    assert set(reader.page.value(height)) == {False}
    reader.click(".section tbody .line button")
    assert reader.page.value(height)[:2] == [True, False]
    assert reader.page.value("document.querySelector('.line button').ariaExpanded") == "true"
    reader.page.value("document.querySelectorAll('.line button')[1].focus()")
    reader.page.press("Enter", 13, "\r")
    assert reader.page.value(height)[:3] == [True, True, False]
    reader.click("[name=unfold]")
    assert set(reader.page.value(height)) == {False}
    reader.click("[name=unfold]")
    assert set(reader.page.value(height)) == {True}


def test_the_browsers_own_search_finds_what_is_folded(reader: Reader) -> None:
    """It unfolds the control in which it found the words."""
    reader.open(sample.MIXED)
    reader.page.value("document.getElementById('control:pod-pids:more').dispatchEvent(new Event('beforematch'))")
    assert reader.page.value("document.getElementById('control:pod-pids').className") == "open"
    assert reader.page.value("document.getElementById('control:rate-limit:more').hidden") == "until-found"


STATES: dict[str, Callable[[Verdict], bool]] = {
    "#status=FAIL": lambda shown: shown.status is ControlStatus.FAIL,
    "#status=FAIL,UNKNOWN": lambda shown: shown.is_open,
    "#section=1.2": lambda shown: shown.section == "1.2",
    "#section=host": lambda shown: shown.section == "",
    "#actor=apply": lambda shown: shown.actor is Actor.APPLY,
    "#text=NAME-14": lambda shown: "name-14" in shown.control.id,
    "#text=pull+secret": lambda shown: shown.waiver is not None,
    "#status=FAIL&actor=k3s": lambda shown: shown.status is ControlStatus.FAIL and shown.actor is Actor.K3S,
    "#text=no+such+words": lambda _: False,
    "#status=%3Cb%3E&section=%22&actor=x": lambda _: True,
    "#%E0%A4%A": lambda _: True,
    "#controls": lambda _: True,
}
"""What stands behind an address, and the controls that it shows."""


@pytest.mark.parametrize("state", STATES)
def test_the_address_holds_the_state_of_the_filters(reader: Reader, state: str) -> None:
    """A link shows the same controls to everybody; what is no state is no filter. Sections without any are away."""
    expected = ids(STATES[state])
    reader.open(LARGE, state)
    assert reader.shown() == expected
    assert reader.page.value("document.querySelector('output').textContent") == f"{len(expected)} of 150 shown"
    sections = reader.page.value("[...document.querySelectorAll('.section')].filter((one) => !one.hidden).length")
    assert sections == len({shown.section for shown in LARGE.verdicts if shown.control.id in expected})
    assert reader.page.value("document.querySelector('.none').hidden") is bool(expected)


def test_the_filters_write_the_address(reader: Reader) -> None:
    """Clicks and words become the state; Clear takes it all back."""
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


def test_a_link_to_a_control_shows_it_whatever_is_filtered(reader: Reader) -> None:
    """It is unfolded, and within the window."""
    reader.open(LARGE, "#status=PASS")
    failed = next(shown for shown in LARGE.verdicts if shown.status is ControlStatus.FAIL)
    anchor = f"control:{failed.control.id}"
    assert failed.control.id not in reader.shown()
    reader.page.value(f"document.querySelector('.to-do a[href=\"#{anchor}\"]').click()")
    reader.page.value("new Promise((done) => setTimeout(done, 100))")
    assert reader.shown() == ALL
    assert reader.page.value(f"document.getElementById({anchor!r}).className") == "open"
    top = reader.page.value(f"document.getElementById({anchor!r}).getBoundingClientRect().top")
    bar = reader.page.value("document.querySelector('.filters').getBoundingClientRect().bottom")
    assert bar - 2 <= top < 900


def test_what_a_person_must_look_at_is_one_click_away(reader: Reader) -> None:
    """The link in the table of what to do sets the filter."""
    reader.open(LARGE)
    reader.click("a.filter")
    reader.page.value("new Promise((done) => setTimeout(done, 100))")
    assert reader.shown() == ids(lambda shown: shown.status is ControlStatus.MANUAL)


def test_a_command_can_be_copied(reader: Reader) -> None:
    """Exactly the text of the block, without the word on the button."""
    reader.open(sample.MIXED)
    reader.page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    reader.click(".to-do pre button")
    reader.page.value("new Promise((done) => setTimeout(done, 100))")
    assert reader.page.value("document.querySelector('.to-do pre button').textContent") == "Copied"
    assert reader.page.value("navigator.clipboard.readText()") == (
        "kube-apiserver-arg:\n  - enable-admission-plugins=NodeRestriction,EventRateLimit"
    )
    reader.page.value("document.querySelector('.to-do code + button').click()")
    assert reader.page.value("navigator.clipboard.readText()") == "k3s-harden apply"


def test_without_scripts_all_of_it_is_there(reader: Reader) -> None:
    """Every control, unfolded; no filters, no buttons, and no link to a filter that would not work."""
    reader.page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        reader.open(LARGE)
        assert reader.shown() == ALL
        details = reader.page.value(
            "[...document.querySelectorAll('.more div[id]')].map((one) => one.getBoundingClientRect().height > 20)"
        )
        assert details == [True] * 150
        assert reader.page.value("document.querySelectorAll('button[type=button]:not(.filters *)').length") == 0
        assert reader.page.value("document.querySelector('.filters').getClientRects().length") == 0
        assert reader.page.value("getComputedStyle(document.querySelector('a.filter')).pointerEvents") == "none"
    finally:
        reader.page.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(reader: Reader, scheme: str, width: int) -> None:
    """Contrast of texts and icons is that of WCAG's level AA, in both themes, unfolded and with filters chosen."""
    reader.page.look(scheme=scheme, width=width)
    reader.open(LARGE, "#status=" + ",".join(map(str, ControlStatus)))
    reader.page.value("document.querySelector('[name=unfold]').click()")
    looked, *unreadable = reader.page.value(UNREADABLE)
    assert looked > 3000
    assert unreadable == []
    background = reader.page.value("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(245, 246, 248)", "dark": "rgb(16, 19, 23)"}[scheme]


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_no_window_is_too_narrow(reader: Reader, width: int) -> None:
    """Nothing lies beyond the edge, folded or not, even with words that have no place to break."""
    long = sample.FAILED_BY_HAND._replace(found="/very/long/path" * 40, wanted="x" * 300)
    reader.page.look(width=width)
    reader.open(LARGE._replace(node="n" * 200, verdicts=(long, *LARGE.verdicts)))
    for _ in ("folded", "unfolded"):
        assert reader.page.value("document.documentElement.scrollWidth") == width
        reader.page.value("document.querySelector('[name=unfold]').click()")


def roles(tree: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree["nodes"] if not node["ignored"]
    ]


@pytest.mark.parametrize("width", [1280, 390])
def test_a_screen_reader_hears_tables_headings_and_bars(reader: Reader, width: int) -> None:
    """At every width: rows and cells, one table for each section, named after it, and the bars in words."""
    reader.page.look(width=width)
    reader.open(sample.MIXED)
    heard = roles(reader.page.call("Accessibility.getFullAXTree"))
    tables = [name for role, name in heard if role == "table"]
    assert tables[-5:] == [
        "1.1 Control plane node configuration files",
        "1.2 API server",
        "4.2 kubelet",
        "5.1 RBAC and service accounts",
        "The host, beyond the benchmark",
    ]
    assert {"row", "cell", "rowheader", "columnheader"} <= {role for role, _ in heard}
    assert ("heading", "What to do next") in heard
    assert ("image", "3 fail, 1 waived") in heard
    assert ("button", "Ensure that audit log") in heard
    assert ("search", "Filter the controls") in heard


def test_print_has_everything_whatever_is_filtered(reader: Reader) -> None:
    """On paper there are all controls with all that is known of them, and nothing to click."""
    reader.open(LARGE, "#status=WAIVED&section=1.2")
    assert len(reader.shown()) < 5
    reader.page.look(media="print", scheme="dark", width=720)
    assert reader.shown() == ALL
    details = reader.page.value(
        "[...document.querySelectorAll('.more div[id]')].map((one) => one.getBoundingClientRect().height > 20)"
    )
    assert details == [True] * 150
    for selector in (".filters", "pre button", ".skip"):
        assert reader.page.value(f"document.querySelector({selector!r}).getClientRects().length") == 0
    assert reader.page.value("document.querySelector('.sign').getClientRects().length") == 1
    assert reader.page.value("document.documentElement.scrollWidth") == 720
    looked, *unreadable = reader.page.value(UNREADABLE)
    assert looked > 3000
    assert unreadable == []


def test_the_printed_file_has_pages_and_every_section(reader: Reader) -> None:
    """A PDF of many pages, with the sections as its outline."""
    reader.open(LARGE, "#status=WAIVED")
    pdf = reader.page.pdf()
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 10
    titles = {
        bytes.fromhex(text.decode()).decode("utf-16") for text in re.findall(rb"/Title\s*<(FEFF[0-9A-F]+)>", pdf)
    } | {text.decode("latin-1") for text in re.findall(rb"/Title\s*\(((?:[^()\\]|\\.)*)\)", pdf)}
    for number, title in SECTIONS.items():
        assert f"{number} {title}".strip() in titles
