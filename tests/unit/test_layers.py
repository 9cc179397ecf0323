"""Imports run downwards only, one package alone touches the machine, and the start loads no more than it must."""

from __future__ import annotations

import ast
import builtins
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

LAYERS: tuple[tuple[str, ...], ...] = (
    ("agent",),
    ("agent.model", "agent.package_data"),
    ("agent.errors", "agent.linux"),
    ("agent.report", "agent.yaml_reader"),
    ("agent.k3s",),
    ("agent.guide",),
    ("agent.settings",),
    ("agent.plan",),
    ("agent.host",),
    ("agent.changes", "agent.node"),
    ("agent.desired",),
    ("agent.situation",),
    ("agent.findings",),
    ("agent.benchmark",),
    ("agent.assess",),
    ("agent.present",),
    ("agent.verbs",),
    ("agent.cli",),
    ("agent.__main__",),
)
"""Packages and top-level modules, lowest first. Modules of one package may import each other.

Everything else imports only from layers below its own.
"""

PURE = frozenset(
    {
        "agent.assess",
        "agent.benchmark",
        "agent.desired",
        "agent.errors",
        "agent.findings",
        "agent.guide",
        "agent.k3s",
        "agent.linux",
        "agent.model",
        "agent.plan",
        "agent.report",
        "agent.settings",
        "agent.yaml_reader",
    },
)
"""Packages whose results depend only on their arguments: they import neither Host nor a clock."""

IMPURE_PARTS = frozenset({"agent.assess.baseline", "agent.assess.evidence"})
"""Subpackages of a pure package that read the host."""

TOUCHES_THE_MACHINE = frozenset(
    {
        "ctypes",
        "fcntl",
        "glob",
        "grp",
        "mmap",
        "multiprocessing",
        "os",
        "pathlib.Path",
        "pathlib.PosixPath",
        "psutil",
        "pwd",
        "resource",
        "shutil",
        "signal",
        "socket",
        "subprocess",
        "tempfile",
        "threading",
    },
)
ON_TEXT_ALONE = frozenset(
    {"os.sep", "os.path.basename", "os.path.dirname", "os.path.join", "os.path.normpath", "os.path.split"},
)
DEPENDS_ON_WHEN_IT_RUNS = frozenset({"datetime.datetime.now", "random", "secrets", "time", "uuid"})

ALLOWED: dict[str, frozenset[str]] = {
    "agent.cli": frozenset({"os", "pathlib.Path"}),
}
"""What a package outside agent.host needs nevertheless: the edge has streams, and options that name files."""

NOT_AT_START = ("json", "psutil", "rich", "subprocess", "yaml")
"""Each costs more time than a run that has nothing to do: a function that needs one imports it."""


class Use(NamedTuple):
    """A dotted name that a module imports, calls or reads, and where."""

    name: str
    line: int


def modules() -> dict[str, Path]:
    """Find all modules of the package, by dotted name."""
    found = {}
    for path in sorted((ROOT / "agent").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(tree: ast.AST, module: str, *, is_package: bool = False) -> Iterator[Use]:
    """Yield every imported name, at the top or inside a function; `from a import b` yields a.b."""
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
    """Yield every read of something imported or built in, spelt out: after its import, `Path()` yields pathlib.Path."""
    spelt_out = {name: name for name in dir(builtins)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                spelt_out[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and not node.level:
            spelt_out |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)):
            first, dot, rest = ast.unparse(node).partition(".")
            if first in spelt_out:
                yield Use(spelt_out[first] + dot + rest, node.lineno)


def within(name: str, roots: frozenset[str] | tuple[str, ...]) -> str:
    """Find the one of `roots` that the dotted name is or lies in; the longest, or empty for none."""
    return max((root for root in roots if name == root or name.startswith(f"{root}.")), key=len, default="")


def layer_names() -> tuple[str, ...]:
    return tuple(name for layer in LAYERS for name in layer)


def home(name: str) -> str:
    """Find the entry of LAYERS that a dotted name belongs to; the package itself holds the version and nothing else."""
    return "agent" if name in {"agent", "agent.__version__"} else within(name, layer_names()[1:])


def rank(entry: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if entry in layer)


def upward_imports(tree: ast.AST, module: str, *, is_package: bool = False) -> list[str]:
    """List the imports that do not go down, as text for a person."""
    own = home(module)
    if not own:
        return [f"{module} has no place in LAYERS"]
    wrong = []
    for use in imports(tree, module, is_package=is_package):
        if use.name.split(".")[0] != "agent":
            continue
        other = home(use.name)
        if not other:
            wrong.append(f"{module}:{use.line} imports {use.name}, which has no place in LAYERS")
        elif other != own and rank(other) >= rank(own):
            wrong.append(f"{module}:{use.line} imports {use.name}, which is not below it")
    return wrong


def machine_uses(tree: ast.AST, module: str) -> list[str]:
    """List what the module uses though only agent.host may, and what a pure module may not even import."""
    if home(module) == "agent.host":
        return []
    pure = home(module) in PURE and not within(module, IMPURE_PARTS)
    forbidden = TOUCHES_THE_MACHINE - ALLOWED.get(home(module), frozenset())
    if pure:
        forbidden |= DEPENDS_ON_WHEN_IT_RUNS | {"agent.host"}
    called = {"open", "io.open"} | ({"input", "print"} if pure else set())
    wrong = {use for use in imports(tree, module) if within(use.name, forbidden) and use.name not in ON_TEXT_ALONE}
    wrong |= {use for use in uses(tree) if use.name in called or (within(use.name, forbidden) == use.name)}
    return [f"{module}:{use.line} uses {use.name}" for use in sorted(wrong, key=lambda use: use.line)]


def exits(tree: ast.AST, module: str) -> list[str]:
    """List where the module ends the program."""
    ways = frozenset({"SystemExit", "exit", "os._exit", "quit", "sys.exit", "typer.Abort", "typer.Exit", "os.abort"})
    return [f"{module}:{use.line} uses {use.name}" for use in uses(tree) if use.name in ways]


def hidden_imports(tree: ast.AST, module: str) -> list[str]:
    """List imports that are made by a call, where this test cannot follow."""
    ways = frozenset({"__import__", "importlib.import_module", "importlib.util.spec_from_file_location"})
    return [f"{module}:{use.line} uses {use.name}" for use in uses(tree) if use.name in ways]


@pytest.fixture(params=modules().items(), ids=lambda item: item[0])
def parsed(request: pytest.FixtureRequest) -> tuple[str, Path, ast.Module]:
    module, path = request.param
    return module, path, ast.parse(path.read_text(encoding="utf-8"), str(path))


def test_every_module_has_a_place_in_the_layers(parsed: tuple[str, Path, ast.Module]) -> None:
    """A module that nobody placed is not held to anything, so it is refused."""
    module, _, _ = parsed
    assert home(module), f"put {module} into LAYERS of {Path(__file__).name}, as low as its imports allow"


def test_imports_run_downwards(parsed: tuple[str, Path, ast.Module]) -> None:
    """No module, at the top or inside a function, imports from its own layer or from one above."""
    module, path, tree = parsed
    assert upward_imports(tree, module, is_package=path.name == "__init__.py") == []


def test_only_the_host_package_touches_the_machine(parsed: tuple[str, Path, ast.Module]) -> None:
    """All reading and writing goes through Host, so --root holds for all of it; pure modules know no host at all."""
    module, _, tree = parsed
    assert machine_uses(tree, module) == []


def test_only_the_command_line_ends_the_program(parsed: tuple[str, Path, ast.Module]) -> None:
    """Everything else raises an error of agent.errors, so each run reports before it ends."""
    module, _, tree = parsed
    assert home(module) in {"agent.cli", "agent.__main__"} or exits(tree, module) == []


def test_imports_are_statements(parsed: tuple[str, Path, ast.Module]) -> None:
    """An import by a call would escape the tests above."""
    module, _, tree = parsed
    assert hidden_imports(tree, module) == []


def test_each_module_is_placed_once() -> None:
    """A name in two layers would be held to the looser one; a pure module without a layer to nothing."""
    names = layer_names()
    assert len(names) == len(set(names))
    assert set(names) >= PURE | set(ALLOWED)
    assert all(within(name, PURE) for name in IMPURE_PARTS)


def test_the_start_loads_no_slow_module() -> None:
    """Importing the command line loads, beside what Typer itself loads, none of the modules that cost time."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import typer; before = set(sys.modules); import agent.cli; "
        "print(*sorted(set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert [name for name in run.stdout.split() if within(name, NOT_AT_START)] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("agent.model", "from agent.errors import HardenError"),
        ("agent.model", "import agent.guide.control"),
        ("agent.plan", "def late():\n    from agent import host"),
        ("agent.guide.sysctls", "from ..plan import Plan"),
        ("agent.host.files", "from agent.cli import main"),
        ("agent.report", "if TYPE_CHECKING:\n    from agent.cli import main"),
    ],
)
def test_an_import_that_does_not_go_down_is_found(module: str, source: str) -> None:
    """The rule sees imports of siblings and of what is above, in functions, relative and for types alone."""
    assert len(upward_imports(ast.parse(source), module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("agent.plan", "from agent.model import Resource"),
        ("agent.guide.sysctls", "from agent.guide.control import Control"),
        ("agent.guide.sysctls", "from .control import Control"),
        ("agent.cli", "from agent import __version__"),
        ("agent.model", "import re"),
    ],
)
def test_an_import_that_goes_down_is_allowed(module: str, source: str) -> None:
    """Lower layers, the own package, the version and the standard library are free."""
    assert upward_imports(ast.parse(source), module) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("agent.journal", "import os"),
        ("agent.journal", "import os.path as p"),
        ("agent.plan", "from os import path"),
        ("agent.plan", "from pathlib import Path"),
        ("agent.plan", "import pathlib\npathlib.Path('/etc')"),
        ("agent.apply", "import subprocess"),
        ("agent.apply", "open('/etc/passwd')"),
        ("agent.desired", "from agent.host import Host"),
        ("agent.desired", "import time"),
        ("agent.desired", "from datetime import datetime\ndatetime.now()"),
        ("agent.findings", "print('x')"),
        ("agent.cli", "import socket"),
    ],
)
def test_a_use_of_the_machine_is_found(module: str, source: str) -> None:
    """The rule sees imports, renamed imports, attributes and built-in functions."""
    assert machine_uses(ast.parse(source), module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("agent.host.files", "import os\nopen('/etc/passwd')"),
        ("agent.plan", "from pathlib import PurePosixPath"),
        ("agent.plan", "import pathlib\npathlib.PurePosixPath('/etc')"),
        ("agent.apply", "from agent.host import Host"),
        ("agent.cli", "import os"),
        ("agent.plan", "host.open('/etc')"),
        ("agent.plan", "resource = 1\nresource.id"),
        ("agent.guide.manifests", "from os.path import dirname, join\njoin(dirname('/etc/x'), 'y')"),
    ],
)
def test_what_does_not_touch_the_machine_is_allowed(module: str, source: str) -> None:
    """Pure paths are free everywhere, Host for those above it, the machine for agent.host."""
    assert machine_uses(ast.parse(source), module) == []


@pytest.mark.parametrize(
    "source",
    [
        "import sys\nsys.exit(1)",
        "from sys import exit as leave\nleave()",
        "raise SystemExit",
        "import typer\ntyper.Exit(1)",
    ],
)
def test_an_exit_is_found(source: str) -> None:
    """The rule sees every way that Python and Typer have to end a program."""
    assert exits(ast.parse(source), "agent.plan")


@pytest.mark.parametrize(
    ("module", "source"),
    [("agent.stray", "import re"), ("agent.cli", "import agent.stray"), ("agent.cli", "from agent.stray import x")],
)
def test_a_module_without_a_place_is_found(module: str, source: str) -> None:
    """Neither may it import nor be imported: the message names it."""
    assert any("agent.stray" in problem for problem in upward_imports(ast.parse(source), module))


def test_an_import_by_a_call_is_found() -> None:
    """The rule sees importlib and the built-in function."""
    assert hidden_imports(ast.parse("import importlib\nimportlib.import_module('agent.cli')"), "agent.plan")
    assert hidden_imports(ast.parse("__import__('agent.cli')"), "agent.plan")
