"""The verb impact: what breaks in the running cluster when this program hardens it."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.assess.checks.cluster.workload_rules import pod_security_defaults
from agent.base.errors import HardenError, HostError, RootRequiredError
from agent.base.host.connection_tracking import MOST_TRACKED
from agent.base.host.https import Limits
from agent.base.linux.file_systems import REGULAR_FILE
from agent.base.repair import Instruction
from agent.base.report import no_progress
from agent.base.times import timestamp
from agent.base.value import replace
from agent.cluster.connection import KUBECONFIGS, Kubectl, connect_as_admin
from agent.cluster.kubernetes.network_policies import parse_policy
from agent.cluster.kubernetes.pod_security import PodSecurityDefaults, Standard
from agent.cluster.kubernetes.queries import OBJECTS, REQUESTS, Query
from agent.cluster.pod_security_probe import probe_workloads
from agent.cluster.reader import LIMITS, Reader, read_running
from agent.findings.impact import Topic
from agent.findings.impact.evaluation import Inputs, evaluate, expected_defaults, needed
from agent.findings.impact.traffic import expected_policies, replaced_policies
from agent.findings.manifest_files import name_taken
from agent.findings.registry import KINDS
from agent.harden.guide.guide_files import POD_SECURITY_ADMISSION
from agent.harden.node.installed_services import installed_units
from agent.harden.settings import loading
from agent.harden.settings.schema import DEFAULT_SETTINGS
from agent.harden.situation.observation import observe_after_apply, observe_situation
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, NEWEST_KNOWN, Role, Version
from agent.verbs.traffic_records import CONNECTIONS, Watched, collected, merged, parse_record, read_records

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from agent.base.host import Host
    from agent.base.report import Finding, Progress
    from agent.cluster.connection import ApiClient
    from agent.cluster.kubernetes.running_objects import Running
    from agent.cluster.pod_security_probe import UnexpectedAnswer
    from agent.findings.impact import Impact
    from agent.harden.settings.schema import Settings
    from agent.harden.situation import Request, Situation

_AT_ONCE = Limits(request=2.0, total=2.0, body=8 << 20)
_LIMITS = Limits(request=20.0, body=LIMITS.body)
_MOST_NAMED = 3
_SEARCHES = 20.0
"""Seconds for all searches in the audit log."""
_DEFAULT_IS_ASSUMED = (
    "the default Pod Security level is not visible here: assumed privileged; run this on a server to know it"
)
_NO_CONNECTIONS = "open connections are not known: only root on a node can read them"
_SNAPSHOT = "open connections are a snapshot of this node; their absence proves nothing"
_CUT = f"this node tracks more than the {MOST_TRACKED} open connections that were read; others can break, too"


def impact(
    host: Host,
    request: Request,
    environment: Mapping[str, str],
    progress: Progress,
    *,
    kubectl: Sequence[str] = (),
    probe: bool = False,
    records: PurePosixPath | None = None,
) -> Impact:
    """Return what breaks. With options of kubectl, and where no server of K3s is, kubectl reads the cluster.

    `records` is a directory with those of all nodes. By default that of this server, or this node's record, is read.

    `probe` also asks the API server of this host about each pod template, in a temporary namespace. Raises HardenError
    if the API server cannot be read, and SettingsError if the settings accept an object that does not exist.
    """
    top = DEFAULT_DATA_DIR / (request.overrides.data_dir or "")
    is_server = host.runs_as_root and any(host.tree.exists(top / name) for name in KUBECONFIGS)
    if kubectl or not is_server:
        if probe:
            raise HostError("--probe requires the credential of K3s", Instruction("run it as root on a server"))
        try:
            return checked(_elsewhere(host, request, Kubectl.of_user(kubectl, environment), progress, records))
        except HostError as error:
            is_server = any(unit.role is Role.SERVER for unit in installed_units(host, []))
            if kubectl or not is_server:
                raise
            if host.runs_as_root:
                cause = "K3s has never run on this server, so it has no credential for its API server"
                step = Instruction("start K3s, and run it again; or pass --kubeconfig for the cluster to read")
                raise HostError(cause, step) from error
            cause = f"only root can read K3s' credential on this server, and without it: {error.message}"
            raise RootRequiredError(cause) from error
    situation = observe_situation(host, request)
    return checked(impact_on_server(host, request, situation, progress, probe=probe, records=records))


def checked(found: Impact) -> Impact:
    """Return the impact. Raises SettingsError if the settings accept an object that the cluster does not have."""
    if found.unknown:
        text = "`impact.accepted`: the cluster has no {}; correct its name, or remove it"
        errors = [(entry.location.line, text.format(entry.object)) for entry in found.unknown]
        raise loading.SettingsError(found.unknown[0].location.path, errors, ("impact.accepted",))
    return found


def impact_on_server(
    host: Host,
    request: Request,
    situation: Situation,
    progress: Progress = no_progress,
    *,
    probe: bool = False,
    topics: Collection[Topic] = tuple(Topic),
    records: PurePosixPath | None = None,
) -> Impact:
    """Return what breaks, from the API server of this host. Raises HardenError if it cannot be read.

    Only the objects that these topics need are read, however long that takes while each request is answered in time.
    """
    progress("reading the cluster")
    data_dir = situation.facts.data_dir
    with connect_as_admin(host, data_dir, _LIMITS) as client:
        running = read_running(client, needed(topics))
    seen = _seen(host, running, records)
    version = _version(running.version)
    tomorrow = pod_security_defaults(observe_after_apply(host, request, situation))
    notes = [*seen.notes]
    differences: tuple[UnexpectedAnswer, ...] = ()
    if probe and tomorrow.level is not None:
        progress("asking the API server about pod templates")
        standard = Standard(tomorrow.level, tomorrow.minor)
        found = probe_workloads(lambda: connect_as_admin(host, data_dir, _LIMITS), standard, version.minor)
        differences = tuple(found.differences)
        notes.append(f"the API server was asked about {len(found.answers) - 1} pod templates")
    return evaluate(
        Inputs(
            client.url,
            running,
            situation.settings,
            version,
            _today(situation),
            tomorrow,
            situation.today.date,
            seen.connections,
            seen.is_complete,
            _is_account_used(host, situation),
            _denies_external_ips(situation),
            differences,
            situation.facts.rancher_managed,
            request.settings_file or DEFAULT_SETTINGS,
            notes=tuple(notes),
        )
    )


def cut_by_policies(client: ApiClient, settings: Settings, namespaces: Collection[str]) -> Mapping[str, str]:
    """Return what breaks with the guide's NetworkPolicy in each of these namespaces. Raises HardenError."""
    running = read_running(client, needed((Topic.NETWORK_POLICIES,)))
    settings = replace(settings, network_policy_namespaces=(*settings.network_policy_namespaces, *namespaces))
    version, day = _version(running.version), timestamp(time.time())[:10]
    inputs = Inputs(
        "", running, settings, version, PodSecurityDefaults(None), expected_defaults(settings, version), day
    )
    found: dict[str, list[str]] = {}
    for entry in evaluate(inputs).breaks:
        if entry.topic is Topic.NETWORK_POLICIES and entry.object.namespace in namespaces:
            verb = "breaks" if entry.is_certain else "may break"
            found.setdefault(entry.object.namespace, []).append(f"{entry.object} {verb}: {entry.reasons[0]}")
    return {namespace: "; ".join(texts[:_MOST_NAMED]) for namespace, texts in found.items()}


def taken_names(host: Host, situation: Situation) -> Iterator[Finding]:
    """Yield the NetworkPolicies of the site in the cluster that policy.yaml would replace.

    One request, which has to be answered at once; without an answer nothing is known.
    """
    with suppress(HardenError):
        with connect_as_admin(host, situation.facts.data_dir, _AT_ONCE) as client:
            request = REQUESTS[Query.NETWORK_POLICIES]._replace(accept=OBJECTS)
            existing = Reader(client).listed(request, parse_policy)
        for policy in replaced_policies(existing, expected_policies(situation.settings)):
            yield KINDS["network-policy-name-taken"].case(name_taken(policy.namespace, policy.name))


def _is_account_used(host: Host, situation: Situation) -> Callable[[str], bool | None]:
    """Return a function that looks for requests of a default account in the audit log that is written now."""
    given = situation.facts.merged_config.component_arguments("kube-apiserver-arg").get("audit-log-path", ())
    path = PurePosixPath(given[-1].text if given else "")
    grep, until = host.trusted_tool("grep"), host.now() + _SEARCHES
    # "-" is the standard output of K3s, and /dev/null keeps nothing.
    is_file = path.is_absolute() and getattr(host.tree.stat(path), "kind", "") == REGULAR_FILE

    def is_used(namespace: str) -> bool | None:
        user = f'"username":"system:serviceaccount:{namespace}:default"'
        if grep is None or not is_file or host.now() > until:
            return None
        with suppress(HostError):
            return {0: True, 1: False}.get(host.run([str(grep), "-qF", user, str(path)], timeout=5.0).code)
        return None

    return is_used


def _today(situation: Situation) -> PodSecurityDefaults:
    """Return what the running API server enforces: its file, unless that or what names it changed since the start."""
    facts = situation.facts
    names = {str(facts.dropin_path), str(facts.data_dir / POD_SECURITY_ADMISSION.path)}
    is_as_started = names.isdisjoint(situation.changed_since_start)
    return pod_security_defaults(situation) if is_as_started else PodSecurityDefaults(None)


def _denies_external_ips(situation: Situation) -> bool:
    arguments = situation.facts.merged_config.component_arguments("kube-apiserver-arg")
    texts = [value.text for value in arguments.get("enable-admission-plugins", ())]
    return str(situation.facts.dropin_path) not in situation.changed_since_start and any(
        "DenyServiceExternalIPs" in text.split(",") for text in texts
    )


def _version(text: str) -> Version:
    try:
        return Version.parse(text)
    except ValueError:
        return NEWEST_KNOWN


def _seen(host: Host, running: Running, directory: PurePosixPath | None, *, is_node: bool = True) -> Watched:
    """Return the open connections of this node, and those of the records. Raises InputError for a directory."""
    nodes = running.objects.get("nodes", ())
    watched = Watched()
    tree = host.machine_tree if directory else host.tree
    directory = directory or (collected(host) if is_node else None)
    if directory is not None:
        watched = merged(read_records(tree, directory), nodes, host.now())
    elif is_node:
        with suppress(HardenError):
            data = host.tree.read(CONNECTIONS)
            watched = merged({CONNECTIONS: parse_record(data, CONNECTIONS)}, nodes, host.now()) if data else watched
    now = host.connections() if is_node else None
    notes = [] if watched.notes and now is None else [_NO_CONNECTIONS if now is None else _SNAPSHOT]
    notes += [_CUT] * (len(now or ()) >= MOST_TRACKED)
    return Watched((*watched.connections, *(now or ())), watched.is_complete, (*watched.notes, *notes))


def _elsewhere(
    host: Host, request: Request, client: Kubectl, progress: Progress, records: PurePosixPath | None
) -> Impact:
    path = request.settings_file
    data = host.machine_tree.read_input(path) if path else None
    settings = loading.load_settings(data, path or DEFAULT_SETTINGS, request.overrides.profile)
    progress("reading the cluster")
    running = read_running(client)
    is_node = host.runs_as_root and host.tree.exists(DEFAULT_DATA_DIR / "agent/kubelet.kubeconfig")
    seen = _seen(host, running, records, is_node=is_node)
    notes = [_DEFAULT_IS_ASSUMED, *seen.notes]
    if not path:
        notes.append("the settings are the defaults; pass those of the servers with --config")
    version = _version(running.version)
    today, tomorrow = PodSecurityDefaults(None), expected_defaults(settings, version)
    day = timestamp(time.time())[:10]
    inputs = Inputs("kubectl", running, settings, version, today, tomorrow, day, seen.connections, seen.is_complete)
    return evaluate(replace(inputs, settings_file=path or DEFAULT_SETTINGS, notes=tuple(notes)))
