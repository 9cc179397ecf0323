"""K3s' merge of environment, files and command line, the component arguments in it, and the text of the drop-in."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.base.model import Location
from agent.k3s.config import ConfigValue, DroppedItem, MergedConfig, dropin
from agent.k3s.config_merge import ConfigText, merge_configuration
from agent.k3s.options import ALIASES, SECRET_KEYS, VARIABLES, Word
from agent.k3s.redaction import HIDDEN

MAIN = PurePosixPath("/etc/rancher/k3s/config.yaml")
DROPINS = PurePosixPath("/etc/rancher/k3s/config.yaml.d")
UNIT = Location(PurePosixPath("/etc/systemd/system/k3s.service"), 9)
ENVIRONMENT = Location(PurePosixPath("/etc/systemd/system/k3s.service.env"), 2)


def config(main: str | bytes, **dropins: str | bytes) -> list[ConfigText]:
    files = [(MAIN, main), *((DROPINS / f"{name}.yaml", text) for name, text in dropins.items())]
    return [ConfigText(path, text.encode() if isinstance(text, str) else text) for path, text in files]


def words(*texts: str) -> list[Word]:
    return [Word(text, UNIT) for text in texts]


def environment(**variables: str) -> dict[str, Word]:
    return {name: Word(value, ENVIRONMENT) for name, value in variables.items()}


def texts(merged: MergedConfig, key: str) -> list[str]:
    return [value.text for value in merged.items(key)]


def test_plus_appends_to_lists_scalars_and_unset_keys() -> None:
    second = "tls-san+: [two]\nnode-label+: b=2\nnode-taint+: [c]\n"
    merged = merge_configuration(config("tls-san: one\nnode-label: [a=1]\n", b=second, c="tls-san+: three\n"))
    assert texts(merged, "tls-san") == ["one", "two", "three"]
    assert texts(merged, "node-label") == ["a=1", "b=2"]
    assert texts(merged, "node-taint") == ["c"]
    assert merged.items("tls-san")[2] == ConfigValue("three", Location(DROPINS / "c.yaml", 1))


@pytest.mark.parametrize(("value", "kept"), [("", []), ('""', [""]), ("''", [""]), ('[""]', [""])])
def test_plus_omits_null_and_keeps_an_empty_string(value: str, kept: list[str]) -> None:
    """K3s converts the string to a list item, which gives the API server the argument `--=true`: it exits."""
    merged = merge_configuration(config(f"kube-apiserver-arg: {value}\n", b="kube-apiserver-arg+: [profiling=false]\n"))
    assert texts(merged, "kube-apiserver-arg") == [*kept, "profiling=false"]
    arguments = merged.component_arguments("kube-apiserver-arg")
    assert [value.text for value in arguments.get("", ())] == ["true"] * len(kept)


def test_list_without_plus_drops_earlier_items() -> None:
    ours = "kube-apiserver-arg+:\n  - audit-log-maxage=30\n  - profiling=false\n"
    merged = merge_configuration(config("{}", a=ours, z="kube-apiserver-arg:\n  - profiling=false\n"))
    assert texts(merged, "kube-apiserver-arg") == ["profiling=false"]
    places = (Location(DROPINS / "a.yaml", 2), Location(DROPINS / "z.yaml", 1))
    assert merged.dropped == (DroppedItem("kube-apiserver-arg", "audit-log-maxage=30", *places),)
    single = merge_configuration(config("kubelet-arg: a=1\nnode-ip: ::1\n", z="kubelet-arg: b=2\nnode-ip: ::2\n"))
    assert [dropped.value for dropped in single.dropped] == ["a=1"]


def test_ranchers_json_replaces_earlier_lists_and_later_files_append_to_it() -> None:
    rancher = '{\n"kube-apiserver-arg": [\n"authentication-token-webhook-config-file=/x.yaml"\n],\n"etcd-s3": false\n}'
    merged = merge_configuration(
        config("kube-apiserver-arg: [a=1]\n", rancher=rancher, s="kube-apiserver-arg+: [b=2]\n")
    )
    assert texts(merged, "kube-apiserver-arg") == ["authentication-token-webhook-config-file=/x.yaml", "b=2"]
    assert [(dropped.value, dropped.by.path.name) for dropped in merged.dropped] == [("a=1", "rancher.yaml")]
    assert merged.scalar("etcd-s3") == ConfigValue("false", Location(DROPINS / "rancher.yaml", 5))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        *[("yes", "true"), ("on", "true"), ("Off", "false"), ("'yes'", "yes"), ("null", ""), ("", "")],
        *[("'  a '", "a"), ('"v\\n"', "v")],
        *[("0644", "420"), ('"0644"', "0644"), ("1_000", "1000"), ("1.0", "1"), ("1.5", "1.5")],
        ("10.42.0.0/16,2001:cafe::/56", "10.42.0.0/16,2001:cafe::/56"),
    ],
)
def test_values_are_parsed_as_yaml_1_1_and_printed_as_go_does(written: str, read: str) -> None:
    assert texts(merge_configuration(config(f"key: {written}\n")), "key") == [read]
    assert texts(merge_configuration(config(f"key:\n- {written}\n")), "key") == [read]


def test_command_line_overrides_files() -> None:
    merged = merge_configuration(
        config("kube-apiserver-arg: [a=1]\ndata-dir: /old\nselinux: true\n"),
        words(
            *("--kube-apiserver-arg=b=2", "--kube-apiserver-arg", "c=3", "-d", "/data", "--protect-kernel-defaults"),
            *("--kubelet-arg", "-v=3", "positional", "--selinux=false", "-node-name=x", "--", "x", "--debug"),
        ),
    )
    assert texts(merged, "kube-apiserver-arg") == ["a=1", "b=2", "c=3"]
    assert merged.scalar("data-dir") == ConfigValue("/data", UNIT)
    assert merged.boolean("protect-kernel-defaults") is True
    assert texts(merged, "kubelet-arg") == ["-v=3"]
    assert merged.boolean("selinux") is False
    assert merged.scalar("node-name") == ConfigValue("x", UNIT)
    assert merged.boolean("debug") is None
    assert merged.locations()["data-dir"] == UNIT
    assert merged.items("kube-apiserver-arg")[0].location == Location(MAIN, 1)


def test_environment_sets_an_option_that_nothing_else_sets() -> None:
    merged = merge_configuration(
        config("node-name: a\n"), words("--debug"), environment(K3S_CLUSTER_INIT="1", K3S_URL="https://a")
    )
    assert merged.scalar("server") == ConfigValue("https://a", ENVIRONMENT)
    assert merged.boolean("cluster-init") is True
    assert merged.locations()["cluster-init"] == ENVIRONMENT


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("data-dir: /given\n", ()),
        ("d: /given\n", ()),
        ("data-dir+: /given\n", ()),
        ("data-dir: /file\n", ("--data-dir=/given",)),
        ("{}", ("-d", "/given")),
    ],
)
def test_files_and_command_line_override_the_environment(text: str, arguments: tuple[str, ...]) -> None:
    """urfave/cli reads a variable only for an option that is not given at all, under any of its names."""
    merged = merge_configuration(config(text), words(*arguments), environment(K3S_DATA_DIR="/variable"))
    assert merged.scalar("data-dir") is not None
    assert texts(merged, "data-dir")[-1] == "/given"
    assert "/variable" not in texts(merged, "data-dir")


def test_an_empty_value_is_given_in_a_file_and_not_in_the_environment() -> None:
    """K3s passes `--server=` to the parser, and treats an empty variable as unset."""
    assert texts(merge_configuration(config("server: ''\n"), (), environment(K3S_URL="https://a")), "server") == [""]
    assert merge_configuration((), (), environment(K3S_URL="", K3S_NO_SUCH="x", PATH="/bin")).values == {}


def test_aliases_set_the_option_they_stand_for() -> None:
    merged = merge_configuration(config("d: /x\nkube-controller-arg: [a=1]\nkube-controller-manager-arg: [b=2]\n"))
    assert merged.scalar("data-dir") == ConfigValue("/x", Location(MAIN, 1))
    assert texts(merged, "kube-controller-manager-arg") == ["a=1", "b=2"]


def test_component_arguments_in_all_forms() -> None:
    plugins = "  - enable-admission-plugins+=A\n  - enable-admission-plugins=B\n  - enable-admission-plugins-=C\n"
    others = "  - --profiling\n  - audit-policy-file=/a=b\n  - profiling+=x\n"
    merged = merge_configuration(config(f"kube-apiserver-arg:\n{plugins}{others}"))
    arguments = merged.component_arguments("kube-apiserver-arg")
    assert {name: [value.text for value in values] for name, values in arguments.items()} == {
        "enable-admission-plugins": ["C", "A", "B"],
        "profiling": ["true", "x"],
        "audit-policy-file": ["/a=b"],
    }
    assert arguments["enable-admission-plugins"][0].location == Location(MAIN, 4)
    assert merged.keeps_default("kube-apiserver-arg", "enable-admission-plugins")
    assert not merged.keeps_default("kube-apiserver-arg", "profiling")
    assert merged.keeps_default("kube-apiserver-arg", "anonymous-auth")
    assert merged.component_arguments("kubelet-arg") == {}


def test_underscores_in_the_name_of_a_component_argument() -> None:
    """K3s treats another spelling as another argument and sorts it last; the component treats both as one."""
    merged = merge_configuration(
        config(
            "kubelet-arg:\n  - anonymous_auth=true\n  - --read_only-port+=1\n  - read-only_port-=2\n  - a-b=1\n",
            site="kubelet-arg+:\n  - anonymous-auth=false\n  - read_only_port=3\n  - read-only-port=4\n",
        )
    )
    arguments = merged.component_arguments("kubelet-arg")
    assert {name: [(value.text, value.spelling) for value in values] for name, values in arguments.items()} == {
        "anonymous-auth": [("false", ""), ("true", "anonymous_auth")],
        "read-only-port": [("4", ""), ("2", "read-only_port"), ("1", "read_only-port"), ("3", "read_only_port")],
        "a-b": [("1", "")],
    }
    assert arguments["anonymous-auth"][-1].location == Location(MAIN, 2)
    assert not merged.keeps_default("kubelet-arg", "anonymous-auth")
    only_other = merge_configuration(config("kubelet-arg: [anonymous_auth=true]\n"))
    assert only_other.keeps_default("kubelet-arg", "anonymous-auth")


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: [\n", 2, "not YAML"),
        ("- a\n", 1, "expected options as `key: value`"),
        ("just words\n", 1, "expected options as `key: value`"),
        ("kubelet-arg:\n  a: b\n", 2, "`kubelet-arg` contains a mapping"),
        ("kubelet-arg:\n  - a: b\n", 2, "not a single value"),
        (b"a: \xff\n", 1, "UTF-8"),
    ],
)
def test_a_broken_file_is_a_problem_and_the_other_files_are_merged(text: str | bytes, line: int, problem: str) -> None:
    merged = merge_configuration(config(text, z="node-name: z\n"))
    assert [error.location for error in merged.problems] == [Location(MAIN, line)]
    assert problem in merged.problems[0].problem
    assert merged.scalar("node-name") == ConfigValue("z", Location(DROPINS / "z.yaml", 1))


def test_valid_content_of_a_broken_file_is_merged() -> None:
    merged = merge_configuration(config("kubelet-arg:\n  - a=1\n  - b: c\n  - d=2\nnode-name: x\n"))
    assert texts(merged, "kubelet-arg") == ["a=1", "d=2"]
    assert texts(merged, "node-name") == ["x"]
    assert len(merged.problems) == 1


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~\n", "{}\n"])
def test_an_empty_file_is_valid(text: str) -> None:
    merged = merge_configuration(config(text))
    assert (merged.values, merged.problems, merged.ignored) == ({}, (), ())


def test_content_that_k3s_ignores_is_listed() -> None:
    merged = merge_configuration(config("<<: &x {node-name: m}\n<<: *x\nlog: a\nlog: b\n---\nselinux: true\n"))
    assert merged.scalar("log") == ConfigValue("b", Location(MAIN, 4))
    assert merged.locations().keys() == {"log"}
    found = [(ignored.location.line, ignored.what.split()[0]) for ignored in merged.ignored]
    assert found == [(5, "K3s"), (3, "`log`"), (1, "K3s"), (2, "K3s")]
    assert not merged.problems


SECRET = "K10deadbeef::server:hunter2"  # noqa: S105 - not a real token


@pytest.mark.parametrize("key", sorted(SECRET_KEYS | {"t", "tokn-secret", "etcd-s3-password"}))
def test_a_secret_in_files_or_on_the_command_line_is_hidden(key: str) -> None:
    for files, arguments in (
        (config(f"{key}: '{SECRET}'\n"), ()),
        (config(f"{key}: ['{SECRET}']\n", b=f"{key}: [x]\n", c=f"{key}+: ['{SECRET}']\n"), ()),
        ([], (f"--{key}={SECRET}",)),
        ([], (f"-{key}", SECRET)),
    ):
        merged = merge_configuration(files, words(*arguments))
        assert SECRET not in repr((merged, files, words(*arguments)))
        assert set(texts(merged, ALIASES.get(key, key))) == {HIDDEN}


@pytest.mark.parametrize("variable", sorted(name for name, key in VARIABLES.items() if key in SECRET_KEYS))
def test_a_secret_in_the_environment_is_hidden(variable: str) -> None:
    variables = environment(**{variable: SECRET})
    merged = merge_configuration((), (), variables)
    assert texts(merged, VARIABLES[variable]) != [""]
    assert SECRET not in repr((merged, variables))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://k3s:hunter2@a/b?c=d://e", f"https://{HIDDEN}"),
        ("mysql://k3s:hunter2@tcp(a)/b", f"mysql://{HIDDEN}"),
        ("postgres://k3s:hunter2@a/b", f"postgres://{HIDDEN}"),
        ("nats://k3s:hunter2@a/b", f"nats://{HIDDEN}"),
        ("sqlite:///opt/db/s.db", "sqlite:///opt/db/s.db"),
        (f"sqlite:///opt/db/s.db?_auth&_auth_pass={SECRET}", f"sqlite:///opt/db/s.db?{HIDDEN}"),
        ("hunter2", HIDDEN),
        ("hunter2://x", HIDDEN),
        ("https:/hunter2", HIDDEN),
        (" mysql//k3s:hunter2@a", HIDDEN),
    ],
)
def test_of_a_datastore_endpoint_only_a_known_scheme_and_the_path_of_sqlite_are_kept(address: str, shown: str) -> None:
    for merged in (
        merge_configuration(config(f"datastore-endpoint: '{address}'\n")),
        merge_configuration((), (), environment(K3S_DATASTORE_ENDPOINT=address)),
    ):
        assert texts(merged, "datastore-endpoint") == [shown]


@pytest.mark.parametrize("key", ["node-name", "server", "kubelet-arg", "nonsense"])
def test_a_token_is_hidden_under_any_key(key: str) -> None:
    for merged in (
        merge_configuration(config(f"{key}: 'a={SECRET}'\n")),
        merge_configuration(config(f"{key}: ['a={SECRET}']\n", b=f"{key}: [x]\n")),
        merge_configuration([], words(f"--{key}=a={SECRET}")),
    ):
        assert "hunter2" not in repr(merged)
        assert texts(merged, key)[0] in {"x", f"a={HIDDEN}"}
        assert all(lost.value == f"a={HIDDEN}" for lost in merged.dropped)


def test_the_field_begins_is_the_last_key_without_plus() -> None:
    merged = merge_configuration(
        config("kubelet-arg: [a=1]\n", b="# x\nkubelet-arg: [b=2]\n", c="kubelet-arg+: [c=3]\nkube-proxy-arg+: [d=4]\n")
    )
    assert merged.begins == {"kubelet-arg": Location(DROPINS / "b.yaml", 2)}


@pytest.mark.parametrize(("text", "value"), [("true", True), ("'1'", True), ("F", False), ("maybe", None), ("", None)])
def test_booleans_are_those_of_go(text: str, value: bool | None) -> None:
    assert merge_configuration(config(f"disable-network-policy: {text}\n")).boolean("disable-network-policy") is value


@given(
    st.lists(st.binary(max_size=100), max_size=3),
    st.lists(st.text(max_size=10), max_size=5),
    st.dictionaries(st.sampled_from(sorted(VARIABLES)), st.text(max_size=10), max_size=3),
)
def test_merge_never_raises(files: list[bytes], arguments: list[str], variables: dict[str, str]) -> None:
    merged = merge_configuration(
        [ConfigText(MAIN, data) for data in files], words(*arguments), environment(**variables)
    )
    assert all(values for values in merged.values.values())
    assert len(merged.problems) <= sum(map(len, files))


def test_text_after_the_first_document_is_ignored() -> None:
    """go-yaml does not parse it, so an error in it does not stop K3s."""
    merged = merge_configuration(config("node-name: a\n---\nfoo: [\n"))
    assert (texts(merged, "node-name"), merged.problems) == (["a"], ())
    assert [str(ignored.location) for ignored in merged.ignored] == [f"{MAIN}:4"]
    assert merge_configuration(config("node-name: [\n---\nfoo: bar\n")).problems


def test_dropin_uses_quotes_only_if_yaml_needs_them() -> None:
    lists = {"kube-apiserver-arg": ["audit-log-maxage=30", "a=b: c #d"], "kubelet-arg": []}
    text = dropin("First line.\n\nSecond.\n", {"protect-kernel-defaults": True, "node-name": "yes"}, lists).decode()
    scalars, items = text.split("kube-apiserver-arg+:\n")
    assert scalars == '# First line.\n#\n# Second.\nprotect-kernel-defaults: true\nnode-name: "yes"\n'
    assert items == '  - audit-log-maxage=30\n  - "a=b: c #d"\n'


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
def test_dropin_appends_to_the_operators_lists(files: list[tuple[str, list[str]]], ours: dict[str, list[str]]) -> None:
    operators = [
        ConfigText(DROPINS / f"{number:02}.yaml", json.dumps({key: items}).encode())
        for number, (key, items) in enumerate(files)
        # JSON keeps U+007F and writes code points above U+FFFF as two escapes. YAML accepts neither.
        if all(character != "\x7f" and ord(character) < 0x10000 for item in items for character in item)
    ]
    alone = merge_configuration(operators)
    together = merge_configuration([*operators, ConfigText(DROPINS / "90-ours.yaml", dropin("Ours.", {}, ours))])
    assert not together.problems
    for key in ("kubelet-arg", "tls-san", "node-label"):
        expected = [value.text for value in alone.items(key)] + [item.strip() for item in ours.get(key, [])]
        assert [value.text for value in together.items(key)] == expected
    assert together.dropped == alone.dropped


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_scalars_are_read_back(text: str, switch: bool) -> None:
    merged = merge_configuration(
        [ConfigText(DROPINS / "a.yaml", dropin("", {"node-name": text, "selinux": switch}, {}))]
    )
    assert [value.text for value in merged.items("node-name")] == [text.strip()]
    assert merged.boolean("selinux") is switch
