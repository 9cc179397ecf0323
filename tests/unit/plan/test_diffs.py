"""What would change, line by line, without a secret in it."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.k3s.options import SECRET_KEYS
from agent.model import Absent, File, FileMode, Owner
from agent.plan.diffs import unified

PATH = PurePosixPath("/etc/a.yaml")


def file(content: str | bytes, mode: int = 0o600) -> File:
    data = content.encode() if isinstance(content, str) else content
    return File(path=PATH, content=data, mode=FileMode(mode))


def body(before: File | Absent, after: File | Absent) -> list[str]:
    """The lines of a diff after its two headers and the first position."""
    lines = unified(before, after).splitlines()
    assert lines[0].startswith("--- /etc/a.yaml (found)")
    assert lines[1].startswith("+++ /etc/a.yaml (expected)")
    return lines[3:]


def test_a_file_is_shown_by_its_changed_lines() -> None:
    """As diff -u does, with three lines around them."""
    old = "".join(f"{n}\n" for n in range(20))
    assert unified(file(old), file(old.replace("10\n", "ten\n"))) == (
        "--- /etc/a.yaml (found)\n+++ /etc/a.yaml (expected)\n@@ -8,7 +8,7 @@\n 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n"
    )


def test_a_new_file_and_one_that_goes_are_shown_whole() -> None:
    """What is not there has no lines."""
    absent = Absent(PATH)
    assert body(absent, file("a: 1\nb: 2\n")) == ["+a: 1", "+b: 2"]
    assert body(file("a: 1\nb: 2\n"), absent) == ["-a: 1", "-b: 2"]


def test_mode_and_owner_are_no_lines() -> None:
    """The line of the report that stands above says them."""
    assert body(file("a\n", 0o666), file("b\n")) == ["-a", "+b"]
    assert unified(file("x", 0o644), file("x")) == ""
    assert unified(File(path=PATH, content=b"x", mode=FileMode(0o600), owner=Owner(7, 8)), file("x")) == ""


@pytest.mark.parametrize("state", [file("a\n"), file(""), Absent(PurePosixPath("/a"))], ids=str)
def test_nothing_is_shown_where_nothing_differs(state: File | Absent) -> None:
    """Not even headers."""
    assert unified(state, state) == ""


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("a", "a\n", ["-a", r"\ No newline at end of file", "+a"]),
        ("a\n", "a", ["-a", "+a", r"\ No newline at end of file"]),
        ("", "a", ["+a", r"\ No newline at end of file"]),
        ("a\r\n", "a\n", ["-a\r", "+a"]),
        ("a\x0cb\n", "a\nb\n", ["-a\x0cb", "+a", "+b"]),
        ("\n", "", ["-"]),
        (b"\xff\n", "a\n", [r"-\xff", "+a"]),
        (b"\0\0", "a\n", ["-\0\0", r"\ No newline at end of file", "+a"]),
    ],
)
def test_every_difference_in_bytes_is_shown(old: str | bytes, new: str, shown: list[str]) -> None:
    """Line breaks of another system, a missing last one, bytes that are no text."""
    text = unified(file(old), file(new))
    assert text.removesuffix("\n").split("\n")[3:] == shown


SECRET = "hunter2"  # noqa: S105 - a secret by name only


@pytest.mark.parametrize(
    "content",
    [
        *(f"{key}: {SECRET}\n" for key in sorted(SECRET_KEYS)),
        f"token:{SECRET}: x\n",
        f"'token': '{SECRET}'\n",
        f'  "token+" : "{SECRET}"\n',
        f"TOKEN: {SECRET}\n",
        f"t: {SECRET}\n",
        f"# token: {SECRET}\n",
        f"K3S_TOKEN={SECRET}\n",
        f"{{server: x, token: {SECRET}}}\n",
        f"token: |\n  {SECRET}\n\n  {SECRET}\nnext: 1\n",
        f"token: >-\n    {SECRET}\n  {SECRET}\n",
        f"token:\n- {SECRET}\n- {SECRET}\n",
        f"token:\n  - {SECRET}\n",
        f"token: '{SECRET}\n  {SECRET}'\n",
        f"? token\n: {SECRET}\n",
        f"a:\n  token:\n    {SECRET}\n",
        f"- token: {SECRET}\n",
        f"kubelet-arg:\n  - my-token={SECRET}\n",
    ],
)
def test_no_secret_is_shown(content: str) -> None:
    """However the operator wrote it, in either half; its key is."""
    for text in (unified(file(content), file("a: 1\n")), unified(file("a: 1\n"), file(content))):
        assert SECRET not in text
        assert "(not shown)" in text


def test_only_secrets_are_hidden() -> None:
    """What the lines around one say is shown, and so is what only sounds like one."""
    content = f"server: https://a\ntoken: |\n  {SECRET}\nnode-name: b\nvolumes:\n- secret\nresources: [secrets]\n"
    assert body(Absent(PATH), file(content)) == [
        "+server: https://a",
        "+token: (not shown)",
        "+  (not shown)",
        "+node-name: b",
        "+volumes:",
        "+- secret",
        "+resources: [secrets]",
    ]
