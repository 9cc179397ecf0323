"""Which arguments each component of Kubernetes ends up with, and where each of them is given. Pure.

K3s hands every component arguments of its own. An operator's argument replaces K3s' of the same name; with `+=` it
comes after it, with `-=` before it (k3s, pkg/util/args.go). Of an argument that is given several times a component
takes the last value, or adds them up.

The kubelet reads configuration files, too, and any argument wins over all of them (kubernetes,
cmd/kubelet/app/server.go).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from agent.k3s import default_arguments as k3s_defaults
from agent.k3s.config import component_argument
from agent.k3s.default_arguments import FIRST_WITH_KUBELET_FILES, KUBELET_DEFAULTS_FILE, Channel, Needs
from agent.k3s.kubelet_configuration import FEATURE_GATES, KUBELET_FIELDS, KubeletConfiguration, as_field
from agent.model import NEWEST_KNOWN, OLDEST_COVERED, Component, Role, Version
from agent.node.datastore import Datastore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agent.k3s.default_arguments import Default
    from agent.model import Location
    from agent.node.facts import HostFacts


class GivenBy(str, Enum):
    """Who set a value."""

    OPERATOR = "operator"
    """K3s' configuration, as everybody but this program wrote it."""
    DROPIN = "k3s-harden"
    """This program's own part of K3s' configuration."""
    KUBELET_FILE = "kubelet configuration"
    """A file that the kubelet reads, whoever wrote it, except K3s' own."""
    K3S = "K3s"
    """K3s itself, in this version and configuration."""

    def __str__(self) -> str:
        return self.value


class Given(NamedTuple):
    """One value of an argument. `where` is `path:line`, or K3s' version and the upstream source that says so.

    `written` is how it is put there, "" for `--name=value`: as an option of K3s' own, or as a field of a file.
    """

    value: str
    by: GivenBy
    where: str
    written: str = ""


class Argument(NamedTuple):
    """An argument that a component has in the end.

    `given` are the values that count, in order: more than one only where the component adds them up. `value` is all of
    them together, joined by commas; of feature gates the last word on each. `overruled` are values that others won
    over, the weakest first.
    """

    name: str
    value: str
    given: tuple[Given, ...]
    overruled: tuple[Given, ...] = ()


class Doubt(NamedTuple):
    """Why an argument cannot be told, as a sentence.

    `where` is the place that it is about, and `what` what stands there; `look` is what a person reads to tell. "" for
    none.
    """

    reason: str
    what: str = ""
    where: str = ""
    look: str = ""


class Arguments(NamedTuple):
    """What a component is told, by the names of its arguments without dashes.

    `doubts` has, by name, why an argument, given or not, cannot be told for sure; under "" why none can.
    """

    component: Component
    found: Mapping[str, Argument]
    doubts: Mapping[str, Doubt]

    def get(self, name: str) -> Argument | None:
        """The argument of this name; None where it is not given, so that the component's own default counts."""
        return self.found.get(name)

    def doubt(self, name: str) -> Doubt | None:
        """Why nothing can be said of this argument, be it in `found` or not; None where it can."""
        return self.doubts.get("") or self.doubts.get(name)


ADDS_UP = {
    Component.API_SERVER: frozenset(
        {
            "api-audiences",
            "authorization-mode",
            "disable-admission-plugins",
            "enable-admission-plugins",
            FEATURE_GATES,
            "service-account-issuer",
            "service-account-key-file",
            "tls-cipher-suites",
        }
    ),
    Component.CONTROLLER_MANAGER: frozenset({"controllers", FEATURE_GATES, "tls-cipher-suites"}),
    Component.SCHEDULER: frozenset({FEATURE_GATES, "tls-cipher-suites"}),
    Component.KUBELET: frozenset({FEATURE_GATES, "tls-cipher-suites"}),
    Component.KUBE_PROXY: frozenset({FEATURE_GATES}),
}
"""Arguments that a component takes several times and adds up (pflag's StringSlice and StringArray, and MapStringBool).

Of any other argument the last value counts.
"""


ETCD_FILES = {
    "etcd-cafile": "datastore-cafile",
    "etcd-certfile": "datastore-certfile",
    "etcd-keyfile": "datastore-keyfile",
}
"""The API server's arguments for etcd, with K3s' own options that become them where etcd is none of K3s'."""

_ENCRYPT = "secrets-encryption"
_PROTECT = "protect-kernel-defaults"
_SWITCHES = {
    Component.API_SERVER: "disable-apiserver",
    Component.CONTROLLER_MANAGER: "disable-controller-manager",
    Component.SCHEDULER: "disable-scheduler",
    Component.KUBELET: "disable-agent",
    Component.KUBE_PROXY: "disable-kube-proxy",
}
_RULED_BY_A_FILE = {
    Component.KUBE_PROXY: ("", "`metricsBindAddress`, which has to be unset or on 127.0.0.1 or [::1],"),
    Component.SCHEDULER: ("profiling", "`enableProfiling`, which has to be there as false,"),
}
"""What a component ignores where `config` names a file, "" for all arguments that are asked for, and what the file has.

(kubernetes, cmd/kube-proxy/app/options.go and cmd/kube-scheduler/app/options/deprecated.go)
"""

_ON_SERVERS = (Component.API_SERVER, Component.CONTROLLER_MANAGER, Component.SCHEDULER)
_NEWEST_PATCH = 99
_DATA_DIR = "{data_dir}"


def not_run(component: Component, facts: HostFacts) -> str:
    """Why K3s does not run this component on this host, as a sentence; empty where it does, or may."""
    if facts.role is Role.AGENT:
        return f"an agent runs no {component}" if component in _ON_SERVERS else ""
    for key in dict.fromkeys((_SWITCHES[component], *(() if component in _ON_SERVERS else ("disable-agent",)))):
        found = facts.merged_config.scalar(key)
        if found is not None and facts.merged_config.boolean(key):
            return f"`{key}` at {found[1]} keeps K3s from running {component} here"
    return ""


def effective(component: Component, facts: HostFacts, kubelet: KubeletConfiguration | None = None) -> Arguments:
    """What a component is told on this host; `kubelet` is what the kubelet reads, and of no use to the others.

    Has the arguments that K3s' configuration gives and those of k3s_defaults.DEFAULTS; other arguments that K3s sets
    are not in it.
    """
    if component is not Component.KUBELET:
        return _component(component, facts)
    return _kubelet(facts, kubelet or KubeletConfiguration(problem="the kubelet's files were not looked at"))


def by_k3s(component: Component, name: str, facts: HostFacts) -> Given | None:
    """What K3s itself gives for an argument where the operator leaves it alone; None where it gives none."""
    return next((_default(row, facts) for row in _in_force(component, facts) if row.name == name), None)


def option_behind(component: Component, name: str, facts: HostFacts) -> Given | None:
    """The option of K3s' own that has it give an argument, as it is set; None where no option decides that."""
    if all(row.needs is not Needs.SECRETS_ENCRYPTION for row in k3s_defaults.of(component) if row.name == name):
        return None
    found = facts.merged_config.scalar(_ENCRYPT)
    return _by_operator(*found, facts)._replace(written=f"{_ENCRYPT}: {found[0]}") if found else None


def _component(component: Component, facts: HostFacts) -> Arguments:
    found = {
        name: _combined(component, name, values) for name, values in _on_the_command_line(component, facts).items()
    }
    return Arguments(component, found, _doubts(component, facts, found))


def _kubelet(facts: HostFacts, kubelet: KubeletConfiguration) -> Arguments:
    arguments = _on_the_command_line(Component.KUBELET, facts)
    in_files = _in_files(facts, kubelet)
    found = {}
    for name in (*arguments, *(name for name in in_files if name not in arguments)):
        values, lost = in_files.get(name, ((), ()))
        if name in arguments and name != FEATURE_GATES:
            argument = _combined(Component.KUBELET, name, arguments[name])
            found[name] = argument._replace(overruled=(*lost, *values, *argument.overruled))
        elif values or name in arguments:
            argument = _combined(Component.KUBELET, name, (*values, *arguments.get(name, ())))
            found[name] = argument._replace(overruled=(*lost, *argument.overruled))
    doubts = _doubts(Component.KUBELET, facts, found)
    unread = Doubt(kubelet.problem) if kubelet.problem else None
    for file in kubelet.files:
        if file.problem and unread is None:
            unread = Doubt(file.problem, "cannot be read", str(file.path))
    if unread is not None:
        for name in KUBELET_FIELDS:
            if name == FEATURE_GATES or name not in arguments:
                doubts.setdefault(name, unread)
    return Arguments(Component.KUBELET, found, doubts)


def _on_the_command_line(component: Component, facts: HostFacts) -> dict[str, tuple[Given, ...]]:
    """All values of each argument in the order that K3s hands them on."""
    key = component.config_key
    defaults = {
        row.name: _default(row, facts) for row in _in_force(component, facts) if row.channel is Channel.ARGUMENT
    }
    if component is Component.API_SERVER:
        defaults.update(_of_an_external_etcd(facts))
    if component is Component.KUBELET and facts.version.minor < FIRST_WITH_KUBELET_FILES:
        option = _own_option(facts)
        defaults.update({_PROTECT: option} if option else {})
    found: dict[str, tuple[Given, ...]] = {}
    for name, values in facts.merged_config.component_arguments(key).items():
        given = tuple(_by_operator(value, source, facts) for value, source in values)
        if name in defaults and facts.merged_config.keeps_default(key, name):
            arguments = (component_argument(text) for text, _ in facts.merged_config.items(key))
            first = sum(one.name == name and one.form == "-" for one in arguments)
            given = (*given[:first], defaults[name], *given[first:])
        found[name] = given
    return {**{name: (default,) for name, default in defaults.items()}, **found}


def _in_files(
    facts: HostFacts, kubelet: KubeletConfiguration
) -> dict[str, tuple[tuple[Given, ...], tuple[Given, ...]]]:
    """By name: the values that the kubelet's files give, and those that lost to them."""
    found: dict[str, tuple[tuple[Given, ...], tuple[Given, ...]]] = {}
    for name, given in _fields_in_order(facts, kubelet):
        values, lost = found.get(name, ((), ()))
        if name == FEATURE_GATES and given is not None:
            found[name] = ((*values, given), lost)  # a mapping is merged key by key
        else:
            found[name] = ((given,) if given else (), (*lost, *values))
    return found


def _fields_in_order(facts: HostFacts, kubelet: KubeletConfiguration) -> Iterator[tuple[str, Given | None]]:
    """Each field that is set, from the weakest to the strongest; None takes the earlier ones back."""
    rows = tuple(_in_force(Component.KUBELET, facts))
    yield from ((row.name, _default(row, facts)) for row in rows if row.channel is Channel.BUILT_IN)
    own = facts.data_dir / KUBELET_DEFAULTS_FILE
    if all(file.path != own for file in kubelet.files):
        yield from ((row.name, _default(row, facts)) for row in rows if row.channel is Channel.KUBELET_FILE)
        option = _own_option(facts)
        if option and facts.version.minor >= FIRST_WITH_KUBELET_FILES:
            yield _PROTECT, option
    for file in kubelet.files:
        by = GivenBy.K3S if file.path == own else GivenBy.KUBELET_FILE
        for name, (value, line) in file.settings.items():
            given = None if value is None else Given(value, by, f"{file.path}:{line}", as_field(name, value))
            yield name, given
        if file.path == own:
            # K3s writes this file anew at its next start, and then what its option says.
            yield _PROTECT, _own_option(facts)


def datastore_address(facts: HostFacts) -> Given | None:
    """The address of an external datastore, without what is secret in it: `mysql://(not shown)`; None without one."""
    return _datastore_option("datastore-endpoint", facts)


def is_etcd(address: Given) -> bool | None:
    """Whether a datastore's address is that of an etcd (kine, pkg/endpoint/endpoint.go); None where it says not."""
    scheme, separator, _ = address.value.partition("://")
    return scheme in {"http", "https"} if separator else None


def _of_an_external_etcd(facts: HostFacts) -> Iterator[tuple[str, Given]]:
    """What K3s hands on to the API server of its own options for an etcd that it does not run itself."""
    address = datastore_address(facts)
    if address is not None and is_etcd(address):
        for name, key in ETCD_FILES.items():
            given = _datastore_option(key, facts)
            if given is not None and given.value:
                yield name, given


def _datastore_option(key: str, facts: HostFacts) -> Given | None:
    found = facts.merged_config.scalar(key)
    if found is None or not found.text:
        return None
    return _by_operator(*found, facts)._replace(written=f"{key}: {found.text}")


def _own_option(facts: HostFacts) -> Given | None:
    """K3s' own option for what is an argument of the kubelet, too."""
    found = facts.merged_config.scalar(_PROTECT)
    return _by_operator(*found, facts)._replace(written=f"{_PROTECT}: {found[0]}") if found else None


def _combined(component: Component, name: str, values: tuple[Given, ...]) -> Argument:
    if name == FEATURE_GATES:
        pairs = [pair.strip().partition("=") for given in values for pair in given.value.split(",") if pair.strip()]
        # Newer components take `component:gate=…`, and their own gates without it.
        gates = {gate.removeprefix("kube:"): on for gate, _, on in pairs}
        return Argument(name, ",".join(f"{gate}={on}" for gate, on in gates.items()), values)
    if name in ADDS_UP[component]:
        return Argument(name, ",".join(given.value for given in values), values)
    return Argument(name, values[-1].value, values[-1:], values[:-1])


def _in_force(component: Component, facts: HostFacts) -> Iterator[Default]:
    return (row for row in k3s_defaults.of(component) if row.in_version(facts.version) and _is_met(row.needs, facts))


def _is_met(need: Needs | None, facts: HostFacts) -> bool:
    match need:
        case None:
            return True
        case Needs.ETCD:
            return _runs_etcd(facts)
        case Needs.SECRETS_ENCRYPTION:
            return facts.merged_config.boolean(_ENCRYPT) is True
        case Needs.PROTECT_KERNEL_DEFAULTS:
            return facts.merged_config.boolean(_PROTECT) is True
        case Needs.NO_AUTHENTICATION_CONFIG | Needs.NO_AUTHORIZATION_CONFIG:
            return _names_a_file(need, facts) is None


def _runs_etcd(facts: HostFacts) -> bool:
    """Whether K3s' datastore is its own etcd, or will be once it has started."""
    match facts.datastore:
        case Datastore.ETCD:
            return True
        case Datastore.EXTERNAL:
            return False
        case Datastore.SQLITE:
            # K3s takes its data over into etcd.
            return facts.merged_config.boolean("cluster-init") is True
        case Datastore.NONE:
            return facts.joins_a_cluster or facts.merged_config.boolean("cluster-init") is True


def _names_a_file(need: Needs, facts: HostFacts) -> tuple[str, str, Location] | None:
    """The operator's argument with a file that takes the place of one of K3s', and where; None where there is none."""
    name = "authentication-config" if need is Needs.NO_AUTHENTICATION_CONFIG else "authorization-config"
    values = facts.merged_config.component_arguments(Component.API_SERVER.config_key).get(name, ())
    return next(((name, value, source) for value, source in values if value), None)


def _default(row: Default, facts: HostFacts) -> Given:
    value = row.value.replace(_DATA_DIR, str(facts.data_dir))
    value = value.replace("{loopback}", _loopback(facts)).replace("{apiserver_port}", _api_server_port(facts))
    assumed = "" if facts.version_is_known else ", assumed"
    return Given(value, GivenBy.K3S, f"K3s {facts.version}{assumed} ({row.source})")


def _loopback(facts: HostFacts) -> str:
    """The address of K3s' Loopback(): that of IPv6 where services have no other (k3s, pkg/daemons/config/types.go)."""
    services = facts.merged_config.scalar("service-cidr") or facts.merged_config.scalar("node-ip")
    return "::1" if services and all(":" in one for one in services[0].split(",")) else "127.0.0.1"


def _api_server_port(facts: HostFacts) -> str:
    """The port after that of the supervisor, which hands connections on to it (k3s, pkg/daemons/control/server.go)."""
    own = facts.merged_config.scalar("apiserver-port")
    if own and own[0].isdecimal() and own[0] != "0":
        return own[0]
    supervisor = facts.merged_config.scalar("https-listen-port")
    is_number = supervisor is not None and supervisor[0].isdecimal() and len(supervisor[0]) <= len("65535")
    return str(int(supervisor[0]) + 1) if supervisor and is_number else "6444"


def _by_operator(value: str, source: Location, facts: HostFacts) -> Given:
    ours = source.path == facts.dropin_path
    return Given(value, GivenBy.DROPIN if ours else GivenBy.OPERATOR, str(source))


def _doubts(component: Component, facts: HostFacts, found: Mapping[str, Argument]) -> dict[str, Doubt]:
    doubts: dict[str, Doubt] = {}
    problems = facts.merged_config.startup_problems(facts.role)
    if problems:
        problem = problems[0]
        reason = f"K3s would not start with its configuration: {problem.message}"
        doubts[""] = Doubt(reason, problem.problem, str(problem.location))
    elif facts.configuration.unfit:
        error = facts.configuration.unfit[0]
        doubts[""] = Doubt(error.message, error.problem, str(error.location))
    elif facts.configuration.broken_links:
        link = facts.configuration.broken_links[0]
        reason = f"K3s ignores its configuration files because {link} is a symbolic link to a missing file"
        doubts[""] = Doubt(reason, "symbolic link to a missing file", str(link))
    elif facts.configuration.unreadable:
        doubts[""] = Doubt(facts.configuration.unreadable[0])
    rows = tuple(k3s_defaults.of(component))
    guesses = {_default(row, facts) for row in rows}
    for name in dict.fromkeys(row.name for row in rows):
        argument = found.get(name)
        if argument is None or not guesses.isdisjoint(argument.given):
            reason = _version_doubt([row for row in rows if row.name == name], facts)
            doubts.update({name: Doubt(reason)} if reason else {})
    if component in _RULED_BY_A_FILE and "config" in found:
        name, look = _RULED_BY_A_FILE[component]
        given = found["config"].given[-1]
        doubts.setdefault(name, _decided_by("config", given.value, given.where, look))
    if component is Component.API_SERVER:
        doubts.update({name: doubt for name, doubt in _api_server_doubts(facts) if name not in found})
    return doubts


def _decided_by(argument: str, file: str, where: str, look: str) -> Doubt:
    reason = f"the file that is named at {where} decides it, and its content is not judged"
    return Doubt(reason, f"--{argument}={file}", where, f"read {look} in {file}")


def _version_doubt(rows: Iterable[Default], facts: HostFacts) -> str:
    """Why K3s' own value for one argument cannot be told from what is known of its version; empty where it can."""
    rows = [row for row in rows if _is_met(row.needs, facts)]
    if not facts.version_is_known:
        minors = range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1)
        asked = [Version(1, minor, patch) for minor in minors for patch in (0, _NEWEST_PATCH)]
        doubt = "it depends on K3s' version, which is not known; say --k3s-version"
    elif facts.version.patch == 0 and not facts.version.build:
        asked = [facts.version, facts.version._replace(patch=_NEWEST_PATCH)]
        example = facts.version._replace(patch=1, build="+k3s1")
        doubt = f"it depends on the patch release of K3s, which is not known; say it in full, as in {example}"
    else:
        return ""
    # Where K3s only renamed a file of its own, the argument is there all the same.
    kinds = [
        {"a file" if row.value.startswith(_DATA_DIR) else row.value for row in rows if row.in_version(version)}
        for version in asked
    ]
    return doubt if any(kind != kinds[0] for kind in kinds) else ""


def _api_server_doubts(facts: HostFacts) -> Iterator[tuple[str, Doubt]]:
    for name, need, look in (
        (
            "anonymous-auth",
            Needs.NO_AUTHENTICATION_CONFIG,
            "`anonymous`, which has to be there with `enabled: false`,",
        ),
        (
            "authorization-mode",
            Needs.NO_AUTHORIZATION_CONFIG,
            "the `type` of each of `authorizers`, of which Node and RBAC have to be there and AlwaysAllow must not,",
        ),
    ):
        found = _names_a_file(need, facts)
        if found is not None:
            argument, file, source = found
            yield name, _decided_by(argument, file, str(source), look)
    address = datastore_address(facts)
    if facts.datastore is Datastore.EXTERNAL and (address is None or is_etcd(address) is None):
        reason = "K3s hands it on if the external datastore is etcd, which its address does not tell"
        where = address.where if address else ""
        for name in ETCD_FILES:
            yield name, Doubt(reason, "datastore-endpoint" if where else "", where)
