"""Checks of etcd's configuration, and of the encryption of Secrets in the datastore."""

from __future__ import annotations

from pathlib import PurePosixPath
from shlex import quote

from agent.assess.checks import argument_edits
from agent.assess.checks.answer import (
    UNDETERMINED,
    Answer,
    ControlStatus,
    Evidence,
    determined,
    grep_count,
    undetermined,
)
from agent.assess.checks.argument_edits import ENCRYPTION, ENCRYPTION_ARGUMENT
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.check import DATA_DIR, Check
from agent.assess.checks.evidence import EncryptionConfiguration, MissingFile, UnknownCause, UnknownFile
from agent.base.model import Location
from agent.base.repair import Instruction, Repair, Restart, Run, RunVerb, Step
from agent.base.value import replace
from agent.findings.config_edits import without_argument
from agent.harden.guide.criteria import Criterion
from agent.harden.node.arguments import defaults
from agent.harden.node.datastore import Datastore
from agent.harden.node.facts import HostFacts, not_run
from agent.k3s.component_configuration import (
    IDENTITY,
    encryption_problem,
    is_as_k3s_writes,
    key_of_secrets,
    providers_of_secrets,
)
from agent.k3s.components.effective_arguments import EffectiveArgument, Given, GivenBy
from agent.k3s.roles_and_versions import Component

_WRITES_AGAIN = Repair(restart=Restart.K3S)
"""K3s writes the configuration of etcd at each start."""
_NOT_ENCRYPTED = "Secrets are not encrypted"

_PROVIDER = """(aescbc|aesgcm|identity|kms|secretbox)[": ]"""
"""A command that prints only what this matches shows no key."""
_WRITTEN_AGAIN = "restart K3s, which writes {path} again"
_RESTORED = "restore {path} from a backup"
"""K3s does not write the encryption configuration again."""

_RESTART_ALL = Run("sudo systemctl restart k3s || sudo rc-service k3s restart", where="on every server")
"""Other servers can have another service manager."""
_ENABLE = (
    Run("sudo k3s secrets-encrypt enable", "sudo k3s secrets-encrypt disable", where="on one server"),
    _RESTART_ALL,
)
_ENCRYPTED_FROM_NOW_ON = (
    Run("sudo k3s secrets-encrypt rotate-keys", where="on one server"),
    replace(_RESTART_ALL, where="when `k3s secrets-encrypt status` shows reencrypt_finished, on every server"),
)
"""They also encrypt existing Secrets."""


class EtcdSetting(Check):
    """A key of the configuration that K3s writes for its etcd has a value that the criterion accepts."""

    key: str
    """With dots between the keys of nested mappings."""
    criterion: Criterion
    """May contain the field {data_dir}."""
    unset_passes: bool = False
    """Whether etcd's own default meets the control."""

    is_met_by_k3s = True
    """K3s writes all keys that are checked."""

    def answer(self, node: AssessedNode) -> Answer:
        if not _runs_etcd(node):
            return no_etcd(node)
        config = node.evidence.etcd
        if isinstance(config, MissingFile):
            return _missing(config, "etcd", node)
        if isinstance(config, UnknownFile):
            return _unknown(config, _WRITTEN_AGAIN)
        value = config.values.get(self.key)
        given = node.facts.merged_config.component_arguments("etcd-arg").get(self.key, ())
        if given and not self.criterion.on_host(str(node.facts.data_dir)).accepts(given[-1].text):
            at = given[-1].location
            shown = Evidence(f"{self.key}={given[-1].text}", at)
            repair = node.by_hand(without_argument(node.situation, "etcd-arg", self.key, at))
            return Answer(ControlStatus.FAIL, given[-1].text, (shown,), repair=repair)
        if value is None:
            status = ControlStatus.PASS if self.unset_passes else ControlStatus.FAIL
            command = grep_count(self.key.rpartition(".")[2], config.path)
            evidence = (Evidence(f"no {self.key}", Location(config.path), repeat_with=command),)
            return Answer(status, "not set", evidence, repair=_WRITES_AGAIN, given_by=GivenBy.K3S)
        is_met = self.criterion.on_host(str(node.facts.data_dir)).accepts(value.value)
        evidence = (Evidence(f"{self.key}: {value.value}", Location(config.path, value.line)),)
        status = ControlStatus.PASS if is_met else ControlStatus.FAIL
        return Answer(status, value.value, evidence, repair=_WRITES_AGAIN, given_by=GivenBy.K3S)

    @property
    def expected(self) -> str:
        return f"{self.key} {self._predicate}"

    @property
    def description(self) -> str:
        return f"`{self.key}` of etcd {self._predicate}"

    @property
    def subject(self) -> str:
        return f"etcd {self.key}"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def _predicate(self) -> str:
        predicate = self.criterion.on_host(DATA_DIR).predicate
        return f"{predicate}, or is not set" if self.unset_passes else predicate


_SERVING = "server/tls/serving-kube-apiserver.crt"
_OF_KUBERNETES = tuple(f"server/tls/{name}-ca.crt" for name in ("client", "server", "request-header"))
_OF_ETCD = tuple(f"server/tls/etcd/{name}-ca.crt" for name in ("server", "peer"))
CERTIFICATES = frozenset((_SERVING, *_OF_KUBERNETES, *_OF_ETCD))
SIGNING_KEYS = tuple(f"server/tls/service{name}.key" for name in ("", ".current"))
"""The keys of tokens of service accounts; the second file exists since K3s can rotate them."""


class DistinctKeys(Check):
    """None of these files has the key of another one's certificate, whatever their names are."""

    files_: tuple[str, ...]
    certificates: tuple[str, ...]

    is_met_by_k3s = True

    expected = "each file has its own key"

    def answer(self, node: AssessedNode) -> Answer:
        if self.files_ == _OF_ETCD and not _runs_etcd(node):
            return no_etcd(node)
        not_applicable = not_run(Component.API_SERVER, node.facts)
        if self.files_ != _OF_ETCD and not_applicable:
            return Answer(ControlStatus.NOT_APPLICABLE, reason=not_applicable)
        for certificate, other in sorted(node.evidence.shared_keys):
            if certificate in self.certificates and other in self.files_:
                found = f"{other} has the key of {certificate}"
                paths = [node.facts.data_dir / name for name in (other, certificate)]
                evidence = tuple(Evidence(found, Location(path), repeat_with=_shows_key(path)) for path in paths)
                step = Instruction(f"replace {paths[0]} as K3s' page about `k3s certificate` describes")
                return Answer(ControlStatus.FAIL, found, evidence, repair=Repair((step,), Restart.K3S))
        return Answer(ControlStatus.PASS, given_by=GivenBy.K3S)

    @property
    def description(self) -> str:
        return f"{' and '.join(self.files_)} have other keys than {' and '.join(self.certificates)}"


def _shows_key(path: PurePosixPath) -> str:
    return f"sudo openssl {'x509 -noout -pubkey' if path.suffix == '.crt' else 'pkey -pubout'} -in {quote(str(path))}"


OWN_AUTHORITIES = DistinctKeys(_OF_ETCD, _OF_KUBERNETES)
OWN_SIGNING_KEY = DistinctKeys(SIGNING_KEYS, (_SERVING, *_OF_KUBERNETES))


class EncryptionProviders(Check):
    """The first provider in the encryption configuration, which encrypts new data, is one of these."""

    providers: tuple[str, ...]

    is_decided_by_argument = True
    """An argument names the file."""

    def answer(self, node: AssessedNode) -> Answer:
        not_applicable = not_run(Component.API_SERVER, node.facts)
        if not_applicable:
            return Answer(ControlStatus.NOT_APPLICABLE, reason=not_applicable)
        arguments = node.arguments(Component.API_SERVER)
        why = arguments.why_unknown(ENCRYPTION_ARGUMENT)
        if why:
            return undetermined(why)
        argument = arguments.get(ENCRYPTION_ARGUMENT)
        option = defaults.option_behind(Component.API_SERVER, ENCRYPTION_ARGUMENT, node.facts)
        if argument is None:
            return _not_encrypted(option, node)
        if not argument.value:
            return _without_file(argument, option, node)
        given = argument.given[-1]
        path = PurePosixPath(argument.value)
        if path != node.evidence.encryption.path:
            return self._first_provider_of_operator(path, given, node)
        return self._first_provider(node, given if option is None else option)

    @property
    def expected(self) -> str:
        return f"the first provider for Secrets is {' or '.join(self.providers)}"

    @property
    def names(self) -> tuple[str, ...]:
        return (f"--{ENCRYPTION_ARGUMENT}",)

    def _first_provider(self, node: AssessedNode, given: Given) -> Answer:
        """Compare the file's first provider; `given` is what makes the API server read the file."""
        config = node.evidence.encryption
        if isinstance(config, MissingFile):
            return _missing(config, "with secrets-encryption", node)
        if isinstance(config, UnknownFile):
            return _unknown(config, _RESTORED)
        return self._by_first_provider(config, given, self._steps(config.providers))

    def _first_provider_of_operator(self, path: PurePosixPath, given: Given, node: AssessedNode) -> Answer:
        """Compare the first provider in a file of the operator, which can use a key management service."""
        data = node.situation.k3s_files.contents.get(path)
        if data is None:
            return _unknown(UnknownFile(path, f"cannot read {path}"), _RESTORED)
        try:
            config = encryption_configuration(data, path, node.facts)
        except ValueError as error:
            reason = f"{path} is not a valid encryption configuration: {error}"
            return _unknown(UnknownFile(path, reason, UnknownCause.INVALID), "correct {path}")
        return self._by_first_provider(config, given, self._first_on_every_server)

    def _by_first_provider(self, config: EncryptionConfiguration, given: Given, steps: tuple[Step, ...]) -> Answer:
        path, providers = config.path, config.providers
        first = providers[0] if providers else "no provider for Secrets"
        command = f"sudo grep --only-matching --extended-regexp {quote(_PROVIDER)} {quote(str(path))}"
        shown = providers or (first,)
        evidence = tuple(Evidence(provider, Location(path), repeat_with=command) for provider in shown)
        if first in self.providers and config.problem is not None:
            found = Evidence(config.problem.problem, config.problem.location)
            steps = (Instruction("correct the file", config.problem.location), RunVerb("assess"))
            reason = f"the API server exits at {path}: {config.problem.problem}"
            return Answer(ControlStatus.UNKNOWN, UNDETERMINED, (found,), reason, Repair(steps))
        if first in self.providers:
            return Answer(ControlStatus.PASS, first, evidence, given_by=given.by)
        return Answer(ControlStatus.FAIL, first, evidence, repair=Repair(steps))

    @property
    def _first_on_every_server(self) -> tuple[Step, ...]:
        return (
            Instruction(
                f"on every server, put {' or '.join(self.providers)} first for `secrets`, with its own key, and keep"
                " the present providers after it"
            ),
            _RESTART_ALL,
            Run("kubectl get secrets --all-namespaces -o json | kubectl replace -f -"),
        )

    def _steps(self, providers: tuple[str, ...]) -> tuple[Step, ...]:
        """Return the steps until a strong provider is first and existing Secrets are encrypted.

        From k3s-io/docs, docs/cli/secrets-encrypt.md, and k3s, pkg/server/handlers/secrets-encrypt.go: `reencrypt`
        supports only aescbc, and K3s rejects a file with providers other than aescbc, secretbox and identity.
        """
        if providers == (IDENTITY,):
            return _ENCRYPTED_FROM_NOW_ON
        if providers == (IDENTITY, "aescbc"):
            return (*_ENABLE, Run("sudo k3s secrets-encrypt reencrypt --force --skip", where="on one server"))
        if providers[:1] == (IDENTITY,) and providers[1] in ("aescbc", "secretbox"):
            return (*_ENABLE, *_ENCRYPTED_FROM_NOW_ON)
        return (
            Instruction("find out who wrote the file, because K3s writes no such file and rejects it"),
            *self._first_on_every_server,
        )


def encryption_configuration(data: bytes, path: PurePosixPath, facts: HostFacts) -> EncryptionConfiguration:
    """Read an encryption configuration. Raises ValueError if it has no providers, without a text of the file."""
    providers = providers_of_secrets(data)
    minor = facts.version.minor if facts.version_is_known else 0
    problem = None if is_as_k3s_writes(data) else encryption_problem(data, path, minor)
    return EncryptionConfiguration(path, providers, key_of_secrets(data), problem)


def _runs_etcd(node: AssessedNode) -> bool:
    """Return whether K3s runs its own etcd now; see will_run_etcd for the next start."""
    return node.facts.datastore is Datastore.ETCD and not node.facts.merged_config.boolean("disable-etcd")


def no_etcd(node: AssessedNode) -> Answer:
    """Return the answer about etcd if K3s does not run etcd on this host."""
    datastore = node.facts.datastore
    switch = node.facts.merged_config.scalar("disable-etcd")
    if switch is not None and node.facts.merged_config.boolean("disable-etcd"):
        reason = f"`disable-etcd` at {switch.location} disables etcd on this host"
        return Answer(ControlStatus.NOT_APPLICABLE, reason=reason)
    if datastore is Datastore.NONE and isinstance(node.evidence.etcd, UnknownFile):
        return _unknown(node.evidence.etcd, _WRITTEN_AGAIN)
    if datastore is Datastore.NONE:
        reason = "K3s has not created its datastore yet, so its kind is not known"
        return node.not_started("no datastore", reason)
    reason = f"the datastore is {datastore}, not an etcd that K3s runs"
    return Answer(ControlStatus.NOT_APPLICABLE, str(datastore), reason=reason)


def _not_encrypted(option: Given | None, node: AssessedNode) -> Answer:
    observation = f"--{ENCRYPTION_ARGUMENT} is not set, so Secrets are stored unencrypted"
    first = next(iter(node.facts.configuration.files), None)
    source = "" if first else f"K3s {node.facts.version}"
    evidence = [Evidence(observation, Location(first) if first else None, source)]
    evidence += [Evidence(option.written, option.location)] if option else []
    repair = argument_edits.not_encrypted(option, node)
    return Answer(ControlStatus.FAIL, _NOT_ENCRYPTED, tuple(evidence), repair=repair)


def _without_file(argument: EffectiveArgument, option: Given | None, node: AssessedNode) -> Answer:
    """Return the answer if the operator's argument is empty; `option` is K3s' own, which it overrides."""
    given = argument.given[-1]
    evidence = [Evidence(f"--{ENCRYPTION_ARGUMENT}= names no file, so Secrets are stored unencrypted", given.location)]
    evidence += [Evidence(option.written, option.location)] if option else []
    if defaults.default_of(Component.API_SERVER, ENCRYPTION_ARGUMENT, node.facts) is None:
        repair = argument_edits.not_encrypted(option, node)
    else:
        repair = node.by_hand(argument_edits.corrected(ENCRYPTION, argument, node))
    return Answer(ControlStatus.FAIL, _NOT_ENCRYPTED, tuple(evidence), repair=repair)


def _missing(config: MissingFile, starts: str, node: AssessedNode) -> Answer:
    reason = f"K3s writes {config.path} when it starts {starts}, and the file is missing"
    return node.not_started("no such file", reason)


def _unknown(config: UnknownFile, correction: str) -> Answer:
    """Return the answer for a configuration that could not be read; `correction` is for invalid content."""
    evidence = (Evidence(config.reason, Location(config.path)),)
    repair = determined(config)
    if config.cause is UnknownCause.INVALID:
        repair = Repair((Instruction(correction.format(path=config.path)), RunVerb("assess")))
    return Answer(ControlStatus.UNKNOWN, UNDETERMINED, evidence, config.reason, repair)
