"""The single file: a shell script that finds a Python, followed by a zip archive that this Python runs.

The archive contains the payload as source, and as byte code for each Python of the build machine: without byte code the
start takes two to three times as long. The byte code is not checked against the source: both are in one file.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from tests.tools.dist.payload import Payload
from tests.tools.dist.tools import CHECKOUT

_SOURCES = CHECKOUT / ".ci/dist"
_MINORS = range(9, 17)

_STORED = "agent"
"""The package that usual runs load. Its byte code is not compressed, since decompression takes a tenth of the start."""

# The hash seed determines the order of sets in byte code; the order of files determines that of interned strings.
_COMPILE = """
import os, py_compile, sys
for name in sys.stdin.read().split("\\n"):
    py_compile.compile(name, name + "c", name, True, -1, py_compile.PycInvalidationMode.UNCHECKED_HASH)
    os.unlink(name)
"""
_ASK = "import sys; v = sys.version_info; print(sys.implementation.name, v[3], '%d.%d' % v[:2])"


class Interpreter(NamedTuple):
    """A released CPython of this machine; `version` is major and minor, such as 3.9."""

    version: str
    path: Path

    @property
    def directory(self) -> str:
        """The directory of its byte code in the archive."""
        return f"cp{self.version.replace('.', '')}"


@cache
def interpreters() -> tuple[Interpreter, ...]:
    """Return one interpreter per supported version on this machine, of pyenv or on PATH, lowest version first."""
    places = [*pyenv_directories(), *map(Path, os.get_exec_path())]
    found = []
    for minor in _MINORS:
        version = f"3.{minor}"
        programs = [place / f"python{version}" for place in places]
        if sys.version_info[:2] == (3, minor):
            programs.append(Path(sys.executable))
        works = (program for program in programs if os.access(program, os.X_OK) and _is(program, version))
        found += [Interpreter(version, program) for program in works][:1]
    return tuple(found)


def pyenv_directories() -> list[Path]:
    """Return the program directories of pyenv's versions; its shims on PATH are slow and fail if inactive."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return sorted(root.glob("versions/*/bin"))


def _is(program: Path, version: str) -> bool:
    run = subprocess.run([program, "-ISc", _ASK], capture_output=True, text=True, check=False)
    return run.stdout.split() == ["cpython", "final", version]


def single_file(payload: Payload, epoch: int, compiled: Sequence[Interpreter]) -> bytes:
    names = [f"python{one.version}" for one in reversed(compiled)]
    names += [name for minor in reversed(_MINORS) if (name := f"python3.{minor}") not in names]
    head = (_SOURCES / "single-file.sh").read_text(encoding="utf-8").replace("@PYTHONS@", " ".join(names))
    start = (_SOURCES / "single-file.py").read_text(encoding="utf-8")
    byte_code = tuple(one.directory for one in compiled)
    contents = {PurePosixPath("__main__.py"): start.replace("BYTE_CODE = ()", f"BYTE_CODE = {byte_code!r}").encode()}
    contents[PurePosixPath("LICENSE")] = (CHECKOUT / "LICENSE").read_bytes()
    contents |= {"licenses" / path: data for path, data in payload.licences.items()}
    contents |= {"source" / path: data for path, data in payload.files.items()}
    for one in compiled:
        contents |= {one.directory / path: data for path, data in _byte_code(one, payload.files)}
    return _archive(head.encode(), contents, epoch)


def _byte_code(interpreter: Interpreter, files: Mapping[PurePosixPath, bytes]) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the files with each module compiled; modules read their data files from the same directory."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for path, data in files.items():
            file = directory / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        modules = "\n".join(str(path) for path in files if path.suffix == ".py")
        command: list[str | Path] = [interpreter.path, "-SB", "-c", _COMPILE]
        subprocess.run(command, input=modules, text=True, check=True, cwd=directory, env={"PYTHONHASHSEED": "0"})
        for file in sorted(file for file in directory.rglob("*") if file.is_file()):
            yield PurePosixPath(file.relative_to(directory)), file.read_bytes()


def _archive(head: bytes, contents: Mapping[PurePosixPath, bytes], epoch: int) -> bytes:
    buffer = io.BytesIO(head)
    buffer.seek(len(head))
    with ZipFile(buffer, "w", compresslevel=9) as archive:
        # A package without __init__.py is found by the entry of its directory.
        for directory in sorted({str(parent) for path in contents for parent in path.parents} - {"."}):
            archive.writestr(ZipInfo(f"{directory}/", time.gmtime(epoch)[:6]), b"")
        for path, data in contents.items():
            entry = ZipInfo(str(path), time.gmtime(epoch)[:6])
            loaded = path.suffix == ".pyc" and path.parts[1] == _STORED
            entry.compress_type = ZIP_STORED if loaded else ZIP_DEFLATED
            entry.create_system = 3  # Unix, whose modes follow
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()
