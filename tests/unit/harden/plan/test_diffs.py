"""Diffs: changed lines without secrets."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.base.model import Absent, File, FileMode, Owner
from agent.base.value import replace
from agent.harden.plan.diffs import unified
from agent.k3s.options import SECRET_KEYS

PATH = PurePosixPath("/etc/a.yaml")


def file(content: str | bytes, mode: int = 0o600) -> File:
    data = content.encode() if isinstance(content, str) else content
    return File(path=PATH, content=data, mode=FileMode(mode))


def body(before: File | Absent, after: File | Absent) -> list[str]:
    lines = unified(before, after).splitlines()
    assert lines[0].startswith("--- /etc/a.yaml (found)")
    assert lines[1].startswith("+++ /etc/a.yaml (expected)")
    return lines[3:]


def test_a_diff_shows_changed_lines() -> None:
    """The format is that of `diff -u`, with three lines of context."""
    old = "".join(f"{n}\n" for n in range(20))
    assert unified(file(old), file(old.replace("10\n", "ten\n"))) == (
        "--- /etc/a.yaml (found)\n+++ /etc/a.yaml (expected)\n@@ -8,7 +8,7 @@\n 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n"
    )


def test_new_and_removed_files_are_shown_completely() -> None:
    absent = Absent(PATH)
    assert body(absent, file("a: 1\nb: 2\n")) == ["+a: 1", "+b: 2"]
    assert body(file("a: 1\nb: 2\n"), absent) == ["-a: 1", "-b: 2"]


def test_mode_and_owner_are_not_in_the_diff() -> None:
    assert body(file("a\n", 0o666), file("b\n")) == ["-a", "+b"]
    assert unified(file("x", 0o644), file("x")) == ""
    assert unified(File(path=PATH, content=b"x", mode=FileMode(0o600), owner=Owner(7, 8)), file("x")) == ""


@pytest.mark.parametrize("state", [file("a\n"), file(""), Absent(PurePosixPath("/a"))], ids=str)
def test_equal_contents_have_no_diff(state: File | Absent) -> None:
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
    conf = PurePosixPath("/etc/a.conf")
    text = unified(replace(file(old), path=conf), replace(file(new), path=conf))
    assert text.removesuffix("\n").split("\n")[3:] == shown


SECRET = "hunter2"  # noqa: S105 - not a real secret


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
    for text in (unified(file(content), file("a: 1\n")), unified(file("a: 1\n"), file(content))):
        assert SECRET not in text
        assert "(not shown)" in text


WRITTEN = f"https://k3s:{SECRET}@10.0.0.9:5432/k3s"
ESCAPED = "".join(f"\\x{ord(letter):02x}" for letter in SECRET)
VALUES = {
    "plain": (SECRET, SECRET),
    "single quotes": (f"'{SECRET}'", SECRET),
    "double quotes": (f'"{SECRET}"', SECRET),
    "escaped": (f'"{ESCAPED}"', ESCAPED),
    "anchored": (f"&a {SECRET}", SECRET),
    "anchored and escaped": (f'&a "{ESCAPED}"', ESCAPED),
    "tagged": (f"!!str {SECRET}", SECRET),
    "block": (f"|\n  {SECRET}", SECRET),
    "list": (f"\n- {SECRET}\n- &b {SECRET}", SECRET),
    "flow list": (f"[x, {SECRET}]", SECRET),
    "flow mapping": (f"{{a: {SECRET}}}", SECRET),
    "two lines": (f'"{SECRET}\n  {SECRET}"', SECRET),
}
KEYS = (
    *("token", "tokn", "tokken", "tkoen", "agent_token", "agentToken", "my-token2", '"tok\\x65n"', "? token\n"),
    *("datastore-endpont", "datastoreEndpoint", "vpn_auth", "etcd-s3-secretkey", "db-password", "pasword"),
)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("key", KEYS)
def test_no_secret_is_shown_under_a_misspelt_key_or_in_another_notation(key: str, value: str) -> None:
    written, secret = VALUES[value]
    content = f"node-name: a\n{key}: {written}\nlog: b\n"
    for text in (unified(file(content), file("a: 1\n")), unified(file("a: 1\n"), file(content))):
        assert secret not in text
        assert "(not shown)" in text
        assert "node-name: a" in text


@pytest.mark.parametrize(
    "content",
    [
        f"server: {WRITTEN}\n",
        f"# {WRITTEN}\n",
        f'etcd-arg: ["x={WRITTEN}"]\n',
        f"a: 'https:\\/\\/k3s:{SECRET}@b'\n",
        f"a: K10{'0' * 64}::server:{SECRET}\n",
        f"kubelet-arg:\n- my-token={SECRET}\n- v=2\n",
        f"kubelet-arg:\n- &a {SECRET}\ntoken: *a\n",
        f"kubelet-arg: [&a {SECRET}]\n? token\n: *a\n",
        f'x: &a "{SECRET}"\ntoken: [*a]\n',
        f"token: {SECRET}\n# was {SECRET} before\n",
        f"--token={SECRET}\n",
        f"token: '{SECRET}\nnode-name: a\n",
        f"node-name: [\nx: {SECRET}\n",
        f"{{token: &a '{SECRET}', x: *a}}\n",
        f"x: 1\rtoken:\r  {SECRET}\n",
        f"%YAML {SECRET}\n",
    ],
)
def test_no_secret_is_shown_outside_of_values_of_secret_keys(content: str) -> None:
    assert SECRET not in unified(file(content), file("a: 1\n"))


def test_only_secrets_are_hidden() -> None:
    content = f"server: https://a\ntoken: |\n  {SECRET}\nnode-name: b\nvolumes:\n- secret\nresources: [secrets]\n"
    shown = (
        "server: https://a\ntoken: (not shown)\n  (not shown)\nnode-name: b\nvolumes:\n- secret\nresources: [secrets]\n"
    )
    assert body(Absent(PATH), file(content)) == [f"+{line}" for line in shown.splitlines()]
