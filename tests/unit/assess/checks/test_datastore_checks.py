"""Checks of etcd's configuration and of the encryption of Secrets."""

from __future__ import annotations

import os
import re
import shutil

import pytest

from agent.assess.assessment import ControlStatus
from agent.base.repair import FixOwner
from agent.k3s.component_configuration import is_as_k3s_writes
from agent.verbs import check_and_apply as verbs
from tests.certificates import CERTIFICATE, KEY, OTHER_CERTIFICATE, OTHER_KEY
from tests.k3s_tree import ENCRYPTION as OF_K3S
from tests.k3s_tree import K3s
from tests.unit.assess.checks.nodes import CONFIG, DATA, UNIT, CheckedNode, fix, seen
from tests.unit.assess.conftest import Nodes

ETCD = "server/db/etcd/config"
ENCRYPTION = "server/cred/encryption-config.json"


def edit(node: CheckedNode, path: str, old: str, new: str) -> None:
    """Replace a text in a file that K3s wrote."""
    file = node.path(path)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_the_etcd_configuration_of_k3s_passes(server: CheckedNode) -> None:
    verdict = server.judged_as("etcd-server-certificate", ControlStatus.PASS, FixOwner.K3S)
    assert [where for _, where in seen(verdict)] == [f"{DATA}/{ETCD}:3", f"{DATA}/{ETCD}:5", f"{DATA}/{ETCD}"]
    assert verdict.expected == (
        f"client-transport-security.cert-file is {DATA}/server/tls/etcd/server-client.crt and"
        f" client-transport-security.key-file is {DATA}/server/tls/etcd/server-client.key and"
        " listen-client-urls is only URLs with https, or is not set"
    )


@pytest.mark.parametrize(
    ("name", "old", "new", "found"),
    [
        ("etcd-client-cert-auth", "client-cert-auth: true", "client-cert-auth: false", "false"),
        ("etcd-client-cert-auth", "  client-cert-auth: true\n", "", "not set"),
        ("etcd-auto-tls", "client-transport-security:\n", "client-transport-security:\n  auto-tls: true\n", "true"),
        ("etcd-server-certificate", "server-client.crt", "other.crt", f"{DATA}/server/tls/etcd/other.crt"),
        ("etcd-unique-ca", "etcd/server-ca.crt", "server-ca.crt", f"{DATA}/server/tls/server-ca.crt"),
    ],
)
def test_a_wrong_etcd_setting_fails(server: CheckedNode, name: str, old: str, new: str, found: str) -> None:
    edit(server, ETCD, old, new)
    verdict = server.verdict(name)
    assert (verdict.status, verdict.owner, verdict.found) == (ControlStatus.FAIL, FixOwner.OPERATOR, found)
    assert fix(verdict) == "restart K3s"


KEYS = [
    ("etcd-unique-ca", "server/tls/etcd/server-ca.crt", "server/tls/client-ca.crt"),
    ("etcd-unique-ca", "server/tls/etcd/peer-ca.crt", "server/tls/server-ca.crt"),
    ("apiserver-service-account-key-file", "server/tls/service.key", "server/tls/serving-kube-apiserver.crt"),
]


@pytest.mark.parametrize(("name", "path", "certificate"), KEYS)
def test_keys_are_compared_and_not_paths(server: CheckedNode, name: str, path: str, certificate: str) -> None:
    server.put(certificate, CERTIFICATE)
    server.put(path, OTHER_CERTIFICATE if path.endswith(".crt") else OTHER_KEY)
    assert server.verdict(name).status is ControlStatus.PASS
    server.put(path, f"another layout\n{CERTIFICATE}" if path.endswith(".crt") else KEY)
    verdict = server.verdict(name)
    assert (verdict.status, verdict.found) == (ControlStatus.FAIL, f"{path} has the key of {certificate}")


def test_an_argument_of_etcd_without_its_section_has_no_effect(server: CheckedNode) -> None:
    """K3s writes `etcd-arg: client-cert-auth=false` at the top of the file, where etcd has no such key."""
    edit(server, ETCD, "data-dir:", "client-cert-auth: false\ndata-dir:")
    assert server.verdict("etcd-client-cert-auth").status is ControlStatus.PASS


def test_an_unset_etcd_setting_passes_if_its_default_is_compliant(server: CheckedNode) -> None:
    verdict = server.verdict("etcd-auto-tls")
    assert (verdict.status, verdict.found) == (ControlStatus.PASS, "not set")
    assert seen(verdict) == (("no client-transport-security.auto-tls", f"{DATA}/{ETCD}"),)


def test_a_missing_etcd_configuration_is_unknown(server: CheckedNode) -> None:
    server.path(ETCD).unlink()
    verdict = server.verdict("etcd-client-cert-auth")
    assert (verdict.status, verdict.found) == (ControlStatus.UNKNOWN, "no such file")
    assert verdict.reason == f"K3s writes {DATA}/{ETCD} when it starts etcd, and the file is missing"


@pytest.mark.parametrize("text", ["{", "[]", "", "client-transport-security: 1\n"])
def test_an_invalid_etcd_configuration_is_unknown(server: CheckedNode, text: str) -> None:
    server.put(ETCD, text)
    for name in ("etcd-client-cert-auth", "etcd-auto-tls", "etcd-unique-ca"):
        verdict = server.judged_as(name, ControlStatus.UNKNOWN, FixOwner.OPERATOR)
        assert seen(verdict)[0][1] == f"{DATA}/{ETCD}"


@pytest.mark.parametrize("text", ["", "a: [b", "[]"])
def test_the_fix_of_an_invalid_file_of_k3s_changes_its_content(server: CheckedNode, text: str) -> None:
    """K3s writes etcd's configuration at each start, and never the encryption configuration again."""
    server.config("secrets-encryption: true\n")
    server.path(ETCD).write_text(text)
    server.path(ENCRYPTION).write_text(text or "{")
    assert fix(server.verdict("etcd-server-certificate")) == (
        f"restart K3s, which writes {DATA}/{ETCD} again; then run `sudo k3s-harden assess`"
    )
    assert fix(server.verdict("apiserver-encryption-providers")) == (
        f"restore {DATA}/{ENCRYPTION} from a backup; then run `sudo k3s-harden assess`"
    )


@pytest.mark.root
def test_an_ordinary_user_gets_a_report_of_what_root_can_read(server: CheckedNode) -> None:
    """Nothing says that K3s has not started, and root has to run the command."""
    server.path("agent/etc/kubelet.conf.d").mkdir(parents=True, exist_ok=True)
    for directory in ("agent", "server"):
        server.path(directory).chmod(0o700)
    server.root.parent.chmod(0o755)
    server.assess()  # imports everything that an ordinary user may not be able to read
    os.seteuid(1000)
    try:
        assessment = server.assess()
    finally:
        os.seteuid(0)
    verdicts = {item.control.id: item for item in assessment.verdicts}
    for control in ("etcd-server-certificate", "etcd-data-permissions", "kubelet-config-permissions"):
        verdict = verdicts[control]
        assert (verdict.status, fix(verdict)) == (ControlStatus.UNKNOWN, "sudo k3s-harden assess"), control
        assert "Permission denied" in verdict.reason


def test_the_datastore_is_unknown_before_the_first_start(nodes: Nodes) -> None:
    verdict = nodes().verdict("etcd-auto-tls")
    assert (verdict.status, verdict.found) == (ControlStatus.UNKNOWN, "no datastore")
    assert fix(verdict) == "start K3s"


def test_a_finding_that_prevents_the_start_is_fixed_first(nodes: Nodes) -> None:
    node = nodes()
    node.config("kube-apiserver-arg: [client-ca-file=/nothing]\n")
    assert any("named-file-missing" in note.message for note in node.assess().notes)
    assert fix(node.verdict("etcd-auto-tls")) == (
        "remove `kube-apiserver-arg: [client-ca-file=/nothing]` at /etc/rancher/k3s/config.yaml:1; start K3s"
    )


def test_controls_of_etcd_are_not_applicable_with_disable_etcd(nodes: Nodes) -> None:
    server = nodes(K3s())
    shutil.rmtree(server.path("server/db"))
    server.config("server: https://10.0.0.1:6443\ndisable-etcd: true\n")
    for name in ("etcd-auto-tls", "etcd-client-cert-auth", "etcd-data-permissions"):
        verdict = server.judged_as(name, ControlStatus.NOT_APPLICABLE, FixOwner.NONE)
        assert verdict.reason == f"`disable-etcd` at {CONFIG}:2 disables etcd on this host"
    assert server.verdict("apiserver-etcd-ca-file").status is ControlStatus.PASS


ETCD_ROWS = ("apiserver-etcd-ca-file", "apiserver-etcd-client-certificate")


@pytest.mark.parametrize("scheme", ["mysql", "postgres", "nats"])
def test_the_etcd_files_are_not_applicable_to_a_database(nodes: Nodes, scheme: str) -> None:
    server = nodes(K3s(etcd=False))
    server.config(f"datastore-endpoint: {scheme}://k3s:w0rd@10.0.0.9/k3s\n")
    for name in ETCD_ROWS:
        verdict = server.judged_as(name, ControlStatus.NOT_APPLICABLE, FixOwner.NONE)
        assert verdict.reason.startswith(f"the external datastore is {scheme}, not etcd, as its address at {CONFIG}:1")
        assert "w0rd" not in repr(verdict)


@pytest.mark.parametrize("control", ["apiserver-etcd-ca-file", "apiserver-etcd-client-certificate"])
@pytest.mark.parametrize("parameters", ["?sslmode=disable", "?connect_timeout=5&sslmode=disable", ""])
def test_a_postgresql_datastore_without_tls_fails(control: str, parameters: str, server: CheckedNode) -> None:
    """The address itself is not shown."""
    server.path("server/db/etcd").rename(server.path("server/db/before"))
    server.config(f"datastore-endpoint: 'postgres://k3s:w0rd@10.0.0.9/k3s{parameters}'\n")
    verdict = server.verdict(control)
    assert verdict.status is (ControlStatus.FAIL if parameters else ControlStatus.NOT_APPLICABLE)
    assert "w0rd" not in str(verdict)
    if parameters:
        assert verdict.found == "the datastore is reached without TLS"
        assert fix(verdict) == f"replace `sslmode=disable` by `sslmode=verify-full` at {CONFIG}:1; restart K3s"


@pytest.mark.parametrize("datastore", ["", "datastore-endpoint: mysql://x"])
@pytest.mark.parametrize(("given", "missing"), [("certfile", "keyfile"), ("keyfile", "certfile")])
def test_one_of_the_certificate_and_the_key_for_etcd_fails(
    nodes: Nodes, given: str, missing: str, datastore: str
) -> None:
    server = nodes(K3s(etcd=False))
    server.config(f"kube-apiserver-arg: [etcd-{given}=/etc/file]\n{datastore}\n")
    verdict = server.judged_as("apiserver-etcd-client-certificate", ControlStatus.FAIL, FixOwner.OPERATOR)
    assert verdict.found == f"--etcd-{given} is set without --etcd-{missing}, so K3s would not start"
    assert seen(verdict)[0] == (f"--etcd-{given}=/etc/file", f"{CONFIG}:1")
    assert fix(verdict) == f"remove `kube-apiserver-arg: [etcd-{given}=/etc/file]` at {CONFIG}:1; restart K3s"


def test_an_external_etcd_requires_its_files(nodes: Nodes) -> None:
    server = nodes(K3s(etcd=False))
    server.config("datastore-endpoint: https://a:2379,https://b:2379\n")
    for name in ETCD_ROWS:
        verdict = server.judged_as(name, ControlStatus.FAIL, FixOwner.OPERATOR)
        assert seen(verdict)[0] == ("datastore-endpoint: https://(not shown)", f"{CONFIG}:1")
        assert re.search(rf"add `datastore-\w+: FILE` to the end of {CONFIG}", fix(verdict))
    files = "".join(f"datastore-{name}: /etc/etcd/{name}\n" for name in ("cafile", "certfile", "keyfile"))
    server.config(f"datastore-endpoint: https://a:2379\n{files}")
    for name in ETCD_ROWS:
        verdict = server.judged_as(name, ControlStatus.PASS, FixOwner.OPERATOR)
    assert seen(server.verdict(ETCD_ROWS[0])) == (("datastore-cafile: /etc/etcd/cafile", f"{CONFIG}:2"),)


@pytest.mark.parametrize("scheme", ["mysql", "https"])
def test_the_datastore_address_can_be_in_the_environment(nodes: Nodes, scheme: str) -> None:
    server = nodes(K3s(etcd=False))
    server.put(f"{UNIT}.env", f"K3S_DATASTORE_ENDPOINT={scheme}://k3s:w0rd@a\nK3S_DATASTORE_CAFILE=/etc/ca\n")
    verdict = server.verdict("apiserver-etcd-ca-file")
    assert verdict.status is (ControlStatus.PASS if scheme == "https" else ControlStatus.NOT_APPLICABLE)
    assert "w0rd" not in repr((verdict, server.host().tree))


@pytest.mark.parametrize(("config", "datastore"), [("", "SQLite"), ("datastore-endpoint: mysql://x\n", "external")])
def test_controls_of_etcd_are_not_applicable_to_other_datastores(nodes: Nodes, config: str, datastore: str) -> None:
    server = nodes(K3s(etcd=False))
    server.config(config)
    verdict = server.judged_as("etcd-auto-tls", ControlStatus.NOT_APPLICABLE, FixOwner.NONE)
    assert verdict.reason == f"the datastore is {datastore}, not an etcd that K3s runs"


def test_encrypted_secrets_pass_with_the_provider(server: CheckedNode) -> None:
    server.config("secrets-encryption: true\n")
    verdict = server.verdict("apiserver-encryption-providers")
    assert (verdict.status, verdict.found) == (ControlStatus.PASS, "aescbc")
    assert seen(verdict)[0] == ("aescbc", f"{DATA}/{ENCRYPTION}")
    option = server.judged_as("secrets-encryption", ControlStatus.PASS, FixOwner.OPERATOR)
    assert seen(option)[0] == ("secrets-encryption: true", f"{CONFIG}:1")
    assert verdict.owner is FixOwner.OPERATOR


def test_an_empty_encryption_configuration_fails(server: CheckedNode) -> None:
    server.config("secrets-encryption: true\nkube-apiserver-arg: ['encryption-provider-config=']\n")
    verdict = server.verdict("apiserver-encryption-providers")
    assert (verdict.status, verdict.found) == (ControlStatus.FAIL, "Secrets are not encrypted")
    assert seen(verdict) == (
        ("--encryption-provider-config= names no file, so Secrets are stored unencrypted", f"{CONFIG}:2"),
        ("secrets-encryption: true", f"{CONFIG}:1"),
    )
    assert fix(verdict) == fix(server.verdict("secrets-encryption"))


def test_encryption_by_the_drop_in_passes_with_owner_apply(nodes: Nodes) -> None:
    server = nodes()
    server.harden()
    server.put(ENCRYPTION, OF_K3S)
    for name in ("secrets-encryption", "apiserver-encryption-providers"):
        server.judged_as(name, ControlStatus.PASS, FixOwner.APPLY)


def test_a_file_that_the_api_server_does_not_read_is_not_evidence(server: CheckedNode) -> None:
    verdict = server.judged_as("apiserver-encryption-providers", ControlStatus.FAIL, FixOwner.APPLY)
    assert verdict.found == "Secrets are not encrypted"
    assert seen(verdict)[0][1] == "K3s v1.34.9+k3s1"


@pytest.mark.parametrize(
    ("providers", "steps"),
    [
        (("identity", "aescbc"), ("enable", "restart k3s", "reencrypt --force --skip")),
        (("identity", "secretbox"), ("enable", "restart k3s", "rotate-keys", "restart k3s")),
        (("identity", "secretbox", "aescbc"), ("enable", "restart k3s", "rotate-keys", "restart k3s")),
        (("identity",), ("rotate-keys", "reencrypt_finished", "restart k3s")),
        (
            ("aesgcm", "identity"),
            ("find out who wrote the file", "aescbc or kms or secretbox first", "kubectl replace"),
        ),
        (("identity", "kms"), ("find out who wrote the file", "restart k3s", "kubectl replace")),
    ],
)
def test_a_weak_provider_has_all_steps_of_the_fix(
    server: CheckedNode, providers: tuple[str, ...], steps: tuple[str, ...]
) -> None:
    server.config("secrets-encryption: true\n")
    listed = ",".join(f'{{"{provider}":{{}}}}' for provider in providers)
    server.put(ENCRYPTION, f'{{"resources":[{{"resources":["secrets"],"providers":[{listed}]}}]}}')
    verdict = server.verdict("apiserver-encryption-providers")
    assert (verdict.status, verdict.owner, verdict.found) == (ControlStatus.FAIL, FixOwner.OPERATOR, providers[0])
    assert re.search(".*".join(map(re.escape, steps)), fix(verdict))
    assert ("secrets-encrypt enable" in fix(verdict)) is ("enable" in steps)


def test_an_unencrypted_cluster_has_the_steps_for_existing_data(server: CheckedNode) -> None:
    server.path(ENCRYPTION).unlink()
    remedy = fix(server.verdict("secrets-encryption"))
    steps = ("v1.34.3+k3s3", "snapshot", "secrets-encrypt enable", "restart each", "secrets-encrypt rotate-keys")
    assert re.search(".*".join(map(re.escape, steps)), remedy)
    # Equal causes have equal texts.
    assert fix(server.verdict("apiserver-encryption-providers")) == remedy


def test_an_encryption_configuration_without_secrets_fails(server: CheckedNode) -> None:
    server.config("secrets-encryption: true\n")
    server.put(ENCRYPTION, '{"resources":[{"resources":["configmaps"],"providers":[{"aescbc":{}}]}]}')
    verdict = server.verdict("apiserver-encryption-providers")
    assert (verdict.status, verdict.found) == (ControlStatus.FAIL, "no provider for Secrets")


OWN = """\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [configmaps]
  providers: [{identity: {}}]
- resources: [secrets]
  providers:
  - FIRST
  - aescbc: {keys: [{name: old, secret: c2VjcmV0IGlzIHNlY3VyZQ==}]}
  - identity: {}
"""


LISTENER = "https://127.0.0.1:2379,http://0.0.0.0:2381"


@pytest.mark.parametrize("control", ["etcd-server-certificate", "etcd-client-cert-auth"])
@pytest.mark.parametrize("is_argument", [True, False])
def test_a_listener_of_etcd_without_tls_fails(server: CheckedNode, control: str, *, is_argument: bool) -> None:
    """Real clients put and get keys there without a certificate."""
    if is_argument:
        server.config(f"etcd-arg: ['listen-client-urls={LISTENER}']\n")
    else:
        file = server.path(ETCD)
        file.write_text(f"{file.read_text()}listen-client-urls: {LISTENER}\n")
    verdict = server.verdict(control)
    assert (verdict.status, verdict.found) == (ControlStatus.FAIL, LISTENER)


@pytest.mark.parametrize(("scheme", "status"), [("http", ControlStatus.FAIL), ("https", ControlStatus.PASS)])
def test_an_external_etcd_without_tls_ignores_the_files(nodes: Nodes, scheme: str, status: ControlStatus) -> None:
    server = nodes(K3s(etcd=False))
    files = "".join(f"datastore-{name}: /etc/{name}\n" for name in ("cafile", "certfile", "keyfile"))
    server.config(f"datastore-endpoint: {scheme}://10.0.0.1:2379\n{files}")
    for control in ("apiserver-etcd-client-certificate", "apiserver-etcd-ca-file"):
        assert server.verdict(control).status is status
    if scheme == "http":
        assert "https://" in fix(server.verdict("apiserver-etcd-ca-file"))


@pytest.mark.parametrize(
    ("controllers", "status"),
    [
        ("*", ControlStatus.PASS),
        ("*,-podgc", ControlStatus.FAIL),
        ("*,-pod-garbage-collector-controller", ControlStatus.FAIL),
        ("job-controller", ControlStatus.FAIL),
    ],
)
def test_the_threshold_requires_the_controller_that_uses_it(
    server: CheckedNode, controllers: str, status: ControlStatus
) -> None:
    threshold = "terminated-pod-gc-threshold=12500"
    server.config(f"kube-controller-manager-arg: ['{threshold}', 'controllers={controllers}']\n")
    assert server.verdict("terminated-pod-gc-threshold").status is status


ONE_KEY = "{{keys: [{{name: key, secret: {}}}]}}".format
REJECTED = {
    "aescbc: {keys: []}": "keys",
    "secretbox: {}": "keys",
    "aescbc: " + ONE_KEY("c2hvcnQ="): "`secret` of `aescbc` must be base64 of 16 or 24 or 32 bytes",
    "aescbc: " + ONE_KEY("'%%%'"): "`secret` of `aescbc` must be base64",
    "secretbox: " + ONE_KEY("c2VjcmV0IGlzIHNlY3VyZQ=="): "`secret` of `secretbox` must be base64 of 32 bytes",
    "kms: {name: vault, endpoint: 'unix:///run/kms.sock'}": "apiVersion",
    "aescbc: {keys: [{name: key, secret: c2VjcmV0IGlzIHNlY3VyZQ==}], more: 1}": "more",
}
"""Providers at which the API server exits, and a part of the reason."""


@pytest.mark.parametrize("provider", REJECTED)
@pytest.mark.parametrize("is_own", [True, False])
def test_a_file_at_which_the_api_server_exits_does_not_pass(
    server: CheckedNode, provider: str, *, is_own: bool
) -> None:
    """Real API servers exited at each; in K3s' own file, somebody has changed it."""
    path = f"{DATA}/{ENCRYPTION}" if is_own else "/etc/own.yaml"
    server.put(path, OWN.replace("FIRST", provider))
    option = "secrets-encryption: true" if is_own else f"kube-apiserver-arg: [encryption-provider-config={path}]"
    server.config(f"{option}\n")
    verdict = server.verdict("apiserver-encryption-providers")
    assert verdict.status is ControlStatus.UNKNOWN
    assert verdict.reason.startswith(f"the API server exits at {path}: ")
    assert REJECTED[provider] in verdict.reason
    findings = [item for item in verbs.check(server.host(), server.request()).findings if item.prevents_start]
    assert [str(item.location.path) for item in findings if item.location] == [path]


@pytest.mark.parametrize(("old", "new"), [("kind: Enc", "kin: Enc"), ("k8s.io/v1", "k8s.io/v9")])
def test_a_file_of_another_kind_does_not_pass(server: CheckedNode, old: str, new: str) -> None:
    server.put("/etc/own.yaml", OWN.replace("  - FIRST\n", "").replace(old, new))
    server.config("kube-apiserver-arg: [encryption-provider-config=/etc/own.yaml]\n")
    assert server.verdict("apiserver-encryption-providers").status is ControlStatus.UNKNOWN


def test_the_file_that_k3s_writes_needs_no_parser() -> None:
    assert is_as_k3s_writes(OF_K3S.encode())
    for old, new in (("dGU=", "dGU"), ('"secrets"', '"pods"'), ('"aescbc"', '"aesgcm"'), ("v1", "v9")):
        assert not is_as_k3s_writes(OF_K3S.replace(old, new, 1).encode())


@pytest.mark.parametrize(
    ("first", "expected", "found"),
    [
        ("kms: {apiVersion: v2, name: vault, endpoint: 'unix:///run/kms.sock'}", ControlStatus.PASS, "kms"),
        (f"secretbox: {{keys: [{{name: key, secret: {'YWFh' * 10}YWE=}}]}}", ControlStatus.PASS, "secretbox"),
        ("identity: {}", ControlStatus.FAIL, "identity"),
    ],
)
def test_the_first_provider_in_a_file_of_the_operator_decides(
    server: CheckedNode, first: str, expected: ControlStatus, found: str
) -> None:
    """K3s has no own option for a key management service, so a file of the operator is the only way to one."""
    server.put("/etc/own.yaml", OWN.replace("FIRST", first))
    server.config("kube-apiserver-arg: [encryption-provider-config=/etc/own.yaml]\n")
    verdict = server.verdict("apiserver-encryption-providers")
    assert (verdict.status, verdict.owner, verdict.found) == (expected, FixOwner.OPERATOR, found)
    assert seen(verdict) == tuple((name, "/etc/own.yaml") for name in dict.fromkeys((found, "aescbc", "identity")))
    assert server.verdict("secrets-encryption").status is ControlStatus.PASS
    if expected is ControlStatus.FAIL:
        assert "put aescbc or kms or secretbox first for `secrets`" in fix(verdict)


@pytest.mark.parametrize("text", [None, "{", "- secret: c2VjcmV0\n", "resources: {a: c2VjcmV0}\n", "\tc2VjcmV0: [\n"])
def test_a_file_of_the_operator_that_cannot_be_read_is_unknown(server: CheckedNode, text: str | None) -> None:
    """The reason repeats nothing of the file, because it contains keys."""
    if text is not None:
        server.put("/etc/own.yaml", text)
    server.config("kube-apiserver-arg: [encryption-provider-config=/etc/own.yaml]\n")
    verdict = server.judged_as("apiserver-encryption-providers", ControlStatus.UNKNOWN, FixOwner.OPERATOR)
    assert "/etc/own.yaml" in verdict.reason
    assert "c2VjcmV0" not in repr(verdict)


@pytest.mark.parametrize(
    "text", [None, "{", "[]", "null", '{"resources":[{"resources":["secrets"],"providers":[{}]}]}']
)
def test_an_invalid_encryption_configuration_is_unknown(server: CheckedNode, text: str | None) -> None:
    server.config("secrets-encryption: true\n")
    if text is None:
        server.path(ENCRYPTION).unlink()
    else:
        server.put(ENCRYPTION, text)
    verdict = server.verdict("apiserver-encryption-providers")
    owner = FixOwner.OPERATOR if text else FixOwner.K3S
    assert (verdict.status, verdict.owner) == (ControlStatus.UNKNOWN, owner)
    assert f"{DATA}/{ENCRYPTION}" in verdict.reason
