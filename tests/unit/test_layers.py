"""The layout of agent/: its packages and layers, purity, access to the machine, and modules loaded at the start."""

from __future__ import annotations

import ast
import builtins
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]

LAYERS: tuple[tuple[str, ...], ...] = (
    ("agent",),
    ("agent.package_data", "agent.times", "agent.value"),
    ("agent.model",),
    ("agent.errors", "agent.linux"),
    ("agent.report", "agent.yaml_reader"),
    ("agent.k3s", "agent.kubernetes"),
    ("agent.guide",),
    ("agent.settings",),
    ("agent.plan",),
    ("agent.host",),
    ("agent.changes", "agent.cluster", "agent.node"),
    ("agent.desired",),
    ("agent.situation",),
    ("agent.findings",),
    ("agent.checks",),
    ("agent.benchmark",),
    ("agent.fleet",),
    ("agent.assess",),
    ("agent.present",),
    ("agent.verbs",),
    ("agent.cli",),
    ("agent.__main__",),
)
"""Packages and top-level modules, lowest first.

Modules of one package can import each other; other imports are only from lower layers.
"""


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TOP_LEVEL = words("__init__ __main__ errors model package_data report times value")
"""The modules that are not in a package."""

PURE = words(
    "agent.assess agent.benchmark agent.checks agent.desired agent.errors agent.findings agent.fleet agent.guide"
    " agent.k3s agent.kubernetes agent.linux agent.model agent.plan agent.report agent.settings agent.value"
    " agent.yaml_reader"
)
"""Packages whose results depend only on their arguments: they import neither Host nor a clock."""

IMPURE_PARTS = frozenset({"agent.assess.evidence"})
"""Subpackages of a pure package that read the host."""

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
"""Exceptions for packages outside agent.host: the command line uses streams, and options with paths."""

NOT_AT_START = ("inspect", "json", "psutil", "rich", "subprocess", "typer", "yaml")
"""Importing each of them takes longer than a run without changes, so functions import them."""


class Use(NamedTuple):
    """A dotted name that a module imports, calls or reads, with its line."""

    name: str
    line: int


def modules() -> dict[str, Path]:
    """Return all modules below agent/ by dotted name."""
    found = {}
    for path in sorted((ROOT / "agent").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(tree: ast.AST, module: str, *, is_package: bool = False) -> Iterator[Use]:
    """Yield every imported name, also of imports in functions; `from a import b` yields a.b."""
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


def layer_names() -> tuple[str, ...]:
    return tuple(name for layer in LAYERS for name in layer)


def home(name: str) -> str:
    """Return the entry of LAYERS that contains a dotted name. The package `agent` has only facts of the release."""
    own = {"agent", "agent.__version__", "agent.__released__", "agent.__releases__"}
    return "agent" if name in own else within(name, layer_names()[1:])


def rank(entry: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if entry in layer)


def upward_imports(tree: ast.AST, module: str, *, is_package: bool = False) -> list[str]:
    """Describe the imports that are not from a lower layer."""
    own = home(module)
    if not own:
        return [f"{module} is not in LAYERS"]
    wrong = []
    for use in imports(tree, module, is_package=is_package):
        if use.name.split(".")[0] != "agent":
            continue
        other = home(use.name)
        if not other:
            wrong.append(f"{module}:{use.line} imports {use.name}, which is not in LAYERS")
        elif other != own and rank(other) >= rank(own):
            wrong.append(f"{module}:{use.line} imports {use.name}, which is not in a lower layer")
    return wrong


def machine_uses(tree: ast.AST, module: str) -> list[str]:
    """Describe uses that are reserved to agent.host, and imports that a pure module must not have."""
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
    """Describe the statements that end the program."""
    ways = frozenset({"SystemExit", "exit", "os._exit", "quit", "sys.exit", "typer.Abort", "typer.Exit", "os.abort"})
    return [f"{module}:{use.line} uses {use.name}" for use in uses(tree) if use.name in ways]


def hidden_imports(tree: ast.AST, module: str) -> list[str]:
    """Describe imports by a function call, which these tests cannot analyze."""
    ways = frozenset({"__import__", "importlib.import_module", "importlib.util.spec_from_file_location"})
    return [f"{module}:{use.line} uses {use.name}" for use in uses(tree) if use.name in ways]


@pytest.fixture(params=modules().items(), ids=lambda item: item[0])
def parsed(request: pytest.FixtureRequest) -> tuple[str, Path, ast.Module]:
    module, path = request.param
    return module, path, ast.parse(path.read_text(encoding="utf-8"), str(path))


def test_the_top_level_has_no_new_module() -> None:
    found = {path.stem for path in (ROOT / "agent").glob("*.py")}
    assert found == TOP_LEVEL, "move the module into a package of agent/; see docs/explanation/design.md"


def test_every_package_is_in_a_layer(parsed: tuple[str, Path, ast.Module]) -> None:
    module, _, _ = parsed
    assert home(module), f"add the package of {module} to LAYERS in {Path(__file__).name}, as low as its imports allow"


def test_packages_import_only_from_lower_layers(parsed: tuple[str, Path, ast.Module]) -> None:
    module, path, tree = parsed
    assert upward_imports(tree, module, is_package=path.name == "__init__.py") == []


def test_only_the_host_package_accesses_the_machine(parsed: tuple[str, Path, ast.Module]) -> None:
    """Files are read and written only through Host, so --root applies to all; pure modules do not import Host."""
    module, _, tree = parsed
    assert machine_uses(tree, module) == []


def test_only_the_command_line_ends_the_program(parsed: tuple[str, Path, ast.Module]) -> None:
    """All other modules raise errors of agent.errors, so each run prints its report before it ends."""
    module, _, tree = parsed
    assert home(module) in {"agent.cli", "agent.__main__"} or exits(tree, module) == []


def test_imports_are_statements(parsed: tuple[str, Path, ast.Module]) -> None:
    """The tests above cannot detect an import by a function call."""
    module, _, tree = parsed
    assert hidden_imports(tree, module) == []


def test_each_package_is_in_one_layer() -> None:
    names = layer_names()
    assert len(names) == len(set(names))
    assert set(names) >= PURE | set(ALLOWED)
    assert all(within(name, PURE) for name in IMPURE_PARTS)


def test_value_types_are_not_dataclasses() -> None:
    """Only agent.value names the module, for type checkers: each class of it would be compiled at each start."""
    users = {
        module
        for module, path in modules().items()
        for use in imports(ast.parse(path.read_bytes()), module)
        if within(use.name, ("dataclasses",))
    }
    assert users == {"agent.value"}


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
        (upward_imports, "agent.model", "from agent.errors import HardenError"),
        (upward_imports, "agent.model", "import agent.guide.control"),
        (upward_imports, "agent.plan", "def late():\n    from agent import host"),
        (upward_imports, "agent.guide.sysctls", "from ..plan import Plan"),
        (upward_imports, "agent.host.files", "from agent.cli import main"),
        (upward_imports, "agent.report", "if TYPE_CHECKING:\n    from agent.cli import main"),
        (upward_imports, "agent.stray", "import re"),
        (upward_imports, "agent.cli", "import agent.stray"),
        (upward_imports, "agent.cli", "from agent.stray import x"),
        (machine_uses, "agent.changes.journal", "import os"),
        (machine_uses, "agent.changes.journal", "import os.path as p"),
        (machine_uses, "agent.plan", "from os import path"),
        (machine_uses, "agent.plan", "from pathlib import Path"),
        (machine_uses, "agent.plan", "import pathlib\npathlib.Path('/etc')"),
        (machine_uses, "agent.changes.execute", "import subprocess"),
        (machine_uses, "agent.changes.execute", "open('/etc/passwd')"),
        (machine_uses, "agent.desired", "from agent.host import Host"),
        (machine_uses, "agent.desired", "import time"),
        (machine_uses, "agent.desired", "from datetime import datetime\ndatetime.now()"),
        (machine_uses, "agent.findings", "print('x')"),
        (machine_uses, "agent.cli", "import socket"),
        (exits, "agent.plan", "import sys\nsys.exit(1)"),
        (exits, "agent.plan", "from sys import exit as leave\nleave()"),
        (exits, "agent.plan", "raise SystemExit"),
        (exits, "agent.plan", "import typer\ntyper.Exit(1)"),
        (hidden_imports, "agent.plan", "import importlib\nimportlib.import_module('agent.cli')"),
        (hidden_imports, "agent.plan", "__import__('agent.cli')"),
    ],
)
def test_a_violation_is_reported(check: Callable[[ast.AST, str], list[str]], module: str, source: str) -> None:
    assert check(ast.parse(source), module)


@pytest.mark.parametrize(
    ("check", "module", "source"),
    [
        (upward_imports, "agent.plan", "from agent.model import Resource"),
        (upward_imports, "agent.guide.sysctls", "from agent.guide.control import Control"),
        (upward_imports, "agent.guide.sysctls", "from .control import Control"),
        (upward_imports, "agent.cli", "from agent import __version__"),
        (upward_imports, "agent.model", "import re"),
        (machine_uses, "agent.host.files", "import os\nopen('/etc/passwd')"),
        (machine_uses, "agent.plan", "from pathlib import PurePosixPath"),
        (machine_uses, "agent.plan", "import pathlib\npathlib.PurePosixPath('/etc')"),
        (machine_uses, "agent.changes.execute", "from agent.host import Host"),
        (machine_uses, "agent.cli", "import os"),
        (machine_uses, "agent.plan", "host.open('/etc')"),
        (machine_uses, "agent.plan", "resource = 1\nresource.id"),
        (machine_uses, "agent.guide.manifests", "from os.path import dirname, join\njoin(dirname('/etc/x'), 'y')"),
    ],
)
def test_other_code_is_allowed(check: Callable[[ast.AST, str], list[str]], module: str, source: str) -> None:
    assert check(ast.parse(source), module) == []
