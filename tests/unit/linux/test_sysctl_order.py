"""Which sysctl.d line wins at boot; tests/system/test_sysctl_order_agrees.py asks the real programs."""

from __future__ import annotations

import time
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.linux.sysctl_order import (
    CREDENTIALS,
    DIRECTORIES,
    SYSCTL_CONF,
    Assignment,
    Reader,
    SysctlFile,
    accepted,
    at_boot,
    in_order,
    integer,
    same_value,
    taken_back,
    written,
)

KEY = "vm.overcommit_memory"
PANIC = "kernel.panic"
BOTH = pytest.mark.parametrize("reader", list(Reader))


def file(path: str, data: str | None) -> SysctlFile:
    whole = PurePosixPath(path if "/" in path else f"/etc/sysctl.d/{path}.conf")
    return SysctlFile(whole, None if data is None else data.encode())


def value(files: list[SysctlFile], reader: Reader, key: str = KEY) -> str | None:
    found = at_boot(files, [key], reader)[key]
    return found and found.value


def values(text: str, key: str = KEY) -> tuple[str | None, str | None]:
    """What systemd and procps make of one file."""
    files = [file("a", text)]
    return value(files, Reader.SYSTEMD, key), value(files, Reader.PROCPS, key)


@BOTH
def test_the_winner_is_named_with_its_file_and_line(reader: Reader) -> None:
    """The operator is told where to look: the path, the line counted from 1, and the value as it stands there."""
    files = [file("90-kubelet", f"{KEY}=1\n"), file("/usr/lib/sysctl.d/99-x.conf", f"# why\r\n\r\n {KEY} =  0 \r\n")]
    assert at_boot(files, [KEY, PANIC], reader) == {
        KEY: Assignment(KEY, "0", PurePosixPath("/usr/lib/sysctl.d/99-x.conf"), 3, glob=False, refused=False),
        PANIC: None,
    }


@BOTH
def test_the_later_name_wins_from_whatever_directory(reader: Reader) -> None:
    """Names are compared as bytes, across all directories."""
    for earlier, later in (("10-a", "9-a"), ("Z", "a"), ("90-kubelet", "99-sysctl"), ("a", "é"), ("￿", "\U00010000")):
        files = [file(f"/usr/lib/sysctl.d/{later}.conf", f"{KEY}=1"), file(f"/etc/sysctl.d/{earlier}.conf", f"{KEY}=2")]
        assert value(files, reader) == value(files[::-1], reader) == "1"


@BOTH
@pytest.mark.parametrize("masking", [None, "", f"{PANIC}=1"])
def test_the_earlier_directory_masks_the_name_in_later_ones(reader: Reader, masking: str | None) -> None:
    """A link to /dev/null, an empty file and a file about something else all hide the file of the same name."""
    for rank, directory in enumerate(DIRECTORIES):
        for later in DIRECTORIES[rank + 1 :]:
            files = [file(f"{later}/x.conf", f"{KEY}=1"), file(f"{directory}/x.conf", masking)]
            assert value(files, reader) is value(files[::-1], reader) is None


def test_only_procps_reads_sysctl_conf_and_reads_it_last() -> None:
    """To systemd /etc/sysctl.conf is nothing but through a link in sysctl.d, at the place of the link."""
    files = [file(str(SYSCTL_CONF), f"{KEY}=2"), file("zz", f"{KEY}=1")]
    assert [value(files, reader) for reader in (Reader.SYSTEMD, Reader.PROCPS)] == ["1", "2"]


def test_only_systemd_reads_credentials_and_reads_the_first_of_them_last() -> None:
    """A sysctl.extra credential wins over all files; of several places to find one the first counts."""
    files = [file("zz", f"{KEY}=9"), *(file(str(path), f"{KEY}={rank}") for rank, path in enumerate(CREDENTIALS))]
    files.reverse()
    assert [value(files, reader) for reader in (Reader.SYSTEMD, Reader.PROCPS)] == ["0", "9"]


def test_only_procps_reads_hidden_files() -> None:
    """A name with a leading dot is passed over by systemd; without .conf at its end both pass over it."""
    files = [file("/etc/sysctl.d/.x.conf", f"{KEY}=1"), file("/etc/sysctl.d/README", f"{KEY}=2")]
    assert [value(files, reader) for reader in (Reader.SYSTEMD, Reader.PROCPS)] == [None, "1"]


def test_a_path_outside_of_sysctl_d_is_a_mistake_of_the_caller() -> None:
    """A file that neither program reads cannot decide anything, so it is not silently dropped."""
    with pytest.raises(ValueError, match=r"/etc/passwd"):
        in_order([file("/etc/passwd", "")], Reader.SYSTEMD)


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
def test_a_line_is_read_as_each_program_reads_it(text: str, systemd: str | None, procps: str | None) -> None:
    """Separators, blanks, comments, minus signs and broken lines; the programs do not agree on all of them."""
    assert values(text) == (systemd, procps)


@pytest.mark.parametrize(
    ("text", "systemd", "procps"),
    [
        ("vm.*=1", "1", "1"),
        ("*.over*=1", "1", "1"),
        ("vm/over????it_mem[n-p][!a]y=1", "1", "1"),
        ("vm.[[:alpha:]]*=1", "1", "1"),
        ("vm.[]o]*=1", "1", "1"),
        (r"vm.o\ver*=1", "1", "1"),
        (r"vm\.over*=1", "1", "1"),
        ("vm.[!o]*=1", None, None),
        ("vm.[z-a]*=1", None, None),
        ("vm.[[:nonsense:]]*=1", None, None),
        ("vm.[over*=1", None, None),
        ("vm.over*\\=1", None, None),
        ("*=1", None, None),
        ("vm.*.*=1", None, None),
        ("vm.{x,over*}=1", "1", None),
        ("{kernel.panic,vm.{x,over}*}=1", "1", None),
        ("vm.{over*=1", None, None),
        ("vm.{,x}over*=1", "1", None),
        # A line of its own beats any pattern, before or after it …
        (f"vm.*=2\n{KEY}=1\nvm.o*=2", "1", "1"),
        # … as does a line that excludes the key.
        (f"-{KEY}\nvm.*=2", None, None),
        # An exclusion after the line takes it back in systemd; procps applies it to patterns only.
        (f"{KEY}=1\n-{KEY}\nvm.*=2", None, "1"),
        (f"-{KEY}\n{KEY}=1\nvm.*=2", "1", "1"),
        # An exclusion by pattern takes back that very pattern in systemd; procps excludes what it matches.
        ("vm.*=1\n-vm.*", None, None),
        ("vm.*=1\n-vm.o*", "1", None),
        # The later pattern wins, …
        ("vm.*=1\nvm.o*=2", "2", "2"),
        ("vm.*=1\nvm.o*=2\nvm.*=0", "0", "0"),
        # … but one that says again what it said keeps its first place in systemd.
        ("vm.*=1\nvm.o*=2\nvm.*=1", "2", "1"),
    ],
)
def test_patterns_give_way_as_in_each_program(text: str, systemd: str | None, procps: str | None) -> None:
    """glob(7) patterns, braces, exclusions, and which of several wins."""
    assert values(text) == (systemd, procps)


def test_the_line_that_takes_a_key_back_is_named() -> None:
    """Nothing sets the key then, so the operator has to be shown the line that undid ours."""
    files = [file("90-kubelet", f"{KEY}=1\n{PANIC}=10"), file("99-x", f"\n-{KEY}\n-vm.*\n"), file("10-y", f"-{PANIC}")]
    assert value(files, Reader.SYSTEMD) is None
    assert taken_back(files, [KEY, PANIC]) == {KEY: (PurePosixPath("/etc/sysctl.d/99-x.conf"), 2)}


@BOTH
def test_a_pattern_is_told_apart_from_a_key(reader: Reader) -> None:
    """The operator who looks for the key in the named line finds a pattern, and is told so."""
    found = at_boot([file("a", "#\nvm.*=2")], [KEY], reader)[KEY]
    assert found == Assignment(KEY, "2", PurePosixPath("/etc/sysctl.d/a.conf"), 2, glob=True, refused=False)


@BOTH
def test_the_last_of_the_lines_that_say_the_same_is_named(reader: Reader) -> None:
    """Removing the named line must not be in vain because a later one is the real obstacle."""
    found = at_boot([file("10", f"{KEY}=2"), file("99", f"{KEY}=2")], [KEY], reader)[KEY]
    assert found is not None
    assert found.path.name == "99.conf"


def test_a_value_that_the_kernel_refuses_leaves_what_was_written_before() -> None:
    """As procps writes line after line, an earlier good one stands; systemd only ever writes the last."""
    files = [file("90", f"{KEY}=1"), file("99", f"{KEY}=yes")]
    systemd, procps = (at_boot(files, [KEY], reader)[KEY] for reader in (Reader.SYSTEMD, Reader.PROCPS))
    assert systemd == Assignment(KEY, "yes", PurePosixPath("/etc/sysctl.d/99.conf"), 1, glob=False, refused=True)
    assert procps == Assignment(KEY, "1", PurePosixPath("/etc/sysctl.d/90.conf"), 1, glob=False, refused=False)


def test_systemd_stops_in_a_file_at_a_line_of_one_mebibyte() -> None:
    """What stands before the line counts, what comes after it does not; procps reads on."""
    text = f"{KEY}=1\n#{'x' * (1 << 20)}\n{KEY}=2"
    assert values(text) == ("1", "2")
    assert values(text.replace("xx", "", 1)) == ("2", "2")


@BOTH
def test_bytes_that_are_not_utf_8_are_shown_escaped(reader: Reader) -> None:
    r"""Someone's Latin-1 comment or value is no reason to stop, and a report can print it."""
    data = b"# caf\xe9\nvm.overcommit_memory=\xff\n"
    found = at_boot([SysctlFile(PurePosixPath("/etc/sysctl.d/a.conf"), data)], [KEY], reader)[KEY]
    assert found is not None
    assert (found.value, found.line, found.refused) == (r"\xff", 2, True)


@BOTH
def test_a_key_with_a_dot_in_one_part_is_found_by_either_spelling(reader: Reader) -> None:
    """After a first slash dots are left alone; after a first dot the two change places."""
    key = "net.ipv4.conf.eth0/100.forwarding"
    for spelling in (key, "net/ipv4/conf/eth0.100/forwarding", "net.ipv4.conf.*.forwarding"):
        assert value([file("a", f"{spelling}=1")], reader, key) == "1"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("0", 0), ("10", 10), ("010", 8), ("0x1F", 31), ("-1", -1), ("-0x10", -16), (" \v7", 7), ("7\tx", 7)],
        *[("2147483647", 2**31 - 1), ("-2147483648", -(2**31)), ("0" * 19 + "7", 7), ("1 # c", 1), ("1\n", 1)],
        *[
            ("", None),
            (" ", None),
            ("08", None),
            ("0x", None),
            ("+1", None),
            ("- 1", None),
            ("1a", None),
            ("1\r", None),
        ],
        *[
            ("2147483648", None),
            ("-2147483649", None),
            ("0" * 20 + "7", None),
            ("one", None),
            ("١", None),
            ("1_0", None),
        ],
    ],
)
def test_a_number_is_read_as_the_kernel_reads_it(text: str, number: int | None) -> None:
    """Octal, hexadecimal, blanks and what is refused, as proc_dointvec has it."""
    assert integer(text) == number


def test_values_are_the_same_if_the_kernel_makes_the_same_of_them() -> None:
    """An operator's `0x1` is as good as a 1; texts that are no numbers are the same only as texts."""
    assert all(same_value("1", other) for other in (" 1 ", "01", "0x1", "1 # keep", "1\n"))
    assert not any(same_value("10", other) for other in ("010", "0x10", "1", "", "10a", "-10"))
    assert same_value("core ", "core")
    assert not same_value("core", "cor")


def test_the_kernel_refuses_what_is_out_of_a_keys_range() -> None:
    """vm.overcommit_memory has three modes, a quota is not negative, and of other keys nothing is known."""
    assert [accepted(KEY, text) for text in ("0", "2", "3", "-1", "")] == [True, True, False, False, False]
    assert accepted(PANIC, "-1")
    assert not accepted("kernel.keys.root_maxkeys", "-1")
    assert accepted("kernel.core_pattern", "|/bin/false")


def test_the_written_file_has_the_header_as_comments_and_the_rows_in_order() -> None:
    """The text is byte for byte the same on every host."""
    text = written({PANIC: "10", KEY: "1"}, "Managed by k3s-harden.\n\nSee its manual.")
    assert text == b"# Managed by k3s-harden.\n#\n# See its manual.\nkernel.panic=10\nvm.overcommit_memory=1\n"


@pytest.mark.parametrize("rows", [{KEY: "1\nkernel.panic=0"}, {f"{KEY}\r": "1"}, {KEY: "1\0"}])
def test_a_row_cannot_smuggle_in_a_line(rows: dict[str, str]) -> None:
    """A value with a line break would set another key."""
    with pytest.raises(ValueError, match="line break"):
        written(rows, "")


KEYS = (KEY, "vm.panic_on_oom", PANIC, "kernel.panic_on_oops")
lines = st.builds(
    "{}{}{}".format,
    st.sampled_from(("", "-", "# ")),
    st.sampled_from(
        (*KEYS, "vm/overcommit_memory", "vm.*", "kernel.panic*", "vm.{over,panic}*", "*.panic?on*", "[", "")
    ),
    st.sampled_from(("=0", "=1", " = 2", "", "=x")),
)
paths = st.builds(
    PurePosixPath, st.sampled_from(DIRECTORIES), st.sampled_from(("10-a.conf", "90-b.conf", "z.conf", ".h.conf"))
) | st.sampled_from((SYSCTL_CONF, *CREDENTIALS))
trees = st.dictionaries(paths, st.none() | st.lists(lines, max_size=5).map(lambda rows: "\n".join(rows).encode())).map(
    lambda tree: [SysctlFile(path, data) for path, data in tree.items()]
)
readers = st.sampled_from(Reader)


@given(files=trees, reader=readers, shuffled=st.data())
def test_the_order_in_which_files_are_found_is_of_no_account(
    files: list[SysctlFile], reader: Reader, shuffled: st.DataObject
) -> None:
    """A directory lists its entries in any order."""
    assert at_boot(shuffled.draw(st.permutations(files)), KEYS, reader) == at_boot(files, KEYS, reader)


@given(files=trees, reader=readers)
def test_only_the_files_that_are_read_decide(files: list[SysctlFile], reader: Reader) -> None:
    """Masked and hidden files can be left away, and reading what was read once more changes nothing."""
    read = in_order(files, reader)
    assert at_boot(read, KEYS, reader) == at_boot(files, KEYS, reader)
    assert in_order(read, reader) == read


@given(files=trees, reader=readers)
def test_the_named_line_holds_the_named_value(files: list[SysctlFile], reader: Reader) -> None:
    """What a finding points at is there."""
    held = {file.path: (file.data or b"").decode().split("\n") for file in files}
    for found in at_boot(files, KEYS, reader).values():
        if found is not None:
            assert held[found.path][found.line - 1].partition("=")[2].strip() == found.value


@given(files=trees, reader=readers, key=st.sampled_from(KEYS))
def test_a_key_is_judged_alone(files: list[SysctlFile], reader: Reader, key: str) -> None:
    """Asking for one key or for all gives the same answer."""
    assert at_boot(files, [key], reader)[key] == at_boot(files, KEYS, reader)[key]


@given(files=trees, reader=readers)
def test_our_rows_win_in_a_file_that_is_read_last(files: list[SysctlFile], reader: Reader) -> None:
    """The remedy that a report gives, a later name in /etc/sysctl.d, works whatever the others say."""
    rows = dict.fromkeys(KEYS, "1")
    ours = SysctlFile(PurePosixPath("/etc/sysctl.d/zz-last.conf"), written(rows, "k3s-harden"))
    others = [file for file in files if file.path.parent in DIRECTORIES]
    found = at_boot([*others, ours], KEYS, reader)
    assert {key: (line.value, line.path) for key, line in found.items() if line} == dict.fromkeys(
        KEYS, ("1", ours.path)
    )


@given(data=st.binary(max_size=200), reader=readers)
def test_any_bytes_can_be_read(data: bytes, reader: Reader) -> None:
    """Other people's files hold what they hold; none of them stops the program."""
    noise = SysctlFile(PurePosixPath("/etc/sysctl.d/50-noise.conf"), data + b"\n")
    ours = SysctlFile(PurePosixPath("/etc/sysctl.d/90-kubelet.conf"), f"{KEY}=1\n".encode())
    assert at_boot([noise, ours], [KEY], reader)[KEY] is not None


@BOTH
@pytest.mark.parametrize(
    "text", ["{" * 50_000, "{a,b}" * 2_000 + "*", "*" * 50_000, "[" * 50_000, "vm." + "*a" * 20 + "*"]
)
def test_a_hostile_pattern_costs_little(reader: Reader, text: str) -> None:
    """Nobody can keep the program busy with braces that stand for 2**2000 names."""
    start = time.process_time()
    assert value([file("a", f"{text}*=0\n-{text}*"), file("b", f"{KEY}=1")], reader) == "1"
    assert time.process_time() - start < 2


@BOTH
def test_cost_grows_with_the_number_of_files_only(reader: Reader) -> None:
    """Ten times the files take ten times as long, not a hundred."""

    def cost(count: int) -> float:
        files = [file(f"{number:05}-x", f"# {number}\nnet.core.x{number}=1\nvm.*=2\n") for number in range(count)]
        start = time.process_time()
        at_boot(files, KEYS, reader)
        return time.process_time() - start

    small = min(cost(500) for _ in range(3))
    assert min(cost(5_000) for _ in range(3)) < 40 * small
