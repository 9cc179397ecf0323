"""The start time of the program: loaded modules, the garbage collector, YAML without PyYAML."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent import yaml_reader
from tests import k3s_tree

CHECKOUT = Path(__file__).parents[2]
OPTIONS = ("--role", "server", "--k3s-version", "1.34")

SLOW = frozenset(
    {"dataclasses", "datetime", "inspect", "json", "psutil", "rich", "subprocess", "typer", "typing", "yaml"}
)
"""Modules that are slow to import. Each class of dataclasses takes as long as a module (docs/adr/0017)."""

MOST_MODULES = 108
"""Modules of the program that a run without changes loads; each takes 0.2 ms.

Four of them are for the next step, the installation of K3s: while K3s runs, there is none.
"""

NOT_NEEDED = frozenset(
    {
        "agent.assess",
        "agent.benchmark",
        "agent.findings.argument_predictions",
        "agent.findings.edited_content",
        "agent.guide.controls",
        "agent.host.planned",
        "agent.host.temporary",
        "agent.host.writable_tree",
        "agent.k3s.components",
        "agent.plan.diffs",
        "agent.present.json_report",
        "agent.present.table",
        "agent.verbs.assess",
        "agent.verbs.drift",
        "agent.verbs.explain",
        "agent.verbs.install",
        "agent.verbs.release",
        "agent.verbs.render",
        "agent.verbs.revert",
        "agent.verbs.service_accounts",
    }
)

WATCHED = """\
import gc, sys
before = set(sys.modules)
from agent.__main__ import main
code = None
try:
    main()
except SystemExit as end:
    code = end.code
print(*sorted(set(sys.modules) - before), file=sys.stderr)
print(code, gc.isenabled(), gc.get_freeze_count() > 0, file=sys.stderr)
"""


class Watched(NamedTuple):
    """A run of the program: the modules it loaded, and how it ended."""

    modules: frozenset[str]
    code: str
    collects: bool
    frozen: bool


def watched(*arguments: str) -> Watched:
    run = subprocess.run(
        [sys.executable, "-c", WATCHED, *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    *_, modules, end = run.stderr.splitlines()
    code, collects, frozen = end.split()
    return Watched(frozenset(modules.split()), code, collects == "True", frozen == "True")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a compliant host tree with a configuration of the operator."""
    root = tmp_path_factory.mktemp("host")
    subprocess.run([CHECKOUT / ".ci/disposable-host", root], check=True)
    config = root / "etc/rancher/k3s/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(
        '# Ours.\nwrite-kubeconfig-mode: "0600"\nnode-label:\n  - "disk=ssd"\ntls-san:\n  - k3s.example\n'
    )
    assert watched("apply", "--root", str(root), *OPTIONS).code == "0"
    return root


@pytest.mark.parametrize("verb", ["apply", "check"])
def test_a_run_without_changes_loads_only_what_it_needs(ready: Path, verb: str) -> None:
    """It loads no slow module, no module that only other verbs use, and few modules."""
    run = watched(verb, "--root", str(ready), *OPTIONS)
    assert run.code == "0"
    assert "agent.verbs.converge" in run.modules
    assert run.modules & (SLOW | NOT_NEEDED) == frozenset()
    assert len([name for name in run.modules if name.split(".")[0] == "agent"]) <= MOST_MODULES


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create the tree of a hardened server on which K3s has run with etcd."""
    root = tmp_path_factory.mktemp("server")
    subprocess.run([CHECKOUT / ".ci/disposable-host", root], check=True)
    assert watched("apply", "--root", str(root), *OPTIONS).code == "0"
    k3s_tree.started(root, k3s_tree.K3s())
    return root


def test_an_assessment_reads_what_k3s_writes_without_pyyaml(populated: Path) -> None:
    """The kubelet's configuration and etcd's are nested mappings. No other slow module is loaded."""
    run = watched("assess", "--root", str(populated), *OPTIONS)
    assert run.code == "3"
    assert run.modules & (SLOW - {"json"}) == frozenset()


def test_check_and_assess_load_no_named_tuple_of_typing(ready: Path, populated: Path) -> None:
    """Its class costs twice as much as agent.value.NamedTuple and 25 times as much as agent.value.Value."""
    modules = watched("check", "--root", str(ready), *OPTIONS).modules
    modules |= watched("assess", "--root", str(populated), *OPTIONS).modules
    files = [CHECKOUT / f"{name.replace('.', '/')}{end}" for name in modules for end in (".py", "/__init__.py")]
    texts = {file: file.read_text() for file in files if file.exists() and file.name != "value.py"}
    of_typing = re.compile("^from typing import .*NamedTuple", re.MULTILINE)
    assert [file for file, text in texts.items() if of_typing.search(text)] == []


def test_pyyaml_reads_a_configuration_that_is_not_simple(ready: Path) -> None:
    """The test above detects PyYAML: the simple reader does not support a flow sequence."""
    dropin = ready / "etc/rancher/k3s/config.yaml.d/10-site.yaml"
    dropin.write_text("node-taint: []\n")
    try:
        assert "yaml" in watched("check", "--root", str(ready), *OPTIONS).modules
    finally:
        dropin.unlink()


def test_the_tables_are_loaded_only_if_the_operator_sets_a_component_argument(ready: Path) -> None:
    """The arguments of the k3s-harden drop-in are valid and need no prediction."""
    dropin = ready / "etc/rancher/k3s/config.yaml.d/10-site.yaml"
    dropin.write_text("kubelet-arg:\n  - max-pods=200\n")
    try:
        assert "agent.k3s.components.tables" in watched("check", "--root", str(ready), *OPTIONS).modules
    finally:
        dropin.unlink()


def test_the_garbage_collector_is_off_and_frozen_at_the_end(ready: Path) -> None:
    """Garbage collection takes a fifth of the run."""
    run = watched("check", "--root", str(ready), *OPTIONS)
    assert not run.collects
    assert run.frozen


def test_typer_reads_a_command_line_that_is_not_plain(ready: Path) -> None:
    """The tests above detect Typer. Other spellings of an option have the same result."""
    run = watched("check", "-vq", "--root", str(ready), *OPTIONS)
    assert run.code == "0"
    assert "typer" in run.modules


def test_psutil_is_not_loaded_to_find_k3s(tmp_path: Path) -> None:
    """/proc has everything that is needed, also of a process that is K3s."""
    program = tmp_path / "k3s-server"
    shutil.copy("/bin/sleep", program)
    code = "from agent.host.probe import k3s_processes\nimport sys\nprint(k3s_processes(), 'psutil' in sys.modules)"
    with subprocess.Popen(["k3s server", "60"], executable=program) as running:
        try:
            while not Path(f"/proc/{running.pid}/cmdline").read_bytes().startswith(b"k3s server\0"):
                time.sleep(0.01)  # exec(2) sets the command line shortly after Popen returns
            run = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True)
        finally:
            running.kill()
    assert f"pid={running.pid}, " in run.stdout
    assert run.stdout.endswith(" False\n")


WORDS = st.one_of(
    st.from_regex(r"[\w/](?:[\w./=,@%+:-]{0,9}[\w./=,@%+-])?", fullmatch=True),
    st.from_regex(r'"[ -~]{0,9}"', fullmatch=True),
    st.sampled_from(["yes", "null", "0600", "0x1f", "1:20", "1e3", "1.", "10.42.0.0/16", "2001-01-01", "a:b", "a#b"]),
)
KEYS = st.one_of(st.from_regex(r"[A-Za-z][\w.+-]{0,9}", fullmatch=True), st.sampled_from(["true", "y", "null"]))
LINES = st.one_of(
    st.builds("{}: {}\n".format, KEYS, WORDS),
    st.builds("{}: {{}}\n".format, KEYS),
    st.builds("{}:\n".format, KEYS),
    st.builds("- {}\n".format, WORDS),
)
BLOCKS = st.one_of(
    LINES,
    st.builds("{}{}".format, st.sampled_from(["  ", "    ", " ", "      "]), LINES),
    st.builds("{}:\n{}".format, KEYS, st.lists(st.builds("  - {}\n".format, WORDS), max_size=3).map("".join)),
    st.builds("{}:\n{}".format, KEYS, st.lists(st.builds("- {}\n".format, WORDS), max_size=3).map("".join)),
    st.builds("{}:\n{}".format, KEYS, st.lists(st.builds("  {}".format, LINES), max_size=3).map("".join)),
    st.sampled_from(["\n", "# a comment: [\n", "---\n", "...\n", "a: b: c\n", "  - a\n", "<<: a\n", "a: b", "a: |\n"]),
)


@given(st.lists(BLOCKS, max_size=6).map("".join))
@example("")
@example("a:\n  b:\n    - c\n  d: {}\ne:\n- f\ng:\n  h:\n    i: 1\n")
@example("a:\n  b:\n")
@example("a:\n  b:\nc: d\n")
@example("a:\n  - b\n  c: d\n")
@example("a: b\n  c: d\n")
@example("a:\n- b\n  - c\n")
@example('# a comment\n\nb+:\n  - 010\n# another\nc: off\nb+:\n  - "x: y # z"\n')
def test_the_simple_reader_agrees_with_pyyaml(text: str) -> None:
    """Values, texts and lines are equal, or the simple reader rejects the file."""
    simple = yaml_reader._simple(text)
    if simple is not None:
        read_by_pyyaml = yaml_reader._documents(yaml_reader._events(text), text, PurePosixPath("/etc/site.yaml"), 100)
        assert repr(simple) == repr(tuple(read_by_pyyaml))


def test_the_drop_in_is_read_without_pyyaml(ready: Path) -> None:
    """The drop-in is on every host, and PyYAML is slow to load."""
    dropin = ready / "etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml"
    documents = yaml_reader._simple(dropin.read_text())
    assert documents is not None
    assert len(documents) == 1


PATTERNS = """\
import re, sys
compiled = []
compile_pattern = re._compiler.compile
def compile_and_count(pattern, flags=0):
    compiled.append(pattern)
    return compile_pattern(pattern, flags)
re._compiler.compile = compile_and_count
from agent.__main__ import main
try:
    main()
except SystemExit:
    print(len(compiled), file=sys.stderr)
"""

MOST_PATTERNS = 15
"""Regular expressions that such a run compiles: each takes up to 0.5 ms. Python 3.13 compiles one more than 3.11."""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="re is one module")
def test_a_run_without_changes_compiles_few_patterns(ready: Path) -> None:
    """Rarely used patterns are strings until the first use."""
    command = [sys.executable, "-c", PATTERNS, "check", "--root", str(ready), *OPTIONS]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert int(run.stderr) <= MOST_PATTERNS


def test_a_plain_assessment_escapes_only_what_it_prints(populated: Path) -> None:
    """Escaping all texts of an assessment takes as long as checking the node."""
    code = (
        "import sys\nfrom agent.present.assessments import common\n"
        "common.cleaned = lambda _: sys.exit(99)\n"
        "from agent.__main__ import main\nmain()"
    )
    command = [sys.executable, "-c", code, "assess", "--root", str(populated), *OPTIONS]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert run.returncode == 3
