"""Kernel parameters: the sysctl.d line that sets a key at boot, and values as the kernel parses them.

tests/system/test_sysctl_order_agrees.py runs the real programs and compares with the kernel.
"""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.base.linux.sysctl_order import (
    CREDENTIALS,
    DIRECTORIES,
    SYSCTL_CONF,
    SysctlAssignment,
    SysctlFile,
    SysctlReader,
    accepted,
    at_boot,
    excluded,
    file_text,
    in_order,
    same_value,
)
from agent.base.model import Location

KEY = "vm.overcommit_memory"
PANIC = "kernel.panic"
BOTH = pytest.mark.parametrize("reader", list(SysctlReader))


def file(path: str, data: str | None) -> SysctlFile:
    whole = PurePosixPath(path if "/" in path else f"/etc/sysctl.d/{path}.conf")
    return SysctlFile(whole, None if data is None else data.encode())


def value(files: list[SysctlFile], reader: SysctlReader, key: str = KEY) -> str | None:
    found = at_boot(files, [key], reader)[key]
    return found and found.value


def assignment(value: str, path: str, line: int, *, is_rejected: bool = False) -> SysctlAssignment:
    return SysctlAssignment(KEY, value, Location(PurePosixPath(path), line), is_rejected)


@BOTH
def test_the_later_name_overrides_in_any_directory(reader: SysctlReader) -> None:
    for earlier, later in (("10-a", "9-a"), ("Z", "a"), ("90-kubelet", "99-sysctl"), ("a", "é"), ("￿", "\U00010000")):
        files = [file(f"/usr/lib/sysctl.d/{later}.conf", f"{KEY}=1"), file(f"/etc/sysctl.d/{earlier}.conf", f"{KEY}=2")]
        assert value(files, reader) == value(files[::-1], reader) == "1"


def test_only_systemd_reads_credentials_and_reads_the_first_one_last() -> None:
    """A sysctl.extra credential overrides all files; only the first one that exists is read."""
    files = [file("zz", f"{KEY}=9"), *(file(str(path), f"{KEY}={rank}") for rank, path in enumerate(CREDENTIALS))]
    files.reverse()
    assert [value(files, reader) for reader in (SysctlReader.SYSTEMD, SysctlReader.PROCPS)] == ["0", "9"]


def test_a_path_outside_of_sysctl_d_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"/etc/passwd"):
        in_order([file("/etc/passwd", "")], SysctlReader.SYSTEMD)


@pytest.mark.parametrize(("exclusion", "systemd"), [("-vm.*", None), ("-vm.o*", "1")])
def test_an_exclusion_by_pattern_excludes_the_same_pattern_or_all_matching_keys(
    exclusion: str, systemd: str | None
) -> None:
    """procps has such exclusions since 4.0.5, so tests/system cannot compare them everywhere."""
    files = [file("a", f"vm.*=1\n{exclusion}")]
    assert (value(files, SysctlReader.SYSTEMD), value(files, SysctlReader.PROCPS)) == (systemd, None)


def test_the_line_that_excludes_a_key_has_its_location() -> None:
    files = [file("90-kubelet", f"{KEY}=1\n{PANIC}=10"), file("99-x", f"\n-{KEY}\n-vm.*\n"), file("10-y", f"-{PANIC}")]
    assert value(files, SysctlReader.SYSTEMD) is None
    assert excluded(files, [KEY, PANIC]) == {KEY: Location(PurePosixPath("/etc/sysctl.d/99-x.conf"), 2)}


@BOTH
def test_of_equal_lines_the_last_is_returned(reader: SysctlReader) -> None:
    """The value changes if the returned line is removed."""
    found = at_boot([file("10", f"{KEY}=2"), file("99", f"{KEY}=2")], [KEY], reader)[KEY]
    assert found is not None
    assert found.location.path.name == "99.conf"


def test_a_rejected_value_keeps_the_previous_one() -> None:
    """procps writes line by line, so an earlier valid line applies; systemd writes only the last line."""
    files = [file("90", f"{KEY}=1"), file("99", f"{KEY}=yes")]
    systemd, procps = (at_boot(files, [KEY], reader)[KEY] for reader in (SysctlReader.SYSTEMD, SysctlReader.PROCPS))
    assert systemd == assignment("yes", "/etc/sysctl.d/99.conf", 1, is_rejected=True)
    assert procps == assignment("1", "/etc/sysctl.d/90.conf", 1)


@BOTH
def test_bytes_that_are_not_utf_8_are_escaped(reader: SysctlReader) -> None:
    data = b"# caf\xe9\nvm.overcommit_memory=\xff\n"
    found = at_boot([SysctlFile(PurePosixPath("/etc/sysctl.d/a.conf"), data)], [KEY], reader)[KEY]
    assert found is not None
    assert (found.value, found.location.line, found.is_rejected) == (r"\xff", 2, True)


@BOTH
def test_a_key_with_a_dot_in_one_part_matches_both_spellings(reader: SysctlReader) -> None:
    """If the first separator is a slash, dots are kept; if it is a dot, dots and slashes are swapped."""
    key = "net.ipv4.conf.eth0/100.forwarding"
    for spelling in (key, "net/ipv4/conf/eth0.100/forwarding", "net.ipv4.conf.*.forwarding"):
        assert value([file("a", f"{spelling}=1")], reader, key) == "1"


def test_file_text_has_the_header_as_comments_and_the_rows_in_order() -> None:
    text = file_text({PANIC: "10", KEY: "1"}, "Managed by k3s-harden.\n\nSee its manual.")
    assert text == b"# Managed by k3s-harden.\n#\n# See its manual.\nkernel.panic=10\nvm.overcommit_memory=1\n"


@pytest.mark.parametrize("rows", [{KEY: "1\nkernel.panic=0"}, {f"{KEY}\r": "1"}, {KEY: "1\0"}])
def test_a_row_cannot_add_a_line(rows: dict[str, str]) -> None:
    """A value with a line break would set another key."""
    with pytest.raises(ValueError, match="line break"):
        file_text(rows, "")


KEYS = (KEY, "vm.panic_on_oom", PANIC, "kernel.panic_on_oops")
lines = st.builds(
    "{}{}{}".format,
    st.sampled_from(("", "-", "# ")),
    st.sampled_from((*KEYS, "vm/overcommit_memory", "vm.*", "kernel.panic*", "*.panic?on*", "[", "")),
    st.sampled_from(("=0", "=1", " = 2", "", "=x")),
)
paths = st.builds(
    PurePosixPath, st.sampled_from(DIRECTORIES), st.sampled_from(("10-a.conf", "90-b.conf", "z.conf", ".h.conf"))
) | st.sampled_from((SYSCTL_CONF, *CREDENTIALS))
trees = st.dictionaries(paths, st.none() | st.lists(lines, max_size=5).map(lambda rows: "\n".join(rows).encode())).map(
    lambda tree: [SysctlFile(path, data) for path, data in tree.items()]
)
readers = st.sampled_from(SysctlReader)


@given(files=trees, reader=readers, shuffled=st.data())
def test_the_order_of_the_arguments_has_no_effect(
    files: list[SysctlFile], reader: SysctlReader, shuffled: st.DataObject
) -> None:
    assert at_boot(shuffled.draw(st.permutations(files)), KEYS, reader) == at_boot(files, KEYS, reader)


@given(files=trees, reader=readers)
def test_the_returned_line_contains_the_value(files: list[SysctlFile], reader: SysctlReader) -> None:
    held = {file.path: (file.data or b"").decode().split("\n") for file in files}
    for found in at_boot(files, KEYS, reader).values():
        if found is not None:
            assert held[found.location.path][found.location.line - 1].partition("=")[2].strip() == found.value


@given(files=trees, reader=readers)
def test_the_last_file_sets_all_its_rows(files: list[SysctlFile], reader: SysctlReader) -> None:
    """The remediation, a file with a later name in /etc/sysctl.d, works with any other files."""
    rows = dict.fromkeys(KEYS, "1")
    ours = SysctlFile(PurePosixPath("/etc/sysctl.d/zz-last.conf"), file_text(rows, "k3s-harden"))
    others = [file for file in files if file.path.parent in DIRECTORIES]
    found = at_boot([*others, ours], KEYS, reader)
    assert {key: (line.value, line.location.path) for key, line in found.items() if line} == dict.fromkeys(
        KEYS, ("1", ours.path)
    )


def test_values_are_equal_if_the_kernel_parses_the_same_number() -> None:
    assert all(same_value("1", other) for other in (" 1 ", "01", "0x1", "1 # keep", "1\n"))
    assert not any(same_value("10", other) for other in ("010", "0x10", "1", "", "10a", "-10"))
    assert same_value("core ", "core")
    assert not same_value("core", "cor")


def test_values_outside_of_a_keys_range_are_rejected() -> None:
    """vm.overcommit_memory has three modes and a quota is not negative; other keys have no known range."""
    assert all(accepted("vm.overcommit_memory", text) for text in ("0", "2"))
    assert not any(accepted("vm.overcommit_memory", text) for text in ("3", "-1", ""))
    assert accepted("kernel.panic", "-1")
    assert not accepted("kernel.keys.root_maxkeys", "-1")
    assert accepted("kernel.core_pattern", "|/bin/false")
