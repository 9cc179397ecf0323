"""The modules of agent/: their layers, purity, access to the machine, what the start loads, and texts of repairs."""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]

WINGS: dict[str, str] = {
    "base": ". package_data times value model repair errors linux report yaml_reader host",
    "k3s": ".",
    "cluster": "kubernetes . fleet",
    "harden": ". guide settings plan changes node desired gate situation",
    "findings": ".",
    "assess": "checks benchmark frameworks .",
    "reports": ".",
    "verbs": "advice .",
    "cli": ".",
}
"""The folders of agent/, lowest first, each with the order of its packages; the dot is the folder's own modules.

A module imports from lower wings and, within its wing, from packages further left. Modules of one package can import
one another, but not in a circle.
"""

NOT_IMPORTING_EACH_OTHER = (
    frozenset({"agent.cluster", "agent.harden"}),
    frozenset({"agent.base.linux", "agent.base.yaml_reader"}),
    frozenset({"agent.harden.changes", "agent.harden.node"}),
)
"""Pairs that do not import each other, although the order allows it."""


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PURE = words(
    "agent.assess agent.base agent.cluster.fleet agent.cluster.kubernetes agent.findings agent.harden agent.k3s"
    " agent.verbs.advice"
)
"""Wings and packages whose results depend only on their arguments: they import neither Host nor a clock."""

IMPURE_PARTS = words(
    "agent.assess.evidence agent.base.host agent.base.package_data agent.base.times agent.harden.changes"
    " agent.harden.gate agent.harden.node agent.harden.situation"
)
"""Packages of a pure wing that read or write the host, the clock or the program's own files."""

TOUCHES_THE_MACHINE = words(
    "ctypes fcntl glob grp mmap multiprocessing os pathlib.Path pathlib.PosixPath psutil pwd resource shutil signal"
    " socket subprocess tempfile threading"
)
ON_TEXT_ALONE = words("os.sep os.path.basename os.path.dirname os.path.join os.path.normpath os.path.split")
DEPENDS_ON_WHEN_IT_RUNS = frozenset({"datetime.datetime.now", "random", "secrets", "time", "uuid"})

ALLOWED: dict[str, frozenset[str]] = {
    "agent.cli": frozenset({"os", "pathlib.Path", "signal", "threading"}),
    "agent.__main__": frozenset({"signal"}),
}
"""Exceptions for packages outside agent.base.host: the command line uses streams, and options with paths."""

NOT_AT_START = ("inspect", "json", "psutil", "rich", "socket", "subprocess", "typer", "yaml")
"""Importing each of them takes longer than a run without changes, so functions import them."""


class Use(NamedTuple):
    """A dotted name that a module imports, calls or reads, with its line."""

    name: str
    line: int


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((ROOT / "agent").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(tree: ast.AST, module: str) -> Iterator[Use]:
    """Yield every imported name, also of imports in functions; `from a import b` yields a.b."""
    is_package = modules().get(module, ROOT).name == "__init__.py"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Use(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                package = module.split(".")
                above = node.level - is_package
                source = ".".join([*package[: len(package) - above], *filter(None, [source])])
            yield from (Use(f"{source}.{alias.name}", node.lineno) for alias in node.names)


def uses(tree: ast.AST) -> Iterator[Use]:
    """Yield every use of an imported or built-in name by its full name: `Path()` yields pathlib.Path."""
    full_names = {name: name for name in dir(builtins)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                full_names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and not node.level:
            full_names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)):
            first, dot, rest = ast.unparse(node).partition(".")
            if first in full_names:
                yield Use(full_names[first] + dot + rest, node.lineno)


def within(name: str, roots: frozenset[str] | tuple[str, ...]) -> str:
    """Return the longest of `roots` that is the dotted name or contains it; empty if there is none."""
    return max((root for root in roots if name == root or name.startswith(f"{root}.")), key=len, default="")


def layers() -> tuple[str, ...]:
    """Return the packages by dotted name, lowest first. `agent` itself has only facts of the release."""
    inside = (
        f"agent.{wing}" if package == "." else f"agent.{wing}.{package}"
        for wing, packages in WINGS.items()
        for package in packages.split()
    )
    return ("agent", *inside, "agent.__main__")


def home(name: str) -> str:
    """Return the entry of layers() that contains a dotted name."""
    own = {"agent", "agent.__version__", "agent.__released__", "agent.__releases__"}
    return "agent" if name in own else within(name, layers()[1:])


def are_apart(one: str, other: str) -> bool:
    return any({within(one, tuple(pair)), within(other, tuple(pair))} == pair for pair in NOT_IMPORTING_EACH_OTHER)


def upward_imports(tree: ast.AST, module: str) -> list[str]:
    """Describe imports of a package that is not lower than that of the module."""
    own = home(module)
    if not own:
        return [f"{module} is not in WINGS: add its package as low as its imports allow; docs/explanation/design.md"]
    rank = {name: at for at, name in enumerate(layers())}
    wrong = []
    for use in imports(tree, module):
        if use.name.split(".")[0] != "agent":
            continue
        other = home(use.name)
        if not other:
            wrong.append(f"{module}:{use.line} imports {use.name}, which is not in WINGS")
        elif other != own and (rank[other] > rank[own] or are_apart(own, other)):
            wrong.append(f"{module}:{use.line} imports {use.name}, which is not in a lower package")
    return wrong


def machine_uses(tree: ast.AST, module: str) -> list[str]:
    """Describe uses that are reserved to agent.base.host, and imports that a pure module must not have.

    Files are read and written only through Host, so --root applies to all.
    """
    if home(module) == "agent.base.host":
        return []
    pure = bool(within(module, PURE)) and not within(module, IMPURE_PARTS)
    forbidden = TOUCHES_THE_MACHINE - ALLOWED.get(home(module), frozenset())
    if pure:
        forbidden |= DEPENDS_ON_WHEN_IT_RUNS | {"agent.base.host"}
    called = {"open", "io.open"} | ({"input", "print"} if pure else set())
    wrong = {use for use in imports(tree, module) if within(use.name, forbidden) and use.name not in ON_TEXT_ALONE}
    wrong |= {use for use in uses(tree) if use.name in called or (within(use.name, forbidden) == use.name)}
    return [f"{module}:{use.line} uses {use.name}" for use in sorted(wrong, key=lambda use: use.line)]


def exits(tree: ast.AST, module: str) -> list[str]:
    """Describe the statements that end the program, except those of the command line.

    All other modules raise errors of agent.base.errors, so each run prints its report before it ends.
    """
    if home(module) in {"agent.cli", "agent.__main__"}:
        return []
    ways = frozenset({"SystemExit", "exit", "os._exit", "quit", "sys.exit", "typer.Abort", "typer.Exit", "os.abort"})
    return [f"{module}:{use.line} uses {use.name}" for use in uses(tree) if use.name in ways]


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return the modules of each circle of imports."""
    reached: dict[str, set[str]] = {}
    for module in graph:
        found, waiting = set[str](), [*graph[module]]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += graph[name]
        reached[module] = found
    groups = {
        frozenset(other for other in found if module in reached[other])
        for module, found in reached.items()
        if module in found
    }
    return sorted(map(sorted, groups))


def hidden_imports(tree: ast.AST, module: str) -> list[str]:
    """Describe imports by a function call, which these tests cannot analyze."""
    ways = frozenset({"__import__", "importlib.import_module", "importlib.util.spec_from_file_location"})
    return [f"{module}:{use.line} uses {use.name}" for use in uses(tree) if use.name in ways]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@pytest.mark.parametrize("module", modules())
@pytest.mark.parametrize("check", [upward_imports, machine_uses, exits, hidden_imports])
def test_a_module_keeps_the_rules(check: Callable[[ast.AST, str], list[str]], module: str) -> None:
    assert check(parsed(modules()[module]), module) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports in functions and those for type checkers are imports, too."""
    found = modules()
    graph = {
        module: {
            use.name if use.name in found else use.name.rpartition(".")[0] for use in imports(parsed(path), module)
        }
        & found.keys() - {module}
        for module, path in found.items()
    }
    assert circles(graph) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": "b", "b": "c", "c": "b", "d": "a"}) == [["b", "c"]]


def test_each_package_is_in_the_table_once() -> None:
    names = layers()
    assert len(names) == len(set(names))
    assert set(names) >= PURE | set(ALLOWED) | {name for pair in NOT_IMPORTING_EACH_OTHER for name in pair}
    assert all(within(name, PURE) for name in IMPURE_PARTS)


def test_value_types_are_not_dataclasses() -> None:
    """Only agent.base.value names the module, for type checkers: each class of it would be compiled at each start."""
    users = {
        module
        for module, path in modules().items()
        for use in imports(parsed(path), module)
        if within(use.name, ("dataclasses",))
    }
    assert users == {"agent.base.value"}


def test_importing_the_command_line_loads_no_slow_module() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); before = set(sys.modules); import agent.cli; "
        "print(*sorted(set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert [name for name in run.stdout.split() if within(name, NOT_AT_START)] == []


@pytest.mark.parametrize(
    ("check", "module", "source"),
    [
        (upward_imports, "agent.base.model", "from agent.base.errors import HardenError"),
        (upward_imports, "agent.base.model", "import agent.harden.guide.guide_row"),
        (upward_imports, "agent.harden.plan", "def late():\n    from agent import host"),
        (upward_imports, "agent.harden.guide.sysctls", "from ..plan import Plan"),
        (upward_imports, "agent.base.host.files", "from agent.cli import main"),
        (upward_imports, "agent.base.report", "if TYPE_CHECKING:\n    from agent.cli import main"),
        (upward_imports, "agent.stray", "import re"),
        (upward_imports, "agent.cli", "import agent.stray"),
        (upward_imports, "agent.cli", "from agent.stray import x"),
        (machine_uses, "agent.harden.changes.journal", "import os"),
        (machine_uses, "agent.harden.changes.journal", "import os.path as p"),
        (machine_uses, "agent.harden.plan", "from os import path"),
        (machine_uses, "agent.harden.plan", "from pathlib import Path"),
        (machine_uses, "agent.harden.plan", "import pathlib\npathlib.Path('/etc')"),
        (machine_uses, "agent.harden.changes.execute", "import subprocess"),
        (machine_uses, "agent.harden.changes.execute", "open('/etc/passwd')"),
        (machine_uses, "agent.harden.desired", "from agent.base.host import Host"),
        (machine_uses, "agent.harden.desired", "import time"),
        (machine_uses, "agent.harden.desired", "from datetime import datetime\ndatetime.now()"),
        (machine_uses, "agent.findings", "print('x')"),
        (machine_uses, "agent.cli", "import socket"),
        (exits, "agent.harden.plan", "import sys\nsys.exit(1)"),
        (exits, "agent.harden.plan", "from sys import exit as leave\nleave()"),
        (exits, "agent.harden.plan", "raise SystemExit"),
        (exits, "agent.harden.plan", "import typer\ntyper.Exit(1)"),
        (hidden_imports, "agent.harden.plan", "import importlib\nimportlib.import_module('agent.cli')"),
        (hidden_imports, "agent.harden.plan", "__import__('agent.cli')"),
    ],
)
def test_a_violation_is_reported(check: Callable[[ast.AST, str], list[str]], module: str, source: str) -> None:
    assert check(ast.parse(source), module)


@pytest.mark.parametrize(
    ("check", "module", "source"),
    [
        (upward_imports, "agent.harden.plan", "from agent.base.model import Resource"),
        (upward_imports, "agent.harden.guide.sysctls", "from agent.harden.guide.guide_row import Control"),
        (upward_imports, "agent.harden.guide.sysctls", "from .control import Control"),
        (upward_imports, "agent.cli", "from agent import __version__"),
        (upward_imports, "agent.base.model", "import re"),
        (machine_uses, "agent.base.host.files", "import os\nopen('/etc/passwd')"),
        (machine_uses, "agent.harden.plan", "from pathlib import PurePosixPath"),
        (machine_uses, "agent.harden.plan", "import pathlib\npathlib.PurePosixPath('/etc')"),
        (machine_uses, "agent.harden.changes.execute", "from agent.base.host import Host"),
        (machine_uses, "agent.cli", "import os"),
        (machine_uses, "agent.harden.plan", "host.open('/etc')"),
        (machine_uses, "agent.harden.plan", "resource = 1\nresource.id"),
        (
            machine_uses,
            "agent.harden.guide.manifests",
            "from os.path import dirname, join\njoin(dirname('/etc/x'), 'y')",
        ),
    ],
)
def test_other_code_is_allowed(check: Callable[[ast.AST, str], list[str]], module: str, source: str) -> None:
    assert check(ast.parse(source), module) == []


AGENT = ROOT / "agent"
_PLACEHOLDER = re.compile(r"(?<![\w/.$-])[A-Z]{4,}(?![\w=-])")


def _calls(*names: str) -> Iterator[tuple[str, ast.Call]]:
    for path in modules().values():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield f"{path.relative_to(ROOT / 'agent')}:{node.lineno}", node


def test_no_command_has_a_placeholder() -> None:
    """What has to be replaced first cannot be pasted: it is a question with its answers."""
    found = [
        (place, part.value)
        for place, call in _calls("Run", "RunVerb")
        for part in ast.walk(call)
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and _PLACEHOLDER.search(part.value)
    ]
    assert found == []


def test_only_rows_of_tables_and_presenters_have_a_text_about_what_to_do() -> None:
    """What to do about a problem of this host is a Repair, which a program can carry out."""
    fields = {
        f"{path.relative_to(ROOT / 'agent')}: {node.name}.{field.target.id}"
        for path in modules().values()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if re.search("hint|fix|advi[cs]e|remed|repair", field.target.id) and "str" in ast.unparse(field.annotation)
    }
    assert fields == {
        "base/yaml_reader.py: _Mistake.fix",
        "cluster/kubernetes/pod_security.py: _Rule.fix",
        "findings/registry.py: FindingKind.repair",
        "reports/assessments/common.py: Awaiting.fix",
    }
