"""explain: entries of all IDs, and suggestions for misspelled IDs."""

from __future__ import annotations

import re
import shlex
from itertools import takewhile
from textwrap import dedent

import pytest
import yaml

from agent.assess.benchmark.catalogue import all_controls
from agent.assess.benchmark.control import BenchmarkControl
from agent.base.errors import ExitCode, UsageError
from agent.findings import KINDS
from agent.harden.desired.resources import desired_resources
from agent.harden.guide.controls import CONTROLS
from agent.harden.node.facts import assumed_facts
from agent.harden.settings.loading import load_settings
from agent.harden.settings.profiles import PRESETS, Preset, risks
from agent.harden.settings.schema import DEFAULT_SETTINGS, Profile, SettingRow, Settings, setting_rows, stage_rows
from agent.k3s.roles_and_versions import Role, Version
from agent.reports import repair_texts
from agent.verbs.explain import explained, listed
from agent.verbs.topics import named

NAMES = dict.fromkeys((*(control.id for control in CONTROLS), *KINDS, *(row.id for row in all_controls())))


@pytest.mark.parametrize("name", NAMES)
def test_each_listed_id_is_explained(name: str) -> None:
    assert f"  {name} " in listed()
    assert explained(name).startswith(name)


def test_manual_commands_are_not_wrapped() -> None:
    """A command on one line can be pasted."""
    (line,) = (line for line in explained("audit-policy").splitlines() if "render audit-policy" in line)
    assert line.strip() == next(control.by_hand for control in CONTROLS if control.id == "audit-policy")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("terminated-pod-gc-threshold", ["v1.28 and older", "v1.29 and newer"]),
        ("audit-log-maxage", ["In the guide", "In the benchmarks", "  cis-1.9              1.2.17 (not scored)\n"]),
        ("apiserver-anonymous-auth", ["\nRelated\n  kubelet-anonymous-auth  "]),
        ("secrets-encryption", ["In the benchmarks", "Setting in /etc/k3s-harden/config.yaml"]),
        *(
            (name, ["Applies to\n  servers only, "])
            for name in ("secrets-encryption", "audit.max-age", "audit.policy-file")
        ),
    ],
)
def test_an_explanation_has_its_parts_in_order(name: str, parts: list[str]) -> None:
    """Version ranges, the guide before the benchmarks, controls of the same argument, a setting of the same name."""
    assert parts == sorted(parts, key=explained(name).index)


def test_an_explanation_has_no_part_twice_and_no_empty_one() -> None:
    assert explained("audit-log-maxage").count("\nRationale\n") == 1
    assert "\nRelated\n" not in explained("kernel.panic")


def test_a_number_selects_the_controls_of_all_benchmarks_or_of_one() -> None:
    several = explained("1.2.16")
    assert several.startswith("1.2.16 matches 4 topics:\n")
    assert "  apiserver-profiling       cis-1.8: The API server does not serve profiling data\n" in several
    assert re.findall(r"^[a-z-]+: ", explained("cis-1.9/1.2.16"), re.MULTILINE) == ["audit-log-path: "]


TOPICS = {
    ("kernel-parameters-file", "kernel-parameters-file-access"): ("/etc/sysctl.d/90-kubelet.conf", "90-kubelet.conf"),
    ("pod-security-policies", "network-policies", "policy-manifest-access"): (
        *("/var/lib/rancher/k3s/server/manifests/policy.yaml", "/srv/agent/k3s/server/manifests/policy.yaml"),
        *("manifests/policy.yaml", "policy.yaml"),
    ),
    ("server/manifests",): ("/srv/k3s/server/manifests/",),
    ("pki-ownership", "pki-key-permissions"): ("/srv/k3s/server/tls/etcd/server-ca.key",),
    ("k3s-config-access",): ("/etc/rancher/k3s/config.yaml",),
    ("k3s-service-access",): ("/etc/systemd/system/k3s.service", "k3s.service"),
    ("k3s-service-environment-access",): ("k3s-agent.service.env",),
    ("settings",): ("/etc/k3s-harden/config.yaml",),
    ("vm.overcommit_memory",): (
        *("vm.overcommit_memory", "vm/overcommit_memory", "/proc/sys/vm/overcommit_memory"),
        "sysctl -w vm.overcommit_memory=1",
    ),
    ("apiserver-anonymous-auth", "kubelet-anonymous-auth"): (
        *("--anonymous-auth", "anonymous-auth", "anonymous_auth=false", "- 'anonymous-auth=false'"),
        *("kube-apiserver-arg: anonymous-auth=false", "kube-apiserver-arg=anonymous_auth=false"),
        *("kube-apiserver-arg+: [anonymous-auth=false]", "--kubelet-arg anonymous-auth=false"),
    ),
    ("secrets-encryption",): ("secrets-encryption: true",),
    ("audit.max-age",): ("audit.max-age", "audit.max_age: 30"),
    ("drift.repair",): ("drift.repair",),
    ("list-dropped",): ("list-dropped",),
    ("audit-log-maxage",): ("AUDIT-LOG-MAXAGE", "`audit-log-maxage`"),
    ("audit-log-path",): ("cis-1.9/1.2.16", "CIS 1.9 1.2.16", "1.9/1.2.16"),
    tuple(f"users-without-{what}" for what in ("client-certificates", "service-account-tokens", "bootstrap-tokens")): (
        "3.1",
    ),
    (): (
        *("", "/", "..", "*", "/nonexistent", "kube-apiserver-arg: nonsense", "x" * 100_000, "/a" * 100_000),
        "\x00\x1b[2J",
    ),
}
"""The topics that each text selects."""


@pytest.mark.parametrize(("names", "text"), [(names, text) for names, texts in TOPICS.items() for text in texts])
def test_a_text_selects_topics(names: tuple[str, ...], text: str) -> None:
    assert tuple(item.name for item in named(text)) == names


def test_a_benchmark_lists_its_controls_in_the_order_of_their_numbers() -> None:
    assert len(named("cis-1.9")) > 100
    assert [item.name for item in named("2.1")] == ["etcd-server-certificate"]
    titles = [item.title.partition(":")[0] for item in named("cis-2.1")]
    assert titles == sorted(titles, key=lambda number: [int(part) for part in number.split(".")])


def fits(line: str, width: int) -> bool:
    """Whether a line fits, or is one word, quoted text, or a command."""
    rest = line.strip()
    commands = {risk.command for risk in risks().values()}
    is_whole = rest.startswith(("sudo ", "k3s-harden ", "Next: ")) or " " not in rest or rest in commands
    return len(line) <= width or is_whole or len(re.findall(r"[`']", rest)) > 1


@pytest.mark.parametrize("command", sorted({risk.command for risk in risks().values() if "*" in risk.command}))
def test_the_shell_of_an_ordinary_user_expands_no_path_of_a_command(command: str) -> None:
    """It cannot list the directories of K3s, so root's shell or find(1) does."""
    assert [word for word in shlex.split(command) if re.fullmatch(r"/\S*\*\S*", word)] == []


@pytest.mark.parametrize("columns", [0, 40, 80, 200])
def test_prose_fits_the_terminal(columns: int) -> None:
    width = min(columns or 100, 100)
    for name in (*NAMES, "audit.max-age", "1.2.16", "policy.yaml", "pod-max-pids", "strict"):
        assert [line for line in explained(name, columns).splitlines() if not fits(line, width)] == []
    settings = explained("settings", columns).partition("Example with all settings")[0]
    assert [line for line in settings.splitlines() if not fits(line, width)] == []


@pytest.mark.parametrize("columns", [40, 80, 100])
def test_wrapping_loses_no_word_and_splits_no_command(columns: int) -> None:
    for name in ("secrets-encryption", "vm.overcommit_memory", "audit-policy", "manifest-broken"):
        text, reference = explained(name, columns), explained(name, 100)
        assert text.split() == reference.split()
        for command in re.findall(r"`[^`\n]+`", " ".join(reference.split())):
            assert command in text


def test_the_list_fits_a_narrow_terminal_and_names_the_profile() -> None:
    assert max(map(len, listed(60).splitlines())) <= 60
    assert "k3s-harden explain strict" in listed()


def test_a_different_expectation_of_an_older_benchmark_is_shown() -> None:
    text = " ".join(explained("pki-certificate-permissions").split())
    assert re.search(r" Expected `<data-dir>/server/tls/\*.crt`, [^:]*: mode 0644 or stricter ", text)
    assert re.search(r" Expected in cis-1.24 to cis-1.10 `<data-dir>[^:]*: mode 0600 or stricter ", text)


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("overcommit", ["vm.overcommit_memory"]),
        ("maxsize", ["audit-log-maxsize"]),
        ("psa", ["pod-security-admission", "pod-security-disabled", "pod-security-admission-access"]),
        ("kernel.keys", ["kernel.keys.root_maxkeys", "kernel.keys.root_maxbytes"]),
        ("rotated at 100 MB", ["audit-log-maxsize"]),
    ],
)
def test_a_part_of_a_name_or_title_leads_to_the_topics_that_have_it(part: str, names: list[str]) -> None:
    """psa is a part of the path of psa.yaml."""
    text = explained(part)
    if len(names) == 1:
        assert text.startswith(f"{names[0]}: ")
    else:
        assert re.findall(r"^  (\S+)  ", text, re.MULTILINE) == names


def test_the_topic_findings_lists_all_findings() -> None:
    found = re.findall(r"^  (\S+) +(error|warning|note): ", explained("findings"), re.MULTILINE)
    assert found == [(kind.id, str(kind.level)) for kind in KINDS.values()]


@pytest.mark.parametrize("text", ["exit-codes", "exit codes", "EXIT_CODES"])
def test_the_topic_exit_codes_has_the_meaning_of_each(text: str) -> None:
    found = " ".join(explained(text).split())
    assert all(f" {int(code)} {code.meaning}" in found for code in ExitCode)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("audit-log-maxaeg", "did you mean audit-log-maxage"),
        ("maxgae", "k3s-harden explain"),
        ("--anonymuos-auth", "did you mean anonymous-auth"),
        *((text, "k3s-harden explain") for text in ("qqqq", "3", "e")),
    ],
)
def test_a_misspelled_id_gets_a_suggestion(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        explained(name)
    assert repair_texts.text(error.value.repair).startswith(hint)


def test_a_finding_has_its_repair() -> None:
    assert explained("list-dropped").endswith("Remediation\n  append `+` to the key; then restart K3s\n")
    assert "Remediation" not in explained("k3s-unblocked")


STRICT = PRESETS[Profile.STRICT]


@pytest.mark.parametrize("preset", STRICT, ids=lambda preset: preset.setting)
def test_the_explanation_of_a_profile_has_the_risk_of_each_setting(preset: Preset) -> None:
    text, risk = explained("strict"), risks()[preset.setting]
    assert f"\n{preset.setting}: {preset.value}\n" in text
    assert f"\n  {risk.command}\n" in text
    assert risk.breaks in " ".join(text.split())
    assert risk.preview in " ".join(text.split())


@pytest.mark.parametrize("control", [row for row in all_controls() if row.setting in risks()], ids=lambda row: row.id)
def test_the_explanation_of_a_control_has_the_risk_of_its_setting(control: BenchmarkControl) -> None:
    text, risk = explained(control.id), risks()[control.setting]
    assert "\nCan break\n" in text
    assert "\nBefore you set it\n" in text
    assert f"\n  {risk.command}\n" in text
    assert risk.breaks in " ".join(explained("settings").split())


@pytest.mark.parametrize("row", setting_rows(), ids=lambda row: row.key)
def test_the_example_of_a_setting_can_be_copied(row: SettingRow) -> None:
    example = explained(row.key, 40).partition("\nExample\n")[2]
    lines = list(takewhile(lambda line: line.startswith("  "), example.splitlines()))
    settings = yaml.safe_load(dedent("\n".join(lines)))
    for key in row.key.split("."):
        settings = settings[key]
    assert settings == yaml.safe_load(row.example)


@pytest.mark.parametrize("row", setting_rows(), ids=lambda row: row.key)
def test_a_setting_without_effect_on_agents_is_one_of_servers(row: SettingRow) -> None:
    line = row.line if "." in row.key else f"{row.key}: {row.example}"
    if row in stage_rows():
        line = line.replace("{", "{until: 2027-03-31, ")
    settings = load_settings(f"{line}\n".encode(), DEFAULT_SETTINGS)
    changed = {
        role
        for role in Role
        for version in (Version(1, 24, 0), Version(1, 34, 0))
        if desired_resources(settings, assumed_facts(role, version))
        != desired_resources(Settings(), assumed_facts(role, version))
    }
    if changed:
        assert row.applies.roles == changed
