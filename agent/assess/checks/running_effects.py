"""Effects on a running node, compared with what is configured: NetworkPolicies, ports, Secrets, the audit log."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import PurePosixPath
from shlex import quote
from typing import NamedTuple, Union

from agent.assess.checks.answer import WORST_FIRST, ControlStatus, Effect
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.evidence import EncryptionConfiguration
from agent.base.errors import InputError
from agent.base.linux.file_systems import FilterRule
from agent.base.repair import Answer as Choice
from agent.base.repair import Decide, Run, RunVerb
from agent.base.times import parse_timestamp
from agent.base.value import Value
from agent.cluster.kubernetes.network_policies import NetworkPolicy
from agent.cluster.kubernetes.objects import ClusterNode, selects
from agent.cluster.kubernetes.running_objects import NetworkPod
from agent.cluster.node_status import ENCRYPTION_HASH
from agent.harden.desired.dropin_options import AUDIT_POLICY_ARGUMENT
from agent.harden.node.facts import HostFacts, not_run, will_run_etcd
from agent.k3s.audit_policy import audit_gaps
from agent.k3s.pem import validity
from agent.k3s.ports import required_ports
from agent.k3s.roles_and_versions import Component, Role

PASS, FAIL, UNKNOWN = ControlStatus.PASS, ControlStatus.FAIL, ControlStatus.UNKNOWN
QUERY = """\
SELECT CAST(substr(value, 1, 96) AS BLOB) FROM kine AS own
WHERE name >= '/registry/secrets/' AND name < '/registry/secrets0' AND deleted = 0
AND id = (SELECT max(id) FROM kine AS latest WHERE latest.name = own.name)"""
"""The start of the latest row of each Secret that was not deleted (k3s-io/kine, pkg/drivers/sqlite)."""
MOST_SECRETS = 100_000
_PREFIX = re.compile(rb"k8s:enc:[a-z]+:v\d:((?:aescbckey|secretboxkey)-\d{4}-\d\d-\d\dT[\d:]{8}[^:]*(?::\d\d)?|[^:]+):")
"""What the API server writes before a value. K3s' own later keys have a time in their names."""
_MADE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_WITH_ROTATE_KEYS = (30, 5)
"""The first minor and patch in which this command is no experiment (k3s-io/docs, docs/cli/secrets-encrypt.md)."""
_STATUS = Run("sudo k3s secrets-encrypt status")
_STAGES: Mapping[str, Sequence[str]] = {
    "prepare": ("restart", "sudo k3s secrets-encrypt rotate"),
    "rotate": ("restart", "sudo k3s secrets-encrypt reencrypt"),
    "rotate_keys": (),
    "reencrypt_request": (),
    "reencrypt_active": (),
}
"""The stages of a rotation that is not finished, and what follows (k3s, pkg/secretsencrypt/config.go)."""


def encryption_effect(facts: HostFacts, rows: Iterable[bytes] | str) -> Effect:
    """Return whether each Secret is encrypted; `rows` are the starts of their values, or why they are not known."""
    found = [] if isinstance(rows, str) else [_PREFIX.match(row) for row in rows]
    keys = Counter(match[1].decode(errors="replace") if match else "" for match in found)
    clear = keys.pop("", 0)
    status, observed = PASS, f"all {len(found)} Secrets are encrypted"
    if isinstance(rows, str):
        status, observed = UNKNOWN, rows
    elif not found:
        status, observed = UNKNOWN, "the datastore has no Secret"
    elif clear:
        status, observed = FAIL, f"{clear} of {len(found)} Secrets are stored as clear text"
    if keys:
        observed += f", with {', '.join(f'{name} ({number})' for name, number in sorted(keys.items()))}"
        observed += "; old revisions, the write-ahead log and snapshots may still have clear text"
    return Effect(
        subject="Encryption of Secrets in the datastore",
        configured="secrets-encryption is set" if facts.encrypts_secrets else "K3s does not encrypt Secrets",
        status=status,
        observed=observed,
        command=_STATUS.line,
        controls=("secrets-encryption", "apiserver-encryption-providers"),
        steps=(_STATUS, Run("sudo k3s secrets-encrypt reencrypt --force --skip")),
    )


def rotation_effects(facts: HostFacts, nodes: Iterable[ClusterNode]) -> Iterator[Effect]:
    """Yield whether the rotation of the keys is finished on all servers, as they publish it."""
    stages = {
        node.name: node.annotations[ENCRYPTION_HASH].rpartition("-")
        for node in nodes
        if node.is_server and ENCRYPTION_HASH in node.annotations
    }
    if not stages:
        return
    running = {name: stage for name, (stage, _, _) in stages.items() if stage in _STAGES}
    status, observed = PASS, f"no rotation is in progress on {len(stages)} servers"
    steps: tuple[Run, ...] = (_STATUS,)
    if running:
        shown = ", ".join(f"{name}: {stage}" for name, stage in sorted(running.items()))
        status, observed = FAIL, f"a rotation is not finished ({shown})"
        lines = dict.fromkeys(line for stage in running.values() for line in _STAGES[stage])
        steps += tuple(Run(line.replace("restart", f"sudo systemctl restart {facts.service}")) for line in lines)
    elif len({digest for _, _, digest in stages.values()}) > 1:
        status, observed = FAIL, f"the servers have different keys: {', '.join(sorted(stages))}"
        steps += (Run(f"sudo systemctl restart {facts.service}"),)
    yield Effect(
        subject="Rotation of the keys of Secrets",
        configured="finished on all servers",
        status=status,
        observed=observed,
        command=_STATUS.line,
        controls=("secrets-encryption",),
        steps=steps,
    )


def key_age_effects(node: AssessedNode, now: float) -> Iterator[Effect]:
    """Yield whether the key of Secrets is as old as the site permits, by its name, if the settings state an age.

    `now` is in seconds since 1970.
    """
    most, found = node.situation.settings.secrets_key_max_age, node.evidence.encryption
    if most is None or not isinstance(found, EncryptionConfiguration) or not found.key:
        return
    made = _MADE.search(found.key)
    try:
        days = int(now - parse_timestamp(f"{made[0] if made else ''}Z")) // 86_400
        status = FAIL if days > most else PASS
        observed = f"the key {found.key} is {days} days old"
    except ValueError:
        status, observed = UNKNOWN, f"the name of the key {found.key} has no date"
    rotate = "rotate-keys" if (node.facts.version.minor, node.facts.version.patch) >= _WITH_ROTATE_KEYS else "prepare"
    yield Effect(
        subject="Age of the key of Secrets",
        configured=f"at most {most} days (secrets-key-max-age)",
        status=status,
        observed=observed,
        command=_STATUS.line,
        controls=("secrets-encryption",),
        steps=(_STATUS, Run(f"sudo k3s secrets-encrypt {rotate}", where="on one server")),
    )


CLOSED, LOOPBACK = "the connection was refused", "127.0.0.1"
_SUITES = {
    "RSA": "RC4_128_SHA=5 3DES_EDE_CBC_SHA=A AES_128_CBC_SHA=2F AES_256_CBC_SHA=35 AES_128_CBC_SHA256=3C"
    " AES_128_GCM_SHA256=9C AES_256_GCM_SHA384=9D",
    "ECDHE_ECDSA": "RC4_128_SHA=C007 AES_128_CBC_SHA=C009 AES_256_CBC_SHA=C00A AES_128_CBC_SHA256=C023"
    " AES_128_GCM_SHA256=C02B AES_256_GCM_SHA384=C02C CHACHA20_POLY1305_SHA256=CCA9",
    "ECDHE_RSA": "RC4_128_SHA=C011 3DES_EDE_CBC_SHA=C012 AES_128_CBC_SHA=C013 AES_256_CBC_SHA=C014"
    " AES_128_CBC_SHA256=C027 AES_128_GCM_SHA256=C02F AES_256_GCM_SHA384=C030 CHACHA20_POLY1305_SHA256=CCA8",
}
SUITES = {
    f"TLS_{exchange}_WITH_{suite.partition('=')[0]}": int(suite.partition("=")[2], 16)
    for exchange, suites in _SUITES.items()
    for suite in suites.split()
}
"""Those of Go up to TLS 1.2 (crypto/tls, cipher_suites.go); those of TLS 1.3 cannot be configured."""
_SHA1 = (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", b"\x2a\x86\x48\xce\x3d\x04\x01")
"""Object identifiers of the algorithms that sign certificates with RSA or ECDSA."""


class Kind(NamedTuple):
    """What listens on a port."""

    path: str
    """Not public: an anonymous client must not get an answer of its content."""
    component: Component | None
    refusals: tuple[int, ...]
    """Statuses of a refused request; none if the port must be closed, which is then without TLS.

    0 is a demand for a certificate. 403 shows an anonymous user without a right.
    """
    controls: tuple[str, ...] = ()
    """About anonymous access, or about the address."""
    tls_controls: tuple[str, ...] = ()


_API = Kind("/api", Component.API_SERVER, (0, 401), ("apiserver-anonymous-auth",), ("apiserver-cipher-suites",))
_ETCD = Kind("/version", None, (0, 401), ("etcd-client-cert-auth",))
_SERVER_ERROR = 500
_ALLOWS_403 = (0, 401, 403)
_KINDS = {
    "K3s' server": _API,
    "the API server": _API,
    "the kubelet": Kind("/pods", Component.KUBELET, (0, 401), ("kubelet-anonymous-auth",), ("tls-cipher-suites",)),
    "the controller manager": Kind(
        "/metrics", Component.CONTROLLER_MANAGER, _ALLOWS_403, ("controller-manager-bind-address",)
    ),
    "the scheduler": Kind("/metrics", Component.SCHEDULER, _ALLOWS_403, ("scheduler-bind-address",)),
    "the embedded etcd, for clients": _ETCD,
}
"""By user of the port, as in ports.required_ports."""
_SUPERVISOR = Kind("/v1-k3s/config", Component.API_SERVER, _ALLOWS_403)
_READ_ONLY = Kind("/pods", None, (), ("kubelet-read-only-port",))


class Endpoint(NamedTuple):
    """A port to try, and what is expected of it."""

    name: str
    port: int
    kind: Kind
    on_loopback: bool = False
    """Whether it must be closed at the address of the node."""
    forbidden: tuple[str, ...] = ()
    """Names of cipher suites that the configured list does not have; empty without a list."""


_Answer = Union[tuple[bool, int], str]
"""Whether the server sent a ServerHello, and the number of its suite or alert; or why there is no answer."""


class Tried(NamedTuple):
    """What a port answered at one address; an error is a text."""

    address: str
    access: tuple[int, bytes] | str
    """The status, 0 without one, and the certificate."""
    old_version: _Answer = CLOSED
    """To a client of TLS 1.1."""
    suite: _Answer = CLOSED
    """To a client that offers only forbidden suites."""


def endpoints(node: AssessedNode) -> Iterator[Endpoint]:
    """Yield the ports of the components that K3s runs here."""
    facts = node.facts
    has_etcd = facts.role is Role.SERVER and will_run_etcd(facts)
    for port in required_ports(facts.role, facts.merged_config, has_etcd=has_etcd):
        kind = _KINDS.get(port.user)
        if kind is not None and not (kind.component and not_run(kind.component, facts)):
            configured = node.arguments(kind.component).get("tls-cipher-suites") if kind.component else None
            allowed = configured.value.split(",") if configured and configured.value else []
            # Two names of Kubernetes lack the end (component-base, cli/flag/ciphersuites_flag.go).
            forbidden = tuple(
                name for name in SUITES if allowed and {name, name.replace("1305_SHA256", "1305")}.isdisjoint(allowed)
            )
            yield Endpoint(port.user, port.number, kind, on_loopback=port.on_loopback, forbidden=forbidden)
            if port.user == "K3s' server":
                yield Endpoint("K3s' supervisor", port.number, _SUPERVISOR)
    if has_etcd:
        yield Endpoint("the embedded etcd, for HTTP", 2382, _ETCD, on_loopback=True)
    if not facts.merged_config.boolean("disable-agent"):
        yield Endpoint("the kubelet, read-only", 10255, _READ_ONLY)


def port_effects(node: AssessedNode, endpoint: Endpoint, tried: Sequence[Tried], now: str) -> Iterator[Effect]:
    """Yield what a port shows about anonymous access, and about TLS. `now` is YYYY-MM-DD hh:mm:ss UTC."""
    kind, where = endpoint.kind, f"{endpoint.name}, port {endpoint.port}"
    curl = "curl -ksS -o /dev/null -w '%{http_code}\\n'"
    url = f"{'https' if kind.refusals else 'http'}://{LOOPBACK}:{endpoint.port}{kind.path}"
    access = [*_access(endpoint, tried)]
    rows = [(f"No anonymous access to {where}", "anonymous-auth", access, f"{curl} {url}", kind.controls)]
    if kind.refusals and kind is not _SUPERVISOR and any(not isinstance(one.access, str) for one in tried):
        command = (
            f"openssl s_client -connect {LOOPBACK}:{endpoint.port} -tls1_1 </dev/null 2>&1 | grep -iE 'alert|protocol'"
        )
        rows += [(f"TLS of {where}", "tls-cipher-suites", [*_tls(endpoint, tried, now)], command, kind.tls_controls)]
    for subject, name, found, command, controls in rows:
        configured = node.arguments(kind.component).get(name) if kind.component else None
        status = min((own for own, _ in found), key=WORST_FIRST.index, default=UNKNOWN)
        yield Effect(
            subject=subject,
            configured=f"--{name}={configured.value}" if configured else "default",
            status=status,
            observed=", ".join(dict.fromkeys(text for own, text in found if own is status)),
            command=command,
            controls=controls,
            steps=(Run(f"sudo systemctl restart {node.facts.service}"),),
        )


def _access(endpoint: Endpoint, tried: Sequence[Tried]) -> Iterator[tuple[ControlStatus, str]]:
    kind = endpoint.kind
    for one in tried:
        is_far = one.address != LOOPBACK
        if isinstance(one.access, str):
            is_expected = one.access == CLOSED and (is_far or not kind.refusals or kind is _ETCD)
            yield PASS if is_expected else UNKNOWN, f"{one.address}: {one.access}"
        elif one.access[0] >= _SERVER_ERROR:
            yield UNKNOWN, f"{one.address}: {one.access[0]}"
        elif one.access[0] not in kind.refusals:
            yield FAIL, f"{one.address}:{endpoint.port}{kind.path} answered {one.access[0]} without a credential"
        elif endpoint.on_loopback and is_far:
            yield FAIL, f"it is reachable at {one.address}"
        else:
            yield PASS, f"{one.access[0] or 'refused'} at {one.address}"


def _tls(endpoint: Endpoint, tried: Sequence[Tried], now: str) -> Iterator[tuple[ControlStatus, str]]:
    names = {number: name for name, number in SUITES.items()}
    for one in tried:
        if isinstance(one.access, str):
            continue
        tests = {"TLS 1.1": one.old_version, "a suite outside of the list": one.suite}
        for what, answer in [*tests.items()][: 2 if endpoint.forbidden else 1]:
            if isinstance(answer, str):
                yield UNKNOWN, f"{what} at {one.address}: {answer}"
            elif answer[0]:
                yield FAIL, f"{what} is accepted at {one.address} ({names.get(answer[1], hex(answer[1]))})"
            else:
                yield PASS, f"{what} is refused at {one.address}"
        until = validity(one.access[1])[1]
        if until:
            yield FAIL if until <= now else PASS, f"its certificate is valid until {until}"
        if any(name in one.access[1] for name in _SHA1):
            yield FAIL, "its certificate is signed with SHA-1"


NOT_STARTED, ABORTED = "Skipping network policy controller start", "Aborting sync. Failed to run iptables-restore"
"""What K3s logs if it enforces no policies at all (k3s, pkg/agent/netpol), or not their last changes (kube-router)."""
_FORWARD, _ENTRY, _OF_POD, _OF_POLICY = "FORWARD", "KUBE-ROUTER-FORWARD", "KUBE-POD-FW-", "KUBE-NWPLCY-"
_FIRST = (_ENTRY, "ACCEPT")
_RUN_THROUGH = "run through nw policy "
_OTHERS = {"calico-node": "Calico", "canal": "Canal", "cilium": "Cilium"}
"""Labels k8s-app of the pods of other network plugins that enforce policies."""
_MOST_NAMED = 3
_COMMAND = "sudo iptables-save -t filter | grep -E 'KUBE-(ROUTER-FORWARD|POD-FW|NWPLCY)'"


class NodeNetwork(Value):
    """What a node has for the enforcement of NetworkPolicies."""

    problem: str = ""
    """Why something of it could not be read; empty if all was."""
    rules: Mapping[int, Sequence[FilterRule]] = {}
    """By family of addresses: 4 or 6."""
    pods: tuple[NetworkPod, ...] = ()
    """Those of this node."""
    policies: tuple[NetworkPolicy, ...] = ()
    logged: tuple[str, ...] = ()
    """The lines of K3s' log of this start with one of the messages above."""


def network_policy_effect(facts: HostFacts, network: NodeNetwork) -> Effect:
    """Return whether each policy that selects a pod of this node is enforced for it."""
    is_off = facts.merged_config.boolean("disable-network-policy")
    configured = "disable-network-policy is set" if is_off else "K3s' controller enforces them"
    logged = next((line for line in network.logged if NOT_STARTED in line), "")
    apps = {pod.labels.get("k8s-app", "") for pod in network.pods}
    others = [name for label, name in _OTHERS.items() if label in apps]
    missing = () if is_off or network.problem else tuple(unenforced(network.rules, network.pods, network.policies))
    selected = sum(bool(_selecting(pod, network.policies)) for pod in network.pods)
    status, found = PASS, f"the kernel has the rules of all policies for {selected} pods of this node"
    if logged and not is_off:
        status, found = FAIL, f"K3s runs without its network policy controller: {logged}"
    elif others:
        status, found = UNKNOWN, f"pods of {' and '.join(others)} run on this node, whose rules are not read"
    elif is_off:
        status, found = UNKNOWN, "no pod of a known network plugin runs on this node"
    elif network.problem:
        status, found = UNKNOWN, network.problem
    elif not selected:
        status, found = UNKNOWN, "no policy selects a pod of this node, so there is nothing to enforce"
    elif missing:
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        status, found = FAIL, f"{'; '.join(missing[:_MOST_NAMED])}{more}"
        aborted = next((line for line in network.logged if ABORTED in line), "")
        found += f"; K3s logged: {aborted}" if aborted else ""
    return Effect(
        subject="NetworkPolicies on this node",
        configured=configured,
        status=status,
        observed=found,
        command=_COMMAND,
        controls=("cni-network-policies",),
        steps=(
            Run("sudo modprobe --all ip_set ip_set_hash_ip ip_set_hash_net xt_set"),
            Run(f"sudo systemctl restart {facts.service}"),
        ),
    )


def _selecting(pod: NetworkPod, policies: Sequence[NetworkPolicy]) -> list[NetworkPolicy]:
    if pod.host_network or pod.is_over or not pod.addresses:
        return []
    return [own for own in policies if own.namespace == pod.namespace and selects(own.selector, pod.labels)]


def unenforced(
    rules: Mapping[int, Sequence[FilterRule]], pods: Sequence[NetworkPod], policies: Sequence[NetworkPolicy]
) -> Iterator[str]:
    """Yield what the rules of kube-router lack, for each pod and policy (kube-router, pkg/controllers/netpol).

    The names of its chains contain a hash that changes with each synchronization, so comments and jumps are compared.
    A set need not be looked at: the kernel refuses to remove one that a rule names.
    """
    for family, all_rules in rules.items():
        by_chain: dict[str, list[FilterRule]] = {}
        for rule in all_rules:
            by_chain.setdefault(rule.chain, []).append(rule)
        # Packets reach kube-router's rules only if no rule before them accepts all.
        first = [rule.target for rule in by_chain.get(_FORWARD, ()) if rule.is_for_all and rule.target in _FIRST][:1]
        for pod in pods:
            applied = _selecting(pod, policies)
            for address in pod.addresses:
                if applied and (6 if ":" in address else 4) == family:
                    if first != [_ENTRY]:
                        yield f"traffic to pods does not pass {_ENTRY} (IPv{family})"
                        return
                    yield from _of_pod(by_chain, pod, address, applied)


def _of_pod(
    by_chain: Mapping[str, Sequence[FilterRule]], pod: NetworkPod, address: str, policies: Sequence[NetworkPolicy]
) -> Iterator[str]:
    name = f"pod {pod.namespace}/{pod.name}"
    tops = (rule for chain in (_ENTRY, _FORWARD) for rule in by_chain.get(chain, ()))
    # Those with more conditions are about the traffic of a bridge only.
    jumps = [rule for rule in tops if rule.target.startswith(_OF_POD) and not rule.conditions]
    for kind in sorted({kind for policy in policies for kind in policy.types}):
        where = "destination" if kind == "Ingress" else "source"
        chains = {rule.target for rule in jumps if getattr(rule, where) == address}
        if not chains:
            yield f"{name} ({address}) has no rule for {kind.lower()}"
        for chain in chains:
            inside = by_chain.get(chain, ())
            passed = {rule.comment for rule in inside if rule.target.startswith(_OF_POLICY)}
            for policy in policies:
                if kind in policy.types and f"{_RUN_THROUGH}{policy.name}" not in passed:
                    yield f"{name} does not pass NetworkPolicy {policy.namespace}/{policy.name} for {kind.lower()}"
            if not any(rule.target in ("REJECT", "DROP") for rule in inside):
                yield f"{name} has no rule that rejects what no policy admits"


ADDON = "/apis/k3s.cattle.io/v1/namespaces/kube-system/addons/policy"
"""The object in which K3s keeps the SHA-256 of the policy.yaml that it applied last (k3s, pkg/deploy/controller.go)."""
_APPLY_POLICIES = (RunVerb("apply"),)
_SAME_SETTINGS = Decide(
    "Which settings are those of the cluster?",
    (
        Choice("Those of this server", "copy them to the other servers, and run it there", _APPLY_POLICIES),
        Choice("Those of another server", "copy them to this server", _APPLY_POLICIES),
    ),
)


def addon_effect(path: PurePosixPath, content: bytes, applied: str) -> Effect:
    """Return whether K3s applied this content last; `applied` is the digest in its Addon."""
    is_own = sha256(content).hexdigest() == applied
    observed = "the cluster has the policies of this server" if is_own else "the cluster has those of another server"
    return Effect(
        subject=f"Policies of {path.name}",
        configured=str(path),
        status=PASS if is_own else FAIL,
        observed=f"{observed}: {path} and the Addon kube-system/policy {'agree' if is_own else 'have other digests'}",
        command=f"sudo k3s kubectl get addon policy --namespace=kube-system --output=yaml; sha256sum {path}",
        controls=("cni-network-policies", "namespaces-network-policies"),
        steps=(_SAME_SETTINGS,),
    )


def must_log(node: AssessedNode, request: str) -> bool:
    """Return whether the audit policy demands an event of a request, such as "list secrets"."""
    policy = node.arguments(Component.API_SERVER).get(AUDIT_POLICY_ARGUMENT)
    path = PurePosixPath(policy.value if policy else "")
    try:
        gaps = audit_gaps(node.situation.k3s_files.contents.get(path) or b"", path)
    except InputError:
        return False
    return all(gap.requests != request for gap in gaps)


def audit_effects(
    node: AssessedNode, log: PurePosixPath, seen: tuple[ControlStatus, str], written: int, free: int | None
) -> Iterator[Effect]:
    """Yield whether a request of this program is in the audit log, and whether its files fit on the file system.

    `written` is the size of all of them now, and `free` what is left there, in bytes; None if that is not known.
    """
    place, directory = quote(str(log)), quote(str(log.parent))
    yield Effect(
        subject="Requests in the audit log",
        configured=f"--audit-log-path={log}",
        status=seen[0],
        observed=seen[1],
        command=f"sudo ls -lL {place}; sudo tail -n 1 {place}",
        controls=("audit-log-path", "audit-policy-file"),
        steps=(Run(f"sudo ls -l {place}"), Run(f"sudo systemctl restart {node.facts.service}")),
    )
    given = [node.arguments(Component.API_SERVER).get(f"audit-log-{name}") for name in ("maxsize", "maxbackup")]
    size, backups = (int(found.value) if found and found.value.isdigit() else 0 for found in given)
    if free is not None and size and backups:
        largest = (size << 20) * (backups + 1)
        is_fitting = largest - written <= free
        yield Effect(
            subject="Size of the audit log",
            configured=f"{backups + 1} files of {size} MiB",
            status=PASS if is_fitting else FAIL,
            observed=f"{written >> 20} of {largest >> 20} MiB are written, and {free >> 20} MiB are free",
            command=f"sudo du -ch {directory}; df -h {directory}",
            controls=("audit-log-maxsize",),
            steps=(Run(f"df -h {directory}"), Run(f"sudo du -xh --max-depth=2 {directory} | sort -h | tail")),
        )
