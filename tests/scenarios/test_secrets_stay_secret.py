"""Secrets: no token or password of the K3s configuration is printed or copied to a file of k3s-harden."""

from __future__ import annotations

import pytest

from agent.base.errors import ExitCode
from agent.k3s.redaction import HIDDEN
from agent.reports.formats import Format
from tests.scenarios.conftest import Hardened
from tests.scenarios.host_tree import CONFIG, DATA_DIR, DROPIN, DROPINS, STATE, HostTree

SECRET = "hunter2-6f1e"  # noqa: S105 - not a real secret
RUNS = (
    ("check", "--format", "table", "-v"),
    ("diff", "--format", "json"),
    ("apply", "-v"),
    ("check", "--format", "json"),
    ("diff", "-v"),
)

CONFIGURATIONS = {
    "plain": f"token: {SECRET}\nagent-token: {SECRET}-a\nvpn-auth: name=tailscale,joinKey={SECRET}\n",
    "quoted": f"\"token\": '{SECRET}'\n'agent-token': \"{SECRET}\"\n",
    "short-name": f"t: {SECRET}\n",
    "block": f"token: |\n  {SECRET}\nagent-token: >-\n  {SECRET}\n",
    "flow": f"{{token: {SECRET}, agent-token: {SECRET}}}\n",
    "explicit": f"? token\n: {SECRET}\n",
    "alias": f"agent-token: &a {SECRET}\ntoken: *a\n",
    "list": f"token: [{SECRET}, {SECRET}]\ntoken+:\n  - {SECRET}\n",
    "key": f"--token {SECRET}: x\n--token {SECRET}: y\n{SECRET}: [a]\n'{SECRET}+': {{a: b}}\n",
    "mapping": f"token: {{value: {SECRET}}}\n",
    "twice": f"token: {SECRET}\ntoken: {SECRET}\n",
    "misspelt": f"tokn: x\nagent_token: {SECRET}\nmy-token: {SECRET}\n",
    "datastore": f"datastore-endpoint: 'postgres://k3s:{SECRET}@10.0.0.9:5432/k3s'\n",
    "s3": f"etcd-s3-access-key: {SECRET}\netcd-s3-secret-key: {SECRET}\netcd-s3-session-token: {SECRET}\n",
    "broken-after": f"token: {SECRET}\nkubelet-arg: [\n",
    "broken-there": f"token: '{SECRET}\nnode-name: a\n",
    "broken-before": f"node-name: [\ntoken: {SECRET}\n",
    "not-a-mapping": f"{SECRET}\n",
    "not-utf-8": f"token: {SECRET}\udcff\n",
    "tabbed": f"token:\t{SECRET}\n",
}


def plant(host: HostTree) -> None:
    """Write the secret to all files and arguments where K3s accepts one, except its main configuration file."""
    words = ("--token", SECRET, f"--agent-token={SECRET}", "-t", SECRET, f"--datastore-endpoint=mysql://a:{SECRET}@b/c")
    environment = f"K3S_TOKEN='{SECRET}'\nK3S_DATASTORE_ENDPOINT='mysql://a:{SECRET}@b/c'\nK3S_AGENT_TOKEN={SECRET}\n"
    environment += f"K3S_VPN_AUTH=name=tailscale,joinKey={SECRET}\nAWS_SECRET_ACCESS_KEY={SECRET}\n"
    host.unit("server", *words, environment=environment)
    host.write("/etc/default/k3s", f"K3S_TOKEN={SECRET}\n", 0o600)
    host.write(f"{DROPINS}/20-token.yaml", f"token: {SECRET}\n", 0o600)
    host.write(f"{DROPINS}/99-token.yaml", f'{{"token": "{SECRET}", "agent-token": "{SECRET}"}}\n', 0o600)
    host.write(f"{DATA_DIR}/server/token", f"{SECRET}\n", 0o600)
    host.write(f"{DATA_DIR}/server/node-token", f"{SECRET}\n", 0o600)
    host.write(f"{DATA_DIR}/server/cred/encryption-config.json", f'{{"resources":[{{"secret":"{SECRET}"}}]}}', 0o600)


def output_of_all_verbs(host: HostTree) -> str:
    """Return the output of the verbs in several formats."""
    texts = []
    for arguments in RUNS:
        done = host.run(*arguments)
        assert "Traceback" not in done.stderr
        texts += [done.stdout, done.stderr]
    return "".join(texts)


def state_and_drop_in(host: HostTree) -> bytes:
    """Return the content of all files that the program wrote to its state directory, and of the drop-in."""
    entries = host.entries(with_state=True)
    return b"".join(entry.content for path, entry in entries.items() if path.startswith(STATE) or path == DROPIN)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_no_secret_is_printed_or_copied(name: str, host: HostTree) -> None:
    plant(host)
    host.write(CONFIG, CONFIGURATIONS[name].encode("utf-8", "surrogateescape"), 0o600)
    assert SECRET not in output_of_all_verbs(host)
    assert SECRET.encode() not in state_and_drop_in(host)
    done = host.run("revert", "-v")
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--token", "-c", SECRET),
        ("--token", "--config", SECRET),
        ("-t", f"-c={SECRET}"),
        ("--token", f"--config={SECRET}"),
        ("--", "-c", SECRET),
        ("--rootless", SECRET),
        (SECRET, "--debug"),
        ("--token", "a", SECRET, "--node-name", "b", SECRET),
        ("--", f"--node-name={SECRET}"),
    ],
    ids=lambda words: " ".join(words).replace(SECRET, "SECRET"),
)
def test_a_positional_word_after_the_verb_of_k3s_is_not_printed(words: tuple[str, ...], host: HostTree) -> None:
    """After a mistake it can be the token."""
    host.unit("server", *words)
    texts = output_of_all_verbs(host)
    for form in ("plain", "table", "json", "html", "sarif", "junit", "kube-bench", "openreports", "openmetrics"):
        done = host.run("assess", "-v", "--format", form)
        texts += done.stdout + done.stderr
    texts += host.run("preflight", "v1.35.0").stdout + host.run("install").stdout + host.run("drift").stdout
    assert SECRET not in texts
    assert SECRET.encode() not in state_and_drop_in(host)


@pytest.mark.parametrize("version", ["1.28", "1.37"])
def test_nothing_that_apply_writes_since_1_25_is_hidden(version: str, host: HostTree) -> None:
    """Its files contain no secret, so a diff before the first apply shows each line."""
    shown = host.run("diff", "--role", "server", "--k3s-version", version).stdout
    assert ("/policy" in shown, HIDDEN in shown) == (True, False)


def test_the_backup_of_a_replaced_file_is_readable_by_root_only(hardened: Hardened) -> None:
    """Backup and journal contain the complete file, secrets included. Others cannot read them."""
    host = hardened()
    host.write(DROPIN, f"token: {SECRET}\n", 0o644)
    done = host.run("apply", "--force", "-v")
    assert done.code == 0
    assert SECRET not in done.stdout + done.stderr
    assert SECRET.encode() in state_and_drop_in(host)
    for path, entry in host.entries(with_state=True).items():
        if path.startswith(STATE):
            assert entry.mode & 0o077 == 0


def test_a_secret_in_a_manifest_that_looks_like_a_placeholder_is_not_shown(hardened: Hardened) -> None:
    host = hardened()
    host.write(f"{DATA_DIR}/server/manifests/own.yaml", f"kind: Secret\nstringData:\n  password: <{SECRET}>\n")
    texts = output_of_all_verbs(host) + host.run("assess", "-v").stdout
    assert "manifest-placeholder" in texts
    assert SECRET not in texts


KEYS = (
    *("token", "tokn", "agentToken", "my_token", '"tok\\x65n"', "db-password", "pasword"),
    *("datastore-endpont", "etcd-s3-secretkey"),
)
NOTATIONS = (
    "{key}: {secret}",
    "{key}: '{secret}'",
    '{key}: "{secret}"',
    "{key}: &a {secret}",
    "a: &a {secret}\n{key}: *a",
    "{key}: !!str {secret}",
    "{key}: |\n  {secret}",
    "{key}:\n- {secret}",
    "{key}: [x, {secret}]",
    "{{node-name: x, {key}: {secret}}}",
    "? {key}\n: {secret}",
)
BROKEN = (
    "a: *{secret}",
    "a: !{secret}!b c",
    "%{secret} x",
    "token: '{secret}",
    "token: [{secret}",
    "\ttoken: {secret}",
    "token: {secret}: x",
    "a: 'https://k3s:{secret}@10.0.0.9'",
    "server: https://k3s:{secret}@10.0.0.9",
    "a: K10" + 64 * "0" + "::server:{secret}",
    "kubelet-arg: [my-token={secret}]",
    "kube-apiserver-arg:\n- --oidc-client-secret={secret}",
    "etcd-arg: [experimental=https://u:{secret}@b]",
    "# token: {secret}",
)
FORMATS = tuple(format_.value for format_ in Format if format_ is not Format.AUTO)


def combinations() -> dict[str, str]:
    """Return a file for each combination of key and notation, by its secret."""
    texts = [notation.replace("{key}", key) for key in KEYS for notation in NOTATIONS] + list(BROKEN)
    found = {}
    for number, text in enumerate(texts):
        secret = f"Sup3rS3cret{number:03d}x"
        found[secret] = text.replace("{secret}", secret).replace("{{", "{").replace("}}", "}") + "\n"
    return found


@pytest.mark.parametrize("place", ["drop-ins", "our drop-in"])
def test_no_planted_secret_is_in_any_output(place: str, hardened: Hardened) -> None:
    host = hardened()
    planted = combinations()
    assert len(planted) > 100
    texts = []
    plant(host)
    if place == "drop-ins":
        for secret, text in planted.items():
            host.write(f"{DROPINS}/{secret[-4:]}.yaml", text, 0o600)
        host.unit("server")
        texts += outputs(host)
        host.unit("server", "--config", "--token=Sup3rS3cretUNIT", "--tokn=Sup3rS3cretWORD")
        texts += outputs(host)
    else:
        original = host[DROPIN].read_text()
        for text in (*planted.values(), *CONFIGURATIONS.values()):  # one run per edit
            host.write(DROPIN, (original + text).encode("utf-8", "surrogateescape"), 0o600)
            texts += outputs(host, quick=True)
    shown = "\n".join(texts)
    assert [secret for secret in (*planted, "Sup3rS3cret", SECRET) if secret in shown] == []
    assert "Traceback" not in shown


def outputs(host: HostTree, *, quick: bool = False) -> list[str]:
    runs: list[tuple[str, ...]] = [("diff", "--format", "json")]
    if not quick:
        runs += [("check", "-v", "--format", format_) for format_ in ("table", "plain", "json")]
        runs += [("diff", "-v", "--format", "plain"), ("apply", "-v"), ("assess", "-v", "--role", "server")]
        runs += [("assess", "--role", "server", "--format", format_) for format_ in FORMATS]
        runs += [("drift", "--role", "server"), ("check", "--config", str(host[CONFIG]))]
        runs += [("preflight", "v1.37", "-v", "--format", format_) for format_ in ("table", "plain", "json")]
    found = [host.run(*words) for words in runs]
    assert all(done.code != ExitCode.USAGE for done, words in zip(found, runs) if words[0] == "assess"), found
    return [text for done in found for text in done[1:]]


@pytest.mark.parametrize("version", ["1.24", "1.25", "1.38"])
def test_the_first_diff_hides_no_line_of_the_programs_own_files(host: HostTree, version: str) -> None:
    """Also with names of fields that are longer than those of options, such as allowPrivilegeEscalation."""
    host.options = ("--role", "server", "--k3s-version", version)
    done = host.run("diff")
    assert (done.code, HIDDEN in done.stdout, "+kind: NetworkPolicy" in done.stdout) == (3, False, True)
