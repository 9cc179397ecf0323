"""Compares sysctl_order with systemd-sysctl and `sysctl --system`, and sysctl_values with the kernel.

The programs run in a chroot whose /proc/sys contains plain files, so they cannot change the machine's kernel values.
The kernel parses numbers in a separate IPC namespace.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agent.base.linux.sysctl_order import (
    CREDENTIALS,
    DIRECTORIES,
    SYSCTL_CONF,
    SysctlFile,
    SysctlReader,
    at_boot,
    kernel_integer,
)

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="chroot and namespaces need root")]

KEYS = (
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
)
READ_BY_BOTH = DIRECTORIES[:4]
"""Without /lib/sysctl.d, which only some builds of systemd read."""
UNTOUCHED = b"untouched"

PROGRAMS = {
    SysctlReader.SYSTEMD: ("/usr/lib/systemd/systemd-sysctl",),
    SysctlReader.PROCPS: (shutil.which("sysctl", path="/usr/sbin:/usr/bin:/sbin:/bin") or "/sbin/sysctl", "--system"),
}


class Machine(NamedTuple):
    """A directory that contains only the programs, their libraries, the sysctl.d directories and a /proc/sys."""

    root: Path

    def left_by(self, reader: SysctlReader, files: Sequence[SysctlFile]) -> dict[str, str | None]:
        """Return the value of each key after the program ran; None if it wrote nothing."""
        credential = CREDENTIALS[0]
        for directory in (*READ_BY_BOTH, credential.parent):
            self.inside(directory).mkdir(parents=True, exist_ok=True)
            for old in self.inside(directory).iterdir():
                old.unlink()
        self.inside(SYSCTL_CONF).unlink(missing_ok=True)
        shutil.rmtree(self.inside(PurePosixPath("/proc/sys")), ignore_errors=True)
        for key in KEYS:
            place = self.inside(PurePosixPath("/proc/sys", key.replace(".", "/")))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(UNTOUCHED + b"\n")
        for path, data, _ in files:
            if data is None:
                self.inside(path).symlink_to("/dev/null")
            else:
                self.inside(path).write_bytes(data)
        # As with the unit's ImportCredential=.
        environment = {"CREDENTIALS_DIRECTORY": str(credential.parent)}
        command = ["/usr/sbin/chroot", str(self.root), *PROGRAMS[reader]]
        subprocess.run(command, check=False, capture_output=True, timeout=60, env=environment)
        left: dict[str, str | None] = {}
        for key in KEYS:
            line = self.inside(PurePosixPath("/proc/sys", key.replace(".", "/"))).read_bytes().split(b"\n")[0]
            left[key] = None if line == UNTOUCHED else line.decode("utf-8", "backslashreplace")
        return left

    def inside(self, path: PurePosixPath) -> Path:
        return self.root / path.relative_to("/")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    built = Machine(tmp_path_factory.mktemp("machine"))
    for program, *_ in PROGRAMS.values():
        if not Path(program).exists():
            continue
        listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True, timeout=60).stdout
        for needed in [program, *re.findall(r"(?:=> |^\s*)(/\S+)", listed, re.MULTILINE)]:
            copy = built.inside(PurePosixPath(needed))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(needed, copy)
    (built.root / "etc").mkdir(exist_ok=True)
    (built.root / "dev").mkdir()
    (built.root / "dev/null").touch()
    return built


@cache
def excludes_by_pattern() -> bool:
    """Return whether the machine's procps is 4.0.5 or newer, which accepts patterns in exclusions."""
    output = subprocess.run(
        [PROGRAMS[SysctlReader.PROCPS][0], "--version"], check=True, capture_output=True, text=True
    ).stdout
    version = re.search(r"(\d+)\.(\d+)\.(\d+)", output)
    return version is not None and tuple(map(int, version.groups())) >= (4, 0, 5)


@st.composite
def names(draw: st.DrawFn) -> str:
    """Draw a key in any spelling, or a pattern made from one."""
    key = draw(st.sampled_from(KEYS))
    place = draw(st.integers(0, len(key) - 1))
    end = draw(st.integers(place, len(key)))
    shape = draw(st.sampled_from(("plain", "plain", "plain", "hole", "char", "bracket", "extra")))
    if shape == "hole":
        key = key[:place] + draw(st.sampled_from(("*", "?", "**", "*?", "*.", ".*"))) + key[end:]
    elif shape == "char":
        key = key[:place] + "?" + key[place + 1 :]
    elif shape == "bracket":
        char = draw(st.sampled_from((key[place], "a-z", "!a", "^m", "]a", "!]")))
        key = key[:place] + "[" + char + draw(st.sampled_from(("]", "]", "]", ""))) + key[place + 1 :]
    elif shape == "extra":
        extra = draw(st.sampled_from((".", "/", "..", "-", "\xef", "./", "x", "]")))
        key = key[:place] + extra + key[place:]
        if draw(st.booleans()):
            key += draw(st.sampled_from((".", "*")))
    if draw(st.booleans()):
        key = key.translate({ord("."): "/", ord("/"): "."})
    return key


blanks = st.sampled_from(("", "", "", " ", "\t", "\v", "\f", "\r"))


@st.composite
def lines(draw: st.DrawFn) -> str:
    if draw(st.integers(0, 9)) == 0:
        return draw(
            st.sampled_from(("", "# vm.panic_on_oom=7", ";kernel.panic=7", "kernel.panic 7", "=7", "-", "\0", "*=7"))
        )
    minus = draw(st.sampled_from(("", "", "", "-", "--")))
    assigned = draw(st.integers(0, 4)) > 0
    value = draw(st.sampled_from(("0", "1", "2", "10", "", "1 # c", "a=b", "\xff", "1\v"))) if assigned else ""
    parts = [
        draw(blanks),
        minus,
        draw(blanks),
        draw(names()),
        draw(blanks),
        "=" if assigned else "",
        draw(blanks),
        value,
    ]
    return "".join(parts) + draw(blanks)


contents = st.builds(
    lambda head, body, ends: (head + "".join(map(str.__add__, body, ends))).encode("latin-1"),
    st.sampled_from(("", "", "", "\xef\xbb\xbf")),
    st.lists(lines(), max_size=6),
    st.lists(st.sampled_from(("\n", "\n", "\n", "\r\n", "\r", "\0", "\n\n")), min_size=6, max_size=6),
)
paths = st.one_of(
    st.builds(
        PurePosixPath,
        st.sampled_from(READ_BY_BOTH),
        st.sampled_from(
            ("10-a.conf", "90-kubelet.conf", "99-z.conf", "Z.conf", ".conf", ".x.conf", "a.conf~", "README")
        ),
    ),
    st.sampled_from((SYSCTL_CONF, CREDENTIALS[0])),
)
trees = st.dictionaries(paths, st.one_of(contents, contents, contents, st.none()), max_size=6).map(
    lambda tree: [
        SysctlFile(path, data) for path, data in tree.items() if path.parent in READ_BY_BOTH or data is not None
    ]
)


def agrees(machine: Machine, reader: SysctlReader, files: Sequence[SysctlFile]) -> None:
    if reader is SysctlReader.PROCPS and not excludes_by_pattern():
        files = [
            file
            if file.data is None
            else file._replace(data=re.sub(rb"(?m)^(\s*)-(?=[^=\n\0]*(\0|$))", rb"\1#", file.data))
            for file in files
        ]
    if not machine.inside(PurePosixPath(PROGRAMS[reader][0])).exists():
        pytest.skip(f"this machine has no {reader.value}")
    found = at_boot(files, KEYS, reader, accepts=lambda _key, _value: True)
    expected = machine.left_by(reader, files)
    assert {key: line and line.value for key, line in found.items()} == expected


def tree(**contents: str) -> list[SysctlFile]:
    return [
        SysctlFile(PurePosixPath("/etc/sysctl.d", f"{name}.conf"), text.encode()) for name, text in contents.items()
    ]


SCENARIOS = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@SCENARIOS
@given(files=trees)
@example(files=tree(a="vm.*=1", b="vm.over*=2", c="vm.*=1"))
@example(files=tree(a="vm.*=1", b="vm.over*=2", c="vm.*=3"))
@example(files=tree(a="vm.overcommit_memory=1", b="-vm.overcommit_memory", c="vm.*=3"))
@example(files=tree(a="vm.*=1", b="-vm.*"))
@example(files=tree(a="vm.panic_on_oom=" + "1" * (1 << 20) + "\nvm.overcommit_memory=1"))
@example(files=tree(a="vm.overcommit_memory=1\n" + "#" * (1 << 20) + "\nvm.overcommit_memory=2"))
def test_at_boot_agrees_with_systemd_sysctl(machine: Machine, files: list[SysctlFile]) -> None:
    agrees(machine, SysctlReader.SYSTEMD, files)


@SCENARIOS
@given(files=trees)
@example(files=tree(a="vm.*=1", b="vm.over*=2", c="vm.*=1"))
@example(files=tree(a="vm.overcommit_memory=1", b="-vm.overcommit_memory", c="vm.*=3"))
@example(files=tree(a="vm/./overcommit_memory=1\nvm.over*=2"))
@example(files=tree(a="vm.overcommit_memory=" + "1" * (1 << 20)))
@example(files=[*tree(zz="vm.panic_on_oom=1"), SysctlFile(SYSCTL_CONF, b"vm.panic_on_oom=2")])
def test_at_boot_agrees_with_sysctl_system(machine: Machine, files: list[SysctlFile]) -> None:
    agrees(machine, SysctlReader.PROCPS, files)


KEY = KEYS[0]
TEXTS = (
    # Separators and minus signs.
    *("vm/overcommit_memory=1", f"\t{KEY}\t=\t1\t", "/vm/overcommit_memory=1", ".vm..overcommit_memory=1"),
    *("vm.overcommit_memory.=1", "/proc/sys/vm/overcommit_memory=1", "vm.overcommit.memory=1", f"x.{KEY}=2"),
    *(f"-{KEY}=1", f"- {KEY}=1", f"--{KEY}=1", f"-{KEY}"),
    # Comments and values.
    *(f"#{KEY}=1", f" ;{KEY}=1", f"\v{KEY}=1", f"\ufeff{KEY}=1", f"\ufeff#\n{KEY}=1"),
    *(f"{KEY} 1", KEY, f"{KEY}=1=2", f"{KEY}=", f"{KEY}=1 # x", f"kernel.panic=5\r{KEY}=1", f"{KEY}=1\0junk"),
    # Patterns, which a line with the exact key overrides.
    *("vm.*=1", "*.over*=1", "vm/over????it_mem[n-p][!a]y=1", "vm.[]o]*=1", "vm.[!o]*=1", "vm.[z-a]*=1"),
    *("vm.[over*=1", "*=1", "vm.*.*=1", f"vm.*=2\n{KEY}=1\nvm.o*=2"),
    # Exclusions.
    *(f"-{KEY}\nvm.*=2", f"{KEY}=1\n-{KEY}\nvm.*=2", f"-{KEY}\n{KEY}=1\nvm.*=2", "vm.*=1\n-vm.*", "vm.*=1\n-vm.o*"),
    # Repeated patterns.
    *("vm.*=1\nvm.o*=2", "vm.*=1\nvm.o*=2\nvm.*=0", "vm.*=1\nvm.o*=2\nvm.*=1"),
)


@pytest.mark.parametrize("reader", list(SysctlReader))
@pytest.mark.parametrize("text", TEXTS)
def test_at_boot_agrees_with_both_programs_about_a_file(machine: Machine, reader: SysctlReader, text: str) -> None:
    agrees(machine, reader, tree(a=text))


def test_integer_agrees_with_the_kernel() -> None:
    words = "0 1 10 010 08 0x1f 0X1F 0x 0xg -1 -0x10 --1 +1 one 1a 1. 1,2 00 00x1 1_0 \xa01 ١"
    limits = "2147483647 2147483648 -2147483648 -2147483649 4294967297 18446744073709551617"
    spaced = ("", " ", "- 1", "1 2", "1\t2", "1 # comment", "1# comment", " 1", "\t1", "\v1", "1\v", "1\r")
    zeros = (f"{sign}{'0' * count}7" for sign in ("", "-") for count in range(17, 22))
    spellings = [*words.split(" "), *limits.split(), *spaced, *zeros]
    script = (
        "cd /proc/sys/fs/mqueue || exit 9\n"
        "for text do echo 100 >queues_max; printf '%s\\n' \"$text\" 2>/dev/null >queues_max; cat queues_max; done"
    )
    ran = subprocess.run(
        ["unshare", "--ipc", "sh", "-c", script, "sh", *spellings],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if ran.returncode == 9 or "unshare" in ran.stderr:
        pytest.skip("no IPC namespace or no POSIX message queues")
    stored = ran.stdout.split()
    assert len(stored) == len(spellings)
    kept = {text: stored[number] for number, text in enumerate(spellings)}
    assert kept == {text: "100" if (number := kernel_integer(text)) is None else str(number) for text in spellings}
