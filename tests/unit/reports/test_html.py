"""The HTML report: content, structure, self-containment, and hostile text of the host."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.assess.assessment import Assessment, ControlStatus, Evidence, Note, Verdict, Waiver
from agent.assess.benchmark import catalogue
from agent.assess.benchmark.catalogue import SECTIONS
from agent.base import package_data
from agent.base.repair import Instruction, Repair, Restart, Run, RunVerb
from agent.base.report import Fact
from agent.base.value import replace
from agent.k3s.cis.versions import Benchmark
from agent.reports import repair_texts
from agent.reports.html.assessment_overview import as_html
from tests.unit.reports.assessments import html_sample as sample
from tests.unit.reports.assessments import samples
from tests.unit.reports.assessments.samples import at, steps

VOID = {"input", "meta"}
"""Elements without an end tag."""
OF_PROSE = {"code", "p", "pre"}
"""Elements that the markup of a text can become."""
WHOLE_WORD = ("span", {"class": "whole"})


class Page(HTMLParser):
    """A parsed page: tags in order, IDs, and the text of each ID and of each kind of element."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.ids: list[str] = []
        self._open: list[tuple[str, list[str]]] = []
        self._texts: list[tuple[str, str, list[str]]] = []
        self.feed(source)
        self.close()
        assert self._open == []
        self.text = {id_: "".join(parts) for _, id_, parts in self._texts if id_}
        self.elements: dict[str, list[str]] = {}
        for tag, _, parts in self._texts:
            self.elements.setdefault(tag, []).append("".join(parts))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Start an element; every attribute must be unique."""
        attributes = {name: value or "" for name, value in attrs}
        assert len(attributes) == len(attrs)
        self.tags.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        parts: list[str] = []
        self._texts.append((tag, attributes.get("id", ""), parts))
        if tag not in VOID:
            self._open.append((tag, parts))

    def handle_endtag(self, tag: str) -> None:
        """End the innermost element; no other may end."""
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for _, parts in self._open:
            parts.append(data)

    def attributes(self, name: str) -> Iterator[str]:
        return (attributes[name] for _, attributes in self.tags if name in attributes)

    @property
    def skeleton(self) -> list[tuple[str, dict[str, str]]]:
        """The tags with their attributes, without those that a text becomes."""
        return [tag for tag in self.tags if tag[0] not in OF_PROSE and tag != WHOLE_WORD]


def page(assessment: Assessment) -> Page:
    return Page(as_html(assessment))


def words(text: str) -> str:
    """Return the text with each run of white space as one space, as a browser shows it."""
    return " ".join(text.split())


MIXED = page(sample.MIXED)


@pytest.mark.parametrize("shown", sample.MIXED.verdicts, ids=lambda shown: shown.control.id)
def test_a_control_shows_every_field_of_its_verdict(shown: Verdict) -> None:
    text = words(MIXED.text[f"control:{shown.control.id}"])
    expected = [shown.control.recommendation, shown.control.why, shown.control.source]
    expected += [shown.expected, shown.found, shown.reason]
    expected += [str(shown.status).replace("_", " ").capitalize(), shown.control.id]
    expected += [
        part
        for evidence_item in shown.evidence
        for part in (evidence_item.observation, str(evidence_item.location or evidence_item.source))
    ]
    if shown.number:
        expected.append(shown.number.text)
    if shown.waiver:
        expected += [shown.waiver.reason, str(shown.waiver.location)]
        expected.append(f"expires {shown.waiver.expires}" if shown.waiver.expires else "does not expire")
    if shown.status is not ControlStatus.NOT_APPLICABLE:
        expected += [step.text[1:].replace("`", "") for step in repair_texts.steps(shown.repair)]
    assert [part for part in expected if words(part) not in text] == []


@pytest.mark.parametrize("benchmark", Benchmark, ids=str)
def test_every_control_of_a_benchmark_is_shown(benchmark: Benchmark) -> None:
    shown = page(sample.of_catalogue(benchmark))
    for row in catalogue.controls_of(benchmark):
        text = words(shown.text[f"control:{row.id}"])
        number = row.numbers.get(benchmark)
        assert text.startswith(f"{number.text} {row.recommendation}" if number else f"–{row.recommendation}")
        # Quotes become code, or are apostrophes.
        assert words(re.sub("['`]", "", row.why)) in text.replace("'", "")
    titles = {words(title) for title in shown.elements["h3"]}
    assert titles <= {f"{number} {title}".strip() for number, title in SECTIONS.items()}


APPLY = '<pre class="copy" tabindex="0">sudo <span class="whole">k3s-harden</span> apply</pre>'


@pytest.mark.parametrize(
    ("fix", "shown"),
    [
        (Repair((RunVerb("apply"),)), APPLY),
        (Repair((RunVerb("apply"),), restart=Restart.K3S), f"{APPLY}<p>Restart K3s</p>"),
        (
            Repair((Run("sudo sh -c 'chmod a'"),), alternative=steps("x")),
            """sudo sh <span class="whole">-c</span> 'chmod a'</pre><p>Or:</p><p>X</p>""",
        ),
        (steps("add 'a=b' to K3s' list"), "<p>Add <code>a=b</code> to K3s' list</p>"),
        (steps("K3s' own, as `x` is, and the kubelet's"), "<p>K3s' own, as <code>x</code> is, and the kubelet's</p>"),
        (steps("It's '' or ` or ' a '"), "<p>It's '' or ` or ' a '</p>"),
        (Repair((Instruction("edit it", at("/etc/x", 3)),)), "<p>Edit it at /etc/x:3</p>"),
    ],
)
def test_steps_are_paragraphs_and_blocks(fix: Repair, shown: str) -> None:
    source = as_html(replace(sample.MIXED, verdicts=(samples.WARNS._replace(repair=fix),)))
    assert source.count(shown) == 2


def test_the_header_has_node_and_result() -> None:
    assert MIXED.elements["h1"] == ["node-1"]
    (header,) = MIXED.elements["header"]
    for part in (
        "CIS Kubernetes 1.9",
        "v1.28.5+k3s1",
        "2025-11-25 04:04:05 UTC",
        "Not compliant",
        "9 controls of the benchmark: 2 failed and 2 could not be determined. 3 more beyond the benchmark: 1 failed.",
        "Exit code 3",
        "3Fail2Unknown1Manual2Waived3Pass1Not applicable",
    ):
        assert part in header
    assert "baseline" not in header


def test_a_host_tree_without_a_name_has_its_directory_as_heading() -> None:
    assert page(replace(sample.MIXED, node="", root="/mnt/image")).elements["h1"] == ["host tree /mnt/image"]
    assert page(replace(sample.MIXED, node="srv-1", root="/mnt/image")).elements["h1"] == ["srv-1"]
    assert page(replace(sample.MIXED, node="")).elements["h1"] == ["unnamed host"]


def test_findings_that_prevent_the_start_of_k3s_come_first() -> None:
    text = "K3s rejects `x` (unknown-option)"
    note = Note(text, at("/etc/x", 3), steps("remove it"), "unknown-option", prevents_start=True)
    shown = page(replace(sample.MIXED, notes=(*sample.MIXED.notes, note)))
    parts = [id_ for tag, attributes in shown.tags if tag == "h2" and (id_ := attributes["id"])]
    assert parts[:2] == ["blockers", "remediation"]
    assert "notes" in parts
    assert "K3s would not start1 problem to fix first. 9 controls" in words(shown.elements["header"][0])
    (blocker,) = [text for text in shown.elements["li"] if "unknown-option" in text]
    assert words(blocker) == "K3s rejects x (unknown-option) /etc/x:3Remove it"
    assert "blockers" not in MIXED.ids
    assert "would not start" not in MIXED.elements["header"][0]


def test_sections_and_levels_have_a_score() -> None:
    """The score is the share of passed controls, rounded down, without manual and not applicable ones."""
    table = next(text for text in MIXED.elements["table"] if text.startswith("Section"))
    rows = [words(line) for line in table.split("\n") if line]
    assert rows[1].endswith("of 2score 0 %")
    assert rows[2].endswith("of 2score 50 %")
    assert rows[5].endswith("of 1 –")
    assert rows[6].endswith("of 3score 66 %")
    assert rows[-2].startswith("Level 1")
    assert rows[-2].endswith("9score 14 %")
    assert rows[-1].startswith("All sections")
    assert rows[-1].endswith("12score 30 %")


def test_a_control_that_could_not_be_determined_does_not_pass() -> None:
    """Neither in a section with others, nor in one without."""
    shown = page(replace(sample.MIXED, verdicts=(samples.CANNOT_TELL,)))
    table = next(text for text in shown.elements["table"] if text.startswith("Section"))
    assert all(words(row).endswith("0 %") for row in table.split("\n")[1:] if row)
    mixed = page(replace(sample.MIXED, verdicts=(samples.CANNOT_TELL, samples.FAILS)))
    assert "score 0 %" in next(text for text in mixed.elements["table"] if text.startswith("Section"))


def fixes(source: str) -> list[str]:
    """Return the text of each owner's group in the table of fixes."""
    table = re.search(r'<table role="table" class="fixes".*?</table>', source, re.DOTALL)
    assert table
    return [words(re.sub(r"<[^>]*>", " ", body)) for body in re.findall(r"<tbody.*?</tbody>", table[0], re.DOTALL)]


def test_fixes_are_grouped_by_owner() -> None:
    apply, operator, nobody, person = (
        part.replace(" Ensure that the title of", ":") for part in fixes(as_html(sample.MIXED))
    )
    failed = "1.1.20: pki-certificate-mode vm.panic_on_oom: vm.panic_on_oom (vm.panic_on_oom)"
    assert apply == f"k3s-harden apply fixed by this command {failed} sudo k3s-harden apply"
    assert operator.startswith("Operator manual change on this node 1.2.10: encryption-providers (--encryption-pro")
    assert f" {samples.CANNOT_TELL.reason} Run it as root 2.2: etcd-client-certificate " in operator
    assert operator.endswith(" Add etcd-arg+: [client-cert-auth=true] in /etc/rancher/k3s/config.yaml Restart K3s")
    assert nobody == "None cannot be fixed on this node 4.2.9: kubelet-tls (--tls-cert-file) K3s has not run yet"
    assert person.startswith("Reviewer manual review 1 control ")


def test_the_last_steps_that_fixes_share_are_shown_once() -> None:
    apply = RunVerb("apply")
    fixes_ = (
        Repair((Instruction("set a"), apply), restart=Restart.K3S),
        Repair((Instruction("set b"), Instruction("set c"), apply), restart=Restart.K3S),
        Repair((Instruction("remove d"),), restart=Restart.K3S),
        Repair((Instruction("set e"), apply), restart=Restart.K3S, alternative=steps("remove f")),
        Repair((), restart=Restart.K3S),
        Repair((Instruction("set g"), apply)),
    )
    controls = [sample.control(f"one-{number}", f"x {number}", f"1.2.{number}") for number in range(1, 7)]
    failed = tuple(sample.verdict(row, ControlStatus.FAIL, repair=fix) for row, fix in zip(controls, fixes_))
    (operator,) = fixes(as_html(replace(sample.MIXED, verdicts=failed)))
    shown = re.sub(r" ?1\.2\.(\d) Ensure that x \d", r" \1:", operator).replace("k3s-harden", "K")
    assert shown.endswith(
        " 1: Set a 2: Set b Set c 3: Remove d 4: Set e sudo K apply Restart K3s Or: Remove f 5: Restart K3s 6: Set g"
        " After the changes above sudo K apply Restart K3s"
    )


_ALL = frozenset(verdict.control.id for verdict in sample.MIXED.verdicts)
_BLOCKER = Note("K3s rejects `x`", None, steps("remove it"), "unknown-option", prevents_start=True)


@pytest.mark.parametrize(
    ("assessment", "status", "result"),
    [
        (sample.MIXED, "FAIL", "Not compliant"),
        (replace(sample.MIXED, verdicts=()), "PASS", "No open controls"),
        (replace(sample.MIXED, known=_ALL), "WAIVED", "No new open controls"),
        (replace(sample.MIXED, verdicts=(), notes=(_BLOCKER,)), "FAIL", "K3s would not start"),
    ],
)
def test_the_result_is_green_only_if_no_control_is_open(assessment: Assessment, status: str, result: str) -> None:
    """Open controls in the baseline and a K3s that would not start are not green, for any exit code."""
    shown = page(assessment)
    assert [value for value in shown.attributes("class") if value.startswith("verdict ")] == [f"verdict {status}"]
    assert result in shown.elements["header"][0]


def test_a_comparison_marks_open_controls_as_new_or_in_the_baseline() -> None:
    compared = page(replace(sample.MIXED, known=frozenset({"pki-certificate-mode", "server-directory"})))
    assert "in baseline" in words(compared.text["control:pki-certificate-mode"])
    assert " new" in words(compared.text["control:vm.panic_on_oom"])
    assert "baseline" not in compared.text["control:server-directory"]
    assert "New since the baseline: 4." in compared.elements["header"][0]
    assert not any("since" in value for value in MIXED.attributes("class"))


def test_every_section_has_a_bar_and_its_numbers_as_text() -> None:
    bars = [attributes for tag, attributes in MIXED.tags if attributes.get("class") == "bar"]
    assert [bar["role"] for bar in bars] == ["img"] * 6
    assert [bar["aria-label"] for bar in bars] == [
        "1 fail, 1 not applicable",
        "1 unknown, 1 pass",
        "1 fail",
        "1 unknown, 2 waived",
        "1 manual",
        "1 fail, 2 pass",
    ]
    widths = [attributes["width"] for tag, attributes in MIXED.tags if "url(" in attributes.get("fill", "")]
    assert widths == ["33.33%"] * 6 + ["66.67%", "33.33%", "33.33%", "66.67%"]


def test_waivers_and_notes_have_their_own_parts() -> None:
    assert {"waivers", "notes"} <= set(MIXED.ids)
    source = words(re.sub(r"<[^>]*>", " ", as_html(sample.MIXED)))
    assert "one tenant only Ann does not expire /etc/k3s-harden/waivers.yaml:9" in source
    assert (
        "the waiver for kubelet-tls expired at the end of 2025-01-01 /etc/k3s-harden/waivers.yaml:9 Renew it" in source
    )
    bare = page(replace(sample.MIXED, verdicts=(samples.PASSES,), notes=()))
    assert {"waivers", "notes"}.isdisjoint(bare.ids)


@pytest.mark.parametrize(
    "assessment",
    [
        sample.MIXED,
        sample.large(),
        replace(sample.MIXED, verdicts=(samples.PASSES,) * 3),
        Assessment(Benchmark.CIS_2_1, "", 0.0, (), ()),
    ],
    ids=["mixed", "large", "one control three times", "nothing"],
)
def test_every_id_is_unique_and_every_reference_is_valid(assessment: Assessment) -> None:
    shown = page(assessment)
    assert len(set(shown.ids)) == len(shown.ids)
    assert all(re.fullmatch(r"\S+", id_) for id_ in shown.ids)
    inside = {f"#{id_}" for id_ in shown.ids} | {f"#status={status}" for status in ControlStatus}
    assert set(shown.attributes("href")) <= inside
    assert {f"#{id_}" for id_ in shown.attributes("aria-labelledby")} <= inside
    assert {f"url({target})" for target in inside} >= {fill for fill in shown.attributes("fill") if fill != "none"}


def test_the_page_loads_nothing() -> None:
    names = {name for _, attributes in MIXED.tags for name in attributes}
    assert {"src", "srcset", "action", "style", "data"}.isdisjoint(names)
    assert not any(name.startswith("on") for name in names)
    assert {"link", "img", "iframe", "object", "embed", "base", "form"}.isdisjoint(tag for tag, _ in MIXED.tags)
    for text in (*MIXED.elements["style"], *MIXED.elements["script"]):
        assert not re.search(r"@import|url\(|https?:|//\w|fetch|XMLHttp|innerHTML|eval\(", text)


def test_the_content_security_policy_allows_only_the_style_and_script_of_the_page() -> None:
    metas = [attributes for tag, attributes in MIXED.tags if tag == "meta"]
    (policy,) = (meta["content"] for meta in metas if meta.get("http-equiv") == "Content-Security-Policy")
    (style,), (script,) = MIXED.elements["style"], MIXED.elements["script"]
    hashes = [b64encode(sha256(text.encode()).digest()).decode() for text in (style, script)]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; base-uri 'none';"
        " form-action 'none'"
    )
    tags = [tag for tag, _ in MIXED.tags]
    assert MIXED.tags[tags.index("meta") + 1][1].get("http-equiv")
    assert tags.index("style") > tags.index("meta") + 1


@pytest.mark.parametrize("name", ["report.css", "report.js"])
def test_style_and_script_are_ascii(name: str) -> None:
    """Only then are the hashes in the policy valid in every encoding. Neither contains its end tag."""
    text = package_data.read("reports", "html", "assets", name).decode("ascii")
    assert "</" not in text
    assert "<!--" not in text


HOSTILE = st.one_of(
    st.text(max_size=30),
    st.text("<>&\"'`/=; \n\t\\-!sx\u202e\udc80\x00\x1b]", max_size=30),
    st.sampled_from(
        [
            *("</style></script><script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "javascript:alert(1)"),
            *("<!--", "]]>", "&lt;script&gt;", "\x1b]0;title\x07", "   </pre><b>", "`<b>`"),
        ]
    ),
)


def filled(text: str) -> Assessment:
    """Return an assessment with the text in every field that can come from the host."""
    seen = (Evidence(text, source=text),)
    verdicts = tuple(
        shown._replace(
            expected=text,
            found=text,
            evidence=seen,
            reason=text and f"{text}.",
            repair=steps(f"{text}."),
            waiver=shown.waiver and Waiver(text, text, at(f"/{text}")),
        )
        for shown in (samples.FAILS, samples.CANNOT_TELL, samples.WAIVED)
    )
    return replace(
        sample.MIXED,
        node=text,
        facts=(Fact(f"{text}.", text, text),),  # no fact that the header shows
        verdicts=verdicts,
        notes=(Note(text, at(f"/{text}"), steps(text)),),
    )


HARMLESS = page(filled("harmless"))


@given(HOSTILE.filter(bool))
def test_hostile_text_is_escaped(text: str) -> None:
    source = as_html(filled(text))
    assert Page(source).skeleton == HARMLESS.skeleton
    assert source.isascii()
    assert all(char.isprintable() or char == "\n" for char in source)


def test_the_size_of_the_page_is_limited() -> None:
    assert len(as_html(sample.large(150)).encode()) < 445_000
    assert max(len(as_html(sample.of_catalogue(benchmark)).encode()) for benchmark in Benchmark) < 450_000
