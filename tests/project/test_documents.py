"""The documents: generated pages, links, commands and examples, and the manual page."""

from __future__ import annotations

import html
import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

from agent import __version__
from agent.base.errors import ExitCode
from agent.base.report import ItemStatus, Level
from agent.harden.changes import journal, state
from agent.harden.settings.loading import load_settings
from agent.harden.settings.schema import Settings
from agent.verbs import drift, topics
from tests.programs_here import ran
from tests.tools import generate_docs, markdown
from tests.tools.dist.manual import manual

ROOT = generate_docs.CHECKOUT
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
README = ROOT / "README.md"
TRANSLATIONS = [page for page in PAGES if page.name.endswith(".zh.md")]
HOWTOS = [page for page in sorted(DOCS.glob("howto/*.md")) if page not in TRANSLATIONS]
PROOFS = DOCS / "reference/proofs.md"
GENERATED = generate_docs.pages()

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINKED = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"(?<![\w/.-])k3s-harden +([^\n`]*)")
_RESULT = re.compile(
    r"\b(?:prints?|ends?|shows?|lists?|becomes?|completes?|no longer|exit code|names|has|have|writes?)\b"
)
_SHELL_GOES_ON = re.compile(r"[|>;&)\"]")


class Command(NamedTuple):
    """A call of the program in a document: the arguments after `k3s-harden`."""

    page: Path
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page.name}: {' '.join(self.words)}"


@pytest.mark.parametrize("path", GENERATED)
def test_generated_pages_are_up_to_date(path: str) -> None:
    assert _text(DOCS / path) == GENERATED[path]


def test_the_picture_shows_the_output_of_a_current_run() -> None:
    """The words are compared, because their position depends on the release of Rich."""
    assert _words((DOCS / generate_docs.PICTURE).read_text(encoding="utf-8")) == _words(generate_docs.picture())


def test_the_readme_has_the_headings_whose_commands_guests_run() -> None:
    """Guests take an hour to report it."""
    called = [re.findall(r'\bcommands\("(.*?)"', _text(file)) for file in ROOT.glob("tests/vm/test_*.py")]
    headings = {heading for found in called for heading in found}
    assert headings == set(re.findall(r"^### (.*)$", _text(README), re.MULTILINE)) & headings != set()


def test_the_commands_of_the_picture_can_be_pasted(tmp_path: Path) -> None:
    """A new user types them in a checkout. The last one reports the change by hand."""
    words = _words((DOCS / generate_docs.PICTURE).read_text(encoding="utf-8"))
    commands = re.findall(r"\$ (.*?) (?=\$|changed|error)", " ".join(words))
    (tmp_path / ".ci").symlink_to(ROOT / ".ci")
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    run = ran("sh", "-c", "\n".join(commands), cwd=tmp_path, env=environment)
    results = re.findall(r"Host is .*?\)", " ".join(words))
    assert (len(commands), run.stderr) == (4, "")
    assert re.findall(r"Host is .*?\)", run.stdout) == results
    assert run.returncode == ExitCode.NOT_COMPLIANT


_CHECKS = ("gpgv", "sha256sum", "ssh-keygen")
_VERIFYING = [
    (page.name, block)
    for page in PAGES
    for language, block in _FENCE.findall(page.read_text(encoding="utf-8"))
    if language == "sh" and re.search(r"\bgpgv |sha256sum --check|-Y verify", block)
]


@pytest.mark.parametrize(("page", "block"), _VERIFYING)
def test_pasted_commands_do_nothing_after_a_check_that_failed(page: str, block: str, tmp_path: Path) -> None:
    """A shell runs the next line whatever the result of the last one. Each check fails alone, then all of them."""
    for failing in (*((name,) for name in _CHECKS), _CHECKS):
        log = tmp_path / "log"
        log.write_text("")
        for name in (*_CHECKS, "sudo", "k3s-harden"):
            (tmp_path / name).write_text(f"#!/bin/sh\necho {name} >>{log}\nexit {int(name in failing)}\n")
            (tmp_path / name).chmod(0o755)
        subprocess.run(["/bin/bash"], input=block.encode(), cwd=tmp_path, env={"PATH": str(tmp_path)}, check=False)
        called = log.read_text().splitlines()
        later = next((called[at:] for at, name in enumerate(called) if name in failing), [])
        assert {"sudo", "k3s-harden"}.isdisjoint(later), (page, failing, called)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve_to_files_and_headings(page: Path) -> None:
    broken = []
    for target in _LINK.findall(_without_fences(page)):
        if "://" in target:
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (fragment and fragment not in _anchors(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", HOWTOS, ids=lambda page: page.name)
def test_a_how_to_begins_with_its_purpose(page: Path) -> None:
    """The first paragraph is a sentence, not a command, a table, a list or a heading."""
    first = next(text for text in _text(page).split("\n\n")[1:] if not text.startswith(("<!--", "[简体中文]")))
    assert re.match(r"(?![-#|>] |```|\d\. )(?s:.){30,}[.:]", first)


@pytest.mark.parametrize("page", HOWTOS, ids=lambda page: page.name)
def test_a_how_to_ends_with_the_expected_result_of_a_command(page: Path) -> None:
    """After the last command comes its output, or a paragraph with a literal part of what it prints or changes."""
    commands = [match for match in _FENCE.finditer(_text(page)) if match[1] in {"sh", "console"}]
    for last in commands[-1:]:
        after = _text(page)[last.end() :].strip().split("\n\n")[0]
        is_told = "`" in after and not after.startswith(("#", "|", "- ")) and _RESULT.search(after)
        assert last[1] == "console" or after.startswith("```text") or is_told


def test_every_document_is_reachable_from_the_readme() -> None:
    seen = {README}
    waiting = [README]
    while waiting:
        page = waiting.pop()
        targets = {
            (page.parent / target.partition("#")[0]).resolve() for target in _LINK.findall(_without_fences(page))
        }
        found = {file for file in targets if file.suffix == ".md"} - seen
        seen |= found
        waiting += found
    assert {page for page in PAGES if page not in seen} == set()


def test_commands_in_the_documents_exist() -> None:
    verbs = {command.name: command for command in generate_docs.commands()}
    before = {name for option in generate_docs.program_options() for name in option.names} | {"--help"}
    wrong = []
    used = set()
    for call in _calls():
        verb, *rest = call.words
        if f"{verb} {' '.join(rest[:1])}" in verbs:
            verb = f"{verb} {rest.pop(0)}"
        used.add(verb)
        if verb.startswith("-"):
            wrong += [call] if verb not in before else []
        elif verb not in verbs:
            wrong.append(call)
        else:
            wrong += [call] * _misuses(verbs[verb], rest)
    assert list(map(str, wrong)) == []
    assert used >= verbs.keys() - {"render", "settings"}, "each verb is used in a document"


def test_the_proofs_of_guarantees_exist() -> None:
    rows = re.findall(r"^\| (.+) \| `(tests/.+)` \|$", _text(PROOFS), re.MULTILINE)
    proofs = [test.split("::") for _, tests in rows for test in tests.split("`, `")]
    assert [(file, name) for file, name in proofs if f"def {name}(" not in _text(ROOT / file)] == []
    assert proofs


@pytest.mark.parametrize("name", ["guarantees", "security-model"])
def test_each_guarantee_has_a_proof(name: str) -> None:
    text = _LINKED.sub(r"\1", _text(DOCS / f"explanation/{name}.md"))
    leads = [" ".join(lead.split()).rstrip(".,:") for lead in re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE)]
    section = _text(PROOFS).partition(f"\n## {name.replace('-', ' ').capitalize()}\n")[2].partition("\n## ")[0]
    proved = re.findall(r"^\| (.+?) \| `tests/", section, re.MULTILINE)
    assert [lead for lead in leads if lead not in proved] == []
    assert [lead for lead in proved if f"**{lead}" not in text] == []
    assert leads


@pytest.mark.parametrize("is_complete", [False, True], ids=["test-first", "complete"])
def test_the_example_of_a_control_is_red_with_its_test_and_green_with_its_rows(
    is_complete: bool, tmp_path: Path
) -> None:
    """The diff of recipes.md is applied to a copy of the checkout."""
    ((_, diff),) = (fence for fence in _fences(DOCS / "recipes.md") if fence[0] == "diff")
    first, *others = re.split(r"^(?=--- a/)", diff, flags=re.MULTILINE)[1:]
    for name in ("agent", "tests", ".ci"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    patch = "".join((first, *others) if is_complete else (first,))
    subprocess.run(["git", "apply", "-"], input=patch.encode(), cwd=tmp_path, check=True)
    options = ("-q", "--tb=short", "-p", "no:xdist", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'base'}")
    tests = ("tests/unit/assess/checks/test_file_access.py", "-k", "scripts or each_control")
    environment = {"PATH": os.environ["PATH"]}
    done = ran(sys.executable, "-m", "pytest", *options, *tests, cwd=tmp_path, env=environment)
    assert done.returncode == (0 if is_complete else 1), done.stdout + done.stderr
    assert ("passed" if is_complete else "test_each_control_has_files_or_a_directory") in done.stdout


def test_each_example_is_used_by_a_test() -> None:
    """A test that names the folder names the file, too, or the role that it belongs to."""
    tests = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")]
    for example in (path for path in (DOCS / "examples").rglob("*") if path.is_file()):
        folder, *below = example.relative_to(DOCS / "examples").parts
        name = below[1] if below[0] == "roles" else below[-1]
        assert any(name in test for test in tests if f"docs/examples/{folder}" in test), example


def test_files_of_the_project_in_the_documents_exist() -> None:
    named = {
        (str(page.relative_to(ROOT)), path)
        for page in PAGES
        for path in re.findall(r"`((?:agent|tests|\.ci)/[\w./-]+\.(?:py|tsv|txt|sh))[`:]", _text(page))
    }
    assert {(page, path) for page, path in named if not (ROOT / path).exists()} == set()
    assert named


def test_make_targets_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = {
        name for page in PAGES for name in re.findall(r"(?:^|`|sudo )make ([a-z][\w-]*)", _text(page), re.MULTILINE)
    }
    assert used - targets == set()
    assert {"run", "test", "docs"} <= used


def test_settings_in_the_howtos_are_valid() -> None:
    examples = [(page, body) for page in DOCS.glob("howto/*.md") for kind, body in _fences(page) if kind == "yaml"]
    examples = [(page, body) for page, body in examples if not body.startswith("# /etc/rancher/")]
    for page, body in examples:
        assert load_settings(body.encode(), PurePosixPath(page.name)) != Settings()
    assert examples


def test_the_reference_and_the_manual_list_every_path_of_the_state() -> None:
    files = [path for path in sorted((ROOT / "agent").rglob("*.py")) if not path.name.startswith("__")]
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)
    modules = map(importlib.import_module, names)
    public = (value for module in modules for name, value in vars(module).items() if not name.startswith("_"))
    paths = {value for value in public if isinstance(value, PurePosixPath) and state.STATE in value.parents}
    assert {journal.JOURNAL, journal.BACKUPS, drift.REPORT, drift.METRICS} <= paths
    reference, page = GENERATED["reference/resources.md"], manual(0).replace("\\-", "-")
    assert [path for path in paths if f"| `{path}` |" not in reference or f".I {path}\n" not in page] == []


def test_the_how_to_explains_every_status_and_level_of_a_report() -> None:
    sections = _text(DOCS / "howto/read-a-report.md").split("\n## ")
    rows = {text.splitlines()[0]: re.findall(r"^\| ([\w ]+?) \|", text, re.MULTILINE) for text in sections}
    assert rows["Items"] == ["status", *map(str, ItemStatus)]
    assert rows["Findings"] == ["level", *map(str, Level)]


@pytest.mark.parametrize("chinese", TRANSLATIONS, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_chinese_page_has_the_structure_of_the_english_page(chinese: Path) -> None:
    english = chinese.with_suffix("").with_suffix(".md")
    assert list(_fences(chinese)) == list(_fences(english))
    assert _shape(chinese) == _shape(english)
    assert f"]({english.name})" in _text(chinese)
    assert f"]({chinese.name})" in _text(english)


def test_the_design_shows_each_wing() -> None:
    table = re.findall(r"^\|(.*?)\|", _text(DOCS / "explanation/design.md"), re.MULTILINE)
    shown = set(re.findall(r"`(\w+?)(?:/|\.py)`", " ".join(table)))
    there = {path.stem for path in (ROOT / "agent").glob("[!_]*") if path.suffix == ".py" or any(path.rglob("*.py"))}
    assert shown == there


EPOCH = 1_700_000_000


def formatted(*options: str) -> str:
    """Return the page as groff prints it without a warning."""
    run = ran("groff", "-man", "-Tascii", *options, input=manual(EPOCH))
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


def test_the_manual_contains_every_verb_and_option() -> None:
    page = manual(EPOCH).replace(r"\-", "-")
    for command in generate_docs.commands():
        assert (f'.SS "{command.name}"' in page) == (not command.hidden)
        for option in () if command.hidden else command.options:
            assert all(rf"\fB{name}\fR" in page for name in option.names), option
    assert all(rf"\fB{name}\fR" in page for option in generate_docs.program_options() for name in option.names)


def test_the_manual_is_plain_roff() -> None:
    page = manual(EPOCH)
    assert page.isascii()
    assert page.startswith(rf'.TH K3S\-HARDEN 8 2023-11-14 "k3s\-harden {__version__}"')
    requests = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
    assert requests == {".TH", ".nr", ".ad", ".SH", ".SS", ".TP", ".PP", ".B", ".I", ".SY", ".YS"}
    assert not re.search(r"(?<!\\)-", page.replace("2023-11-14", ""))
    assert max(map(len, page.splitlines())) < 120


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_groff_formats_the_manual_without_warnings() -> None:
    printed = formatted("-ww")
    assert "System Administration" in printed


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_commands_of_the_manual_can_be_pasted() -> None:
    printed = formatted("-P-cbou", "-rLL=80n")
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 80
    for command in generate_docs.commands():
        if not command.hidden:
            assert command.example in " ".join(printed.split())
            assert f"Exit codes: {', '.join(code for code, _ in command.exit_codes)} " in " ".join(printed.split())
    assert [line for line in lines if line.endswith("-")] == []


def test_the_manual_names_the_gate_that_the_drop_in_starts() -> None:
    drop_in = _text(ROOT / "systemd/k3s.service.d/zzz-k3s-harden.conf")
    (gate,) = set(re.findall(r"ask start (\S+) &", drop_in))
    page = " ".join(manual(EPOCH).replace(r"\-", "-").split())
    assert f"The gate of k3s.service is {gate.replace('%N', 'k3s')}." in page
    assert f".B systemctl status {gate.replace('%N', 'k3s')} " in page


def _misuses(command: generate_docs.Command, words: list[str]) -> bool:
    """Return whether the verb does not support an option or argument; CAPITALS are placeholders."""
    options = {name: option for option in command.options for name in option.names}
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word.startswith("-") and (command.name, word) != ("fleet", "-"):
            option = options.get(word)
            if option is None:
                return True
            value = waiting.pop(0) if option.takes and waiting else ""
            del waiting[: len(option.takes.split()[1:])]  # an option can take several values
            if value and option.choices and value not in option.choices:
                return True
        elif not command.arguments:
            return True
        elif command.name == "preflight":
            if not re.fullmatch(r"v1\.\d+(\.\d+\+k3s1)?", word):
                return True
        elif not word.isupper() and command.name != "fleet":
            choices = command.arguments[0].choices
            if word not in choices if choices else not topics.named(word):
                return True
    return False


def _calls() -> Iterator[Command]:
    for page in PAGES:
        spans = re.findall(r"`([^`\n]+)`", _without_fences(page))
        shell = [body for kind, body in _fences(page) if kind == "sh"]
        for code in [*spans, *shell]:
            for match in _COMMAND.findall(code):
                words = _SHELL_GOES_ON.split(match)[0].split()
                if words and not words[0].isupper():
                    yield Command(page, tuple(words))


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _fences(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each fenced block, without the indent of a list."""
    for kind, body in _FENCE.findall(_text(page)):
        yield kind, re.sub(r"^  ", "", body, flags=re.MULTILINE) if body.startswith("  ") else body


def _without_fences(page: Path) -> str:
    return _FENCE.sub("", _text(page))


def _anchors(page: Path) -> set[str]:
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", _without_fences(page), re.MULTILINE):
        anchor = markdown.anchor(heading)
        number = 0
        while f"{anchor}-{number}" in found if number else anchor in found:
            number += 1
        found.add(f"{anchor}-{number}" if number else anchor)
    return found


def _shape(page: Path) -> dict[str, object]:
    """Return the structure of a page. A link to a translated page counts as one to the English page."""
    text = _without_fences(page)
    is_english = page not in TRANSLATIONS
    links = [target for target in _LINK.findall(text) if not (is_english and ".zh.md" in target)]
    return {
        "headings": [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)],
        "rows": len(re.findall(r"^\|", text, re.MULTILINE)),
        "items": len(re.findall(r"^ *(?:-|\d+\.) ", text, re.MULTILINE)),
        "links": sorted(set(map(_without_language, links)) - {page.name.replace(".zh.md", ".md")}),
        "code": sorted(set(re.findall(r"`([^`\n]+)`", text))),
    }


def _without_language(target: str) -> str:
    """Return a link without the language of the page and, as headings are translated, without its heading."""
    return target.partition("#")[0].replace(".zh.md", ".md")


def _words(svg: str) -> list[str]:
    return html.unescape(" ".join(re.findall(r"<text [^>]*>([^<]*)</text>", svg))).split()
