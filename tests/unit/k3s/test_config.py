"""K3s' merge rule for its configuration, the flags for its components, and the drop-in that we write."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.k3s.config import (
    AGENT_KEYS,
    ALIASES,
    HIDDEN,
    SECRET_KEYS,
    SERVER_ONLY_KEYS,
    ConfigText,
    Dropped,
    MergedConfig,
    Word,
    dropin,
    is_secret,
    merge,
)
from agent.model import Location

MAIN = PurePosixPath("/etc/rancher/k3s/config.yaml")
DROPINS = PurePosixPath("/etc/rancher/k3s/config.yaml.d")
UNIT = Location(PurePosixPath("/etc/systemd/system/k3s.service"), 0)


def config(main: str | bytes, **dropins: str | bytes) -> list[ConfigText]:
    files = [(MAIN, main), *((DROPINS / f"{name}.yaml", text) for name, text in dropins.items())]
    return [ConfigText(path, text.encode() if isinstance(text, str) else text) for path, text in files]


def texts(effective: MergedConfig, key: str) -> list[str]:
    return [text for text, _ in effective.items(key)]


def test_a_later_file_replaces_what_has_no_plus() -> None:
    """A key without `+` takes the place of all that earlier files said, and the line that counts is named."""
    effective = merge(config("# top\nnode-name: a\n", b="node-name: b\n"))
    assert effective.scalar("node-name") == ("b", Location(DROPINS / "b.yaml", 1))
    assert texts(effective, "node-name") == ["b"]
    assert not effective.dropped


def test_a_plus_appends_to_lists_scalars_and_nothing() -> None:
    """`key+` adds to what is there, be it a list, a single value, or nothing yet."""
    effective = merge(
        config(
            "tls-san: one\nnode-label: [a=1]\n",
            b="tls-san+: [two]\nnode-label+: b=2\nnode-taint+: [c]\n",
            c="tls-san+: three\n",
        )
    )
    assert texts(effective, "tls-san") == ["one", "two", "three"]
    assert texts(effective, "node-label") == ["a=1", "b=2"]
    assert texts(effective, "node-taint") == ["c"]
    assert effective.items("tls-san")[2] == ("three", Location(DROPINS / "c.yaml", 1))


def test_appending_leaves_out_an_empty_scalar() -> None:
    """K3s makes no value of a key that has nothing, once another is appended to it."""
    assert texts(merge(config("tls-san:\n", b="tls-san+: [two]\n")), "tls-san") == ["two"]


def test_a_list_without_plus_loses_ours_and_both_places_are_told() -> None:
    """Each value that a later file drops is named with where it stood and what dropped it."""
    ours = "kube-apiserver-arg+:\n  - audit-log-maxage=30\n  - profiling=false\n"
    effective = merge(config("{}", a=ours, z="kube-apiserver-arg:\n  - profiling=false\n"))
    assert texts(effective, "kube-apiserver-arg") == ["profiling=false"]
    assert effective.dropped == (
        Dropped(
            "kube-apiserver-arg",
            "audit-log-maxage=30",
            Location(DROPINS / "a.yaml", 2),
            Location(DROPINS / "z.yaml", 1),
        ),
    )


def test_ranchers_json_replaces_lists_before_it_and_is_appended_to_after_it() -> None:
    """50-rancher.yaml is JSON without `+`: what sorts before it is lost, what sorts after it with `+` is added."""
    rancher = b"""{
  "kube-apiserver-arg": [
    "authentication-token-webhook-config-file=/x.yaml"
  ],
  "etcd-s3": false
}"""
    effective = merge(
        [
            ConfigText(MAIN, b"kube-apiserver-arg: [a=1]\n"),
            ConfigText(DROPINS / "50-rancher.yaml", rancher),
            ConfigText(DROPINS / "90-ours.yaml", b"kube-apiserver-arg+: [b=2]\n"),
        ]
    )
    assert texts(effective, "kube-apiserver-arg") == ["authentication-token-webhook-config-file=/x.yaml", "b=2"]
    assert [(one.value, one.by.path.name) for one in effective.dropped] == [("a=1", "50-rancher.yaml")]
    assert effective.scalar("etcd-s3") == ("false", Location(DROPINS / "50-rancher.yaml", 5))


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("yes", "true"),
        ("on", "true"),
        ("Off", "false"),
        ("'yes'", "yes"),
        ("0644", "420"),
        ('"0644"', "0644"),
        ("1_000", "1000"),
        ("1.0", "1"),
        ("1.5", "1.5"),
        ("null", ""),
        ("", ""),
        ("'  a '", "a"),
        ("10.42.0.0/16,2001:cafe::/56", "10.42.0.0/16,2001:cafe::/56"),
    ],
)
def test_values_are_what_k3s_makes_of_them(written: str, seen: str) -> None:
    """YAML 1.1 reads a plain word or number first, and K3s prints what came of it."""
    found = merge(config(f"key: {written}\n")).scalar("key")
    assert found is not None
    assert found[0] == seen


def test_the_command_line_comes_last() -> None:
    """Its flags follow those of the files: a single value is replaced, a list added to; both forms are understood."""
    words = [
        "--kube-apiserver-arg=b=2",
        "--kube-apiserver-arg",
        "c=3",
        "-d",
        "/data",
        "--protect-kernel-defaults",
        "--kubelet-arg",
        "-v=3",
        "positional",
        "--selinux=false",
        "-node-name=x",
        "--",
        "--debug",
    ]
    effective = merge(
        config("kube-apiserver-arg: [a=1]\ndata-dir: /old\nselinux: true\n"), [Word(word, UNIT) for word in words]
    )
    assert texts(effective, "kube-apiserver-arg") == ["a=1", "b=2", "c=3"]
    assert effective.scalar("data-dir") == ("/data", UNIT)
    assert effective.boolean("protect-kernel-defaults") is True
    assert texts(effective, "kubelet-arg") == ["-v=3"]
    assert effective.boolean("selinux") is False
    assert effective.scalar("node-name") == ("x", UNIT)
    assert effective.boolean("debug") is None
    assert str(effective.keys()["data-dir"]) == "/etc/systemd/system/k3s.service"
    assert str(effective.items("kube-apiserver-arg")[0][1]) == "/etc/rancher/k3s/config.yaml:1"


def test_short_and_old_names_are_the_flag_they_stand_for() -> None:
    """`d` is data-dir, and kube-controller-arg adds to kube-controller-manager-arg."""
    effective = merge(config("d: /x\nkube-controller-arg: [a=1]\nkube-controller-manager-arg: [b=2]\n"))
    assert effective.scalar("data-dir") == ("/x", Location(MAIN, 1))
    assert texts(effective, "kube-controller-manager-arg") == ["a=1", "b=2"]
    assert set(ALIASES.values()) <= AGENT_KEYS | SERVER_ONLY_KEYS


def test_component_flags_in_all_their_forms() -> None:
    """`+=` and `-=` belong to the flag and keep K3s' default; `-=` goes before the others; no `=` means true."""
    effective = merge(
        config(
            "kube-apiserver-arg:\n"
            "  - enable-admission-plugins+=A\n"
            "  - enable-admission-plugins=B\n"
            "  - enable-admission-plugins-=C\n"
            "  - --profiling\n"
            "  - audit-policy-file=/a=b\n"
            "  - profiling+=x\n"
        )
    )
    flags = effective.flags("kube-apiserver-arg")
    assert {name: [value for value, _ in values] for name, values in flags.items()} == {
        "enable-admission-plugins": ["C", "A", "B"],
        "profiling": ["true", "x"],
        "audit-policy-file": ["/a=b"],
    }
    assert flags["enable-admission-plugins"][0][1] == Location(MAIN, 4)
    assert effective.keeps_default("kube-apiserver-arg", "enable-admission-plugins")
    assert not effective.keeps_default("kube-apiserver-arg", "profiling")
    assert effective.keeps_default("kube-apiserver-arg", "anonymous-auth")
    assert effective.flags("kubelet-arg") == {}


@pytest.mark.parametrize(
    ("text", "where", "problem"),
    [
        ("a: [\n", f"{MAIN}:2", "not YAML"),
        ("- a\n", f"{MAIN}:1", "not a mapping"),
        ("just words\n", f"{MAIN}:1", "not a mapping"),
        ("kubelet-arg:\n  a: b\n", f"{MAIN}:2", "`kubelet-arg` has a mapping"),
        ("kubelet-arg:\n  - a: b\n", f"{MAIN}:2", "not a single value"),
        (b"a: \xff\n", f"{MAIN}:1", "UTF-8"),
    ],
)
def test_a_broken_file_is_told_and_hides_nothing_else(text: str | bytes, where: str, problem: str) -> None:
    """What is wrong with one file is among the problems; the others are merged."""
    effective = merge(config(text, z="node-name: z\n"))
    assert [str(error.location) for error in effective.problems] == [where]
    assert problem in effective.problems[0].problem
    assert effective.scalar("node-name") == ("z", Location(DROPINS / "z.yaml", 1))


def test_what_is_right_in_a_broken_file_counts() -> None:
    """One bad item does not take the rest of its list or file with it."""
    effective = merge(config("kubelet-arg:\n  - a=1\n  - b: c\n  - d=2\nnode-name: x\n"))
    assert texts(effective, "kubelet-arg") == ["a=1", "d=2"]
    assert effective.is_set("node-name")
    assert len(effective.problems) == 1


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~\n", "{}\n"])
def test_an_empty_file_is_fine(text: str) -> None:
    """K3s takes a file that says nothing."""
    effective = merge(config(text))
    assert (effective.values, effective.problems, effective.ignored) == ({}, (), ())


def test_what_k3s_passes_over_is_told() -> None:
    """A second document, the first of two equal keys, and what `<<` merges in have no effect; each is named."""
    effective = merge(config("<<: &x {node-name: m}\n<<: *x\nlog: a\nlog: b\n---\nselinux: true\n"))
    assert effective.scalar("log") == ("b", Location(MAIN, 4))
    assert effective.keys().keys() == {"log"}
    assert [(str(one.source), one.what.split()[0]) for one in effective.ignored] == [
        (f"{MAIN}:5", "K3s"),
        (f"{MAIN}:3", "`log`"),
        (f"{MAIN}:1", "K3s"),
        (f"{MAIN}:2", "K3s"),
    ]
    assert not effective.problems


HUSH = "K10deadbeef::server:hunter2"


@pytest.mark.parametrize("key", sorted(SECRET_KEYS | {"t", "tokn-secret", "etcd-s3-password"}))
def test_a_secret_is_never_in_what_is_kept(key: str) -> None:
    """Wherever a secret is given, it is only told that it is."""
    for files, words in (
        (config(f"{key}: '{HUSH}'\n"), ()),
        (config(f"{key}: ['{HUSH}']\n", b=f"{key}: [x]\n", c=f"{key}+: ['{HUSH}']\n"), ()),
        ([], (f"--{key}={HUSH}",)),
        ([], (f"-{key}", HUSH)),
    ):
        effective = merge(files, [Word(word, UNIT) for word in words])
        assert HUSH not in repr([Word(word, UNIT) for word in words])
        assert effective.is_set(ALIASES.get(key, key))
        assert HUSH not in repr((effective, files))
        assert set(texts(effective, ALIASES.get(key, key))) == {HIDDEN}


@pytest.mark.parametrize("scheme", ["https://", "mysql://", "postgres://", "nats://"])
def test_of_a_datastores_address_the_scheme_alone_is_kept(scheme: str) -> None:
    """It tells what kind it is; users and passwords are in the rest."""
    effective = merge(config(f"datastore-endpoint: '{scheme}k3s:hunter2@a/b?c=d://e'\n"))
    assert texts(effective, "datastore-endpoint") == [f"{scheme}{HIDDEN}"]


@pytest.mark.parametrize("address", ["hunter2", "hunter2://x", "https:/hunter2", " mysql//k3s:hunter2@a"])
def test_an_address_of_no_known_kind_is_a_secret_as_a_whole(address: str) -> None:
    """Somebody may have put a password there."""
    assert texts(merge(config(f"datastore-endpoint: '{address}'\n")), "datastore-endpoint") == [HIDDEN]


@pytest.mark.parametrize("key", ["node-name", "server", "kubelet-arg", "nonsense"])
def test_what_looks_like_a_token_is_hidden_under_any_key(key: str) -> None:
    """A line that was shifted or misspelt is shown in a finding, and the rest of it is of use there."""
    for effective in (
        merge(config(f"{key}: 'a={HUSH}'\n")),
        merge(config(f"{key}: ['a={HUSH}']\n", b=f"{key}: [x]\n")),
        merge([], [Word(f"--{key}=a={HUSH}", UNIT)]),
    ):
        assert "hunter2" not in repr(effective)
        assert texts(effective, key)[0] in {"x", f"a={HIDDEN}"}
        assert all(lost.value == f"a={HIDDEN}" for lost in effective.dropped)


def test_where_a_list_begins_is_the_last_key_without_a_plus() -> None:
    """What stands before it is lost, though nothing was there."""
    effective = merge(
        config("kubelet-arg: [a=1]\n", b="# x\nkubelet-arg: [b=2]\n", c="kubelet-arg+: [c=3]\nkube-proxy-arg+: [d=4]\n")
    )
    assert effective.begins == {"kubelet-arg": Location(DROPINS / "b.yaml", 2)}


def test_an_empty_secret_is_not_set() -> None:
    """A key without a value is as good as none."""
    effective = merge(config("token: ''\nagent-token:\nserver: https://a:6443\n"))
    assert [effective.is_set(key) for key in ("token", "agent-token", "server", "cluster-init")] == [
        False,
        False,
        True,
        False,
    ]


def test_keys_that_only_mention_secrets_are_shown() -> None:
    """Files that hold a secret, and switches about secrets, are no secrets themselves."""
    shown = {"token-file", "agent-token-file", "secrets-encryption", "etcd-s3-config-secret", "vpn-auth-file", "server"}
    assert {key for key in AGENT_KEYS | SERVER_ONLY_KEYS if is_secret(key)} == SECRET_KEYS
    assert not any(is_secret(key) for key in shown)


def test_no_key_is_for_agents_and_for_servers_alone() -> None:
    """What an agent takes is not server-only; the guide's own keys are where they belong."""
    assert not AGENT_KEYS & SERVER_ONLY_KEYS
    assert {"kubelet-arg", "protect-kernel-defaults", "data-dir"} <= AGENT_KEYS
    assert {"kube-apiserver-arg", "kube-controller-manager-arg", "secrets-encryption"} <= SERVER_ONLY_KEYS


@pytest.mark.parametrize(("text", "value"), [("true", True), ("'1'", True), ("F", False), ("maybe", None), ("", None)])
def test_booleans_by_gos_words(text: str, value: bool | None) -> None:  # noqa: FBT001 - a table of cases
    """Only what Go's ParseBool takes is an answer."""
    assert merge(config(f"disable-network-policy: {text}\n")).boolean("disable-network-policy") is value


def test_a_dropin_reads_as_a_person_would_write_it() -> None:
    """Comments first, quotes only where YAML needs them, `+` on each list, nothing for an empty list."""
    assert (
        dropin(
            "First line.\n\nSecond.\n",
            {"protect-kernel-defaults": True, "node-name": "yes"},
            {"kube-apiserver-arg": ["audit-log-maxage=30", "a=b: c #d"], "kubelet-arg": []},
        ).decode()
        == """\
# First line.
#
# Second.
protect-kernel-defaults: true
node-name: "yes"
kube-apiserver-arg+:
  - audit-log-maxage=30
  - "a=b: c #d"
"""
    )


ITEMS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
    | st.sampled_from(["yes", "0644", "~", "a: b", "- x", "a #b", "'", "1e3", "=", "<<"]),
    max_size=5,
)


@given(
    st.lists(st.tuples(st.sampled_from(["kubelet-arg", "kubelet-arg+", "tls-san", "tls-san+"]), ITEMS), max_size=4),
    st.dictionaries(st.sampled_from(["kubelet-arg", "tls-san", "node-label"]), ITEMS),
)
@example([("tls-san", ["a"])], {"tls-san": ["a:", ":", "é", "\u2028", "\U0001f600", "\x00", "\x85", "x\ny"]})
def test_our_dropin_adds_to_what_operators_wrote(
    files: list[tuple[str, list[str]]], ours: dict[str, list[str]]
) -> None:
    """Whatever the files before it say, the result is their items followed by ours, and nothing is dropped by us."""
    import json

    operators = [
        ConfigText(DROPINS / f"{number:02}.yaml", json.dumps({key: items}).encode())
        for number, (key, items) in enumerate(files)
        # JSON leaves U+007F as it is, and writes what is beyond U+FFFF in two escapes: YAML takes neither.
        if all(character != "\x7f" and ord(character) < 0x10000 for item in items for character in item)
    ]
    alone = merge(operators)
    together = merge([*operators, ConfigText(DROPINS / "90-ours.yaml", dropin("Ours.", {}, ours))])
    assert not together.problems
    for key in ("kubelet-arg", "tls-san", "node-label"):
        assert texts(together, key) == texts(alone, key) + [item.strip() for item in ours.get(key, [])]
    assert together.dropped == alone.dropped


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_scalars_of_a_dropin_come_back(text: str, switch: bool) -> None:  # noqa: FBT001 - drawn
    """A scalar is read back as it was given, but for spaces at its ends."""
    effective = merge([ConfigText(MAIN, dropin("", {"node-name": text, "selinux": switch}, {}))])
    assert texts(effective, "node-name") == [text.strip()]
    assert effective.boolean("selinux") is switch


@given(st.lists(st.binary(max_size=100), max_size=3), st.lists(st.text(max_size=10), max_size=5))
def test_nothing_makes_the_merge_fail(files: list[bytes], words: list[str]) -> None:
    """Bytes of any kind, and words of any kind, give an answer with the problems named."""
    effective = merge([ConfigText(MAIN, data) for data in files], [Word(word, UNIT) for word in words])
    assert all(values for values in effective.values.values())
    assert len(effective.problems) <= sum(map(len, files))
