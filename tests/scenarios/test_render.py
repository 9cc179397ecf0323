"""render: documents and errors."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from agent.base.errors import UsageError
from agent.harden.node.facts import assumed_facts
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, NEWEST_KNOWN, Role
from agent.verbs.render.first_boot import Download, ignition_config
from tests.scenarios.conftest import Hardened
from tests.scenarios.host_tree import AUDIT, CONFIG, DROPIN, KERNEL_FILE, POLICY, PSA, SETTINGS, HostTree, run
from tests.scenarios.loaded_program import LoadedProgram

URL = "https://download.example/k3s-harden.pyz"
SHA256 = "0123456789abcdef" * 4
DOWNLOAD = ("--url", URL, "--sha256", SHA256)


def cloud_init(program: LoadedProgram, *words: str) -> dict[str, str]:
    """Return the files of a rendered cloud-init document by path."""
    done = program.run("render", "cloud-init", *DOWNLOAD, *words)
    assert (done.code, done.stderr) == (0, "")
    document: dict[str, Any] = yaml.safe_load(done.stdout)
    return {
        file["path"]: base64.b64decode(file["content"]).decode() if "encoding" in file else file["content"]
        for file in document["write_files"]
    }


ON_SERVERS = {"audit-policy": AUDIT, "policy": POLICY, "psa": PSA}


@pytest.mark.parametrize(
    ("role", "version"),
    [("agent", "1.34"), ("server", "1.23"), ("server", "1.24"), ("server", "1.25"), ("server", "1.34")],
)
def test_render_prints_the_bytes_that_apply_writes(
    role: str, version: str, hardened: Hardened, program: LoadedProgram
) -> None:
    host = hardened(role, version)
    written = {"sysctl": KERNEL_FILE, "k3s-config": DROPIN, **(ON_SERVERS if role == "server" else {})}
    for what, path in written.items():
        done = program.run("render", what, "--role", role, "--k3s-version", version)
        if host[path].exists():
            assert (done.code, done.stdout) == (0, host[path].read_text())
        else:
            assert (what, version) in {("psa", "1.23"), ("psa", "1.24")}
            assert (done.code, done.stdout) == (2, "")
            assert "apply writes it on servers only, v1.25 and newer" in done.stderr


@pytest.mark.parametrize("what", ["policy", "rancher-cluster"])
@pytest.mark.parametrize("version", ["1.24", "1.34"])
def test_a_document_for_the_cluster_does_not_depend_on_the_role(
    what: str, version: str, program: LoadedProgram
) -> None:
    """A Cluster object and a manifest have no role, so they are complete for an agent, too."""
    server, agent = (program.run("render", what, "--k3s-version", version, "--role", r) for r in ("server", "agent"))
    assert agent.stdout == server.stdout
    assert len(server.stdout.splitlines()) > 20


def test_the_cluster_for_rancher_has_the_given_release(program: LoadedProgram) -> None:
    """For a minor version the field is left empty, because Rancher requires a release."""
    for version, expected in (("v1.34.2+k3s1", "v1.34.2+k3s1"), ("1.34", None)):
        cluster = yaml.safe_load(program.run("render", "rancher-cluster", "--k3s-version", version).stdout)
        assert cluster["spec"]["kubernetesVersion"] == expected


def test_render_uses_the_settings_file_and_options(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("pod-security:\n  exempt-namespaces: [storage-system]\n")
    assert '- "storage-system"' in run("render", "psa", "--config", str(site)).stdout
    moved = run("render", "k3s-config", "--data-dir", "/srv/k3s", "--role", "server").stdout
    assert "audit-policy-file=/srv/k3s/server/audit.yaml" in moved
    site.write_text("no-such-setting: 1\n")
    done = run("render", "psa", "--config", str(site))
    assert (done.code, done.stdout) == (2, "")
    assert f"{site}:1" in done.stderr


# --- cloud-init: joining ---

JOIN_FILE = "/etc/rancher/k3s/config.yaml.d/10-join.yaml"
SERVER_URL = "https://server-1.example:6443"
TOKEN = "K10abc::server:s3cret"  # noqa: S105 - of the test


@pytest.mark.parametrize(
    ("words", "expected", "settings"),
    [
        (("--role", "server"), {}, {"role": "server"}),
        (("--role", "server", "--cluster-init"), {"cluster-init": True}, {"role": "server"}),
        (
            ("--role", "server", "--join", SERVER_URL),
            {"server": SERVER_URL, "token-file": "/etc/rancher/k3s/token"},
            {"role": "server", "secrets-encryption": True},
        ),
        (
            ("--role", "agent", "--join", SERVER_URL, "--token-file", "/run/token"),
            {"server": SERVER_URL, "token-file": "/run/token"},
            {"role": "agent"},
        ),
        (
            ("--role", "agent", "--join", SERVER_URL),
            {"server": SERVER_URL, "token-file": "/etc/rancher/k3s/token"},
            {"role": "agent"},
        ),
    ],
)
def test_k3s_and_apply_read_how_the_node_joins(
    words: tuple[str, ...], expected: dict[str, Any], settings: dict[str, Any], program: LoadedProgram
) -> None:
    """K3s refuses a further server without the encryption of the first one, which is the default of a new cluster."""
    files = cloud_init(program, *words)
    assert yaml.safe_load(files.get(JOIN_FILE, "{}")) == expected
    assert yaml.safe_load(files[SETTINGS]) == settings
    assert "K3S_URL" not in files["/usr/local/sbin/k3s-harden-bootstrap"]


def test_the_encryption_of_the_settings_is_kept(tmp_path: Path, program: LoadedProgram) -> None:
    """The first server can have been without it."""
    site = tmp_path / "site.yaml"
    site.write_text("role: server\nsecrets-encryption: off\n")
    files = cloud_init(program, "--join", SERVER_URL, "--config", str(site))
    assert files[SETTINGS] == site.read_text()


def test_an_embedded_token_is_only_in_a_private_file(tmp_path: Path, program: LoadedProgram) -> None:
    token, output = tmp_path / "token", tmp_path / "user-data"
    token.write_text(f"{TOKEN}\n")
    words = ("render", "cloud-init", *DOWNLOAD, "--role", "agent", "--join", SERVER_URL, "--embed-token", str(token))
    refused = program.run(*words)
    assert (refused.code, refused.stdout) == (2, "")
    done = program.run(*words, "--output", str(output))
    assert (done.code, done.stdout) == (0, "")
    assert f"{output} contains the token" in done.stderr
    assert TOKEN not in done.stderr + refused.stderr
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    (file,) = [file for file in yaml.safe_load(output.read_text())["write_files"] if TOKEN in file["content"]]
    assert file == {"path": "/etc/rancher/k3s/token", "permissions": "0600", "content": f"{TOKEN}\n"}


@pytest.mark.parametrize("content", ["", "two words\n", "two\nlines\n", "\x1b[2J"])
def test_a_file_without_a_token_is_rejected(content: str, tmp_path: Path, program: LoadedProgram) -> None:
    token = tmp_path / "token"
    token.write_text(content)
    words = ("--embed-token", str(token), "--output", str(tmp_path / "user-data"))
    done = program.run("render", "cloud-init", *DOWNLOAD, *words)
    assert (done.code, done.stdout) == (2, "")
    assert "the file is not one line with a token" in done.stderr


# --- cloud-init: the settings ---


def test_cloud_init_contains_the_settings_and_their_files(tmp_path: Path, program: LoadedProgram) -> None:
    policy, waivers, site = (tmp_path / name for name in ("audit.yaml", "waivers.yaml", "site.yaml"))
    policy.write_bytes(program.run("render", "audit-policy").stdout.encode())
    waivers.write_text("- control: vm.panic_on_oom\n  reason: the database's own")
    site.write_text(f"# ours\naudit: {{policy-file: {policy}, max-age: 60}}\nwaivers-file: {waivers}")
    files = cloud_init(program, "--config", str(site), "--role", "agent", "--join", SERVER_URL)
    assert files[SETTINGS] == site.read_text() + "\nrole: agent\n"
    assert files[str(policy)] == policy.read_text()
    assert files[str(waivers)] == waivers.read_text()


def test_cloud_init_does_not_change_settings_with_a_role(tmp_path: Path, program: LoadedProgram) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("role: agent\nk3s-version: v1.33.4+k3s1\ndata-dir: /srv/k3s\n")
    files = cloud_init(program, "--config", str(site), "--join", SERVER_URL)
    script = files["/usr/local/sbin/k3s-harden-bootstrap"]
    assert files[SETTINGS] == site.read_text()
    assert "k3s-install agent\n" in script
    assert "INSTALL_K3S_VERSION=v1.33.4+k3s1 " in script
    assert yaml.safe_load(files["/etc/rancher/k3s/config.yaml.d/10-data-dir.yaml"]) == {"data-dir": "/srv/k3s"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("role: agent\n", ("--role", "server")),
        ("k3s-version: '1.33'\n", ("--k3s-version", "1.34")),
        ("data-dir: /srv/a\n", ("--data-dir", "/srv/b")),
        ("role: auto\n", ("--role", "server")),
        ("{audit: {max-age: 60}}\n", ()),
        ("audit: {policy-file: /no/such/file}\n", ()),
        ("waivers-file: /no/such/file\n", ()),
    ],
)
def test_cloud_init_rejects_invalid_or_contradictory_settings(
    settings: str, words: tuple[str, ...], tmp_path: Path, program: LoadedProgram
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(settings)
    done = program.run("render", "cloud-init", *DOWNLOAD, "--config", str(site), *words)
    assert (done.code, done.stdout) == (2, "")
    assert str(site) in done.stderr or "/no/such/file" in done.stderr
    assert ("fix: set `" in done.stderr) is ("/no/such/file" not in settings)


# --- Ignition ---


def ignition(program: LoadedProgram, *words: str) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of the files of an Ignition config by path; the download has no content."""
    done = program.run("render", "ignition", *DOWNLOAD, *words)
    assert (done.code, done.stderr) == (0, "")
    prefix = "data:;base64,"
    files = {
        file["path"]: (file["mode"], file["contents"]["source"]) for file in json.loads(done.stdout)["storage"]["files"]
    }
    assert files.pop("/var/lib/extensions/k3s-harden.raw") == (0o644, URL)
    assert all(source.startswith(prefix) for _, source in files.values())
    return {path: (mode, base64.b64decode(source[len(prefix) :])) for path, (mode, source) in files.items()}


def test_ignition_writes_the_files_of_install_and_the_settings(host: HostTree, program: LoadedProgram) -> None:
    """So the gate is there before the first start of K3s, and in /etc, which no other /usr replaces."""
    site = "role: agent\naudit: {max-age: 60}\ndata-dir: /srv/k3s\n"
    host.write(SETTINGS, site)
    host.write(CONFIG, "data-dir: /srv/k3s\n")
    extension = "/usr/lib/k3s-harden/bin/k3s-harden"
    for path in (extension, "/usr/lib/systemd/systemd"):
        host.write(path, "#!/bin/sh\n", 0o755)
    host[CONFIG].chmod(0o600)
    host.options = ()
    assert host.run("install", "--program", extension).code == 0
    top = host["/etc/systemd/system"]
    installed = [path for path in top.rglob("*") if path.is_file() and "k3s-harden" in str(path)]
    expected = {f"/etc/systemd/system/{path.relative_to(top)}": (0o644, path.read_bytes()) for path in installed}
    files = ignition(program, "--config", str(host[SETTINGS]))
    assert files.pop(SETTINGS) == (0o644, site.encode())
    mode, content = files.pop("/etc/rancher/k3s/config.yaml.d/10-data-dir.yaml")
    assert (mode, yaml.safe_load(content)) == (0o600, {"data-dir": "/srv/k3s"})
    assert files == expected
    assert len(files) > 10


def test_ignition_writes_no_file_to_usr() -> None:
    facts = assumed_facts(Role.SERVER, NEWEST_KNOWN, DEFAULT_DATA_DIR)
    with pytest.raises(UsageError, match="/usr is read-only"):
        ignition_config(facts, Download(URL, SHA256), {PurePosixPath("/usr/share/waivers.yaml"): b""})


# --- upgrade-plan ---


@pytest.mark.parametrize(
    ("reference", "image", "version"),
    [
        ("registry.example:5000/tools/k3s-harden:1.0.0", "registry.example:5000/tools/k3s-harden", "1.0.0"),
        ("k3s-harden:2.0", "k3s-harden", "2.0"),
        (f"host:5000/a@sha256:{SHA256}", f"host:5000/a@sha256:{SHA256}", f"sha256-{SHA256[:12]}"),
        (f"host:5000/a:1.0@sha256:{SHA256}", f"host:5000/a:1.0@sha256:{SHA256}", f"sha256-{SHA256[:12]}"),
    ],
)
def test_the_controller_joins_image_and_version_of_the_plan_without_a_digest(
    reference: str, image: str, version: str, program: LoadedProgram
) -> None:
    """A version that looks like a number is a text."""
    plan = yaml.safe_load(program.run("render", "upgrade-plan", "--image", reference).stdout)
    assert (plan["spec"]["upgrade"]["image"], plan["spec"]["version"]) == (image, version)


_UNVERIFIED = "expected https://"
_SHELL, _HEX, _PLAN = "a URL without shell characters", "expected 64 hexadecimal digits", "cannot use --image: found "
_CLOUD_INIT = ("cloud-init", *DOWNLOAD)
_NO_TAG = ["k3s-harden", "host:5000/k3s-harden", f"a:{'1' * 64}", f"a@sha256:{SHA256[1:]}", 'a":1', "a b:1", "A:1", ""]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("psa", "--role", "agent"), "apply writes it on servers only"),
        (("audit-policy", "--role", "agent"), "apply writes it on servers only"),
        (("psa", "--join", SERVER_URL), "has no such option"),
        (("cloud-init", "--role", "server"), "render cloud-init --role server --k3s-version 1.37 --url https://"),
        (("cloud-init", "--url", URL), "without --url and --sha256"),
        (("cloud-init", "--sha256", SHA256), "without --url and --sha256"),
        (("cloud-init", "--url", URL, "--sha256", "0123"), _HEX),
        *(
            (("cloud-init", "--url", f"https://a/{text}", "--sha256", SHA256), _SHELL)
            for text in ("$(b)", "a'b", "a b")
        ),
        (("cloud-init", "--url", "download.example", "--sha256", SHA256), _SHELL),
        ((*_CLOUD_INIT, "--join", "http://server:6443"), "expected https://HOST:6443"),
        ((*_CLOUD_INIT, "--join", "https://server:6443/ $(reboot)"), "expected https://HOST:6443"),
        ((*_CLOUD_INIT, "--join", SERVER_URL, "--cluster-init"), "only the first server creates the cluster"),
        ((*_CLOUD_INIT, "--token-file", "token"), "expected an absolute path"),
        ((*_CLOUD_INIT, "--installer-url", "https://x/$(reboot)"), _SHELL),
        ((*_CLOUD_INIT, "--role", "agent"), "for an agent without --join, which names its server"),
        ((*_CLOUD_INIT, "--role", "agent", "--token-file", "/run/token"), "for an agent without --join"),
        *(
            ((*_CLOUD_INIT, "--installer-url", f"{scheme}://files.example/install.sh"), _UNVERIFIED)
            for scheme in ("http", "ftp", "tftp")
        ),
        ((*_CLOUD_INIT, "--k3s-version", "v1.34.2+k3s1", "--k3s-mirror", "http://files.example/k3s"), _UNVERIFIED),
        *(
            ((document, *DOWNLOAD, option, url), f"cannot use {option}: expected a URL without a user and password")
            for document, option in (
                *(("cloud-init", option) for option in ("--url", "--installer-url", "--k3s-mirror")),
                ("ignition", "--url"),
            )
            for url in ("https://user:pass-word@files.example/a", "https://user@files.example", "file://a:b@/c")
        ),
        ((*_CLOUD_INIT, "--installer-sha256", "abc"), _HEX),
        ((*_CLOUD_INIT, "--proxy", "http://user:password@proxy:3128"), "expected http://HOST:PORT"),
        (
            (*_CLOUD_INIT, "--k3s-version", "1.34", "--k3s-mirror", "https://a/k3s"),
            "a mirror has releases and no channels",
        ),
        ((*_CLOUD_INIT, "--embed-token", "/no/such/file", "--output", "user-data"), "/no/such/file"),
        (("ignition", "--url", "file:///a.raw", "--sha256", SHA256), "expected https://HOST/PATH"),
        (("ignition", "--url", 'https://a/"},"x', "--sha256", SHA256), _SHELL),
        (("ignition", "--url", "https://a/b\nc", "--sha256", SHA256), _SHELL),
        (("ignition", "--url", URL, "--sha256", f"{SHA256}\n"), _HEX),
        (("ignition", "--url", URL, "--sha256", "0123"), _HEX),
        (("ignition", *DOWNLOAD, "--data-dir", "/var/lib/'k3s'"), "its name has a quote"),
        (("assessment-job",), "without --node or --all-nodes"),
        (("assessment-job", "--node", "worker-1", "--all-nodes"), "or with both"),
        (("assessment-job", "--node", "worker-1", "--every", "1"), "a Job assesses once"),
        (("assessment-job", "--all-nodes", "--namespace", "kube-system"), "cannot use the namespace kube-system"),
        *((("upgrade-plan", "--image", name), f"{_PLAN}{name}") for name in _NO_TAG),
    ],
)
def test_what_a_host_or_cluster_could_not_use_is_rejected(
    words: tuple[str, ...], problem: str, program: LoadedProgram
) -> None:
    """Root runs what a document names, Ignition stops the boot at a bad URL, and a tag is also the value of a label."""
    done = program.run("render", *words)
    assert (done.code, done.stdout) == (2, "")
    assert problem in done.stderr
    assert "pass-word" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--installer-url", "http://files.example/install.sh", "--installer-sha256", SHA256),
        ("--installer-url", "file:///srv/install.sh"),
        ("--url", "http://files.example:8080/a@1/k3s-harden.pyz?x=a@b"),
        ("--k3s-version", "v1.34.2+k3s1", "--k3s-mirror", "https://files.example/k3s"),
    ],
)
def test_a_download_that_is_verified_can_have_any_url(words: tuple[str, ...], program: LoadedProgram) -> None:
    done = program.run("render", *_CLOUD_INIT, *words)
    assert (done.code, done.stderr) == (0, "")
    assert words[-1] in done.stdout
