"""etcd's configuration, and how secrets lie in the datastore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assessment import Evidence as Shown
from agent.assessment import Status
from agent.benchmark.check import EncryptionProviders, EtcdSetting
from agent.component_arguments import GivenBy
from agent.evidence import Missing, Unknown
from agent.facts import Datastore
from agent.guide.criteria import Equals
from agent.verdicts.arguments import in_words
from agent.verdicts.look import Answer, no_etcd

if TYPE_CHECKING:
    from agent.verdicts.look import Look


def answer(check: EtcdSetting | EncryptionProviders, look: Look) -> Answer:
    """What K3s' own configuration files of etcd and of the encryption say."""
    if isinstance(check, EtcdSetting):
        return _etcd(check, look)
    return _encryption(check, look)


def _etcd(check: EtcdSetting, look: Look) -> Answer:
    criterion = check.criterion
    if isinstance(criterion, Equals):
        criterion = Equals(criterion.text.replace("{data_dir}", str(look.facts.data_dir)))
    wanted = f"{check.key} {in_words(criterion)}" + (", or not set" if check.unset_passes else "")
    if look.facts.datastore is not Datastore.ETCD:
        return no_etcd(wanted, look)
    config = look.evidence.etcd
    if isinstance(config, Missing):
        return Answer(Status.UNKNOWN, wanted, "no such file", reason=f"K3s has not written {config.path}")
    if isinstance(config, Unknown):
        return Answer(Status.UNKNOWN, wanted, "cannot be told", reason=f"{config.path}: {config.reason}")
    value = config.values.get(check.key)
    remedy = "K3s writes this file at each start: look for `etcd-arg` in its configuration, and restart it"
    if value is None:
        status = Status.PASS if check.unset_passes else Status.FAIL
        return Answer(status, wanted, "not set", (Shown(f"no {check.key}", str(config.path)),), "", remedy, GivenBy.K3S)
    status = Status.PASS if criterion.accepts(value.value) else Status.FAIL
    shown = Shown(f"{check.key}: {value.value}", f"{config.path}:{value.line}")
    return Answer(status, wanted, value.value, (shown,), "", remedy, GivenBy.K3S)


def _encryption(check: EncryptionProviders, look: Look) -> Answer:
    wanted = f"the first provider is {' or '.join(check.providers)}"
    config = look.evidence.encryption
    if isinstance(config, Unknown):
        return Answer(Status.UNKNOWN, wanted, "cannot be told", reason=f"{config.path}: {config.reason}")
    if isinstance(config, Missing):
        if look.facts.datastore is Datastore.NONE:
            return Answer(Status.UNKNOWN, wanted, "no such file", reason="K3s has not started yet")
        none = Shown("K3s has no encryption configuration", str(config.path))
        return Answer(Status.FAIL, wanted, "secrets are not encrypted", (none,))
    shown = tuple(Shown(one.value, f"{config.path}:{one.line}") for one in config.providers)
    if not shown:
        return Answer(Status.FAIL, wanted, "no provider", (Shown("no provider", str(config.path)),))
    first = config.providers[0].value
    return Answer(Status.PASS if first in check.providers else Status.FAIL, wanted, first, shown)
