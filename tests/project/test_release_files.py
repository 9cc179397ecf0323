"""The release files: reproducible builds, contents, and runs of the single file and of the packages."""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import reduce
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import psutil
import pytest
import yaml
from jsonschema import Draft7Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from agent import __released__, __version__
from agent.base import package_data
from agent.base.host import Host
from agent.harden.gate import installed_gate
from agent.harden.node.service_units import DROPIN, TEMPLATE, UNIT
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR
from agent.verbs.installation import CLEAN_HOOK, DATA_DIR_DROPINS, UNITS, USUAL
from tests.programs_here import ran
from tests.shells import assert_completes
from tests.tools.dist import reading
from tests.tools.dist.manual import manual
from tests.tools.dist.sbom import sbom
from tests.tools.dist.single_file import Interpreter, interpreters, pyenv_directories
from tests.tools.dist.tools import CHECKOUT, cyclonedx_schemas

# One worker runs all tests, so that the files are built once.
pytestmark = pytest.mark.xdist_group("dist")

EPOCH = 1_700_000_000
SOURCES = CHECKOUT / ".ci/dist"
HOST = ("--role", "server", "--k3s-version", "1.34")
PRIVATE = PurePosixPath("/usr/lib/k3s-harden")
SYSTEMD = PurePosixPath("/usr/lib/systemd/system")
ANOTHER_USER = 4711
# With root's access to files, because the interpreter and the cache of downloads belong to root.
AS_ANOTHER_USER = (
    # Without this bit, access(2) ignores the capability.
    *("setpriv", "--securebits=+no_setuid_fixup"),
    *(f"--reuid={ANOTHER_USER}", f"--regid={ANOTHER_USER}", "--clear-groups"),
    *("--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"),
)
SHELLS = {
    "bash": "/usr/share/bash-completion/completions/k3s-harden",
    "fish": "/usr/share/fish/vendor_completions.d/k3s-harden.fish",
    "zsh": "/_k3s-harden",
}
"""The script of a package for each shell, by the end of its path."""
LIBRARIES = {Path(module.__path__[0]).parent for module in (psutil, yaml)}
"""The directories of psutil and PyYAML for the Python that runs the tests."""


def build(checkout: Path, directory: Path, by: Sequence[str] = (), umask: int = 0o022, **environment: str) -> Path:
    """Build as `make release` does without keys, and return the directory."""
    for module, *words in (("tests.tools.dist",), ("tests.tools.dist.release", "--unsigned")):
        variables = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), **environment}
        run = ran(*by, sys.executable, "-m", module, *words, directory, cwd=checkout, env=variables, umask=umask)
        assert run.returncode == 0, run.stderr
    return directory


def copied(checkout: Path, directory: Path) -> Path:
    """Copy a checkout without generated files; the cache of downloads is linked."""

    def made(where: str, names: list[str]) -> set[str]:
        kept = {".ci", ".gitignore"}
        clutter = {"dist", *(name for name in names if name.startswith(".") and name not in kept)}
        return {"__pycache__"} | (clutter if Path(where) == checkout else set())

    shutil.copytree(checkout, directory, symlinks=True, ignore=made)
    (directory / ".cache").mkdir()
    fetched = checkout / ".cache/dist"
    with suppress(PermissionError):
        fetched.mkdir(parents=True, exist_ok=True)
    # A user who cannot write the cache, in a checkout of another user, downloads again.
    if os.access(fetched, os.W_OK):
        (directory / ".cache/dist").symlink_to(fetched)
    return directory


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, which does not change during the tests."""
    return copied(CHECKOUT, tmp_path_factory.mktemp("checkout") / "k3s-harden")


@pytest.fixture(scope="module")
def dist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(checkout, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module", params=[reading.deb, reading.rpm], ids=["deb", "rpm"])
def package(request: pytest.FixtureRequest, dist: Path) -> reading.Package:
    read: Callable[[Path], reading.Package] = request.param
    return read(the(dist, f"*.{read.__name__}"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    subprocess.run([CHECKOUT / ".ci/disposable-host", tmp_path / "host"], check=True)
    (tmp_path / "host/usr/lib/systemd").mkdir(parents=True, exist_ok=True)
    (tmp_path / "host/usr/lib/systemd/systemd").touch(0o755)
    return tmp_path / "host"


def the(directory: Path, pattern: str) -> Path:
    (file,) = directory.glob(pattern)
    return file


def test_the_same_commit_gives_the_same_bytes(checkout: Path, dist: Path, tmp_path: Path) -> None:
    copy = copied(checkout, tmp_path / "elsewhere")
    for file in copy.rglob("*"):
        os.utime(file, (0, 0), follow_symlinks=False)
    by = AS_ANOTHER_USER if os.geteuid() == 0 and shutil.which("setpriv") else ()
    environment = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    again = build(copy, tmp_path / "again", by, umask=0o077, **environment)
    if by:
        assert the(again, "*.pyz").stat().st_uid == ANOTHER_USER
    assert (again / "SHA256SUMS").read_text() == (dist / "SHA256SUMS").read_text()


def test_the_checksums_are_those_of_all_files(dist: Path) -> None:
    lines = (dist / "SHA256SUMS").read_text().splitlines()
    files = [file for file in sorted(dist.iterdir()) if file.name != "SHA256SUMS"]
    assert lines == [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in files]
    assert [file.suffix for file in files] == [".md", ".rpm", ".json", ".pyz", ".deb", ".whl", ".gz"]


def test_release_files_are_not_larger_than_documented(dist: Path) -> None:
    text = (CHECKOUT / "docs/howto/packages.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\S+)` \|.*\| less than (\d+) MiB \|$", text, re.MULTILINE)
    limits = {Path(name).suffix: int(limit) for name, limit in rows}
    assert limits.keys() == {".deb", ".rpm", ".pyz", ".whl"}
    assert [kind for kind, limit in limits.items() if the(dist, f"*{kind}").stat().st_size >= limit << 20] == []
    contributing = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (each,) = re.findall(r"up\s+to\s+(\d+)\s+MiB each", contributing)
    with ZipFile(the(dist, "*.pyz")) as archive:
        sizes = Counter[str]()
        for member in archive.infolist():
            sizes[PurePosixPath(member.filename).parts[0]] += member.compress_size
    assert max(sizes[one.directory] for one in interpreters()) <= int(each) << 20


def test_the_wheel_contains_only_the_program_and_its_units(checkout: Path, dist: Path) -> None:
    with ZipFile(the(dist, "*.whl")) as wheel:
        held = {name: wheel.read(name) for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == {f"agent/{path}": data for path, data in program(checkout).items()}
    assert "agent/units/k3s-harden.service" in held


def program(checkout: Path) -> dict[PurePosixPath, bytes]:
    """Return the files of agent/ by relative path, and those of systemd/ below units/."""
    found = {}
    for top, prefix in ((checkout / "agent", ""), (checkout / "systemd", "units")):
        for file in top.rglob("*"):
            path = prefix / file.relative_to(top)
            if file.is_file() and "__pycache__" not in path.parts:
                found[PurePosixPath(path)] = file.read_bytes()
    return found


def test_the_source_archive_builds_the_same_wheel(dist: Path, tmp_path: Path) -> None:
    ran("tar", "--extract", "--file", the(dist, "*.tar.gz"), "--directory", tmp_path)
    words = ("hatchling", "build", "--target", "wheel", "--directory", tmp_path)
    variables = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)}
    ran(sys.executable, "-m", *words, cwd=tmp_path / f"k3s_harden-{__version__}", env=variables)
    assert the(tmp_path, "*.whl").read_bytes() == the(dist, "*.whl").read_bytes()


def test_the_bill_of_materials_lists_the_libraries_that_the_files_bundle(dist: Path) -> None:
    """It is valid by the official schema, and has the same libraries as the single file."""
    document = json.loads(the(dist, "*.cdx.json").read_bytes())
    schemas = cyclonedx_schemas()
    resources = ((name, Resource.from_contents(schema, DRAFT7)) for name, schema in schemas.items())
    main = schemas["bom-1.6.SNAPSHOT.schema.json"]
    base = main["$id"].rpartition("/")[0]
    registry = Registry().with_resources((f"{base}/{name}", resource) for name, resource in resources)
    validator = Draft7Validator(main, registry=registry, format_checker=Draft7Validator.FORMAT_CHECKER)
    validator.validate(document)
    with_bundle = json.loads(sbom(EPOCH, [("libssl3", "3.0.17-1~deb12u3")]))
    validator.validate(with_bundle)
    assert with_bundle["components"][-1]["purl"] == "pkg:deb/debian/libssl3@3.0.17-1~deb12u3"
    assert document["metadata"]["component"]["version"] == __version__
    with ZipFile(the(dist, "*.pyz")) as archive:
        bundled = {PurePosixPath(name).parts[1] for name in file_names(archive) if name.startswith("licenses/")}
    assert {component["name"].replace("-", "_") for component in document["components"]} == bundled
    assert {row["ref"] for row in document["dependencies"]} == {
        *(component["bom-ref"] for component in document["components"]),
        document["metadata"]["component"]["bom-ref"],
    }


def test_a_release_has_the_changes_of_its_version(dist: Path) -> None:
    entry = the(dist, "CHANGES-*.md").read_text(encoding="utf-8")
    whole = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {__version__} ({__released__})\n\n{entry}" in whole
    assert "\n## " not in entry


def alone(dist: Path, *words: str | Path, by: Sequence[str | Path] = ()) -> subprocess.CompletedProcess[str]:
    """Run the single file with an empty environment, in a directory that is not writable."""
    return ran(*by, the(dist, "*.pyz"), *words, env={}, cwd="/proc")


@pytest.mark.parametrize("interpreter", interpreters(), ids=lambda one: str(one.version))
def test_the_single_file_hardens_a_host_on_each_python(dist: Path, tree: Path, interpreter: Interpreter) -> None:
    by = (interpreter.path, "-I")
    done = alone(dist, "apply", "--root", tree, *HOST, by=by)
    assert done.returncode == 0, done.stderr
    assert (tree / "proc/sys/vm/overcommit_memory").read_text() == "1\n"
    assert alone(dist, "check", "--root", tree, *HOST, by=by).returncode == 0


def test_the_single_file_finds_a_python_by_itself(dist: Path) -> None:
    assert alone(dist, "--version").stdout == f"k3s-harden {__version__}\n"
    assert alone(dist, "--version", by=["/bin/sh"]).stdout == f"k3s-harden {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ("check", "--format", "table", "--verbose"),
        ("diff", "--format", "table"),
        ("check", "--format", "json"),
        ("install", "--program", "/usr/local/bin/k3s-harden"),
    ],
    ids=" ".join,
)
def test_the_single_file_prints_what_the_checkout_does(
    checkout: Path, dist: Path, tree: Path, words: tuple[str, ...]
) -> None:
    (tree / "usr/local/bin").mkdir()
    (tree / "usr/local/bin/k3s-harden").touch(0o755)
    copy = shutil.copytree(tree, tree.with_name("copy"))
    options = (*words, "--root")
    installed = ran(sys.executable, "-m", "agent", *options, copy, *HOST, cwd=checkout, env={})
    here = alone(dist, *options, tree, *HOST)
    names = {str(the(dist, "*.pyz")): f"{sys.executable} -m agent", str(tree): str(copy)}
    one, other = (_without_lines(one.stdout + one.stderr) for one in (here, installed))
    assert reduce(lambda text, name: text.replace(name, names[name]), names, one) == other
    assert here.returncode == installed.returncode


def _without_lines(text: str) -> str:
    """Return the words of a report: where its lines end depends on the length of the program's name."""
    return " ".join(text.replace(" \\\n", " ").split())


def file_names(archive: ZipFile) -> list[str]:
    """Return the names of an archive without its directories."""
    return [entry.filename for entry in archive.infolist() if not entry.is_dir()]


def test_the_single_file_contains_no_compiled_code_and_all_licences(dist: Path) -> None:
    with ZipFile(the(dist, "*.pyz")) as archive:
        names = set(map(PurePosixPath, file_names(archive)))
        assert {archive.getinfo(name).external_attr >> 16 for name in file_names(archive)} == {stat.S_IFREG | 0o644}
    assert not {name for name in names if name.suffix in {".so", ".pyd"}}
    assert {"agent", "psutil"} & {name.parts[1] for name in names if name.parts[0] == "source"} == {"agent"}
    carried = {name.parts[1] for name in names if name.parts[0] == "licenses"}
    assert carried == {"annotated_doc", "click", "pyyaml", "rich", "shellingham", "typer"}
    assert PurePosixPath("LICENSE") in names


def test_the_single_file_has_byte_code_for_each_python_of_this_machine(dist: Path) -> None:
    modules: dict[str, set[str]] = {}
    with ZipFile(the(dist, "*.pyz")) as archive:
        for name in map(PurePosixPath, file_names(archive)):
            if name.suffix in {".py", ".pyc"} and len(name.parts) > 1:
                modules.setdefault(name.parts[0], set()).add(str(PurePosixPath(*name.parts[1:]).with_suffix("")))
    assert set(modules) == {"source", *(one.directory for one in interpreters())}
    assert all(found == modules["source"] for found in modules.values())


def test_an_old_python_can_read_the_start_of_the_single_file() -> None:
    """The start has the grammar of Python 3.6, so that an old Python can print the error."""
    ast.parse((SOURCES / "single-file.py").read_text(), feature_version=(3, 6))


def old_pythons() -> Iterator[Path]:
    places = [*pyenv_directories(), *map(Path, os.get_exec_path())]
    for version in ("2.7", "3.6", "3.7", "3.8"):
        for program in (place / f"python{version}" for place in places):
            if os.access(program, os.X_OK) and subprocess.run([program, "-c", ""], check=False).returncode == 0:
                yield program
                break


def test_the_single_file_reports_an_old_python(dist: Path) -> None:
    programs = list(old_pythons())
    if not programs:
        pytest.skip("needs a Python before 3.9, of which this machine has none")
    for program in programs:
        run = alone(dist, "check", by=[program])
        assert (run.returncode, run.stdout) == (1, "")
        message, fix = run.stderr.splitlines()
        assert re.fullmatch(r"k3s-harden: cannot run on Python [23]\.\d+, expected 3\.9 or newer", message)
        assert fix.startswith("  fix: ")


def without_python(dist: Path, directory: Path, release: str = "") -> Path:
    file = directory / "k3s-harden"
    (directory / "os-release").write_text(release)
    replaced = {b"/usr/bin/$python": b"/nowhere/$python", b"/etc/os-release": bytes(directory / "os-release")}
    file.write_bytes(
        reduce(lambda data, old: data.replace(old, replaced[old]), replaced, the(dist, "*.pyz").read_bytes())
    )
    file.chmod(0o755)
    return file


def test_the_single_file_runs_with_the_newest_python_that_it_has_byte_code_for(dist: Path, tmp_path: Path) -> None:
    """A Python without byte code in the file is used if there is no other; the name python3 is not needed."""
    file = tmp_path / "k3s-harden"
    file.write_bytes(the(dist, "*.pyz").read_bytes().replace(b"/usr/bin/$python", bytes(tmp_path / "$python")))
    pythons = [*(f"python{one.version}" for one in interpreters()), "python3.16"]
    found = []
    for name in ("python3.16", *pythons):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name}\n")
        (tmp_path / name).chmod(0o755)
        run = ran("/bin/sh", file, env={"PATH": ""})
        found.append(run.stdout.strip())
    assert found == ["python3.16", *pythons[:-1], pythons[-2]]


def test_the_single_file_reports_a_missing_python(dist: Path, tmp_path: Path) -> None:
    file = without_python(dist, tmp_path)
    shims = tmp_path / "shims"
    shims.mkdir()
    (shims / "python3").write_text("#!/bin/sh\necho no such version >&2\nexit 127\n")
    (shims / "python3").chmod(0o755)
    for path in ("/nonexistent", str(shims)):
        run = ran(file, "check", env={"PATH": path})
        assert (run.returncode, run.stdout) == (1, "")
        message, fix = run.stderr.splitlines()
        assert message == "k3s-harden: cannot run: found no Python 3.9 or newer on this host"
        assert fix.startswith("  fix: install Python 3.9 or newer, or use ")


@pytest.mark.parametrize(
    ("release", "fix"),
    [
        ("ID=debian\nVERSION_ID='12'", "apt-get install python3"),
        ("ID=raspbian\nID_LIKE=debian", "apt-get install python3"),
        ("ID=ubuntu\nID_LIKE=debian\nVERSION_ID='24.04'", "apt-get install python3"),
        ('ID="rhel"\nID_LIKE="fedora"\nVERSION_ID="8.10"', "dnf install python3.11"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.6"', "dnf install python3"),
        ("ID=fedora\nVERSION_ID=43", "dnf install python3"),
        ('ID="sles"\nID_LIKE="suse"\nVERSION_ID="15.7"', "zypper install python311"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"', "zypper install python311"),
        ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\nVERSION_ID="20261101"', "zypper install python3"),
        ('ID="sl-micro"\nID_LIKE="suse"\nVERSION_ID="6.1"', "transactional-update pkg install python311, then reboot"),
        ("ID=alpine\nVERSION_ID=3.22.0", "apk add python3"),
        ("ID=fedora\nVARIANT_ID=coreos", "use the archive k3s-harden-*-linux-*.tar.gz, which contains a Python"),
        ("ID=flatcar\nID_LIKE=coreos", "use the archive k3s-harden-*-linux-*.tar.gz, which contains a Python"),
    ],
)
def test_the_single_file_names_the_command_that_installs_a_python(
    dist: Path, tmp_path: Path, release: str, fix: str
) -> None:
    file = without_python(dist, tmp_path, release)
    run = ran(file, "check", env={"PATH": ""})
    assert (run.returncode, run.stderr.splitlines()[1:]) == (1, [f"  fix: {fix}"])


def test_the_single_file_reports_an_incomplete_python(dist: Path, tmp_path: Path) -> None:
    """Debian's python3-minimal has only a part of the standard library."""
    archive = the(dist, "*.pyz")
    start = tmp_path / "start.py"
    with ZipFile(archive) as inside:
        start.write_bytes(inside.read("__main__.py"))
    # Without the archive, and packages of this machine (-S), it lacks the program itself, which is the same to it.
    run = ran(sys.executable, "-IS", start)
    assert run.returncode == 1
    assert run.stderr.splitlines()[0].startswith("k3s-harden: cannot run: this Python is incomplete:")


def test_only_root_can_write_the_files_of_a_package(package: reading.Package) -> None:
    assert {member.owner for member in package.members.values()} == {"root:root"}
    modes = {path: stat.S_IMODE(member.mode) for path, member in package.members.items() if stat.S_ISREG(member.mode)}
    assert set(modes.values()) == {0o644, 0o755}
    runnable = {str(path) for path, mode in modes.items() if mode == 0o755}
    assert runnable - {"/usr/share/python3/runtime.d/k3s-harden.rtupdate"} == {"/usr/bin/k3s-harden", str(CLEAN_HOOK)}
    directories = {stat.S_IMODE(member.mode) for member in package.members.values() if stat.S_ISDIR(member.mode)}
    assert directories == {0o755}


def test_a_package_contains_the_program_and_its_libraries(checkout: Path, package: reading.Package) -> None:
    private = {path: member.data for path, member in package.members.items() if path.is_relative_to(PRIVATE)}
    for path, data in program(checkout).items():
        assert private[PRIVATE / "agent" / path] == data
    assert {path.suffix for path in private if path.is_relative_to(PRIVATE / "rich") and private[path]} == {".py"}
    assert not {path for path in private if path.suffix in {".so", ".pyc"}}


def test_a_package_contains_the_units_in_the_directory_of_systemd(checkout: Path, package: reading.Package) -> None:
    installed = {
        path.relative_to(SYSTEMD): member.data
        for path, member in package.members.items()
        if path.is_relative_to(SYSTEMD) and stat.S_ISREG(member.mode)
    }
    units = {path.relative_to("units"): data for path, data in program(checkout).items() if path.parts[0] == "units"}
    hook = units.pop(PurePosixPath("cloud-init-clean"))
    assert installed == units
    assert package.members[CLEAN_HOOK].data == hook
    assert {f"{service}.d" for service in USUAL} <= {path.parts[0] for path in installed}
    assert b"\nExecStart=/usr/bin/k3s-harden gate\n" in installed[PurePosixPath("k3s-harden.service")]
    assert set(UNITS) <= {str(path) for path in installed}


def test_a_package_enables_and_starts_nothing(package: reading.Package) -> None:
    """The drop-in of K3s starts the gate. The scripts only make systemd read its files again."""
    everything = "\n".join(package.scripts.values())
    assert set(re.findall(r"systemctl (?:--\w+ )*(\S+)", everything)) == {"daemon-reload"}
    assert "sh /usr/lib/k3s-harden/remove-units.sh\n" in package.scripts["preremove"]
    assert "sh /usr/lib/k3s-harden/update-units.sh\n" in package.scripts["postinstall"]
    assert {PRIVATE / "remove-units.sh", PRIVATE / "update-units.sh"} <= set(package.members)
    assert package.configuration == {CLEAN_HOOK}


def test_removal_stops_and_removes_every_unit() -> None:
    """A remaining timer would start a service that does not exist. The gate ends by itself and is not stopped."""
    script = (SOURCES / "remove-units.sh").read_text().replace("\\\n", " ")
    (stopped,) = re.findall(r"^ *systemctl stop (.+) \|\| true", script, re.MULTILINE)
    (removed,) = re.findall(r"^for file in (.+); do$", script, re.MULTILINE)
    assert {unit.replace("@*", "@") for unit in shlex.split(stopped)} == set(UNITS) - {UNIT, TEMPLATE}
    assert set(shlex.split(removed)) == {
        *UNITS,
        *(f"k3s*.service.d/{name}" for name in (DROPIN, "10-k3s-harden.conf")),
        *DATA_DIR_DROPINS,
    }


def run_script(
    tmp_path: Path, tree: Path, name: str = "remove-units.sh", *words: str
) -> subprocess.CompletedProcess[str]:
    """Run a script of the package on a host tree, by default the one before a removal."""
    script = tmp_path / Path(name).name
    script.write_text(re.sub("/(?=(etc|run|var|usr/lib/systemd)/)", f"{tree}/", (SOURCES / name).read_text()))
    return subprocess.run(["sh", script, *words], check=True, capture_output=True, text=True)


def with_installed_gate(dist: Path, tree: Path, program: str) -> Path:
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/k3s-harden").touch(0o755)
    (tree / "usr/local/bin").mkdir()
    (tree / "usr/local/bin/k3s-harden").touch(0o755)
    done = alone(
        dist, "install", "--root", tree, "--role", "server", "--unit", "k3s-east.service", "--program", program
    )
    assert done.returncode == 0, done.stderr
    return tree / "etc/systemd/system"


def test_removal_removes_files_of_install_that_would_block_k3s(dist: Path, tree: Path, tmp_path: Path) -> None:
    """A service with a drop-in of `install` would wait for a gate that does not exist. Other files are kept."""
    units = with_installed_gate(dist, tree, "/usr/bin/k3s-harden")
    assert (units / "k3s-east.service.d/zzz-k3s-harden.conf").exists()
    (units / "k3s.service.d/local.conf").touch()
    (units / "k3s-east.service").touch()
    stamp = tree / "var/lib/systemd/timers/stamp-k3s-harden-check.timer"
    stamp.parent.mkdir(parents=True)
    stamp.touch()
    (units / "k3s-harden.service.d").mkdir()
    (units / "k3s-harden.service.d/10-data-dir.conf").touch()
    (units / "k3s-harden-service-accounts.timer").unlink()
    (units / "k3s-harden-service-accounts.timer").symlink_to("/dev/null")
    run_script(tmp_path, tree)
    assert {str(file.relative_to(units)) for file in units.rglob("*") if not file.is_dir()} == {
        "k3s.service.d/local.conf",
        "k3s-east.service",
        "k3s-harden-service-accounts.timer",
    }
    assert not stamp.exists()
    assert not [directory for directory in units.rglob("*.d") if directory.name != "k3s.service.d"]


def test_removal_keeps_the_gate_of_another_installation(dist: Path, tree: Path, tmp_path: Path) -> None:
    """The gate of a single file, installed in /etc beside the package, still runs before K3s."""
    units = with_installed_gate(dist, tree, "/usr/local/bin/k3s-harden")
    before = sorted(units.rglob("*"))
    run_script(tmp_path, tree)
    assert sorted(units.rglob("*")) == before


def test_the_entry_points_of_the_packages_run_the_program(dist: Path, tmp_path: Path, tree: Path) -> None:
    for read in (reading.deb, reading.rpm):
        root = tmp_path / read.__name__
        reading.lay_out(read(the(dist, f"*.{read.__name__}")), root, Path(sys.executable), LIBRARIES)
        elsewhere = {"PYTHONPATH": "/nonexistent", "PYTHONHOME": "/nonexistent"}
        run = ran(root / "usr/bin/k3s-harden", "check", "--format", "table", "--root", tree, *HOST, env=elsewhere)
        assert run.returncode == 3, run.stderr
        assert "Host is not compliant" in run.stdout
        assert not list(root.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("install",), 0),
        (("install", "1.2.3-1", "1.2.3-1"), 0),
        (("upgrade", "1.2.3-1", "1.3.0~rc1-1"), 0),
        (("upgrade", "1.3.0~rc1-1", "1.3.0-1"), 0),
        (("upgrade", "1.3.0-1", "1.2.3-1"), 1),
        (("upgrade", "1.3.0-1", "1.3.0~rc1-1"), 1),
        (("install", "1.10.0-1", "1.9.0-1"), 1),
        (("abort-upgrade", "1.2.3-1"), 0),
    ],
)
@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs dpkg")
def test_the_debian_package_rejects_a_downgrade(words: tuple[str, ...], code: int) -> None:
    """An older version cannot read the journal of a newer one, so the script fails before files are unpacked."""
    run = ran("sh", SOURCES / "deb/preinst", *words)
    assert run.returncode == code
    assert len(run.stderr.splitlines()) == 2 * code
    assert all(version in run.stderr for version in words[1:] if code)


def test_a_purge_keeps_the_way_back_until_the_hardening_is_reverted(dist: Path, tree: Path, tmp_path: Path) -> None:
    """The package, installed again, reverts the host. After a complete revert, a purge removes everything."""
    settings = tree / "etc/k3s-harden/config.yaml"
    settings.parent.mkdir()
    settings.write_text("role: server\n")
    assert alone(dist, "apply", "--root", tree, *HOST).returncode == 0
    state = tree / "var/lib/k3s-harden"
    before = {file: file.read_bytes() for file in state.rglob("*") if file.is_file()}
    run_script(tmp_path, tree, "deb/postrm", "remove")
    shown = run_script(tmp_path, tree, "deb/postrm", "purge").stderr
    assert "kept /var/lib/k3s-harden and /etc/k3s-harden" in shown.replace(str(tree), "")
    assert {file: file.read_bytes() for file in state.rglob("*") if file.is_file()} == before
    assert settings.exists()
    assert alone(dist, "revert", "--root", tree).returncode == 0
    assert not (tree / "etc/sysctl.d/90-kubelet.conf").exists()
    assert run_script(tmp_path, tree, "deb/postrm", "purge").stderr == ""
    assert (state.exists(), settings.parent.exists()) == (False, False)


SCRIPTS = [file for file in sorted(SOURCES.rglob("*")) if file.is_file() and file.suffix not in {".py", ".yaml"}]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: str(file.relative_to(SOURCES)))
def test_the_package_scripts_are_valid_posix_shell(script: Path) -> None:
    if script.read_text().startswith("#!/usr/bin/python3"):
        compile(script.read_text(), script, "exec")
    else:
        run = ran("sh", "-n", script)
        assert (run.returncode, run.stderr) == (0, "")
        assert not re.search(r"\[\[|\bfunction\b|^ *local\b|<<<|\$'", script.read_text(), re.MULTILINE)


def test_a_package_contains_manual_and_completions(package: reading.Package) -> None:
    members = {str(path): member.data for path, member in package.members.items()}
    assert gzip.decompress(members["/usr/share/man/man8/k3s-harden.8.gz"]).decode() == manual(EPOCH)
    for place in SHELLS.values():
        assert [path for path in members if path.endswith(place)]


@pytest.mark.parametrize("shell", sorted(SHELLS))
@pytest.mark.parametrize("name", ["deb", "rpm", "pyz"])
def test_a_package_and_the_single_file_complete_in_each_shell(
    dist: Path, tmp_path: Path, name: str, shell: str
) -> None:
    """Without the modules of the checkout's environment. The scripts are those of the package."""
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    program = tmp_path / "bin/k3s-harden"
    program.parent.mkdir()
    if name == "pyz":
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {the(dist, "*.pyz")} "$@"\n')
        program.chmod(0o755)
        scripts = {one: package_data.read("completions", f"k3s-harden.{one}") for one in SHELLS}
    else:
        package = {"deb": reading.deb, "rpm": reading.rpm}[name](the(dist, f"*.{name}"))
        reading.lay_out(package, tmp_path, Path(sys.executable), LIBRARIES)
        program.symlink_to(tmp_path / "usr/bin/k3s-harden")
        scripts = {
            one: member.data
            for one, places in SHELLS.items()
            for path, member in package.members.items()
            if str(path).endswith(places)
        }
    assert_completes(tmp_path, shell, scripts)


def test_check_finds_the_gate_of_a_package(package: reading.Package, tmp_path: Path) -> None:
    reading.lay_out(package, tmp_path, Path(sys.executable), LIBRARIES)
    found = installed_gate.detect_gate(Host.tree_at(str(tmp_path)))
    assert (found.template, found.packaged) == (SYSTEMD / TEMPLATE, True)
    assert set(found.dropins) == set(USUAL)
    assert DEFAULT_DATA_DIR in found.mounts
