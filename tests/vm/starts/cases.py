"""Generated configurations of services: environment files, units and OpenRC scripts, from a seed."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

_KEYS = (
    "K3S_ARGS",
    "K3S_CONFIG_FILE",
    "K3S_NODE_NAME",
    "K3S_DATA_DIR",
    "MOTD",
    "export K3S_URL",
    " K3S_URL ",
    "K3S_URL\t",
)
_PARTS = (
    *("a", "b c", "'", '"', "\\", "\\\n", "\n", "#", " # c", ";", "$K3S_NODE_NAME", "${K3S_URL}", "=", "\t", "\r", "é"),
    *(
        "--config /srv/a.yaml",
        "--disable traefik",
        " ",
        "K3S_CONFIG_FILE=/srv/b.yaml",
        "\nK3S_CONFIG_FILE=/srv/a.yaml\n",
    ),
    *("\\\\", '\\"', "\\'", "$$", "`", "%n", "/srv/a.yaml"),
)
_PREFIXES = ("", "", "\n", "# a comment\n", "; another \\\n", "# K3S_URL=c \\\n", "\\\n", "no assignment\n", "=x\n")
_COMMANDS = (
    *("{k3s} server $K3S_ARGS", "{k3s} server --x=${{K3S_NODE_NAME}} $NONE ${{NONE}}", ":{k3s} server $K3S_ARGS"),
    *("@{k3s} k3s server 'a b' \"c d\"", "-{k3s} server $$HOME $${{A}} a$K3S_ARGS", "{k3s} server \\x24K3S_ARGS a\\tb"),
    *("/usr/bin/env K3S_URL=a=b {k3s} server", "/usr/bin/env K3S_CONFIG_FILE= A=b {k3s} server -c /srv/a.yaml"),
    *(
        "/usr/bin/nice -n 5 {k3s} server",
        "/usr/bin/ionice -c3 /usr/bin/nice {k3s} server",
        "/usr/bin/chrt -o 0 {k3s} server",
        "/usr/bin/taskset -c 0 /usr/bin/env K3S_CONFIG_FILE=/srv/b.yaml {k3s} server -- a",
    ),
    *("{k3s} --debug --data-dir /srv server --config=${{K3S_CONFIG_FILE}}", "{k3s} server --n %n --N %N --p %%"),
    *("{k3s} server -c ../a.yaml\nWorkingDirectory=/srv/link", "{k3s} server -c a.yaml\nWorkingDirectory=-/srv"),
    *("{k3s} server -c ../a.yaml", "{k3s} server -c a.yaml", "{k3s} server -c /srv/link/../a.yaml"),
    *(
        "{k3s} server -c //srv/a.yaml",
        "{k3s} server --config=/srv/./a.yaml -c ''",
        "{k3s} --debug server -c /usr/a.yaml",
    ),
    "{k3s} server -c ${{STATE_DIRECTORY}}/a.yaml\nStateDirectory=a",
    "{k3s} server -c ${{CONFIGURATION_DIRECTORY}}/a.yaml\nConfigurationDirectory=site",
    *("{k3s} server -c $CONFIGURATION_DIRECTORY", "{k3s} server ${{A:-b}} ${{A"),
    *("{k3s} server -c /srv/link/../b.yaml", "{k3s} server -c /home/../root/a.yaml", "{k3s} server -c /root/a.yaml"),
    *("{k3s} server -c /tmp/a.yaml", "{k3s} server -c /home/a.yaml", "{k3s} server \\; a", "{k3s} server"),
)
_UNKNOWN_COMMANDS = (
    *(
        "{k3s} server --config=",
        "{k3s} server -c=",
        "{k3s} server --config ''",
        '{k3s} server -c ""',
        "{k3s} server -c",
    ),
    *(
        "{k3s} server --config=${{UNSET}}",
        "{k3s} server -c ${{UNSET}} --debug",
        "{k3s} server --config= -c /srv/a.yaml",
    ),
    *("{k3s} server --token -c /srv/a.yaml", "{k3s} server -- --config=/srv/a.yaml", "{k3s} server --x -c=/srv/a.yaml"),
    *(
        "{k3s} --data-dir --config=/srv/a.yaml server",
        "{k3s} --data-dir -c server",
        "@{k3s} --config=/srv/a.yaml server",
    ),
    *("{k3s} server -c /proc/self/environ", "{k3s} server -c /dev/stdin", "{k3s} server -c /dev/shm/a.yaml"),
    *("{k3s} server -c /proc/self/cwd/a.yaml\nWorkingDirectory=/srv", "{k3s} server -c /srv/to-cwd/a.yaml"),
    *("{k3s} server -c /proc/self/fd/0\nStandardInput=file:/srv/a.yaml", "{k3s} server -c //proc/1/root/srv/a.yaml"),
    *("{k3s} server -c /srv/a.yaml/", "{k3s} server -c /none/", "{k3s} server -c /srv/none/.", "{k3s} server -c ."),
    *("{k3s} server -c http://127.0.0.1:1/a", "{k3s} server -c HTTP://127.0.0.1:1/a", "{k3s} server -c http:a"),
    "{k3s} server -c ${{CREDENTIALS_DIRECTORY}}/a.yaml\nSetCredential=a.yaml:a",
    *("/usr/bin/env -u K3S_CONFIG_FILE {k3s} server", "/usr/bin/env -- K3S_URL=a=b {k3s} server"),
    *("/usr/bin/env -i {k3s} server --c", "/usr/bin/env - {k3s} server", "/usr/bin/env A=b -i {k3s} server"),
    *("/usr/bin/env --chdir=/srv {k3s} server -c a.yaml", "/usr/bin/env -C /srv {k3s} server -c a.yaml"),
    *("/usr/bin/env '-SK3S_CONFIG_FILE=/srv/a.yaml {k3s} server'", "/usr/bin/env '-iS{k3s} server -c /srv/a.yaml'"),
    "/usr/bin/env '--split-string=K3S_CONFIG_FILE=/srv/a.yaml {k3s} server -c=b'",
    *("k3s server -c /srv/a.yaml", "env {k3s} server", "/usr/bin/nice k3s server", "/usr/bin/env k3s server"),
    *("k3s server\nExecSearchPath=/srv", "/proc/self/cwd/k3s server\nWorkingDirectory=/usr/local/bin"),
    *("+{k3s} server -c /srv/a.yaml", "-+{k3s} server -c /tmp/a.yaml\nPrivateTmp=yes", "/srv/script server"),
    *("/bin/sh -c 'exec {k3s} server -c /srv/a.yaml'", "/usr/bin/nohup {k3s} server -c /srv/a.yaml"),
    *("/usr/bin/setsid {k3s} server", "/usr/bin/prlimit --nofile=99 {k3s} server", "/usr/bin/chroot / {k3s} server"),
)
"""What the gate may refuse as unknown, and must not misread."""
_SETTINGS = (
    *("Environment=K3S_CONFIG_FILE=/srv/b.yaml", "Environment='K3S_ARGS=a \"b c\" \\x41'", "PassEnvironment=container"),
    *("UnsetEnvironment=K3S_CONFIG_FILE", "UnsetEnvironment=K3S_URL=a", "Environment=K3S_URL=a K3S_NODE_NAME=%N"),
    *("WorkingDirectory=/srv/link", "WorkingDirectory=-/srv/none", "WorkingDirectory=/srv", "StateDirectory=a b"),
    *(
        "BindPaths=/srv/bound:/etc/rancher/k3s",
        "BindPaths=/srv/bound:/srv/real",
        "BindReadOnlyPaths=/srv/bound:/srv/real",
    ),
    "ConfigurationDirectory=site",
    *("UnsetEnvironment=\\x4b3S_URL", "WorkingDirectory=%E", "UnsetEnvironment=K3S_%p", "SetCredential=a.yaml:a"),
    *("PrivateDevices=yes", "ProtectSystem=strict", "ProtectHome=read-only", "User=daemon", "ProtectSystem=full"),
    *("PrivateMounts=yes", "ProtectKernelTunables=yes", "ProtectControlGroups=yes", "MountFlags=shared", "UMask=0077"),
    *("Environment=BASH_ENV=/srv/x ENV=/srv/x", "Environment=HOME=/srv PWD=/srv", "Environment=IFS=/ LC_ALL=C"),
    *("StandardInput=null", "ReadOnlyPaths=/srv", "NoExecPaths=/srv", "DynamicUser=no", "LogNamespace="),
    *(
        "Environment=PATH=/usr/local/bin",
        "RuntimeDirectory=site",
        "EnvironmentFile=-/etc/*.envd/k3s.env",
        "PrivateUsers=yes",
    ),
    *(
        "EnvironmentFile=-/etc/none.env",
        "EnvironmentFile=",
        "ProtectProc=invisible",
        "NoNewPrivileges=yes",
        "Environment=",
    ),
    *("Environment=SYSTEMD_OFFLINE=1", "MountAPIVFS=yes", "BindPaths=/srv", "BindPaths=/srv/real:/srv/bound:norbind"),
)
_WITHOUT_A_FAILURE = (
    *("SuccessExitStatus=SIGINT SIGKILL 1", "SuccessExitStatus=203 226 127", "RestartForceExitStatus=1 2"),
    *("Environment=SHELLOPTS=noexec", "Environment=LD_TRACE_LOADED_OBJECTS=1", "Environment=LD_DEBUG=help"),
    *("Environment=BASH_ENV=/etc/hostname ENV=/etc/hostname", "Environment=LD_PRELOAD=/none FUNCNEST=1"),
)
"""Settings with which the shell of the gate runs no command, or its failure is a success."""
_UNKNOWN_SETTINGS = (
    *("PAMName=login", "PAMName=other\nUser=root", "PermissionsStartOnly=yes\nPrivateTmp=yes", "ProtectHome=tmpfs"),
    *("PermissionsStartOnly=yes\nProtectHome=tmpfs\nEnvironment=K3S_CONFIG_FILE=/root/a.yaml", "ProtectHome=yes"),
    *("RootDirectoryStartOnly=yes", "PrivateTmp=yes", "PrivateTmp=yes\nEnvironment=K3S_CONFIG_FILE=/tmp/a.yaml"),
    *("InaccessiblePaths=/etc/rancher", "InaccessiblePaths=-/etc/rancher/k3s/config.yaml.d", "ProcSubset=pid"),
    *("BindPaths=-/none:/etc/rancher", "BindReadOnlyPaths=-/none:/srv", "TemporaryFileSystem=/etc/rancher"),
    *("BindPaths=/srv/a.yaml:/etc/rancher/k3s/config.yaml", "BindPaths=/srv/bound:/etc/rancher/k3s/config.yaml.d"),
    *("BindPaths=/srv/a.yaml:/srv/policy.yaml", "BindReadOnlyPaths=/srv/real:/var/lib/rancher/k3s/server"),
    *("TemporaryFileSystem=/srv/real", "BindPaths=/srv/bound:/srv", "BindPaths=/srv/script:/usr/local/bin/k3s"),
    *("BindPaths=/:/mnt\nRootDirectory=/", "TemporaryFileSystem=/var/lib/rancher:ro", "StateDirectory=rancher/k3s"),
)
_STRANGE_FILES = ("K3S_CONFIG_FILE=", "K3S_CONFIG_FILE=/proc/self/cwd/srv/a.yaml", "K3S_CONFIG_FILE=/dev/fd/0")


class Case(NamedTuple):
    """A service: the text of its environment file, and lines of its unit or of its OpenRC script."""

    name: str
    environment: str
    lines: str
    may_be_unknown: bool = False
    """Whether the gate may refuse it, because it cannot know what K3s gets."""


def environment_file(random: Random) -> str:
    text = ""
    for _ in range(random.randint(1, 5)):
        value = "".join(random.choice(_PARTS) for _ in range(random.randint(0, 4)))
        quote = random.choice(("", "", "'", '"'))
        text += random.choice(_PREFIXES) + random.choice(_KEYS) + random.choice(("=", "=", " = "))
        text += quote + value + random.choice((quote, quote, "")) + random.choice(("\n", "\n", "\r\n", "\\\n"))
    return text


def systemd_cases(files: int, units: int, seed: int = 33) -> list[Case]:
    """Return services with generated environment files, and others with generated units."""
    random, k3s = Random(seed), "/usr/local/bin/k3s"  # noqa: S311 - not for cryptography
    found = []
    for number in range(files):
        line = f"ExecStart={k3s} server $K3S_ARGS --n=${{K3S_NODE_NAME}}"
        found.append(Case(f"k3s-file{number}", environment_file(random), line))
    strange = [(command, *random.sample(_SETTINGS, 1)) for command in _UNKNOWN_COMMANDS for _ in range(2)]
    strange += [(random.choice(_COMMANDS), setting) for setting in _UNKNOWN_SETTINGS for _ in range(3)]
    strange += [(random.choice(_COMMANDS), f"Environment={variable}") for variable in _STRANGE_FILES for _ in range(2)]
    plain = [
        (command, *random.sample((*_SETTINGS, *_WITHOUT_A_FAILURE), random.randint(0, 3)))
        for command in _COMMANDS
        for _ in range(units)
    ]
    random.shuffle(plain)
    for number, (command, *settings) in enumerate((*strange, *plain[: max(0, units - len(strange))])):
        lines = "\n".join((f"ExecStart={command.format(k3s=k3s)}", *settings))
        environment = environment_file(random) if number % 4 == 0 else "K3S_ARGS=--a\n"
        found.append(Case(f"k3s-unit{number}", environment, lines, number < len(strange)))
    random.shuffle(found)
    return found


_SHELL_PARTS = (
    "a",
    "b c",
    "'",
    '"',
    "\\",
    "#",
    " # c",
    "$D/p",
    "${D}",
    "/srv/a.yaml",
    "$(echo x)",
    "~",
    "=",
    ";true",
    "`echo y`",
)
_SHELL_LINES = (
    "",
    "D=/srv\n",
    "export K3S_URL=c\n",
    "# comment \\\n",
    "sourcex=1\n",
    "if true; then K3S_URL=d; fi\n",
    "set -a\n",
)
_SCRIPT_LINES = (
    *("", "", 'command_args="server $K3S_ARGS"\n', "export K3S_URL=script\n", "D=/srv; K3S_CONFIG_FILE=$D/a.yaml\n"),
    *("command_args=\"server --config '/srv/a.yaml'\"\n", "start_pre() {\n    export K3S_URL=pre\n}\n"),
    *('command_args="server --x=\\"a b\\""\n', "directory=/srv\n", 'command_args="$command_args --later"\n'),
    *('directory=/srv\ncommand_args="server -c a.yaml"\n', "a=1 K3S_CONFIG_FILE=/srv/a.yaml\n"),
    *("a=${K3S_CONFIG_FILE:=/srv/a.yaml}\n", 'command_args="server -c a.yaml"\n'),
)


def openrc_cases(number: int, seed: int = 33) -> list[Case]:
    """Return services with generated scripts, and files that a shell sources."""
    random = Random(seed)  # noqa: S311 - not for cryptography
    found = []
    for at in range(number):
        text = ""
        for _ in range(random.randint(1, 4)):
            value = "".join(random.choice(_SHELL_PARTS) for _ in range(random.randint(0, 2)))
            quote = random.choice(("'", '"', '"'))
            text += (
                random.choice(_SHELL_LINES) + f"{random.choice(_KEYS[:4])}={quote}{value.replace(quote, '')}{quote}\n"
            )
        found.append(Case(f"k3s-rc{at}", text, random.choice(_SCRIPT_LINES)))
    return found
