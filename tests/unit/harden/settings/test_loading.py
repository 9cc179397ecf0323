"""Settings files: valid values, errors with their lines, profiles, and the example file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.assess.benchmark.catalogue import all_controls
from agent.base import yaml_reader
from agent.base.errors import ExitCode, InputError, UsageError
from agent.base.model import FileMode, Location
from agent.base.repair import RunVerb
from agent.base.value import replace
from agent.harden.guide.manifests import EventRateLimit
from agent.harden.settings.loading import SettingsError, apply_overrides, load_settings, load_waivers
from agent.harden.settings.profiles import PRESETS, risks
from agent.harden.settings.schema import (
    Overrides,
    Profile,
    SecretsEncryption,
    Settings,
    example_settings,
    setting_row,
    setting_rows,
)
from agent.harden.settings.waivers import SiteWaiver
from agent.k3s.roles_and_versions import NEWEST_KNOWN, Role, Version
from agent.reports import repair_texts

PATH = PurePosixPath("/etc/k3s-harden/config.yaml")
WAIVER = "waivers:\n  - control: 1.2.9\n    reason: it is limited at the load balancer\n"


def loaded(text: str) -> Settings:
    return load_settings(text.encode(), PATH)


def errors(text: str) -> list[tuple[str, str]]:
    with pytest.raises(SettingsError) as caught:
        loaded(text)
    assert caught.value.exit_code is ExitCode.USAGE
    return [(str(problem.location).removeprefix(str(PATH)), problem.problem) for problem in caught.value.problems]


@pytest.mark.parametrize("data", [None, b"", b"# nothing\n", b"---\n", b"audit:\n", b"{}"])
def test_missing_and_empty_files_give_the_defaults(data: bytes | None) -> None:
    assert load_settings(data, PATH) == Settings()


def test_the_example_of_the_reference_is_valid() -> None:
    settings = loaded(example_settings())
    assert settings.event_rate_limit == EventRateLimit(5000, 20_000)
    assert settings.network_policy_namespaces == ("shop", "billing")
    assert settings.waivers[0] == SiteWaiver(
        control="vm.overcommit_memory",
        reason="the database on these nodes needs strict accounting",
        expires="2027-06-30",
        role=Role.AGENT,
        host="db-*",
        location=Location(PATH, example_settings().splitlines().index("waivers:") + 2),
        approved_by="Security team, SEC-1042",
    )


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("role: auto", "role", None),
        ("role: agent", "role", Role.AGENT),
        ("k3s-version: 1.30", "k3s_version", Version(1, 30, 0)),
        ("k3s-version:", "k3s_version", None),
        ("drift: {notify: /opt/notify}", "drift_notify", ("/opt/notify",)),
        ("drift: {notify: [/opt/notify, -m, 20, yes]}", "drift_notify", ("/opt/notify", "-m", "20", "yes")),
        ("drift: {notify: [/opt/my notify]}", "drift_notify", ("/opt/my notify",)),
        ("drift: {notify: [/bin/sh, -c, 'a\n\n  b']}", "drift_notify", ("/bin/sh", "-c", "a\nb")),
        ("drift: {notify: }", "drift_notify", None),
        ("data-dir: //mnt/k3s/", "data_dir", PurePosixPath("/mnt/k3s")),
        ("rancher-managed: false", "rancher_managed", False),
        ("protect-kernel-defaults: no", "protect_kernel_defaults", False),
        *((f"secrets-encryption: {on}", "secrets_encryption", SecretsEncryption.ON) for on in ("on", "'on'", "true")),
        ("secrets-encryption: off", "secrets_encryption", SecretsEncryption.OFF),
        ("secrets-encryption: leave", "secrets_encryption", SecretsEncryption.LEAVE),
        ("terminated-pod-gc-threshold: null", "terminated_pod_gc_threshold", None),
        ("audit: {max-age: 3650}", "audit_max_age", 3650),
        ("network-policies: {namespaces: []}", "network_policy_namespaces", ()),
        *((f"waivers: {nothing}", "waivers", ()) for nothing in ("", "[]")),
        ("pod-security: {exempt-namespaces: ['123', a]}", "exempt_namespaces", ("123", "a")),
        ("pod-security: {exempt-rancher: false}", "exempt_rancher", False),
        ("profile: guide", "profile", Profile.GUIDE),
        ("deny-service-external-ips: true", "deny_service_external_ips", True),
        *((f"pod-max-pids: {number}", "pod_max_pids", number) for number in (64, 4_194_304)),
        *((f"pod-max-pids: {off}", "pod_max_pids", None) for off in ("off", "'off'", "")),
        *(
            (f"cni: {{file-permissions: {mode}}}", "cni_file_permissions", FileMode(0o600))
            for mode in ("0600", "'0600'")
        ),
        ("cni: {file-permissions: leave}", "cni_file_permissions", None),
        *((f"event-rate-limit: {off}", "event_rate_limit", None) for off in ("off", "")),
        ("event-rate-limit: {burst: 2, qps: 1}", "event_rate_limit", EventRateLimit(1, 2)),
    ],
)
def test_valid_values_are_loaded(text: str, field: str, value: object) -> None:
    """Words are compared as text, even those that YAML 1.1 reads as booleans or numbers."""
    assert loaded(text) == replace(Settings(), **{field: value})  # type: ignore[arg-type]  # a table of fields


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("role: master", ":1", ("`role`", "auto, server or agent", "'master'")),
        ("role:", ":1", ("`role`", "found nothing")),
        ("role: [server]", ":1", ("`role`", "a list")),
        ("k3s-version: latest", ":1", ("v1.28.5+k3s1", "'latest'")),
        ("k3s-version: 2.1", ":1", ("found 2.1",)),
        ("k3s-version: v1.34.3+rke2r1", ":1", ("a K3s version", "'v1.34.3+rke2r1'")),
        ("k3s-version: '1.99'", ":1", (f"to v{NEWEST_KNOWN.family})", "'1.99'")),
        ("role: no", ":1", ("found no, which YAML reads as false unless it is in quotes",)),
        ("network-policies: {namespaces: [1.10]}", ":1", ("found 1.10, which YAML reads as 1.1 unless it is in",)),
        ("waivers: [{control: a, reason: y}]", ":1", ("found y, which YAML reads as true unless it is in quotes",)),
        ("--token a1b2c3: x", ":1", ("unknown setting `(not shown)`",)),
        ("k3s-version: [1.28]", ":1", ("found a list",)),
        *(
            (f"data-dir: {path}", ":1", ("absolute path without `..`",))
            for path in ("k3s", "/var/../etc", "/", '"/a\\nb"')
        ),
        ("data-dir: 7", ":1", ("found 7",)),
        ("data-dir: [/a]", ":1", ("absolute path", "found a list")),
        ("rancher-managed: maybe", ":1", ("auto, true or false",)),
        ("protect-kernel-defaults: 'true'", ":1", ("true or false", "found 'true'")),
        ("profile: paranoid", ":1", ("`profile`", "guide or strict", "'paranoid'")),
        ("deny-service-external-ips: 1", ":1", ("true or false", "found 1")),
        *(
            (f"pod-max-pids: {value}", ":1", ("off, or a whole number, 64 to 4194304", f"found {value}"))
            for value in ("0", "-1", "63", "4194305", "true")
        ),
        ("cni: {file-permissions: 0644}", ":1", ("leave or 0600", "0644")),
        ("kubelet: {pod-max-pids: 100}", ":1", ("unknown setting `kubelet`",)),
        ("secrets-encryption: yes", ":1", ("auto, on, off, leave", "found yes")),
        ("terminated-pod-gc-threshold: 0", ":1", ("1 to 1000000", "found 0")),
        ("terminated-pod-gc-threshold: 1.5", ":1", ("found 1.5",)),
        ("terminated-pod-gc-threshold: 010", ":1", ("written in decimal", "found 010")),
        ("audit:\n  max-age: 4000", ":2", ("`audit.max-age`", "of days, 1 to 3650", "4000")),
        ("audit:\n  - max-age", ":2", ("`audit` must be a mapping of policy-file, max-age", "a list")),
        ("network-policies:\n  namespaces:\n    - ok\n    - Not_OK", ":4", ("RFC 1123", "'Not_OK'")),
        ("network-policies: {namespaces: [a, a]}", ":1", ("unique", "'a' twice")),
        ("network-policies: {namespaces: a}", ":1", ("a list of namespace names",)),
        ("network-policies:\n  namespaces:\n    - 123", ":3", ("found 123",)),
        ("network-policies:\n  namespaces:\n    - [a]", ":3", ("a single value", "a list")),
        (f"network-policies: {{namespaces: [{'a' * 64}]}}", ":1", ("RFC 1123", "…")),
        ("event-rate-limit: on", ":1", ("off, or a mapping", "found on")),
        ("event-rate-limit: {qps: 1}", ":1", ("`burst` is missing",)),
        ("event-rate-limit:\n  qps: 0\n  burst: 1", ":2", ("`qps` must be", "found 0")),
        ("event-rate-limit:\n  qps: 1\n  burst: 1\n  cache: 2", ":4", ("unknown key `cache`; expected one of qps",)),
        ("event-rate-limit:\n  qps: 1\n  qps: 2\n  burst: 1", ":3", ("`event-rate-limit.qps` is already set on line",)),
        ("kubelet-arg: [v=2]", ":1", ("unknown setting `kubelet-arg`", "belongs to /etc/rancher/k3s/config.yaml")),
        ("rolle: server", ":1", ("unknown setting `rolle`", "did you mean `role`")),
        ("max-age: 30", ":1", ("unknown setting `max-age`", "`audit.max-age`")),
        ("audit:\n  maxage: 30", ":2", ("unknown setting `audit.maxage`", "`audit.max-age`")),
        ('"a\\e[1m\\nb": 1', ":1", ("unknown setting `(not shown)`",)),
        ("role: worker", ":1", ("`role`: found 'worker', expected auto, server or agent; did you mean agent?",)),
        ("role: sever", ":1", ("did you mean server?",)),
        ("xyz: 1", ":1", ("unknown setting `xyz`", "the nearest are `")),
        ("role: server\nrole: agent", ":2", ("`role` is already set on line 1",)),
        ("role: server\n---\nrole: agent", ":2", ("second document",)),
        ("- role", ":1", ("mapping of settings", "a list")),
        ("server", ":1", ("mapping of settings", "'server'")),
        ("audit:\n  policy-file: /etc/<YOUR-POLICY>.yaml", ":2", ("`audit.policy-file`", "<YOUR-POLICY>")),
        ("network-policies:\n  namespaces:\n    - <NAMESPACE>", ":3", ("the placeholder <NAMESPACE>",)),
        ("waivers: kernel.panic", ":1", ("`waivers` must be a list of mappings", "'kernel.panic'")),
        ("waivers:\n  control: 1.2.9", ":2", ("a list of mappings", "found a mapping")),
        ("waivers:\n  - kernel.panic", ":2", ("a list of mappings", "'kernel.panic'")),
        ("waivers:\n  - control: 1.2.9", ":2", ("`reason` is missing; it must be a sentence with the reason",)),
        ("waivers:\n  - reason: because of it", ":2", ("`control` is missing; it must be the id of a control",)),
        (f"{WAIVER}    until: 2027-01-01", ":4", ("unknown key `until`", "one of control, reason, expires,")),
        (f"{WAIVER}    reason: another", ":4", ("`reason` is set twice",)),
        (f"{WAIVER}    expires: 2027-02-30", ":4", ("`expires` must be a date such as 2027-06-30", "'2027-02-30'")),
        (f"{WAIVER}    expires: 20270228", ":4", ("a date", "20270228")),
        (f"{WAIVER}    expires: tomorrow", ":4", ("a date", "'tomorrow'")),
        (f"{WAIVER}    role: master", ":4", ("`role` must be server or agent", "'master'")),
        *((f"{WAIVER}    host: {host}", ":4", ("`host` must be a shell pattern",)) for host in ("db 1", "''")),
        ("waivers:\n  - control: true\n    reason: because", ":2", ("`control` must be", "true")),
        ("waivers:\n  - control: a b\n    reason: because", ":2", ("`control` must be", "'a b'")),
        ("waivers:\n  - control: 1.2.9\n    reason: <WHY>", ":3", ("the placeholder <WHY>",)),
        ("pki: {certificate-permissions: 0640}", ":1", ("leave or 0600", "0640")),
        ("drift: {repair: 1}", ":1", ("true or false",)),
        *((f"drift: {{metrics-file: {bad}}}", ":1", ("ends in .prom",)) for bad in ("k3s.prom", "/x/k3s")),
        *((f"drift: {{notify: {word}}}", ":1", ("an absolute path",)) for word in ("notify", "/opt/../notify", "[]")),
        ("drift: {notify: /opt/notify ops}", ":1", ("must be a list of words",)),
        *(
            (f"drift:\n  notify:\n    - /opt/notify\n    - {word}", ":4", ("each word must be a single value",))
            for word in ("{a: b}", "~")
        ),
        ('drift:\n  notify: [/opt/notify,\n    "a\\0b"]', ":3", ("without control characters",)),
        ("drift: {notify: [curl, /opt/x]}", ":1", ("an absolute path", "curl")),
        (f"drift: {{notify: [/opt/x, {'a' * 20_000}]}}", ":1", ("at most 100 words",)),
    ],
)
def test_invalid_values_are_rejected_with_their_line(text: str, where: str, words: tuple[str, ...]) -> None:
    ((line, problem),) = errors(text)
    assert line == where
    assert all(word in problem for word in words), problem


@pytest.mark.parametrize("control", ["1.10", "2.1", "1.2.16", "cis-1.9/1.2.9", "vm.panic_on_oom", "server/manifests"])
def test_a_cis_number_in_a_waiver_is_read_as_text(control: str) -> None:
    """1.10 and 2.1, which YAML reads as numbers, are CIS numbers."""
    (waiver,) = loaded(f"waivers:\n  - control: {control}\n    reason: because  of\n      the database\n").waivers
    assert (waiver.control, waiver.reason, waiver.location) == (control, "because of the database", Location(PATH, 2))


@pytest.mark.parametrize("reason", ["''", "TODO", "tbd.", "N/A", "...", "'-'", "42", "~"])
def test_filler_words_as_reason_of_a_waiver_are_rejected(reason: str) -> None:
    """The reason must be a sentence, for auditors."""
    ((line, problem),) = errors(f"waivers:\n  - control: 1.2.9\n    reason: {reason}\n")
    assert line == ":3"
    assert "a sentence with the reason" in problem


def test_a_waivers_file_has_the_same_format() -> None:
    other = PurePosixPath("/etc/waivers.yaml")
    listed = WAIVER.partition("\n")[2].encode()
    (waiver,) = load_waivers(listed, other, Settings())
    assert (waiver.control, waiver.location) == ("1.2.9", Location(other, 1))
    assert load_waivers(b"# none\n", other, Settings()) == ()
    with pytest.raises(SettingsError) as caught:
        load_waivers(b"- control: 1.2.9\n  reason: <WHY>\n---\n- x\n", other, Settings())
    assert [str(problem.location) for problem in caught.value.problems] == [f"{other}:2", f"{other}:3"]


@pytest.mark.parametrize("approver", ["''", "TODO", "[a, b]", "42"])
def test_an_approver_must_be_a_name(approver: str) -> None:
    """It is for auditors, as the reason is."""
    ((_, problem),) = errors(f"{WAIVER}    approved-by: {approver}\n")
    assert "`approved-by` must be the name of who accepts the failure" in problem
    (waiver,) = loaded(f"{WAIVER}    approved-by: Ann, SEC-7\n").waivers
    assert waiver.approved_by == "Ann, SEC-7"


@pytest.mark.parametrize("setting", ["waivers-must: {expire-within: 30}", "waivers-must-expire: true"])
def test_a_setting_makes_the_expiry_of_waivers_mandatory(setting: str) -> None:
    endless = "  - control: 1.2.9\n    reason: It has its reason.\n"
    text = (
        f"{setting}\nwaivers:\n{endless}  - control: 1.2.3\n    reason: It has one.\n    expires: 2027-06-30\n{endless}"
    )
    assert [line for line, _ in errors(text)] == [":3", ":8"]
    assert all("`expires` is missing" in problem for _, problem in errors(text))
    assert len(loaded(text.replace(setting, "profile: guide")).waivers) == 3
    assert len(loaded(text.replace(setting, "profile: strict\nwaivers-must: off")).waivers) == 3
    with pytest.raises(SettingsError):
        load_waivers(endless.encode(), PATH, loaded(f"{setting}\n"))


@pytest.mark.parametrize(
    ("waiver", "problem"),
    [
        ("reason: x, expires: 2027-01-01, approved-by: Ann", "`reason` is not a sentence"),
        ("reason: the shop needs it, approved-by: Ann", "`expires` is missing"),
        ("reason: the shop needs it, expires: 2027-01-01", "`approved-by` is missing"),
        ("reason: the shop needs it, expires: 9999-12-31, approved-by: Ann", ""),
    ],
)
def test_strict_requires_complete_waivers(waiver: str, problem: str) -> None:
    """The distance of the last day depends on today, so only an assessment judges it."""
    text = f"profile: strict\nwaivers:\n  - {{control: 1.2.9, {waiver}}}\n"
    if problem:
        assert [found for _, found in errors(text)] == [f"`waivers`: {problem}, which `waivers-must` requires"]
    else:
        assert len(loaded(text).waivers) == 1


@pytest.mark.parametrize("value", ["on", "{expire-within: 0}", "{approver: yes please}", "{days: 3}", "[approver]"])
def test_what_waivers_need_is_checked(value: str) -> None:
    assert errors(f"waivers-must: {value}\n")


def test_all_errors_of_a_file_are_in_one_message() -> None:
    text = "always-pull-images: 2\nfoo: 1\naudit:\n  max-size: big\nrole: nobody\n"
    text += "waivers:\n  - control: 1.2.9\n  - control: 1.2.11\n    reason: todo\n  - 1.2.3\n"
    assert [line for line, _ in errors(text)] == [":1", ":2", ":4", ":5", ":7", ":9", ":10"]
    with pytest.raises(SettingsError) as caught:
        loaded(text)
    assert str(caught.value.location) == str(PATH)
    assert "7 errors: line 1: `always-pull-images`" in caught.value.message
    assert "; line 5: `role` must be" in caught.value.message
    assert "\n" not in caught.value.message
    assert repair_texts.text(caught.value.repair)


@pytest.mark.parametrize(
    ("text", "topics"),
    [
        ("audit: {max-age: x}\n", ["audit.max-age"]),
        ("audit: {max-age: x}\nfoo: 1\n", ["audit.max-age", "settings"]),
        ("audit: {max-age: soon}\nwaivers: [{control: 1.2.3, until: 31.12.2027}]\n", ["audit.max-age", "waivers"]),
    ],
)
def test_errors_name_the_explanation_of_each_setting(text: str, topics: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(text)
    assert caught.value.repair.steps == tuple(RunVerb("explain", (topic,)) for topic in topics)


def test_a_single_error_has_its_line_as_location() -> None:
    """Editors open `path:line`."""
    with pytest.raises(SettingsError) as caught:
        loaded("\nrole: nobody\n")
    assert str(caught.value.location) == f"{PATH}:2"
    assert caught.value.message.startswith(f"cannot use {PATH}:2: `role` must be")


@pytest.mark.parametrize("data", [b"role: [", b"role: \xff", b"a: &a [x]\n" * 200_000, b"\0"])
def test_invalid_yaml_is_an_input_error(data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        load_settings(data, PATH)
    assert str(caught.value.location).startswith(str(PATH))


@given(st.binary(max_size=60) | st.text(st.sampled_from("role: audit\n-[]{},&*<>'\"onf0"), max_size=60).map(str.encode))
def test_any_content_loads_or_raises_an_input_error(data: bytes) -> None:
    with suppress(InputError):
        assert isinstance(load_settings(data, PATH), Settings)


def test_the_command_line_overrides_the_file() -> None:
    site = loaded("role: server\ndata-dir: /srv\nk3s-version: 1.24\n")
    assert apply_overrides(site, Overrides()) == site
    assert apply_overrides(site, Overrides(role="auto")).role is None
    typed = apply_overrides(site, Overrides(role="agent", k3s_version="v1.30.1+k3s2", data_dir="/mnt"))
    assert (typed.role, typed.data_dir) == (Role.AGENT, PurePosixPath("/mnt"))
    assert typed.k3s_version == Version(1, 30, 1, "+k3s2")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (Overrides(role="master"), ("--role", "auto, server or agent", "'master'")),
        (Overrides(k3s_version="new"), ("--k3s-version", "'new'")),
        (Overrides(k3s_version=""), ("--k3s-version", "''")),
        (Overrides(data_dir="x"), ("--data-dir", "absolute path")),
        (Overrides(data_dir=""), ("--data-dir",)),
        (Overrides(data_dir="/srv/<DIR>"), ("--data-dir", "<DIR>")),
    ],
)
def test_invalid_options_of_the_command_line_are_usage_errors(overrides: Overrides, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        apply_overrides(Settings(), overrides)
    assert all(word in caught.value.message for word in words)
    assert caught.value.message.startswith("cannot use")


def test_the_example_has_every_setting() -> None:
    (document,) = yaml_reader.read_documents(example_settings().encode(), PATH)
    keys: set[str] = set()
    assert isinstance(document.node, yaml_reader.YamlMapping)
    for entry in document.node.entries:
        inner = entry.node.entries if isinstance(entry.node, yaml_reader.YamlMapping) else ()
        keys |= {entry.key, *(f"{entry.key}.{field.key}" for field in inner)}
    assert {row.key for row in setting_rows()} <= keys


def test_every_override_is_a_setting() -> None:
    """Overrides are applied by field name, and an unknown name would be ignored."""
    assert set(Overrides._fields) <= {row.name for row in setting_rows()}


def test_every_setting_has_one_complete_row() -> None:
    names = [name for name in Settings._fields if name != "from_profile"]
    assert [row.name for row in setting_rows()] == names
    keys = [row.key for row in setting_rows()]
    assert len(set(keys)) == len(keys)
    assert not any(key.startswith(f"{other}.") for key in keys for other in keys)
    assert all(row.description.endswith(".") and row.kind.allowed and row.default for row in setting_rows())


STRICT = PRESETS[Profile.STRICT]
_SWITCHES = ("deny-service-external-ips", "always-pull-images", "network-policies.new-namespaces", "seccomp-default")
_POLICIES = ("pod-security", "network-policies", "bindings", "service-accounts")
OFF = {
    **dict.fromkeys(_SWITCHES, "false"),
    **dict.fromkeys(("event-rate-limit", "pod-max-pids", "waivers-must"), "off"),
    **{f"admission-policies.{name}": "off" for name in _POLICIES},
    "cni.file-permissions": "leave",
}
"""The setting with which a site disables each preset."""


def as_file(key: str, value: str) -> str:
    *sections, last = key.split(".")
    return "".join(f"{section}: {{" for section in sections) + f"{last}: {value}" + "}" * len(sections) + "\n"


@pytest.mark.parametrize("preset", STRICT, ids=lambda preset: preset.setting)
@pytest.mark.parametrize("order", [1, -1], ids=["before", "after"])
def test_a_site_can_disable_each_preset(preset: object, order: int) -> None:
    lines = ("profile: strict\n", as_file(preset.setting, OFF[preset.setting]))  # type: ignore[attr-defined]  # a Preset
    settings, strict = loaded("".join(lines[::order])), loaded("profile: strict\n")
    name = preset.row.name  # type: ignore[attr-defined]  # a Preset
    assert settings == replace(
        strict,
        **{name: getattr(Settings(), name)},
        from_profile=tuple(row for row in strict.from_profile if row != name),
    )


def test_a_value_of_the_site_replaces_that_of_the_profile() -> None:
    """The source of the value is then the site, even if both values are equal."""
    settings = loaded("profile: strict\npod-max-pids: 20000\nalways-pull-images: true\n")
    assert (settings.pod_max_pids, settings.always_pull_images) == (20_000, True)
    assert not {"pod_max_pids", "always_pull_images"} & set(settings.from_profile)


def test_each_preset_differs_from_the_default() -> None:
    """A preset with the default value would have no effect. Each preset is valid and occurs once."""
    for presets in PRESETS.values():
        assert len({preset.setting for preset in presets}) == len(presets)
        assert all(preset.read() != getattr(Settings(), preset.row.name) for preset in presets)
    assert PRESETS.keys() == set(Profile)


def test_each_preset_has_a_risk_and_a_command_to_check_it() -> None:
    assert {preset.setting for presets in PRESETS.values() for preset in presets} <= risks().keys()
    for key, risk in risks().items():
        assert setting_row(key).key == key
        assert risk.breaks.endswith(".")
        assert risk.preview.endswith(".")
        assert "\n" not in risk.command


def test_each_preset_is_the_setting_of_a_control() -> None:
    """The profile is for controls that are open with the guide, for the waivers of the others, and for policies."""
    controls = {control.setting for control in all_controls()}
    others = {preset.setting for preset in STRICT} - controls
    of_others = {"waivers-must", "network-policies.new-namespaces"}
    assert {setting for setting in others if not setting.startswith("admission-policies.")} == of_others
