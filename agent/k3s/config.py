"""K3s' configuration: config.yaml, its drop-ins and the command line, merged by K3s' own rules; and our part written.

K3s makes one list of flags of its files, the main file first and then the drop-ins by name, and puts the command
line's flags behind it (k3s, pkg/configfilearg/parser.go). In the files, `key:` replaces what earlier files had for the
key, and `key+:` appends to it. In the list, a flag with one value keeps its last, and one with many adds up.

Secrets never get beyond merge(): their text is replaced before it is kept, so nothing can print it. So is what looks
like one of K3s' tokens, under whichever key it stands.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agent import yaml_reader
from agent.errors import InputError
from agent.k3s.go_values import FALSE, TRUE
from agent.model import Location
from agent.yaml_reader import resolve, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import PurePosixPath

    from agent.yaml_reader import Entry, Node, Scalar


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALIASES = {
    "c": "config",
    "d": "data-dir",
    "i": "node-ip",
    "kube-cloud-controller-arg": "kube-cloud-controller-manager-arg",
    "kube-controller-arg": "kube-controller-manager-arg",
    "l": "log",
    "o": "write-kubeconfig",
    "s": "server",
    "t": "token",
}
"""Short and old names of flags, which K3s takes for the long ones (k3s, pkg/cli/cmds)."""

AGENT_KEYS = _words(
    """
    airgap-extra-registry alsologtostderr bind-address cluster-secret config container-runtime-endpoint data-dir debug
    default-runtime disable-apiserver-lb disable-default-registry-endpoint disable-selinux docker enable-pprof
    flannel-cni-conf flannel-conf flannel-iface image-credential-provider-bin-dir image-credential-provider-config
    image-service-endpoint kube-proxy-arg kubelet-arg lb-server-port log no-flannel node-external-dns node-external-ip
    node-internal-dns node-ip node-label node-name node-taint nonroot-devices pause-image prefer-bundled-bin
    private-registry protect-kernel-defaults resolv-conf rootless selinux server snapshotter token token-file v vmodule
    vpn-auth vpn-auth-file with-node-id
    """
)
"""What `k3s agent` takes in some version from 1.23 on (k3s, pkg/cli/cmds/agent.go). It exits at any other key."""

SERVER_ONLY_KEYS = _words(
    """
    advertise-address advertise-port agent-token agent-token-file apiserver-bind-address apiserver-port cluster-cidr
    cluster-dns cluster-domain cluster-init cluster-reset cluster-reset-restore-path datastore-cafile datastore-certfile
    datastore-endpoint datastore-keyfile default-local-storage-path disable disable-agent disable-apiserver
    disable-cloud-controller disable-controller-manager disable-etcd disable-helm-controller disable-kube-proxy
    disable-network-policy disable-scheduler egress-selector-mode embedded-registry etcd-arg etcd-disable-snapshots
    etcd-expose-metrics etcd-s3 etcd-s3-access-key etcd-s3-bucket etcd-s3-bucket-lookup-type etcd-s3-config-secret
    etcd-s3-endpoint etcd-s3-endpoint-ca etcd-s3-folder etcd-s3-insecure etcd-s3-proxy etcd-s3-region
    etcd-s3-retention etcd-s3-secret-key etcd-s3-session-token etcd-s3-skip-ssl-verify etcd-s3-timeout
    etcd-snapshot-compress etcd-snapshot-dir etcd-snapshot-name etcd-snapshot-reconcile-interval
    etcd-snapshot-retention etcd-snapshot-schedule-cron flannel-backend flannel-external-ip flannel-ipv6-masq
    helm-job-image https-listen-port kine-tls kube-apiserver-arg kube-cloud-controller-manager-arg
    kube-controller-manager-arg kube-scheduler-arg no-deploy secrets-encryption secrets-encryption-provider
    service-cidr service-node-port-range servicelb-namespace supervisor-metrics supervisor-port
    system-default-registry tls-san tls-san-security write-kubeconfig write-kubeconfig-group write-kubeconfig-mode
    """
)
"""What `k3s server` takes in some version from 1.23 on and `k3s agent` in none (k3s, pkg/cli/cmds/server.go)."""

SECRET_KEYS = _words(
    """
    agent-token cluster-secret datastore-endpoint etcd-s3-access-key etcd-s3-proxy etcd-s3-secret-key
    etcd-s3-session-token token vpn-auth
    """
)
"""Keys whose values are, or can hold, a password or a token."""

HIDDEN = "(not shown)"
"""What stands for the value of a secret."""

_DATASTORES = tuple(f"{name}://" for name in ("http", "https", "mysql", "nats", "postgres", "postgresql", "sqlite"))
"""The schemes of a datastore's address (kine, pkg/drivers), which tell its kind and no secret."""

_TOKEN = re.compile(r"K10[0-9a-f]+::\S*", re.ASCII | re.IGNORECASE)
"""A token with the hash of the cluster's certificate authority in front (k3s, pkg/clientaccess/token.go)."""

_SECRET_LOOK = ("token", "secret", "secret-key", "access-key", "password", "passwd")
_NO_VALUE = _words(
    """
    alsologtostderr cluster-init cluster-reset debug disable-agent disable-apiserver disable-apiserver-lb
    disable-cloud-controller disable-controller-manager disable-default-registry-endpoint disable-etcd
    disable-helm-controller disable-kube-proxy disable-network-policy disable-scheduler disable-selinux docker
    embedded-registry enable-pprof etcd-disable-snapshots etcd-expose-metrics etcd-s3 etcd-s3-insecure
    etcd-s3-skip-ssl-verify etcd-snapshot-compress flannel-external-ip flannel-ipv6-masq kine-tls no-flannel
    nonroot-devices prefer-bundled-bin protect-kernel-defaults rootless secrets-encryption selinux supervisor-metrics
    tls-san-security with-node-id
    """
)
"""Flags that are on by being there: the word after one is not its value (Go's flag package)."""

_COMPONENT = "-arg"
_PLAIN = re.compile(r"[A-Za-z/](?:[\w./=,@%+:-]*[\w./=,@%+-])?", re.ASCII)
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


class ConfigText(NamedTuple):
    """A file of K3s' configuration. It can hold the cluster's token, so it never shows its content."""

    path: PurePosixPath
    data: bytes

    def __repr__(self) -> str:
        return f"ConfigText({str(self.path)!r}, {len(self.data)} bytes)"


class Word(NamedTuple):
    """A word of a command line, and where it stands. It can be the cluster's token, so it never shows its text."""

    text: str
    source: Location

    def __repr__(self) -> str:
        return f"Word({len(self.text)} characters, {str(self.source)!r})"


class Dropped(NamedTuple):
    """A value of a list that a later file lost by repeating the key without `+`; `by` is where it did so."""

    key: str
    value: str
    source: Location
    by: Location


class Ignored(NamedTuple):
    """Something in a file that K3s passes over without a word."""

    source: Location
    what: str


class ComponentFlag(NamedTuple):
    """A flag that K3s hands a component.

    `form` is "+" where K3s' own value stays and this one comes after it, "-" where it comes before, "" where it
    takes its place.
    """

    name: str
    form: str
    value: str


class MergedConfig(NamedTuple):
    """What K3s gets to see of its files and its command line.

    `values` has each flag by its long name, with all its values in the order K3s reads them. `begins` has, by key, the
    last place in the files that gives it without `+`: what stands before it is lost. `dropped` are the values of lists
    that were lost so, `ignored` what K3s passes over, `problems` the files, and values in them, that keep
    K3s from starting; what is right in such a file counts nevertheless. `unjudged` are files that K3s may well read,
    but this program does not.
    """

    values: Mapping[str, tuple[tuple[str, Location], ...]]
    begins: Mapping[str, Location]
    dropped: tuple[Dropped, ...]
    ignored: tuple[Ignored, ...]
    problems: tuple[InputError, ...]
    unjudged: tuple[InputError, ...]

    def keys(self) -> Mapping[str, Location]:
        """The long names of all flags that are given, each with where its last value stands."""
        return {key: values[-1][1] for key, values in self.values.items() if values}

    def scalar(self, key: str) -> tuple[str, Location] | None:
        """The value of a flag that takes one: the last that is given. The text is as K3s sees it: `true` for `yes`."""
        values = self.values.get(key)
        return values[-1] if values else None

    def items(self, key: str) -> tuple[tuple[str, Location], ...]:
        """All values of a flag that takes many, in order."""
        return self.values.get(key, ())

    def is_set(self, key: str) -> bool:
        """Whether a flag has a value that is not empty: all that can be asked of a secret."""
        found = self.scalar(key)
        return found is not None and found[0] != ""

    def boolean(self, key: str) -> bool | None:
        """The value of a flag that is true or false; None where it is not given, or is neither, which stops K3s."""
        found = self.scalar(key)
        return None if found is None or found[0] not in TRUE | FALSE else found[0] in TRUE

    def flags(self, key: str) -> Mapping[str, tuple[tuple[str, Location], ...]]:
        """The flags that a key such as `kube-apiserver-arg` gives a component, each with its values in K3s' order.

        Of several values the component takes the last, or adds them up, as the flag is made. What `flag-=x` gives
        comes before all others (k3s, pkg/util/args.go).
        """
        found: dict[str, list[tuple[str, Location]]] = {}
        for text, source in self.items(key):
            name, form, value = component_flag(text)
            values = found.setdefault(name, [])
            values.insert(0 if form == "-" else len(values), (value, source))
        return {name: tuple(values) for name, values in found.items()}

    def keeps_default(self, key: str, flag: str) -> bool:
        """Whether K3s' own value for a component's flag is still there: not replaced, or extended by `+=` or `-=`.

        Only the first time the flag is given decides that (k3s, pkg/util/args.go).
        """
        given = (component_flag(text) for text, _ in self.items(key))
        return next((one.form for one in given if one.name == flag), "+") != ""


def merge(files: Iterable[ConfigText], arguments: Sequence[Word] = ()) -> MergedConfig:
    """Merge the files, in the order K3s reads them, and the words after `k3s server` or `k3s agent`.

    Raises nothing: what is wrong with a file is in the result.
    """
    merger = _Merger()
    for file in files:
        merger.read(file)
    for name, text, source in merger.listed():
        merger.give(name, text, source)
    for name, text, source in _command_line(arguments):
        merger.give(name, text, source)
    return MergedConfig(
        values={key: tuple(values) for key, values in merger.given.items()},
        begins={ALIASES.get(key, key): source for key, source in merger.begins.items()},
        dropped=tuple(merger.dropped),
        ignored=tuple(merger.ignored),
        problems=tuple(merger.problems),
        unjudged=tuple(merger.unjudged),
    )


def component_flag(text: str) -> ComponentFlag:
    """Read an item of a key such as `kubelet-arg`: `flag=x`, `flag+=x`, `flag-=x`, or `flag` alone, which is `true`.

    By the rules of K3s (k3s, pkg/util/args.go), which takes dashes in front, too.
    """
    name, separator, value = text.removeprefix("--").partition("=")
    form = name[-1:] if name.endswith(("+", "-")) else ""
    return ComponentFlag(name.rstrip("+-"), form, value if separator else "true")


def has_suffix(name: str, *suffixes: str) -> bool:
    """Whether a file's name ends in one of the suffixes, in whatever case: `.YAML` counts (k3s, pkg/agent/util)."""
    return name.lower().endswith(suffixes)


def is_secret(key: str) -> bool:
    """Whether the value of a key must not be shown: a known secret, or a key that looks like one (a misspelt one)."""
    return ALIASES.get(key, key) in SECRET_KEYS or (key.rstrip().endswith(_SECRET_LOOK) and key not in SERVER_ONLY_KEYS)


def without_secrets(key: str, text: str) -> str:
    """What may be kept of a value: of a secret that there is one, and of the datastore's address the scheme."""
    if not text:
        return ""
    if ALIASES.get(key, key) == "datastore-endpoint":
        return next((scheme for scheme in _DATASTORES if text.startswith(scheme)), "") + HIDDEN
    return HIDDEN if is_secret(key) else _TOKEN.sub(HIDDEN, text)


def dropin(header: str, scalars: Mapping[str, str | bool], lists: Mapping[str, Sequence[str]]) -> bytes:
    """The text of a drop-in: `header` as comments, `key: value` for scalars, `key+:` with its items for lists.

    The same arguments give the same bytes; keys stay in the order they are given. Values keep K3s' view of them: it
    takes the spaces off both ends of each. A list without items is left out.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    lines += [
        f"{_written(key)}: {str(value).lower() if isinstance(value, bool) else _written(value)}"
        for key, value in scalars.items()
    ]
    for key, items in lists.items():
        if items:
            lines.append(f"{_written(f'{key}+')}:")
            lines += [f"  - {_written(item)}" for item in items]
    return "".join(f"{line}\n" for line in lines).encode()


class _Value(NamedTuple):
    """What the files say for one key so far. `is_list` tells a list of one from a scalar."""

    texts: list[tuple[str, Location]]
    is_list: bool

    def listed(self) -> list[tuple[str, Location]]:
        """As the list that `+` adds to: K3s' toSlice leaves out an empty scalar, and nothing else."""
        return self.texts if self.is_list or self.texts[0][0] else []


class _Merger:
    """The state of K3s' readConfigFile, and of the flags it makes."""

    __slots__ = ("begins", "dropped", "given", "ignored", "problems", "unjudged", "values")

    def __init__(self) -> None:
        self.values: dict[str, _Value] = {}
        self.given: dict[str, list[tuple[str, Location]]] = {}
        self.begins: dict[str, Location] = {}
        self.dropped: list[Dropped] = []
        self.ignored: list[Ignored] = []
        self.problems: list[InputError] = []
        self.unjudged: list[InputError] = []

    def read(self, file: ConfigText) -> None:
        try:
            documents = yaml_reader.read(file.data, file.path)
        except yaml_reader.BoundsError as error:
            self.unjudged.append(error)
            return
        except InputError as error:
            self.problems.append(error)
            return
        if not documents:
            return
        for document in documents[1:]:
            self.ignored.append(
                Ignored(Location(file.path, document.line), "K3s reads only the first document of a file")
            )
        node = documents[0].node
        if isinstance(node, yaml_reader.Mapping):
            self._mapping(node, file.path)
        elif not (isinstance(node, yaml_reader.Scalar) and node.value is None):
            self.problems.append(
                InputError(
                    Location(file.path, node.line),
                    "it is not a mapping of keys to values, as K3s' configuration must be",
                )
            )

    def listed(self) -> Iterator[tuple[str, str, Location]]:
        """The flags that K3s makes of the files: name, value and where the value stands."""
        for key, value in self.values.items():
            for text, source in value.texts:
                yield key, text, source

    def give(self, name: str, text: str, source: Location) -> None:
        key = ALIASES.get(name, name)
        self.given.setdefault(key, []).append((without_secrets(key, text), source))

    def _mapping(self, mapping: yaml_reader.Mapping, path: PurePosixPath) -> None:
        for first, again in yaml_reader.duplicates(mapping):
            if first.key != "<<" and not first.key.endswith("+"):
                what = f"`{shown(first.key)}` is in this file twice, and K3s takes it from line {again.line}"
                self.ignored.append(Ignored(Location(path, first.line), what))
        for entry in mapping.entries:
            if entry.key == "<<":
                # go-yaml merges it into the very slice that it replaces afterwards (decode.go, mappingSlice).
                self.ignored.append(Ignored(Location(path, entry.line), "K3s ignores what `<<` merges"))
            else:
                self._entry(entry, path)

    def _entry(self, entry: Entry, path: PurePosixPath) -> None:
        key = entry.key.removesuffix("+")
        new = self._value(key, entry.node, path)
        if new is None:
            return
        old = self.values.get(key)
        if old is not None and entry.key.endswith("+"):
            texts = old.listed()
            texts += new.listed()
            self.values[key] = _Value(texts, is_list=True)
            return
        if not entry.key.endswith("+"):
            self.begins[key] = Location(path, entry.line)
        if old is not None and (old.is_list or new.is_list or key.endswith(_COMPONENT)):
            still_there = {text for text, _ in new.texts}
            by = Location(path, entry.line)
            self.dropped += [Dropped(key, *one, by) for one in old.texts if one[0] not in still_there]
        self.values[key] = new

    def _value(self, key: str, node: Node, path: PurePosixPath) -> _Value | None:
        if isinstance(node, yaml_reader.Mapping):
            self._unsuitable(key, node, path, "has a mapping")
            return None
        if isinstance(node, yaml_reader.Scalar):
            return _Value([(_shown(key, node), Location(path, node.line))], is_list=False)
        texts = []
        for item in node.items:
            if isinstance(item, yaml_reader.Scalar):
                texts.append((_shown(key, item), Location(path, item.line)))
            else:
                self._unsuitable(key, item, path, "has an item that is not a single value")
        return _Value(texts, is_list=True)

    def _unsuitable(self, key: str, node: Node, path: PurePosixPath, what: str) -> None:
        hint = "quote an item that has a colon and a space in it"
        problem = f"`{shown(key)}` {what}; K3s takes a single value, or a list of them"
        self.problems.append(InputError(Location(path, node.line), problem, hint))


def _shown(key: str, scalar: Scalar) -> str:
    return without_secrets(key, _seen_by_k3s(scalar))


def _seen_by_k3s(scalar: Scalar) -> str:
    """A value as the text that K3s makes of it: Go prints what YAML made of it (k3s, pkg/configfilearg/convert.go)."""
    match scalar.value:
        case None:
            return ""
        case bool():
            return str(scalar.value).lower()
        case int():
            return str(scalar.value)
        case float():
            return repr(scalar.value).removesuffix(".0")
        case str():
            return scalar.value.strip()


def _command_line(words: Sequence[Word]) -> Iterator[tuple[str, str, Location]]:
    """The flags of a command line, one hyphen or two, by Go's rules: `--flag=x`, `--flag x`, `--switch`.

    Each with where its value stands.
    """
    rest = list(reversed(words))
    while rest:
        word, source = rest.pop()
        if word == "--":
            return
        if not word.startswith("-") or word == "-":
            continue
        name, separator, value = word.removeprefix("-").removeprefix("-").partition("=")
        if separator:
            yield name, value, source
        elif name in _NO_VALUE or not rest:
            yield name, "true", source
        else:
            yield (name, *rest.pop())


def _written(text: str) -> str:
    if _PLAIN.fullmatch(text) and resolve(text) == text:
        return text
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isascii() and character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - what each escape can hold
