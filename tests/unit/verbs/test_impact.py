"""The verb impact with kubectl: what it reads, how it fails, and its formats."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest

from agent.base.errors import HostError, InputError, RootRequiredError
from agent.base.host import Host
from agent.base.host.process import Completed
from agent.base.report import no_progress
from agent.cluster.kubernetes.queries import CONTROLLERS, Query
from agent.findings.impact import Impact
from agent.harden.settings.loading import load_settings
from agent.harden.settings.schema import DEFAULT_SETTINGS, Overrides, Settings
from agent.harden.situation import Request
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR
from agent.reports import repair_texts
from agent.reports.formats import Format, SettingsFormat, Verbosity
from agent.reports.impact_report import present_impact
from agent.verbs.impact import _is_account_used, impact, taken_names
from agent.verbs.traffic_records import Record, record_content
from tests.fake import Clock, Programs, fake_host
from tests.json_schemas import validator
from tests.unit.cluster.api_server import ApiServer
from tests.unit.findings.impact.sample_cluster import BASE, WEB, container, plural, pod, policy, thing

VALIDATOR = validator("impact")
SCRIPT = """\
#!/bin/sh
echo "$@" >>"$LISTS/calls"
for word; do case $word in /*) path=${word%%\\?*} ;; esac; done
cat "$LISTS/${path##*/}" 2>"$LISTS/error" || { echo "Error from server (${MISSING:-NotFound}): no" >&2; exit 1; }
"""
FRONT = pod("front", "shop", "10.42.2.5", container(env="http://user:secret@web.default/\x1b[31m"), on="n2")


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """A kubectl in a directory with lists of objects."""
    (tmp_path / "kubectl").write_text(SCRIPT)
    (tmp_path / "kubectl").chmod(0o755)
    (tmp_path / "version").write_text('{"gitVersion": "v1.37.2+k3s1"}')
    for name in ("networkpolicies", "events", *map(str, CONTROLLERS), "rolebindings", "clusterrolebindings"):
        (tmp_path / name).write_text('{"kind": "List", "items": []}')
    for item in (*BASE, *WEB, FRONT):
        path = tmp_path / plural(item["kind"])
        found = json.loads(path.read_text())["items"] if path.exists() else []
        path.write_text(json.dumps({"kind": "List", "metadata": {}, "items": [*found, item]}))
    return tmp_path


def found(lists: Path, records: PurePosixPath | None = None, **more: str) -> Impact:
    environment = {"PATH": f"{lists}:{os.environ['PATH']}", "LISTS": str(lists), **more}
    words = (fake_host(lists), Request(Overrides()), environment, no_progress)
    return impact(*words, kubectl=("--kubeconfig=own.yaml", "--context=c"), records=records)


def shown(result: Impact, output_format: Format | SettingsFormat, verbosity: Verbosity = Verbosity.NORMAL) -> str:
    stream = io.StringIO()
    present_impact(result, output_format, verbosity, stream)
    return stream.getvalue()


def test_kubectl_is_asked_with_the_options_of_the_user(lists: Path) -> None:
    result = found(lists)
    assert {str(entry.object) for entry in result.breaks if entry.allow} == {"shop/Pod/front"}
    calls = (lists / "calls").read_text().splitlines()
    assert all(call.startswith("--kubeconfig=own.yaml --context=c get --raw /") for call in calls)


def test_a_missing_kind_is_no_problem_and_a_forbidden_one_is(lists: Path) -> None:
    assert not any(entry.reasons[0].field == "list" for entry in found(lists).breaks if str(entry.object) == "Ingress")
    forbidden = {str(entry.object) for entry in found(lists, MISSING="Forbidden").breaks if not entry.is_certain}
    assert {"Ingress", "ServiceMonitor"} <= forbidden


def test_without_an_api_server_it_is_an_error(lists: Path) -> None:
    (lists / "kubectl").write_text("#!/bin/sh\necho 'connection refused' >&2\nexit 1\n")
    with pytest.raises(HostError, match="connection refused"):
        found(lists)


@pytest.mark.parametrize("as_root", [True, False])
@pytest.mark.parametrize("role", ["server", "agent"])
def test_the_cause_of_a_missing_credential_is_named_on_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str, *, as_root: bool
) -> None:
    unit = tmp_path / "etc/systemd/system/k3s.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(f"[Service]\nExecStart=/usr/local/bin/k3s {role}\n")
    monkeypatch.setattr(Host, "runs_as_root", as_root)
    with pytest.raises(HostError) as caught:
        impact(fake_host(tmp_path), Request(Overrides()), {"PATH": "/nowhere"}, no_progress)
    cause, fix = {
        ("server", True): ("K3s has never run on this server", "start K3s, and run it again; or pass --kubeconfig"),
        ("server", False): ("only root can read K3s' credential", ""),
    }.get((role, as_root), ("cannot run kubectl", "install kubectl"))
    assert caught.value.message.startswith(cause)
    assert repair_texts.text(caught.value.repair).startswith(fix)
    assert isinstance(caught.value, RootRequiredError) is (role == "server" and not as_root)


def test_many_objects_have_an_overview_by_namespace_and_owner(lists: Path) -> None:
    helm = {"annotations": {"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": "shop"}}
    front = container(env="http://web.default")
    fronts = [
        pod(f"f{at}", "shop", f"10.42.2.{at}", front, on="n2", metadata=helm if at % 2 else {}) for at in range(9)
    ]
    path = lists / "pods"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "items": document["items"] + fronts}))
    result = found(lists)
    lines = shown(result, Format.PLAIN).splitlines()
    assert any(line.startswith("shop, Helm release shop/shop: 4 at once, ") for line in lines)
    assert any(line.startswith("shop: ") for line in lines)
    document = json.loads(shown(result, Format.JSON))
    VALIDATOR.validate(document)
    assert {item["owner"] for item in document["breaks"]} == {"", "Helm release shop/shop"}


def test_the_fields_of_a_rejected_workload_are_shown_with_v(lists: Path) -> None:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container()]}}
    item = thing("Deployment", "web", "shop", spec={"template": template})
    (lists / "deployments").write_text(json.dumps({"kind": "List", "items": [item]}))
    result = found(lists)
    line = next(line for line in shown(result, Format.PLAIN).splitlines() if line.startswith("shop/Deployment/web"))
    assert "stages.pod-security: baseline" in line
    assert line.endswith("; then correct its fields, which -v shows")
    assert "which -v shows" in " ".join(shown(result, Format.TABLE).split())
    verbose = shown(result, Format.PLAIN, Verbosity.VERBOSE)
    assert "kubectl patch deployment web --namespace shop --patch" in verbose
    assert "Do the images of Deployment shop/web run as another user than root?" in verbose


def test_json_has_its_schema(lists: Path) -> None:
    document = json.loads(shown(found(lists), Format.JSON))
    VALIDATOR.validate(document)
    assert document["exit_code"] == 3


@pytest.mark.parametrize("output_format", [Format.PLAIN, Format.TABLE])
def test_each_object_has_what_when_why_and_what_to_do(lists: Path, output_format: Format) -> None:
    text = " ".join(shown(found(lists), output_format, Verbosity.VERBOSE).split())
    rule = "{namespace: default, pods: {app: web}, ports: [8080], from: {namespace: shop, pods: {app: front}}}"
    for part in ("shop/Pod/front", "at once", "found web.default", rule, "kubectl create", "result 3: 1 at once"):
        assert part in text
    assert "\x1b" not in text
    assert "secret" not in text


def test_the_format_of_the_settings_can_be_pasted(lists: Path) -> None:
    text = shown(found(lists), SettingsFormat.SETTINGS)
    rule = "{namespace: default, pods: {app: web}, ports: [8080], from: {namespace: shop, pods: {app: front}}}"
    assert text == f"network-policies:\n  allow:\n    - {rule}\n"
    assert [*map(str, load_settings(text.encode(), DEFAULT_SETTINGS).network_policy_allow)] == [rule]


def test_the_command_of_a_policy_is_one_for_any_shell_and_any_label(lists: Path) -> None:
    pods = lists / "pods"
    pods.write_text(pods.read_text().replace('"app": "front"', '"app": "it\'s $(touch x)"'))
    text = shown(found(lists), Format.PLAIN, Verbosity.VERBOSE)
    (command,) = (line.strip() for line in text.splitlines() if line.endswith("kubectl create -f -"))
    (lists / "kubectl").write_text("#!/bin/sh\ncat\n")
    done = subprocess.run(
        ["sh", "-c", command], env={"PATH": f"{lists}:/usr/bin:/bin"}, capture_output=True, check=True
    )
    assert json.loads(done.stdout)["spec"]["ingress"][0]["from"][0]["podSelector"] == {
        "matchLabels": {"app": "it's $(touch x)"}
    }


def test_quiet_prints_only_the_result(lists: Path) -> None:
    assert shown(found(lists), Format.PLAIN, Verbosity.QUIET).count("\n") == 1


def test_policies_in_the_cluster_whose_name_is_taken_are_named(tmp_path: Path) -> None:
    """`diff` asks for them; without an answer it says nothing."""
    situation: Any = SimpleNamespace(facts=SimpleNamespace(data_dir=DEFAULT_DATA_DIR), settings=Settings())
    theirs, others = (policy(name, "default", ingress=[{}]) for name in ("intra-namespace", "own"))
    api = ApiServer({Query.NETWORK_POLICIES: [theirs, others]})
    kubeconfig = tmp_path / "etc/rancher/k3s/k3s.yaml"
    with api.running():
        kubeconfig.parent.mkdir(parents=True)
        kubeconfig.write_text(api.kubeconfig(embedded=True))
        kubeconfig.chmod(0o600)
        (found,) = taken_names(fake_host(tmp_path, is_live=True), situation)
    assert found.id == "network-policy-name-taken"
    assert "default/intra-namespace" in found.message
    assert list(taken_names(fake_host(tmp_path, is_live=True), situation)) == []


@pytest.mark.parametrize("kind", ["file", "fifo", "missing"])
def test_only_a_regular_audit_log_is_searched_and_not_for_long(tmp_path: Path, kind: str) -> None:
    """grep waits for the writer of a FIFO, and a large log takes seconds for each account."""
    log, grep = tmp_path / "audit.log", tmp_path / "usr/bin/grep"
    grep.parent.mkdir(parents=True)
    grep.touch(0o755)
    if kind == "file":
        log.touch()
    elif kind == "fifo":
        os.mkfifo(log)
    clock = Clock()
    user = '"username":"system:serviceaccount:shop:default"'
    programs = Programs({("/usr/bin/grep", "-qF", user, "/audit.log"): Completed(1, "", "")})
    arguments = {"audit-log-path": [SimpleNamespace(text="/audit.log")]}
    config = SimpleNamespace(component_arguments=lambda _: arguments)
    situation: Any = SimpleNamespace(facts=SimpleNamespace(merged_config=config))
    is_used = _is_account_used(fake_host(tmp_path, programs=programs, clock=clock), situation)
    assert is_used("shop") is (False if kind == "file" else None)
    clock.sleep(60)
    assert is_used("shop") is None
    assert len(programs.asked) == (kind == "file")


def test_the_records_of_a_directory_are_read_and_that_of_another_cluster_is_an_error(lists: Path) -> None:
    directory = lists / "records"
    directory.mkdir()
    begin, client, end = 1_700_000_000, "10.42.2.5", "default/web"
    record = Record("n1", "0" * 16, begin, begin, connections={(client, end, 9999, "TCP"): (begin, begin)})

    def read() -> Impact:
        (directory / "n1.json").write_bytes(record_content(record))
        return found(lists, PurePosixPath(directory))

    result = read()
    assert [reason.found for entry in result.breaks for reason in entry.reasons if "9999" in reason.found] == [
        "1 from shop/Pod/front to port 9999"
    ]
    assert any(note.startswith("no record of n2") for note in result.notes)
    record = record._replace(node="elsewhere")
    with pytest.raises(InputError, match=f"{directory}/n1.json: found the record of node elsewhere with a machine ID"):
        read()
