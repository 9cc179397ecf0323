"""The sysctl.d line that sets a key at boot. test_sysctl_order_agrees.py in tests/system runs the real programs."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.linux.sysctl_order import (
    CREDENTIALS,
    DIRECTORIES,
    SYSCTL_CONF,
    SysctlAssignment,
    SysctlFile,
    SysctlReader,
    at_boot,
    excluded,
    file_text,
    in_order,
)
from agent.model import Location

KEY = "vm.overcommit_memory"
PANIC = "kernel.panic"
BOTH = pytest.mark.parametrize("reader", list(SysctlReader))


def file(path: str, data: str | None) -> SysctlFile:
    whole = PurePosixPath(path if "/" in path else f"/etc/sysctl.d/{path}.conf")
    return SysctlFile(whole, None if data is None else data.encode())


def value(files: list[SysctlFile], reader: SysctlReader, key: str = KEY) -> str | None:
    found = at_boot(files, [key], reader)[key]
    return found and found.value


def values(text: str, key: str = KEY) -> tuple[str | None, str | None]:
    """Return the value that systemd and procps set from one file."""
    files = [file("a", text)]
    return value(files, SysctlReader.SYSTEMD, key), value(files, SysctlReader.PROCPS, key)


def assignment(value: str, path: str, line: int, *, is_rejected: bool = False) -> SysctlAssignment:
    return SysctlAssignment(KEY, value, Location(PurePosixPath(path), line), is_rejected)


@BOTH
def test_the_effective_line_has_its_location(reader: SysctlReader) -> None:
    files = [file("90-kubelet", f"{KEY}=1\n"), file("/usr/lib/sysctl.d/99-x.conf", f"# why\r\n\r\n {KEY} =  0 \r\n")]
    assert at_boot(files, [KEY, PANIC], reader) == {
        KEY: assignment("0", "/usr/lib/sysctl.d/99-x.conf", 3),
        PANIC: None,
    }


@BOTH
def test_the_later_name_overrides_in_any_directory(reader: SysctlReader) -> None:
    for earlier, later in (("10-a", "9-a"), ("Z", "a"), ("90-kubelet", "99-sysctl"), ("a", "é"), ("￿", "\U00010000")):
        files = [file(f"/usr/lib/sysctl.d/{later}.conf", f"{KEY}=1"), file(f"/etc/sysctl.d/{earlier}.conf", f"{KEY}=2")]
        assert value(files, reader) == value(files[::-1], reader) == "1"


@BOTH
@pytest.mark.parametrize("masking", [None, "", f"{PANIC}=1"])
def test_an_earlier_directory_masks_the_name_in_later_ones(reader: SysctlReader, masking: str | None) -> None:
    """A link to /dev/null, an empty file and a file with other keys mask the file of the same name."""
    for rank, directory in enumerate(DIRECTORIES):
        for later in DIRECTORIES[rank + 1 :]:
            files = [file(f"{later}/x.conf", f"{KEY}=1"), file(f"{directory}/x.conf", masking)]
            assert value(files, reader) is value(files[::-1], reader) is None


def test_only_procps_reads_sysctl_conf_and_reads_it_last() -> None:
    """systemd reads /etc/sysctl.conf only through a link in sysctl.d."""
    files = [file(str(SYSCTL_CONF), f"{KEY}=2"), file("zz", f"{KEY}=1")]
    assert [value(files, reader) for reader in (SysctlReader.SYSTEMD, SysctlReader.PROCPS)] == ["1", "2"]


def test_only_systemd_reads_credentials_and_reads_the_first_one_last() -> None:
    """A sysctl.extra credential overrides all files; only the first one that exists is read."""
    files = [file("zz", f"{KEY}=9"), *(file(str(path), f"{KEY}={rank}") for rank, path in enumerate(CREDENTIALS))]
    files.reverse()
    assert [value(files, reader) for reader in (SysctlReader.SYSTEMD, SysctlReader.PROCPS)] == ["0", "9"]


def test_only_procps_reads_hidden_files() -> None:
    """systemd ignores a name with a leading dot; both ignore a name that does not end in .conf."""
    files = [file("/etc/sysctl.d/.x.conf", f"{KEY}=1"), file("/etc/sysctl.d/README", f"{KEY}=2")]
    assert [value(files, reader) for reader in (SysctlReader.SYSTEMD, SysctlReader.PROCPS)] == [None, "1"]


def test_a_path_outside_of_sysctl_d_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"/etc/passwd"):
        in_order([file("/etc/passwd", "")], SysctlReader.SYSTEMD)


@pytest.mark.parametrize(
    ("text", "systemd", "procps"),
    [
        (f"{KEY}=1", "1", "1"),
        ("vm/overcommit_memory=1", "1", "1"),
        (f"\t{KEY}\t=\t1\t", "1", "1"),
        (f"-{KEY}=1", "1", "1"),
        (f"- {KEY}=1", "1", None),
        (f"--{KEY}=1", None, "1"),
        ("/vm/overcommit_memory=1", "1", "1"),
        (".vm..overcommit_memory=1", "1", "1"),
        ("vm.overcommit_memory.=1", "1", None),
        ("/proc/sys/vm/overcommit_memory=1", None, None),
        (f"#{KEY}=1", None, None),
        (f" ;{KEY}=1", None, None),
        (f"\v{KEY}=1", None, "1"),
        (f"{KEY} 1", None, None),
        (f"{KEY}", None, None),
        (f"-{KEY}", None, None),
        (f"\ufeff{KEY}=1", None, None),
        (f"\ufeff#\n{KEY}=1", "1", "1"),
        (f"{KEY}=1=2", "1=2", "1=2"),
        (f"{KEY}=", "", ""),
        (f"{KEY}=1 # comment", "1 # comment", "1 # comment"),
        (f"{PANIC}=5\r{KEY}=1", "1", None),
        (f"{KEY}=1\0junk", "1", "1"),
        (f"{KEY}_x=1\nx.{KEY}=2", None, None),
        ("vm.overcommit.memory=1", None, None),
    ],
)
def test_a_line_is_parsed_as_in_each_program(text: str, systemd: str | None, procps: str | None) -> None:
    assert values(text) == (systemd, procps)


@pytest.mark.parametrize(
    ("text", "systemd", "procps"),
    [
        ("vm.*=1", "1", "1"),
        ("*.over*=1", "1", "1"),
        ("vm/over????it_mem[n-p][!a]y=1", "1", "1"),
        ("vm.[]o]*=1", "1", "1"),
        ("vm.[!o]*=1", None, None),
        ("vm.[z-a]*=1", None, None),
        ("vm.[over*=1", None, None),
        ("*=1", None, None),
        ("vm.*.*=1", None, None),
        # A line with the exact key overrides any pattern, before or after it.
        (f"vm.*=2\n{KEY}=1\nvm.o*=2", "1", "1"),
        # A line that excludes the key cancels patterns.
        (f"-{KEY}\nvm.*=2", None, None),
        # An exclusion after the line cancels it in systemd; procps applies it only to patterns.
        (f"{KEY}=1\n-{KEY}\nvm.*=2", None, "1"),
        (f"-{KEY}\n{KEY}=1\nvm.*=2", "1", "1"),
        # An exclusion by pattern cancels the same pattern in systemd; procps excludes all matching keys.
        ("vm.*=1\n-vm.*", None, None),
        ("vm.*=1\n-vm.o*", "1", None),
        # The later pattern overrides.
        ("vm.*=1\nvm.o*=2", "2", "2"),
        ("vm.*=1\nvm.o*=2\nvm.*=0", "0", "0"),
        # In systemd a repeated pattern with the same value keeps its first position.
        ("vm.*=1\nvm.o*=2\nvm.*=1", "2", "1"),
    ],
)
def test_patterns_are_overridden_as_in_each_program(text: str, systemd: str | None, procps: str | None) -> None:
    assert values(text) == (systemd, procps)


def test_the_line_that_excludes_a_key_has_its_location() -> None:
    files = [file("90-kubelet", f"{KEY}=1\n{PANIC}=10"), file("99-x", f"\n-{KEY}\n-vm.*\n"), file("10-y", f"-{PANIC}")]
    assert value(files, SysctlReader.SYSTEMD) is None
    assert excluded(files, [KEY, PANIC]) == {KEY: Location(PurePosixPath("/etc/sysctl.d/99-x.conf"), 2)}


@BOTH
def test_an_assignment_by_pattern_is_marked(reader: SysctlReader) -> None:
    found = at_boot([file("a", "#\nvm.*=2")], [KEY], reader)[KEY]
    assert found == assignment("2", "/etc/sysctl.d/a.conf", 2)


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


def test_systemd_stops_reading_at_a_line_of_one_mebibyte() -> None:
    """Earlier lines apply, later lines do not; procps reads them all."""
    text = f"{KEY}=1\n#{'x' * (1 << 20)}\n{KEY}=2"
    assert values(text) == ("1", "2")
    assert values(text.replace("xx", "", 1)) == ("2", "2")


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
