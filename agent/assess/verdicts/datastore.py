"""Verdicts on etcd's configuration, and on the encryption of Secrets in the datastore."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.assess import arguments as component_arguments
from agent.assess.arguments import GivenBy
from agent.assess.assessment import ControlStatus
from agent.assess.assessment import Evidence as Shown
from agent.assess.evidence import Missing, Unknown
from agent.assess.verdicts.answer import LOOK_AT_IT, ONCE_STARTED, Answer, doubtful
from agent.benchmark.check import EncryptionProviders, EtcdSetting
from agent.guide.criteria import Equals
from agent.guide.k3s_options import ENCRYPTED_FROM_NOW_ON
from agent.k3s import encryption_configuration
from agent.model import Component
from agent.node.datastore import Datastore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.assess.arguments import Given
    from agent.assess.verdicts.node import AssessedNode

_ENCRYPTION = "encryption-provider-config"
"""The API server's argument that names the file."""

_ENABLE = "encryption is disabled: run `k3s secrets-encrypt enable` on one server, restart K3s on every server"


def answer(check: EtcdSetting | EncryptionProviders, node: AssessedNode) -> Answer:
    """What the configuration files of etcd and of the encryption say."""
    if isinstance(check, EtcdSetting):
        return _etcd(check, node)
    return _encryption(check, node)


def no_etcd(node: AssessedNode) -> Answer:
    """Why there is nothing of etcd on this host."""
    datastore = node.facts.datastore
    switch = node.facts.merged_config.scalar("disable-etcd")
    if switch is not None and node.facts.merged_config.boolean("disable-etcd"):
        reason = f"`disable-etcd` at {switch[1]} keeps etcd from this host"
        return Answer(ControlStatus.NOT_APPLICABLE, reason=reason)
    if datastore is Datastore.NONE:
        reason = "K3s has made no datastore yet, so it is not known whether it will be etcd"
        return Answer(ControlStatus.UNKNOWN, "no datastore", reason=reason, remedy=ONCE_STARTED)
    return Answer(
        ControlStatus.NOT_APPLICABLE,
        str(datastore),
        reason=f"the datastore here is {datastore}, not an etcd that K3s runs",
    )


def _etcd(check: EtcdSetting, node: AssessedNode) -> Answer:
    criterion = check.criterion
    if isinstance(criterion, Equals):
        criterion = Equals(criterion.text.replace("{data_dir}", str(node.facts.data_dir)))
    if node.facts.datastore is not Datastore.ETCD or node.facts.merged_config.boolean("disable-etcd"):
        return no_etcd(node)
    config = node.evidence.etcd
    if isinstance(config, Missing):
        reason = f"K3s writes {config.path} when it starts etcd, and it is not there"
        return Answer(ControlStatus.UNKNOWN, "no such file", reason=reason, remedy=ONCE_STARTED)
    if isinstance(config, Unknown):
        shown = (Shown(config.reason, str(config.path)),)
        return Answer(ControlStatus.UNKNOWN, "cannot be told", shown, config.reason, LOOK_AT_IT)
    value = config.values.get(check.key)
    if value is None:
        status = ControlStatus.PASS if check.unset_passes else ControlStatus.FAIL
        return Answer(status, "not set", (Shown(f"no {check.key}", str(config.path)),), by=GivenBy.K3S)
    status = ControlStatus.PASS if criterion.accepts(value.value) else ControlStatus.FAIL
    shown = (Shown(f"{check.key}: {value.value}", f"{config.path}:{value.line}"),)
    return Answer(status, value.value, shown, by=GivenBy.K3S)


def _encryption(check: EncryptionProviders, node: AssessedNode) -> Answer:
    why = component_arguments.not_run(Component.API_SERVER, node.facts)
    if why:
        return Answer(ControlStatus.NOT_APPLICABLE, reason=why)
    arguments = node.arguments(Component.API_SERVER)
    doubt = arguments.doubt(_ENCRYPTION)
    if doubt:
        return doubtful(doubt)
    argument = arguments.get(_ENCRYPTION)
    option = component_arguments.option_behind(Component.API_SERVER, _ENCRYPTION, node.facts)
    if argument is None:
        none = f"--{_ENCRYPTION} is not given, so Secrets are stored as they are"
        files = [str(file) for file in node.facts.configuration.files] or [f"K3s {node.facts.version}"]
        shown = [Shown(none, file) for file in files[:1]]
        shown += [Shown(option.written, option.where)] if option else []
        return Answer(ControlStatus.FAIL, "Secrets are not encrypted", tuple(shown))
    named = Shown(f"--{_ENCRYPTION}={argument.value}", argument.given[-1].where)
    if PurePosixPath(argument.value) != node.evidence.encryption.path:
        reason = f"{argument.value} is not K3s' own file, and its content is not judged"
        return Answer(ControlStatus.UNKNOWN, "cannot be told", (named,), reason, LOOK_AT_IT)
    return _providers(check, node, argument.given[-1] if option is None else option)


def _providers(check: EncryptionProviders, node: AssessedNode, given: Given) -> Answer:
    """What the file says; `given` is what has the API server read it."""
    config = node.evidence.encryption
    if isinstance(config, Missing):
        reason = f"K3s writes {config.path} when it starts with secrets-encryption, and it is not there"
        return Answer(ControlStatus.UNKNOWN, "no such file", reason=reason, remedy=ONCE_STARTED)
    if isinstance(config, Unknown):
        shown = (Shown(config.reason, str(config.path)),)
        return Answer(ControlStatus.UNKNOWN, "cannot be told", shown, config.reason, LOOK_AT_IT)
    first = config.providers[0] if config.providers else "no provider for Secrets"
    seen = tuple(Shown(one, str(config.path)) for one in config.providers or (first,))
    if first in check.providers:
        return Answer(ControlStatus.PASS, first, seen, by=given.by)
    how = _encrypted(config.providers, check)
    return Answer(ControlStatus.FAIL, first, seen, remedy=how, by=GivenBy.OPERATOR, remedy_is_for_this_host=True)


def _encrypted(providers: Sequence[str], check: EncryptionProviders) -> str:
    """The steps to a strong provider first, up to and including the Secrets that are there.

    From k3s-io/docs, docs/cli/secrets-encrypt.md, and k3s, pkg/server/handlers/secrets-encrypt.go, which reencrypts for
    aescbc alone, and refuses a file that has anything but aescbc, secretbox and identity.
    """
    match providers:
        case (encryption_configuration.IDENTITY,):
            return f"`k3s secrets-encrypt enable` has prepared it, and no key is made yet: {ENCRYPTED_FROM_NOW_ON}"
        case (encryption_configuration.IDENTITY, "aescbc"):
            return (
                f"{_ENABLE}, and run `k3s secrets-encrypt reencrypt --force --skip` on one: until then the Secrets that"
                " are there stay in clear text"
            )
        case (encryption_configuration.IDENTITY, "aescbc" | "secretbox", *_):
            return f"{_ENABLE}; then {ENCRYPTED_FROM_NOW_ON}"
        case _:
            return (
                "K3s writes no such file, and `k3s secrets-encrypt` refuses it, so find out who wrote it. By"
                f" Kubernetes' own steps: put {' or '.join(check.providers)} first for `secrets`, with a key of its"
                " own, and keep what is there behind it; the same on every server; restart K3s on each; then write all"
                " Secrets anew: `kubectl get secrets --all-namespaces -o json | kubectl replace -f -`"
            )
