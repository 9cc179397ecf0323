"""Services as systemd has loaded them, with answers of busctl in the form of systemd 257."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from agent.base.host.process import Completed
from agent.findings.node import unknown_config
from agent.harden.node.installed_services import installed_units
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR
from agent.k3s.services import K3sUnit
from tests.fake import Programs, fake_host
from tests.k3s_tree import put

UNIT = "/etc/systemd/system/k3s.service"
K3S = "/usr/local/bin/k3s"
MAIN, SRV = "/etc/rancher/k3s/config.yaml", "/srv/k3s/config.yaml"
BUS = ("busctl", "--json=short")
MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1")


def started(*words: str, flags: tuple[str, ...] = ()) -> list[Any]:
    return [words[0], list(words), list(flags), 0, 0, 0, 0, 0, 0, 0]


PROPERTIES: dict[str, Any] = {
    "FragmentPath": UNIT,
    "DropInPaths": [],
    "NeedDaemonReload": False,
    "ExecStartEx": [started(K3S, "server")],
    "ExecStartPreEx": [],
    **dict.fromkeys(("Environment", "EnvironmentFiles", "PassEnvironment", "UnsetEnvironment"), ()),
    "ProtectHome": "no",
    "PrivateTmp": False,
    **dict.fromkeys(("WorkingDirectory", "RootDirectory", "RootImage"), ""),
    **dict.fromkeys(("InaccessiblePaths", "TemporaryFileSystem", "BindPaths", "BindReadOnlyPaths"), ()),
}


def loaded(root: Path, answer: str = "", manager: tuple[str, ...] = (), **properties: Any) -> K3sUnit:
    """Return the service of a host on which systemd gives this answer, or one with these properties."""
    for path in ("run/systemd/system/.keep", "usr/bin/systemctl", "usr/bin/busctl"):
        put(root, path, "", mode=0o755)
    if not (root / UNIT.lstrip("/")).exists():
        put(root, UNIT.lstrip("/"), f"[Service]\nExecStart={K3S} server --parsed\n")
    shown = {name: {"type": "", "data": value} for name, value in (PROPERTIES | properties).items()}
    path = f"{MANAGER[1]}/unit/k3s_2eservice"
    call = ("call", MANAGER[0], path, "org.freedesktop.DBus.Properties", "GetAll", "s", "")
    get = ("get-property", *MANAGER, "org.freedesktop.systemd1.Manager", "Environment")
    answers = {call: answer or json.dumps({"data": [shown]}), get: json.dumps({"type": "as", "data": manager})}
    programs = Programs(
        {(f"/usr/bin/{BUS[0]}", BUS[1], *words): Completed(0, text, "") for words, text in answers.items()}
    )
    (unit,) = installed_units(fake_host(root, programs=programs, is_live=True), [])
    return unit


def test_systemd_is_asked_instead_of_the_files(tmp_path: Path) -> None:
    text = f"[Service]\nEnvironment=K3S_URL=%N\nExecStart={K3S} server \\\n --name %N --parsed\n"
    put(tmp_path, UNIT.lstrip("/"), text)
    unit = loaded(
        tmp_path,
        Environment=["K3S_URL=k3s"],
        ExecStartEx=[started(K3S, "server", "--name", "k3s", "--loaded")],
        NeedDaemonReload=True,
    )
    found = [(word.text, str(word.location)) for word in unit.arguments]
    assert found == [("--name", f"{UNIT}:4"), ("k3s", f"{UNIT}:4"), ("--loaded", UNIT)]
    assert str(unit.environment["K3S_URL"].location) == f"{UNIT}:2"
    assert (unit.settings.is_loaded, unit.settings.needs_reload) == (True, True)


@pytest.mark.parametrize("answer", ["", "no JSON", "[]", '{"data": [{"FragmentPath": {"data": ""}}]}', '{"data": 1}'])
def test_the_files_are_parsed_without_an_answer(tmp_path: Path, answer: str) -> None:
    unit = loaded(tmp_path, answer or " ")
    assert ([word.text for word in unit.arguments], unit.settings.is_loaded) == (["--parsed"], False)


@pytest.mark.parametrize(
    ("properties", "manager", "path"),
    [
        ({}, (), MAIN),
        ({}, ("K3S_CONFIG_FILE=/m",), "/m"),
        ({"Environment": ["K3S_CONFIG_FILE=/e"]}, ("K3S_CONFIG_FILE=/m",), "/e"),
        ({"PassEnvironment": ["K3S_CONFIG_FILE"]}, ("K3S_CONFIG_FILE=/m",), "/p"),
        ({"UnsetEnvironment": ["K3S_CONFIG_FILE"]}, ("K3S_CONFIG_FILE=/m",), MAIN),
        ({"UnsetEnvironment": ["K3S_CONFIG_FILE=/n"]}, ("K3S_CONFIG_FILE=/m",), "/m"),
        ({"EnvironmentFiles": [["/etc/k3s.env", True]]}, ("K3S_CONFIG_FILE=/m",), "/f"),
        ({"WorkingDirectory": "!/srv", "ExecStartEx": [started(K3S, "server", "-c", "../c")]}, (), "/c"),
        ({"ExecStartEx": [started(K3S, "server", "-c", "${M}")]}, ("M=/m",), "/m"),
        ({"ExecStartEx": [started(K3S, "server", "-c", "/$M", flags=("no-env-expand",))]}, ("M=m",), "/$M"),
        ({"BindPaths": [["/srv", "/etc/rancher", False, 0]]}, (), SRV),
        ({"BindPaths": [["/missing", "/var/none", True, 0]]}, (), None),
        ({"BindReadOnlyPaths": [["/srv", "/var/none", True, 0]]}, (), MAIN),
        ({"InaccessiblePaths": ["-/etc/rancher/k3s/config.yaml.d"]}, (), None),
        ({"PAMName": "login"}, (), None),
        ({"RootDirectoryStartOnly": True}, (), None),
        ({"ExecStartEx": [started(K3S, "server", flags=("privileged",))]}, (), None),
        ({"ExecStartEx": [started(K3S, "server", flags=("of-a-newer-systemd",))]}, (), None),
        ({"ExecStartEx": [started(K3S, "server", flags=("ignore-failure", "no-setuid"))]}, (), MAIN),
        ({"RootDirectory": "/r", "BindReadOnlyPaths": [["/b", "/etc", False, 0]]}, (), "/b/rancher/k3s/config.yaml"),
        ({"RootDirectory": "/r"}, (), "/r/etc/rancher/k3s/config.yaml"),
        ({"RootImage": "/r.raw"}, (), None),
        ({"TemporaryFileSystem": [["/etc", "ro"]]}, (), None),
        ({"InaccessiblePaths": ["-/etc/rancher"], "BindPaths": [["/srv", "/etc/rancher/k3s", False, 0]]}, (), None),
        ({"TemporaryFileSystem": [["/etc", ""]], "BindPaths": [["/srv", "/etc/rancher", 0, 0]]}, (), SRV),
        ({"ProtectHome": "tmpfs", "ExecStartEx": [started(K3S, "server", "-c", "/home/c")]}, (), None),
        ({"ProtectHome": "read-only", "ExecStartEx": [started(K3S, "server", "-c", "/home/c")]}, (), "/home/c"),
        ({"PrivateTmp": True, "ExecStartEx": [started(K3S, "server", "-c", "/var/tmp/c")]}, (), None),  # noqa: S108 - as above
        ({"ExecStartEx": [started(K3S, "server", "--config=https://a/b")]}, (), None),
    ],
)
def test_the_configuration_is_the_file_of_the_host_that_k3s_reads(
    tmp_path: Path, properties: dict[str, Any], manager: tuple[str, ...], path: str | None
) -> None:
    """By the variables of systemd and of the unit, and by what the process sees of the host; None if no file does."""
    put(tmp_path, "etc/k3s.env", "K3S_CONFIG_FILE=/f\n")
    (tmp_path / "srv").mkdir()
    put(tmp_path, "proc/1/environ", "A=b\0K3S_CONFIG_FILE=/p\0")
    assert loaded(tmp_path, manager=manager, **properties).config_path == (path and PurePosixPath(path))


@pytest.mark.parametrize(
    ("binds", "found"),
    [
        ([], []),
        ([["/srv", "/etc/rancher", False, 0], ["/var", "/var", False, 0]], []),
        ([["/srv", "/var/lib", False, 0]], ["/srv/rancher/k3s"]),
    ],
)
def test_a_unit_that_shows_k3s_another_data_directory_is_reported(
    tmp_path: Path, binds: list[Any], found: list[str]
) -> None:
    unit = loaded(tmp_path, BindPaths=binds)
    assert [problem.found for problem in unknown_config(unit, [], DEFAULT_DATA_DIR, None)] == found


def test_a_configuration_that_no_file_has_is_reported_without_its_password(tmp_path: Path) -> None:
    """K3s can read it from a URL. The setting that names a file ends the report."""
    unit = loaded(tmp_path, ExecStartEx=[started(K3S, "server", "-c", "https://a:s3cret@b/c")])
    (problem,) = unknown_config(unit, [], DEFAULT_DATA_DIR, None)
    assert "s3cret" not in problem.found
    assert list(unknown_config(unit, [], DEFAULT_DATA_DIR, PurePosixPath("/srv/k3s.yaml"))) == []
