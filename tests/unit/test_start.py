"""What keeps the start short: modules that are not loaded, a collector that does not run, YAML read without PyYAML."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent import yaml_reader

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[2]
OPTIONS = ("--role", "server", "--k3s-version", "1.34")

SLOW = frozenset({"json", "psutil", "rich", "yaml"})
"""Each costs more than the work of a run that has nothing to do."""

FOR_OTHER_VERBS = frozenset(
    {
        "agent.assessment",
        "agent.benchmark",
        "agent.cloud_init",
        "agent.diffs",
        "agent.explain",
        "agent.guide.controls",
        "agent.install",
        "agent.present.machine",
        "agent.present.table",
        "agent.rancher",
        "agent.render",
        "agent.service_accounts",
    }
)

WATCHED = """\
import gc, sys
import typer
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
    """A run of the program: what it loaded beside Typer, and how it ended."""

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
    """Make a host tree in which nothing is left to do, beside an operator's own configuration."""
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
def test_a_run_with_nothing_to_do_loads_no_more_than_it_needs(ready: Path, verb: str) -> None:
    """Neither PyYAML nor another slow module, and no module that only other verbs use."""
    run = watched(verb, "--root", str(ready), *OPTIONS)
    assert run.code == "0"
    assert "agent.verbs" in run.modules
    assert run.modules & (SLOW | FOR_OTHER_VERBS) == frozenset()


def test_a_configuration_that_is_not_simple_is_read_by_pyyaml(ready: Path) -> None:
    """The test above would see PyYAML: a flow sequence is beyond what is read without it."""
    dropin = ready / "etc/rancher/k3s/config.yaml.d/10-site.yaml"
    dropin.write_text("node-taint: []\n")
    try:
        assert "yaml" in watched("check", "--root", str(ready), *OPTIONS).modules
    finally:
        dropin.unlink()


def test_the_collector_is_off_and_has_nothing_to_go_through_at_the_end(ready: Path) -> None:
    """It would look at every imported object several times, which takes a fifth of the run."""
    run = watched("check", "--root", str(ready), *OPTIONS)
    assert not run.collects
    assert run.frozen


def names_of_processes() -> Iterator[str]:
    for name in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):  # it ended meanwhile
            yield name.read_text(errors="replace")


def a_k3s_runs() -> bool:
    return any(name.startswith("k3s") and not name.startswith("k3s-harden") for name in names_of_processes())


def test_psutil_is_loaded_only_where_a_k3s_may_run(tmp_path: Path) -> None:
    """The names of processes tell, in less time than psutil takes to be imported; the program itself is no K3s."""
    # A script's process has the script's name.
    answers = {}
    for name in ("k3s-harden", "k3s-shim"):
        if a_k3s_runs():
            pytest.skip("a process of this machine is called k3s")
        program = tmp_path / name
        program.write_text(
            f"#!{sys.executable}\nimport sys; sys.path.insert(0, {str(CHECKOUT)!r})\n"
            "from agent.host.probe import k3s_processes\nprint(k3s_processes(), 'psutil' in sys.modules)\n"
        )
        program.chmod(0o755)
        answers[name] = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    if a_k3s_runs():
        pytest.skip("a process of this machine is called k3s")
    assert answers == {"k3s-harden": "() False\n", "k3s-shim": "() True\n"}


WORDS = st.one_of(
    st.from_regex(r"[\w/](?:[\w./=,@%+:-]{0,9}[\w./=,@%+-])?", fullmatch=True),
    st.from_regex(r'"[ -~]{0,9}"', fullmatch=True),
    st.sampled_from(["yes", "null", "0600", "0x1f", "1:20", "1e3", "1.", "10.42.0.0/16", "2001-01-01", "a:b", "a#b"]),
)
KEYS = st.one_of(st.from_regex(r"[A-Za-z][\w.+-]{0,9}", fullmatch=True), st.sampled_from(["true", "y", "null"]))
BLOCKS = st.one_of(
    st.builds("{}: {}\n".format, KEYS, WORDS),
    st.builds("{}:\n{}".format, KEYS, st.lists(st.builds("  - {}\n".format, WORDS), max_size=3).map("".join)),
    st.sampled_from(["\n", "# a comment: [\n", "---\n", "...\n", "a: b: c\n", "  - a\n", "<<: a\n", "a: b", "a: |\n"]),
)


@given(st.lists(BLOCKS, max_size=6).map("".join))
@example("")
@example('# a comment\n\nb+:\n  - 010\n# another\nc: off\nb+:\n  - "x: y # z"\n')
def test_what_is_read_without_pyyaml_is_what_pyyaml_makes_of_it(text: str) -> None:
    """Values, their text and their lines are the same, or the file is left to PyYAML."""
    simple = yaml_reader._simple(text)
    if simple is not None:
        read_by_pyyaml = yaml_reader._documents(yaml_reader._events(text), PurePosixPath("/etc/site.yaml"), 100)
        assert repr(simple) == repr(tuple(read_by_pyyaml))


def test_what_this_program_writes_is_read_without_pyyaml(ready: Path) -> None:
    """The drop-in is on every host: were it beyond the simple reader, every run would load PyYAML."""
    dropin = ready / "etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml"
    documents = yaml_reader._simple(dropin.read_text())
    assert documents is not None
    assert len(documents) == 1
