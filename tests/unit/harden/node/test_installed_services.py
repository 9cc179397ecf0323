"""The services that start K3s, with the location of each argument and variable, and K3s without such a service."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from agent.base.errors import HardenError
from agent.base.host.directories import MOST_FILES
from agent.base.host.probe import K3sProcess
from agent.base.host.process import Completed
from agent.base.host.tree import LARGEST_TEXT
from agent.findings.node import unknown_config
from agent.harden.node.installed_services import installed_units, other_units
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, Role
from agent.k3s.services import K3sUnit, OtherProgram
from agent.reports import repair_texts
from tests.fake import Programs, fake_host
from tests.k3s_tree import put
from tests.unit.harden.node.test_loaded_service import BUS, MANAGER, started

UNIT = "/etc/systemd/system/k3s.service"
EDITED = f"{UNIT}.d/override.conf"
START = "[Service]\nExecStart=/usr/local/bin/k3s {}\n"
ENVIRONMENT_FILE = f"EnvironmentFile=-{UNIT}.env\n"


def installed(root: Path) -> K3sUnit:
    (unit,) = installed_units(fake_host(root), [])
    return unit


def arguments(root: Path) -> list[tuple[str, str]]:
    """Return the arguments after the role, each with its location."""
    return [(word.text, str(word.location)) for word in installed(root).arguments]


def environment(root: Path) -> dict[str, tuple[str, str]]:
    return {name: (word.text, str(word.location)) for name, word in installed(root).environment.items()}


def test_the_last_exec_start_is_effective(tmp_path: Path) -> None:
    put(tmp_path, UNIT, START.format("server --old"))
    put(tmp_path, EDITED, "[Service]\nExecStart=\nExecStart=-/usr/local/bin/k3s server --new\n")
    assert arguments(tmp_path) == [("--new", f"{EDITED}:3")]


@pytest.mark.parametrize("end", ["\\\n\n    >>/log", ">>/log 2>&1", "\\\n    >>/log 2>&1"])
def test_arguments_of_an_openrc_script_have_lines_and_its_redirections_are_none(tmp_path: Path, end: str) -> None:
    path = "/etc/init.d/k3s-agent"
    text = f'#!/sbin/openrc-run\ncommand="/usr/local/bin/k3s"\ncommand_args="agent \\\n\t\'--debug\' {end}"\n'
    put(tmp_path, path, text)
    assert arguments(tmp_path) == [("--debug", f"{path}:4")]


@pytest.mark.parametrize("command", ["/bin/true", "/usr/local/bin/k3s kubectl get", "/usr/local/bin/k3s 'server", ""])
def test_a_unit_that_does_not_start_k3s_is_ignored(tmp_path: Path, command: str) -> None:
    put(tmp_path, UNIT, f"[Service]\nExecStart={command}\n")
    assert installed_units(fake_host(tmp_path), []) == ()


def test_variables_have_the_line_that_sets_them(tmp_path: Path) -> None:
    unit = START.format("server") + "Environment=A=b \\\n  'K3S_NODE_NAME=a b'\n"
    put(tmp_path, UNIT, unit)
    put(tmp_path, EDITED, "[Service]\nEnvironment=K3S_SELINUX=true\nEnvironmentFile=-/etc/k3s.env\n")
    put(tmp_path, "etc/systemd/system/k3s.service.d/z.conf", f"[Service]\nEnvironmentFile=-{UNIT}.env\n")
    put(tmp_path, f"{UNIT}.env", "# install.sh\nK3S_URL='https://a:6443'\n")
    put(tmp_path, "etc/k3s.env", '\nK3S_DATA_DIR="/srv/k3s"\nexport K3S_TOKEN=not-read\n')
    assert environment(tmp_path) == {
        "K3S_NODE_NAME": ("a b", f"{UNIT}:4"),
        "K3S_SELINUX": ("true", f"{EDITED}:2"),
        "K3S_URL": ("https://a:6443", f"{UNIT}.env:2"),
        "K3S_DATA_DIR": ("/srv/k3s", "/etc/k3s.env:2"),
    }


def test_environment_files_override_the_unit_and_later_files_override_earlier_ones(tmp_path: Path) -> None:
    unit = START.format("server") + "Environment=K3S_URL=https://a K3S_NODE_NAME=a\nEnvironmentFile=/etc/last.env\n"
    put(tmp_path, UNIT, unit)
    put(tmp_path, f"{UNIT}.env", "K3S_URL=https://b\nK3S_NODE_NAME=b\n")
    put(tmp_path, "etc/last.env", "K3S_URL=https://c\nK3S_NODE_NAME=\n")
    assert environment(tmp_path) == {
        "K3S_URL": ("https://c", "/etc/last.env:1"),
        "K3S_NODE_NAME": ("", "/etc/last.env:2"),
    }


@pytest.mark.parametrize(
    ("unit", "word", "path"),
    [
        ("k3s.service", "-/etc/default/%N", "etc/default/k3s"),
        ("k3s.service", "/etc/%n.env", "etc/k3s.service.env"),
        ("k3s@east.service", "/etc/%p/%i%%", "etc/k3s/east%"),
        ("k3s@east.service", "/etc/%N", "etc/k3s@east"),
    ],
)
def test_specifiers_in_the_name_of_an_environment_file_are_replaced(
    tmp_path: Path, unit: str, word: str, path: str
) -> None:
    put(tmp_path, f"etc/systemd/system/{unit}", START.format("server") + f"EnvironmentFile={word}\n")
    put(tmp_path, path, 'K3S_NODE_NAME="it\'s"  \n')
    put(tmp_path, "etc/sysconfig/k3s", "K3S_URL=https://not-read\n")
    assert environment(tmp_path) == {"K3S_NODE_NAME": ("it's", f"/{path}:1")}


def unknown(root: Path, service: str = "k3s.service") -> str:
    """Return why it is not known what a service starts; empty if it is."""
    others: list[OtherProgram] = []
    found = installed_units(fake_host(root), [], others)
    return next((other.reason for other in others if other.unit.name == service), "" if found else "nothing")


@pytest.mark.parametrize(
    "line",
    [
        "EnvironmentFile=/etc/%H.env",
        "EnvironmentFile=/etc/k3s%",
        "EnvironmentFile=-/etc/*.envd/k3s.env",
        "Environment=K3S_URL=%H",
        "ExecStart=\nExecStart=/usr/local/bin/k3s server --node-name %H",
        "ExecStart=\nExecStart=/usr/local/bin/k3s server --node-name a\\x24b",
        "Environment='K3S_URL=\\x61'",
        "UnsetEnvironment=K3S_UR\\x4c",
        "UnsetEnvironment=%H",
        "WorkingDirectory=%E",
        "ExecStart=\nExecStart=/bin/true ; /usr/local/bin/k3s server",
        "ExecStart=\nExecStart=/usr/local/bin/k3s server -c ${CONFIGURATION_DIRECTORY}/a",
        "ExecStart=\nExecStart=/usr/local/bin/k3s server -c $HOME",
        "ExecStart=\nExecStart=/usr/local/bin/k3s server -c $NOTIFY_SOCKET",
        "ExecStart=/usr/local/bin/k3s server --again",
        "ExecStart=\nExecStart=-+/usr/local/bin/k3s server",
        "PAMName=login",
        "PermissionsStartOnly=yes",
        "PassEnvironment=K3S_URL",
        "BindPaths=/srv:/etc/rancher",
        "RootDirectory=/srv",
    ],
)
def test_what_only_systemd_knows_makes_the_service_unknown(tmp_path: Path, line: str) -> None:
    """Its value is not empty, and no part of it is used."""
    put(tmp_path, UNIT, START.format("server") + "Environment=NOTIFY_SOCKET=a\n")
    assert unknown(tmp_path) == ""
    put(tmp_path, EDITED, f"[Service]\n{line}\n")
    assert unknown(tmp_path) not in ("", "nothing")


@pytest.mark.parametrize(
    "line", ["directory=/srv", "a=b K3S_CONFIG_FILE=/srv/k3s.yaml", "a=${K3S_CONFIG_FILE:=/srv/a}"]
)
def test_what_a_line_of_an_openrc_script_changes_makes_the_service_unknown(tmp_path: Path, line: str) -> None:
    put(tmp_path, "etc/init.d/k3s", "#!/sbin/openrc-run\ncommand=/usr/local/bin/k3s\ncommand_args='server -c a'\na=b\n")
    assert unknown(tmp_path, "k3s") == ""
    with (tmp_path / "etc/init.d/k3s").open("a") as script:
        script.write(f"{line}\n")
    assert unknown(tmp_path, "k3s") == "/etc/init.d/k3s:5 is not understood"


@pytest.mark.parametrize(
    ("lines", "path", "on_host"),
    [
        ("ProtectHome=read-only\nPrivateTmp=no", "/home/a", PurePosixPath("/home/a")),
        ("ProtectHome=on", "/root/a", None),
        ("ProtectHome=tmpfs", "/run/user/a", None),
        ("PrivateTmp=true", "/var/tmp/a", None),  # noqa: S108 - not a file of this machine
        ("PrivateTmp=true\nProtectHome=yes", "/etc/a", PurePosixPath("/etc/a")),
    ],
)
def test_a_configuration_in_a_directory_that_the_unit_hides_is_not_that_of_the_host(
    tmp_path: Path, lines: str, path: str, on_host: PurePosixPath | None
) -> None:
    put(tmp_path, UNIT, START.format(f"server -c {path}") + f"{lines}\n")
    (unit,) = installed_units(fake_host(tmp_path), [])
    assert unit.config_path == on_host


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("K = v", "v"),
        ("\tK=v\t", "v"),
        ("K='a b' ", "a b"),
        ('K="a \'b"', "a 'b"),
        ("K=it's", "it's"),
        ("K=a # b", "a # b"),
        ("#K=a\n;K=b\nno assignment\nexport K=c", ""),
        ("J=a\rK=b", "b"),
        ('K="--disable traefik\n --config /srv/k3s.yaml"', None),
        ("K=a\\\nb", None),
        ("# a comment \\\nK=a", None),
        ('MOTD="a\nK=b\n"', None),
        ("K='a'b", None),
        (r'K="a\"b"', None),
    ],
)
def test_a_line_of_an_environment_file_is_known_if_it_does_not_depend_on_others(
    tmp_path: Path, text: str, value: str | None
) -> None:
    """Otherwise the whole service is unknown, as systemd can read another assignment from it."""
    put(tmp_path, UNIT, START.format("server --x=${K}") + "EnvironmentFile=/etc/k3s.env\n")
    put(tmp_path, "etc/k3s.env", f"{text}\n")
    if value is None:
        assert unknown(tmp_path).startswith("/etc/k3s.env:")
    else:
        assert [word for word, _ in arguments(tmp_path)] == [f"--x={value}"]


@pytest.mark.parametrize("content", [b"#!/bin/sh\n", b"\x7fELF"])
def test_a_program_is_followed_if_it_is_no_script(tmp_path: Path, content: bytes) -> None:
    """A script of that name can give K3s any option."""
    put(tmp_path, UNIT, START.format("server"))
    put(tmp_path, "usr/local/bin/k3s", "")
    (tmp_path / "usr/local/bin/k3s").write_bytes(content)
    assert ("is a script" in unknown(tmp_path)) is content.startswith(b"#!")


def test_an_alias_is_no_service_of_its_own_and_an_instance_is_one(tmp_path: Path) -> None:
    put(tmp_path, UNIT, START.format("server"))
    (tmp_path / "etc/systemd/system/k3s-alias.service").symlink_to("k3s.service")
    put(tmp_path, "usr/lib/systemd/system/k3s@.service", START.format("agent"))
    put(tmp_path, "etc/systemd/system/k3s-hardened.service", START.format("server"))
    put(tmp_path, "etc/systemd/system/k3s@a\\x2db.service", START.format("server"))  # a shell would read it
    found = installed_units(fake_host(tmp_path), [], [], "k3s@a.service")
    assert {unit.path.name for unit in found} == {"k3s.service", "k3s@a.service", "k3s-hardened.service"}


def test_an_agent_ignores_variables_of_server_options(tmp_path: Path) -> None:
    """The variables do not stop an agent; the same keys in a file would."""
    path = "/etc/systemd/system/k3s-agent.service"
    put(tmp_path, path, START.format("agent") + f"EnvironmentFile={path}.env\n")
    put(tmp_path, f"{path}.env", "K3S_CLUSTER_INIT=true\nK3S_URL=https://a:6443\nPATH=/bin\n")
    assert environment(tmp_path).keys() == {"K3S_URL"}


@pytest.mark.parametrize(
    ("words", "variable", "path"),
    [
        ("", "", "/etc/rancher/k3s/config.yaml"),
        ("--config /a.yaml", "", "/a.yaml"),
        ("-c /a.yaml", "", "/a.yaml"),
        ("--config=/a.yaml --config=/b.yaml", "", "/a.yaml"),
        ("", "/c.yaml", "/c.yaml"),
        ("--config /a.yaml", "/c.yaml", "/c.yaml"),
        ("--config= --config=/a.yaml", "/c.yaml", "/c.yaml"),
        ("-c //a.yaml", "", "/a.yaml"),
        ("-c /srv//./a.yaml", "", "/srv/a.yaml"),
    ],
)
def test_the_variable_k3s_config_file_overrides_the_argument_config(
    tmp_path: Path, words: str, variable: str, path: str
) -> None:
    """K3s looks for K3S_CONFIG_FILE first, then for the first --config or -c."""
    put(tmp_path, UNIT, START.format(f"server {words}") + ENVIRONMENT_FILE)
    put(tmp_path, f"{UNIT}.env", f"K3S_CONFIG_FILE={variable}\n")
    assert installed(tmp_path).config_path == PurePosixPath(path)


@pytest.mark.parametrize(
    "words",
    [
        *("--config=", "-c=", "--config ''", '-c ""', "--config=${UNSET}", "-c ${UNSET}", "--config", "-c"),
        *("--config= --config=/a.yaml", "--token a -c= --debug"),
    ],
)
def test_k3s_reads_no_configuration_if_the_argument_config_is_empty(tmp_path: Path, words: str) -> None:
    """No setting can say otherwise. An empty variable does not count."""
    put(tmp_path, UNIT, START.format(f"server {words}") + ENVIRONMENT_FILE)
    put(tmp_path, f"{UNIT}.env", "K3S_CONFIG_FILE=\n")
    unit = installed(tmp_path)
    assert (unit.given_config, unit.config_path) == ("", None)
    (problem,) = unknown_config(unit, [], DEFAULT_DATA_DIR, PurePosixPath("/etc/rancher/k3s/config.yaml"))
    assert "K3s reads no configuration file" in problem.message


@pytest.mark.parametrize(
    "given",
    [
        *("/proc/self/environ", "/proc/self/fd/0", "//proc/self/cwd/a", "/dev/stdin", "/dev/shm/a", "/srv/link"),  # noqa: S108 - no file is created
        *("/srv/../proc/self/cwd/a", "/run/credentials/k3s.service/a", "proc/self/cwd/a", "HTTPS://a/b", "http:a"),
        *("/srv/a.yaml/", "/srv/a.yaml/.", ".", "/"),
    ],
)
def test_a_configuration_that_each_process_sees_otherwise_is_unknown(tmp_path: Path, given: str) -> None:
    """K3s appends `.d` to the text of the path, so it has no drop-ins of its own after a slash."""
    (tmp_path / "srv").mkdir()
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "srv/link").symlink_to("/proc/self/cwd/a")
    (tmp_path / "proc/self/cwd").symlink_to("/srv")
    put(tmp_path, UNIT, START.format(f"server -c {given}"))
    assert installed(tmp_path).config_path is None


def test_the_repr_of_a_unit_omits_tokens(tmp_path: Path) -> None:
    """A traceback must not show a token of the command line or the environment."""
    put(tmp_path, UNIT, START.format("server --token s3cret") + ENVIRONMENT_FILE)
    put(tmp_path, f"{UNIT}.env", "K3S_AGENT_TOKEN=s3cret\n")
    assert "s3cret" not in repr(installed_units(fake_host(tmp_path), []))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("server $K3S_OPTS --c", ["--a", "b c", "--c"]),
        ("server ${K3S_OPTS}", ["--a 'b c'"]),
        ("server --x=${NAME}/$$/$NAME", ["--x=n/$/$NAME"]),
        ("server $NONE ${NONE} --c", ["", "--c"]),
        ("$ROLE --c", ["--c"]),
    ],
)
def test_variables_in_the_command_are_replaced(tmp_path: Path, command: str, words: list[str]) -> None:
    """As in systemd.service(5), `$NAME` becomes several words, and `${NAME}` a part of one."""
    put(tmp_path, UNIT, START.format(command) + "EnvironmentFile=/etc/k3s.env\nEnvironment=ROLE=server\n")
    put(tmp_path, "etc/k3s.env", "K3S_OPTS=--a 'b c'\nNAME=n\n")
    assert [text for text, _ in arguments(tmp_path)] == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # install.sh writes one argument per line, quoted, with a backslash at the end.
        (
            "ExecStart=/usr/local/bin/k3s \\\n    server \\\n\t'--debug' \\\n\t'--node-name' 'a b' \\\n\nUser=root\n",
            [("--debug", 4), ("--node-name", 5), ("a b", 5)],
        ),
        ("ExecStart=/usr/local/bin/k3s server \\\n --a \\\n# --b \\\n ; c\n --d\n", [("--a", 3), ("--d", 6)]),
        ("# a comment \\\nExecStart=/usr/local/bin/k3s server --a\n", [("--a", 3)]),
        ("  ExecStart = /usr/local/bin/k3s server --a\n", [("--a", 2)]),
        ("ExecStart=/usr/local/bin/k3s server \\\r\n --a\r\n", [("--a", 3)]),
        ("ExecStart=@/usr/local/bin/k3s k3s server --a\n", [("--a", 2)]),
        ("ExecStart=:/usr/local/bin/k3s server $A\n", [("$A", 2)]),
        ("ExecStart=/usr/local/bin/k3s server --a\\", [("--a", 2)]),
    ],
)
def test_a_unit_is_read_as_systemd_reads_it(tmp_path: Path, text: str, words: list[tuple[str, int]]) -> None:
    put(tmp_path, UNIT, f"[Service]\n{text}")
    assert arguments(tmp_path) == [(word, f"{UNIT}:{line}") for word, line in words]


@pytest.mark.parametrize(
    "command",
    [
        "/usr/bin/env A=b /usr/local/bin/k3s server",
        "/usr/bin/nice -n 5 /usr/local/bin/k3s agent",
        "/usr/bin/ionice -c2 -n 7 /bin/nice -n -5 -- /usr/local/bin/k3s server",
        "/usr/bin/chrt --idle 0 /usr/bin/taskset -c 0-3 /usr/bin/env A=b /usr/local/bin/k3s server",
        "/usr/local/bin/k3s --debug --data-dir /srv server",
        "/opt/k3s-v1.34 server",
    ],
)
# INSTALL_K3S_NAME=a.b creates the second service.
@pytest.mark.parametrize("service", ["k3s", "k3s-a.b"])
def test_k3s_can_be_started_by_another_program(tmp_path: Path, service: str, command: str) -> None:
    """Options before the role are not those of the server: there, --data-dir is only for K3s' own programs."""
    put(tmp_path, f"etc/systemd/system/{service}.service", f"[Service]\nExecStart={command} --a\n")
    assert [text for text, _ in arguments(tmp_path)] == ["--a"]


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        ("/usr/bin/env K3S_URL=b /usr/local/bin/k3s server", {"K3S_URL": "b", "K3S_SELINUX": "yes"}),
        ("/usr/bin/env K3S_URL=b=c A=b /usr/local/bin/k3s server", {"K3S_URL": "b=c", "K3S_SELINUX": "yes"}),
        ("/usr/bin/nice /usr/bin/env K3S_SELINUX= /usr/local/bin/k3s server", {"K3S_URL": "a", "K3S_SELINUX": ""}),
    ],
)
def test_variables_of_what_starts_k3s_are_followed(tmp_path: Path, command: str, variables: dict[str, str]) -> None:
    unit = f"[Service]\nExecStart={command}\nEnvironment=K3S_URL=a K3S_SELINUX=yes\n"
    put(tmp_path, UNIT, unit)
    assert {name: word.text for name, word in installed(tmp_path).environment.items()} == variables


@pytest.mark.parametrize(
    "command",
    [
        "/usr/local/bin/start-k3s.sh server",
        "/usr/bin/env -S 'K3S_URL=a k3s server'",
        "/bin/sh -c 'ulimit -n 9; exec /usr/local/bin/k3s server'",
        "/bin/sh -c '[ -f x ] && export K3S_CONFIG_FILE=/srv/a; exec k3s server'",
        "/usr/bin/nohup /usr/local/bin/k3s server",
        "/usr/bin/nice -x /usr/local/bin/k3s server",
        "/usr/bin/env -C /srv /usr/local/bin/k3s server -c a",
        "/usr/bin/env --chdir=/srv /usr/local/bin/k3s server -c a",
        "/usr/bin/env A=b --chdir=/srv /usr/local/bin/k3s server -c a",
        "/usr/bin/env -i /usr/local/bin/k3s server",
        "/usr/bin/env - /usr/local/bin/k3s server",
        "/usr/bin/env -iS '/usr/local/bin/k3s server -c /srv/a'",
        "/usr/bin/env '--split-string=K3S_CONFIG_FILE=/srv/a /usr/local/bin/k3s' server",
        "/usr/bin/env -u A -- /usr/local/bin/k3s server",
        "k3s server",
        "env /usr/local/bin/k3s server",
        "/usr/bin/nice k3s server",
        "./k3s server",
        "/proc/self/cwd/k3s server",
        "/usr/local/bin/k3s --data-dir --config=/srv/a server",
        "/usr/local/bin/k3s -d -c server",
        "@/usr/local/bin/k3s --config=/srv/a server",
        "@/usr/local/bin/k3s -c server",
        "/usr/bin/chrt -p 1 /usr/local/bin/k3s server",
        "/usr/bin/chroot /srv /usr/local/bin/k3s server",
        "/bin/sh -c",
    ],
)
def test_what_may_give_k3s_other_options_is_not_followed(tmp_path: Path, command: str) -> None:
    """The service is one of K3s by its name, or because it has the gate."""
    others: list[OtherProgram] = []
    for name in ("k3s.service", "k3s-east.service", "k3s-snapshot.service"):
        put(tmp_path, f"etc/systemd/system/{name}", f"[Service]\nExecStart={command}\n")
    put(tmp_path, "etc/systemd/system/k3s-east.service.d/zzz-k3s-harden.conf", "[Service]\n")
    assert installed_units(fake_host(tmp_path), [], others) == ()
    assert sorted(other.unit.name for other in others) == ["k3s-east.service", "k3s.service"]


def test_only_an_environment_file_that_the_unit_names_is_read(tmp_path: Path) -> None:
    """The usual files of install.sh do not count if the unit does not name them, or resets its list."""
    put(tmp_path, UNIT, START.format("server") + ENVIRONMENT_FILE)
    for path in (f"{UNIT}.env", "/etc/default/k3s", "/etc/sysconfig/k3s", "/etc/rancher/k3s/k3s.env"):
        put(tmp_path, path, f"K3S_URL={path}\n")
    assert environment(tmp_path) == {"K3S_URL": (f"{UNIT}.env", f"{UNIT}.env:1")}
    put(tmp_path, EDITED, "[Service]\nEnvironmentFile=\n")
    assert environment(tmp_path) == {}


def test_an_openrc_script_reads_the_files_that_it_sources(tmp_path: Path) -> None:
    file = "/etc/rancher/k3s/k3s.env"
    script = f'command="/usr/local/bin/k3s"\ncommand_args="server"\nif [ -f {file} ]; then source {file}; fi\n'
    put(tmp_path, "etc/init.d/k3s", script)
    put(tmp_path, file, "K3S_URL=a\n")
    put(tmp_path, "etc/default/k3s", "K3S_URL=b\n")
    assert environment(tmp_path) == {"K3S_URL": ("a", f"{file}:1")}


def test_a_pattern_selects_environment_files(tmp_path: Path) -> None:
    put(tmp_path, UNIT, START.format("server") + "EnvironmentFile=-/etc/k3s/*.env\n")
    for name, value in (("b.env", "b"), ("a.env", "a"), (".c.env", "c"), ("d.conf", "d")):
        put(tmp_path, f"etc/k3s/{name}", f"K3S_NODE_NAME={value}\n")
    assert environment(tmp_path) == {"K3S_NODE_NAME": ("b", "/etc/k3s/b.env:1")}


def test_an_empty_assignment_removes_earlier_variables_and_files(tmp_path: Path) -> None:
    """The drop-in resets the variables and files of the unit (systemd.exec(5))."""
    put(tmp_path, UNIT, START.format("server") + "Environment=K3S_URL=a\nEnvironmentFile=/etc/a.env\n")
    put(tmp_path, EDITED, "[Service]\nEnvironment=\nEnvironmentFile=\nEnvironmentFile=/etc/b.env\n")
    put(tmp_path, "etc/a.env", "K3S_NODE_NAME=a\n")
    put(tmp_path, "etc/b.env", "K3S_SELINUX=true\n")
    assert environment(tmp_path) == {"K3S_SELINUX": ("true", "/etc/b.env:1")}


def test_drop_ins_for_several_services_apply(tmp_path: Path) -> None:
    units = "etc/systemd/system"
    put(tmp_path, f"{units}/k3s-east.service", START.format("server"))
    put(tmp_path, f"{units}/k3s-.service.d/b.conf", "[Service]\nExecStart=\nExecStart=/usr/local/bin/k3s server --b\n")
    assert arguments(tmp_path) == [("--b", f"/{units}/k3s-.service.d/b.conf:3")]
    put(tmp_path, "run/systemd/system/service.d/c.conf", "[Service]\nEnvironment=K3S_SELINUX=true\n")
    assert environment(tmp_path) == {"K3S_SELINUX": ("true", "/run/systemd/system/service.d/c.conf:2")}
    put(tmp_path, f"{units}/k3s-east.service.d/c.conf", "[Service]\n")
    assert environment(tmp_path) == {}


def test_exceeding_a_size_limit_is_an_error(tmp_path: Path) -> None:
    """Limits exist for a unit, a drop-in, an environment file, and the number of drop-ins; systemd has none."""
    large = "#" * (LARGEST_TEXT + 1)
    put(tmp_path, UNIT, START.format("server") + "EnvironmentFile=-/etc/default/%N\n")
    put(tmp_path, "etc/default/k3s", large)
    put(tmp_path, "etc/systemd/system/k3s-large.service", large)
    put(tmp_path, f"{UNIT}.d/0.conf", large)
    for number in range(1, MOST_FILES + 1):
        put(tmp_path, f"etc/systemd/system/k3s.service.d/{number}.conf", "")
    unread: list[HardenError] = []
    installed_units(fake_host(tmp_path), unread)
    assert [error.message.partition(":")[0] for error in unread] == [
        "cannot read /etc/systemd/system/k3s-large.service",
        f"cannot read all files in {UNIT}.d",
        f"cannot read {UNIT}.d/0.conf",
        "cannot read /etc/default/k3s",
    ]
    assert "it has 501; k3s-harden reads the first 500" in unread[1].message
    assert repair_texts.text(unread[1].repair) == f"move files that are not needed out of {UNIT}.d"


GATE = started("/usr/bin/env", "systemctl start k3s-harden@k3s.service")
OTHER = started("/bin/true")
SERVICE = "0::/system.slice/k3s.service\n"


def units(root: Path, group: str, commands: list[Any], parent: int = 1, main: int = 7) -> tuple[str, ...]:
    """Return what is found of K3s' process 7, in this control group, of a service with these commands before it."""
    for path in ("run/systemd/system/.keep", "usr/bin/systemctl", "usr/bin/busctl"):
        put(root, path, "", mode=0o755)
    put(root, "proc/7/cgroup", group)
    put(root, "proc/7/stat", f"7 (k3s) server) S {parent} 7 7 0\n")
    call = ("call", MANAGER[0], f"{MANAGER[1]}/unit/k3s_2eservice", "org.freedesktop.DBus.Properties", "GetAll")
    shown = {"ExecStartPreEx": {"data": commands}, "MainPID": {"data": main}}
    answer = Completed(0, json.dumps({"data": [shown]}), "")
    host = fake_host(root, programs=Programs({(f"/usr/bin/{BUS[0]}", BUS[1], *call, "s", ""): answer}), is_live=True)
    return other_units(host, [K3sProcess(7, Role.SERVER, 0.0)])


@pytest.mark.parametrize(
    "group",
    [
        "0::/user.slice/user-0.slice/user@0.service/app.slice/k3s.service\n",
        "0::/system.slice/site.service/k3s.service\n",
    ],
)
def test_the_unit_is_that_of_systemd_and_not_of_a_group_below_it(tmp_path: Path, group: str) -> None:
    (found,) = units(tmp_path, group, [GATE])
    assert found in group
    assert found != "k3s.service"


@pytest.mark.parametrize("group", [SERVICE, "3:pids:/\n1:name=systemd:/system.slice/k3s.service\n0::/\n"])
@pytest.mark.parametrize(("parent", "main"), [(1, 7), (6, 6)], ids=["main process", "child, with the option log"])
def test_a_service_with_the_gate_has_started_it(tmp_path: Path, group: str, parent: int, main: int) -> None:
    assert units(tmp_path, group, [OTHER, GATE], parent, main) == ()


@pytest.mark.parametrize("commands", [[], [OTHER], [GATE, OTHER], [[*GATE[:2], ["ignore-failure"], *GATE[3:]]]])
def test_a_service_in_which_the_gate_has_no_effect_is_named(tmp_path: Path, commands: list[Any]) -> None:
    """The drop-in alone says nothing: another one can reset its command."""
    put(tmp_path, "etc/systemd/system/k3s.service.d/zzz-k3s-harden.conf", "")
    assert units(tmp_path, SERVICE, commands) == ("k3s.service",)


def test_a_process_of_another_command_of_the_service_is_named(tmp_path: Path) -> None:
    """As one that ExecStartPost= leaves."""
    assert units(tmp_path, SERVICE, [GATE], parent=1, main=6) == ("k3s.service",)
