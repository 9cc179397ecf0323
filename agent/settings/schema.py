"""What a site may change: /etc/k3s-harden/config.yaml and the command line, strictly read into typed values. Pure.

A field of Settings is the one place to add an option: its row says the key, how it is read, what is allowed, an example
and why it is there. Reading, checking, the command line's overrides, what `assess` suggests and
docs/reference/settings.md all follow from the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import Enum
from functools import cache
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, cast

from agent.errors import InputError, UsageError
from agent.guide.files import POD_SECURITY_ADMISSION
from agent.k3s.paths import DEFAULT_DATA_DIR
from agent.model import Applies, FileMode, Location, Role
from agent.settings.value_kinds import (
    A_PATH,
    A_VERSION,
    EVENT_RATE_LIMIT,
    OFF,
    SOME_NAMESPACES,
    SOME_WAIVERS,
    SWITCH,
    Kind,
    Refused,
    number,
    or_null,
    words,
)
from agent.yaml_reader import Entry, Mapping, Scalar, duplicates, in_words, left_in_placeholder, read, scalars, shown

if TYPE_CHECKING:
    from agent.guide.manifests import EventRateLimit
    from agent.model import Version
    from agent.settings.value_kinds import SiteWaiver
    from agent.yaml_reader import Document, Node

_LEAVE = "leave"
_EXAMPLE_WAIVERS = """
  - control: vm.overcommit_memory
    reason: the database on these nodes needs strict accounting
    expires: 2027-06-30
    role: agent
    host: db-*
  - control: cis-1.9/1.2.3
    reason: the load balancer in front of the shop needs externalIPs"""

DEFAULT_SETTINGS = PurePosixPath("/etc/k3s-harden/config.yaml")
"""Where the settings are looked for; a host without the file gets the defaults."""


class SecretsEncryption(str, Enum):
    """Whether K3s is to encrypt Secrets in its datastore; `auto` never switches it under a live one."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"
    LEAVE = "leave"

    def __str__(self) -> str:
        return self.value


class SettingRow(NamedTuple):
    """One option: its key (dots lead into mappings), its kind, why it is there, and an example of its value in YAML.

    `default` is the default in words. `applies` says on which hosts the option has any effect, and `name` is its field.
    """

    key: str
    kind: Kind
    why: str
    example: str
    default: str = ""
    applies: Applies = Applies()
    name: str = ""

    @property
    def line(self) -> str:
        """The example with its key, as one line of the settings file."""
        *sections, last = self.key.split(".")
        line = f"{last}: {self.example}"
        for section in reversed(sections):
            line = f"{section}: {{{line}}}"
        return line

    def differs_from_default(self, settings: Settings) -> bool:
        """Whether the site has chosen something else than the default."""
        return bool(getattr(settings, self.name) != getattr(Settings(), self.name))


def _row(  # noqa: PLR0913 - the parts of a SettingRow
    key: str, kind: Kind, why: str, default: str = "", *, example: str, applies: Applies = Applies()
) -> MappingProxyType[str, SettingRow]:
    """Make the metadata of a field of Settings; `default` is for one whose default says nothing by itself."""
    return MappingProxyType({"row": SettingRow(key, kind, why, example, default, applies)})


def _in_words(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case ():
            return "none"
        case _:
            return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A site's choices. None leaves a choice to what is found on the host, or to the guide's own value.

    `audit_max_age` is in days, `audit_max_size` in MiB; all paths are absolute.
    """

    role: Role | None = field(
        default=None,
        metadata=_row(
            "role",
            words({"auto": None, **{role.value: role for role in Role}}),
            "What K3s runs as here, for a host on which K3s is not installed yet.",
            "auto: the services, processes and files of this host tell",
            example="server",
        ),
    )
    k3s_version: Version | None = field(
        default=None,
        metadata=_row(
            "k3s-version",
            A_VERSION,
            "The version that K3s has or will have here; what the guide asks depends on its minor.",
            "what the k3s program says, else the newest that is known",
            example="v1.28.15+k3s1",
        ),
    )
    data_dir: PurePosixPath | None = field(
        default=None,
        metadata=_row(
            "data-dir",
            A_PATH,
            "K3s' data directory, if it is moved by means that K3s' configuration files do not show.",
            f"`data-dir` of K3s' configuration, else {DEFAULT_DATA_DIR}",
            example="/srv/k3s",
        ),
    )
    rancher_managed: bool | None = field(
        default=None,
        metadata=_row(
            "rancher-managed",
            words({"auto": None, "true": True, "false": False}),
            "Whether Rancher writes K3s' configuration here: arguments and Pod Security are then left to its Cluster.",
            "auto: Rancher's files tell",
            example="auto",
        ),
    )
    protect_kernel_defaults: bool = field(
        default=True,
        metadata=_row(
            "protect-kernel-defaults",
            SWITCH,
            "Whether the kubelet refuses to start on wrong kernel parameters. The benchmark dropped the control in"
            " 1.25; false is allowed from there on.",
            example="true",
        ),
    )
    secrets_encryption: SecretsEncryption = field(
        default=SecretsEncryption.AUTO,
        metadata=_row(
            "secrets-encryption",
            # `on` and `off` are booleans to YAML 1.1, so whoever writes true and false means the same.
            words(
                {
                    **{choice.value: choice for choice in SecretsEncryption},
                    "true": SecretsEncryption.ON,
                    "false": SecretsEncryption.OFF,
                }
            ),
            "Whether K3s encrypts Secrets in its datastore; it must be the same on all servers. `auto` turns it on"
            " where a server starts a new cluster, never under a live datastore; `leave` says nothing to K3s about it.",
            example="auto",
        ),
    )
    terminated_pod_gc_threshold: int | None = field(
        default=None,
        metadata=_row(
            "terminated-pod-gc-threshold",
            or_null(number(1, 1_000_000)),
            "How many finished pods may exist before the oldest are removed.",
            "the guide's for the K3s version",
            example="100",
        ),
    )
    audit_policy_file: PurePosixPath | None = field(
        default=None,
        metadata=_row(
            "audit.policy-file",
            A_PATH,
            "A file with the site's own audit policy (audit.k8s.io/v1). It is copied to where K3s reads it.",
            "the guide's policy: the metadata of every request",
            example="/etc/k3s-harden/audit-policy.yaml",
        ),
    )
    audit_max_age: int | None = field(
        default=None,
        metadata=_row(
            "audit.max-age",
            or_null(number(1, 3650, "days")),
            "How long old audit logs are kept. The benchmark wants 30 or more.",
            "the guide's",
            example="60",
        ),
    )
    audit_max_backups: int | None = field(
        default=None,
        metadata=_row(
            "audit.max-backups",
            or_null(number(1, 1000)),
            "How many old audit logs are kept. The benchmark wants 10 or more.",
            "the guide's",
            example="20",
        ),
    )
    audit_max_size: int | None = field(
        default=None,
        metadata=_row(
            "audit.max-size",
            or_null(number(1, 10_240, "MiB")),
            "How large an audit log grows before a new one is begun. The benchmark wants 100 or more.",
            "the guide's",
            example="200",
        ),
    )
    network_policy_namespaces: tuple[str, ...] = field(
        default=(),
        metadata=_row(
            "network-policies.namespaces",
            SOME_NAMESPACES,
            "Namespaces that get the guide's policy in addition to those it names: pods take traffic from their own"
            " namespace alone. A namespace must exist, or K3s applies all its manifests anew every 15 seconds.",
            example="[shop, billing]",
        ),
    )
    exempt_namespaces: tuple[str, ...] = field(
        default=(),
        metadata=_row(
            "pod-security.exempt-namespaces",
            SOME_NAMESPACES,
            "Namespaces that Pod Security leaves alone in addition to those of the guide's template, from 1.25 on.",
            example="[storage-system]",
        ),
    )
    cis_operator_namespace: bool = field(
        default=False,
        metadata=_row(
            "cis-operator-namespace",
            SWITCH,
            "Whether the namespace cis-operator-system exists, so that the guide's RoleBinding in it can be applied, up"
            " to 1.24.",
            example="false",
        ),
    )
    event_rate_limit: EventRateLimit | None = field(
        default=None,
        metadata=_row(
            "event-rate-limit",
            EVENT_RATE_LIMIT,
            "Turns the admission plugin EventRateLimit on, from 1.25 on: `burst` events are taken at once, then `qps`"
            " per second.",
            OFF,
            # The limits of the plugin are part of the admission configuration, which older versions do not get.
            applies=POD_SECURITY_ADMISSION.applies,
            example="{qps: 5000, burst: 20000}",
        ),
    )
    always_pull_images: bool = field(
        default=False,
        metadata=_row(
            "always-pull-images",
            SWITCH,
            "Turns the admission plugin AlwaysPullImages on. Every start of a container then asks the registry: pods do"
            " not start while it is out of reach.",
            example="true",
        ),
    )
    certificate_permissions: FileMode | None = field(
        default=None,
        metadata=_row(
            "pki.certificate-permissions",
            words({_LEAVE: None, "0600": FileMode(0o600)}),
            "The mode that certificates in server/tls and server/tls/etcd get on servers; benchmarks 1.24 to 1.10 want"
            " 0600. K3s makes new ones with 0644, so each apply sets it again. `leave` does not touch them: a"
            " certificate is no secret.",
            _LEAVE,
            example='"0600"',
        ),
    )
    waivers: tuple[SiteWaiver, ...] = field(
        default=(),
        metadata=_row(
            "waivers",
            SOME_WAIVERS,
            "Controls whose failure this site accepts, each with its reason. `expires` is the last day that it counts,"
            " in UTC; `role` and the shell pattern `host` say where it counts. `apply` does not touch a waived"
            " kernel parameter.",
            example=_EXAMPLE_WAIVERS,
        ),
    )
    waivers_file: PurePosixPath | None = field(
        default=None,
        metadata=_row(
            "waivers-file",
            A_PATH,
            "A file with more waivers: the same list, kept apart so that several hosts or tools can share it.",
            "none",
            example="/etc/k3s-harden/waivers.yaml",
        ),
    )
    drift_repair: bool = field(
        default=False,
        metadata=_row(
            "drift.repair",
            SWITCH,
            "Whether the daily drift check repairs what apply can repair, or only reports it.",
            example="false",
        ),
    )
    drift_metrics_file: PurePosixPath | None = field(
        default=None,
        metadata=_row(
            "drift.metrics-file",
            A_PATH,
            "A second place for the metrics of the daily drift check, readable by all: a name that ends in .prom in the"
            " directory of the node-exporter's textfile collector.",
            "none",
            example="/var/lib/prometheus/node-exporter/k3s-harden.prom",
        ),
    )


class Overrides(NamedTuple):
    """What the command line says over the settings, as it was typed; None says nothing."""

    role: str | None = None
    k3s_version: str | None = None
    data_dir: str | None = None


class SettingsError(InputError):
    """A settings file with one or more things wrong; `problems` has each, in the order of their lines."""

    def __init__(self, path: PurePosixPath, wrong: list[tuple[int, str]]) -> None:
        self.problems = tuple(InputError(Location(path, line), problem) for line, problem in sorted(wrong))
        if len(self.problems) == 1:
            location, problem = self.problems[0].location, self.problems[0].problem
        else:
            # The file is named once, so that the message stays one line that can be read.
            every_line = "; ".join(f"line {line}: {problem}" for line, problem in sorted(wrong))
            location, problem = Location(path), f"{len(wrong)} things are wrong: {every_line}"
        super().__init__(location, problem, "k3s-harden explain settings lists them and what they take")


@cache
def rows() -> tuple[SettingRow, ...]:
    """All options, in the order of the reference."""
    found = []
    for one in fields(Settings):
        row = cast("SettingRow", one.metadata["row"])
        found.append(row._replace(name=one.name, default=row.default or _in_words(one.default)))
    return tuple(found)


def row_of(key: str) -> SettingRow:
    """The option with this key. Raises KeyError where there is none."""
    return {row.key: row for row in rows()}[key]


def load(data: bytes | None, path: PurePosixPath) -> Settings:
    """Read a settings file; None, where there is none, gives the defaults, as an empty file does.

    Raises InputError for what cannot be read at all, and SettingsError, which is one, with everything that is wrong:
    unknown and repeated keys, wrong types, values that are not allowed, and placeholders that were left in.
    """
    documents = read(data or b"", path)
    if not documents:
        return Settings()
    loader = _Loader()
    loader.document(documents[0].node)
    site = replace(Settings(), **loader.outcome(documents, path))  # type: ignore[arg-type]  # by each field's own reader
    return replace(site, waivers=_written_in(path, site.waivers))


def load_waivers(data: bytes, path: PurePosixPath) -> tuple[SiteWaiver, ...]:
    """Read a file that has nothing but what `waivers` takes. Raises InputError and SettingsError as load() does."""
    documents = read(data, path)
    if not documents:
        return ()
    loader = _Loader()
    row = row_of("waivers")
    loader.setting(row, Entry(row.key, documents[0].line, documents[0].node))
    return _written_in(path, cast("tuple[SiteWaiver, ...]", loader.outcome(documents, path)["waivers"]))


def _written_in(path: PurePosixPath, waivers: tuple[SiteWaiver, ...]) -> tuple[SiteWaiver, ...]:
    return tuple(waiver._replace(location=Location(path, waiver.location.line)) for waiver in waivers)


def override(settings: Settings, overrides: Overrides) -> Settings:
    """Put the command line's choices over those of the file; `auto` for the role undoes the file's.

    Raises UsageError for a value that is not allowed, by the same rules as in the file.
    """
    changes = {}
    for row in rows():
        typed = getattr(overrides, row.name, None)
        if typed is None:
            continue
        node = Scalar(typed, typed, 0)
        placeholder = left_in_placeholder(node)
        try:
            changes[row.name] = row.kind.of(node)
        except Refused:
            raise UsageError(f"cannot use --{row.key}: it must be {row.kind.allowed}; found {in_words(node)}") from None
        if placeholder:
            raise UsageError(f"cannot use --{row.key}: {placeholder}")
    return replace(settings, **changes)  # type: ignore[arg-type]  # as in load


def _example() -> str:
    lines = []
    section = ""
    for row in rows():
        above, _, last = row.key.rpartition(".")
        if above and above != section:
            lines.append(f"{above}:")
        section = above
        first, *more = row.example.splitlines()
        indent = "  " if above else ""
        lines += [f"{indent}{line}".rstrip() for line in (f"{last}: {first}", *more)]
    return "".join(f"{line}\n" for line in lines)


EXAMPLE = _example()
"""A settings file that uses every option."""


class _Loader:
    """Walks a settings file, gathers the values by field and all that is wrong."""

    __slots__ = ("_rows", "problems", "values")

    def __init__(self) -> None:
        self._rows = {row.key: row for row in rows()}
        self.values: dict[str, object] = {}
        self.problems: list[tuple[int, str]] = []

    def document(self, node: Node) -> None:
        if isinstance(node, Mapping):
            self._mapping(node, "")
        elif not (isinstance(node, Scalar) and node.value is None):
            self.wrong(node.line, f"it must be a mapping of settings; found {in_words(node)}")

    def wrong(self, line: int, problem: str) -> None:
        self.problems.append((line, problem))

    def outcome(self, documents: tuple[Document, ...], path: PurePosixPath) -> dict[str, object]:
        """The values by field. Raises SettingsError with all that was wrong, further documents included."""
        for document in documents[1:]:
            self.wrong(document.line, "a second document begins here; only one is read")
        if self.problems:
            raise SettingsError(path, self.problems)
        return self.values

    def _mapping(self, mapping: Mapping, prefix: str) -> None:
        for first, again in duplicates(mapping):
            self.wrong(again.line, f"`{shown(prefix + again.key)}` stands in line {first.line} already")
        for entry in mapping.entries:
            key = prefix + entry.key
            if key in self._rows:
                self.setting(self._rows[key], entry)
            elif any(known.startswith(f"{key}.") for known in self._rows):
                self._section(key, entry.node)
            else:
                self.wrong(entry.line, f"there is no setting `{shown(key)}`{self._meant(key)}")

    def _section(self, key: str, node: Node) -> None:
        if isinstance(node, Mapping):
            self._mapping(node, f"{key}.")
        elif not (isinstance(node, Scalar) and node.value is None):
            inside = ", ".join(known.removeprefix(f"{key}.") for known in self._rows if known.startswith(f"{key}."))
            self.wrong(node.line, f"`{key}` must be a mapping with some of {inside}; found {in_words(node)}")

    def setting(self, row: SettingRow, entry: Entry) -> None:
        left_in = [(scalar, left_in_placeholder(scalar)) for scalar in scalars(entry.node)]
        for scalar, placeholder in left_in:
            if placeholder:
                self.wrong(scalar.line, f"`{row.key}`: {placeholder}")
        if any(placeholder for _, placeholder in left_in):
            return
        if isinstance(entry.node, Mapping):
            for first, again in duplicates(entry.node):
                self.wrong(again.line, f"`{row.key}.{shown(again.key)}` stands in line {first.line} already")
        try:
            self.values[row.name] = row.kind.of(entry.node)
        except Refused as refused:
            for one in (refused, *refused.others):
                node = one.node or entry.node
                allowed = f"{row.kind.allowed}, {one.what}" if one.what else row.kind.allowed
                self.wrong(node.line, f"`{row.key}` must be {allowed}; found {in_words(node)}")

    def _meant(self, key: str) -> str:
        from difflib import get_close_matches

        known = [*self._rows, *{section for row in self._rows for section in row.split(".")[:-1]}]
        close = get_close_matches(key, known, n=1)
        # Someone who forgot the section, or put the key into one that it is not in.
        last = key.rpartition(".")[2]
        close += [row for row in self._rows if row.rpartition(".")[2] == last]
        return f"; did you mean `{close[0]}`?" if close else f"; there are {', '.join(self._rows)}"
