"""What stops the controller manager: its certificates, its controllers, and the files that they read."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from agent.base.model import Component
from agent.k3s.components.files.file_rules import FileContext
from agent.k3s.components.files.named_files import rejected_content
from agent.k3s.components.prediction import rejected_arguments
from agent.k3s.components.relations import controller_runs
from tests.arguments import effective

if TYPE_CHECKING:
    from agent.base.errors import InputError

PATH = PurePosixPath("/etc/own.yaml")
OF_ALL_SIGNERS = tuple(
    f"cluster-signing-{signer}-{kind}-file"
    for signer in ("kube-apiserver-client", "kubelet-client", "kubelet-serving", "legacy-unknown")
    for kind in ("cert", "key")
)
EMPTY = tuple(f"{name}=" for name in OF_ALL_SIGNERS)
CERT, KEY = "cluster-signing-legacy-unknown-cert-file", "cluster-signing-legacy-unknown-key-file"
OF_K3S = "/var/lib/rancher/k3s/server/tls/server-ca.crt"


def rejected(argument: str, text: str) -> list[InputError]:
    return list(rejected_content(Component.CONTROLLER_MANAGER, argument, text.encode(), PATH, FileContext(minor=37)))


def stops(*arguments: str, minor: int = 37) -> bool:
    return bool(list(rejected_arguments(effective(Component.CONTROLLER_MANAGER, *arguments, minor=minor), minor)))


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        ((f"{CERT}=/etc/a",), (f"{CERT}=/etc/a", f"{KEY}=/etc/b")),
        ((f"{KEY}=/etc/b",), (f"{CERT}={OF_K3S}",)),
        ((f"{CERT}=",), (f"{CERT}=", f"{KEY}=")),
        ((f"{CERT}=/etc/a", f"{KEY}="), ("cluster-signing-cert-file=",)),
        (("cluster-signing-cert-file=/etc/a",), ("cluster-signing-cert-file=/etc/a", *EMPTY)),
        (("cluster-signing-cert-file=/etc/a", *EMPTY[:6]), EMPTY),
        ((f"{CERT}=/etc/a", "controllers=*,-ttl"), (f"{CERT}=/etc/a", "controllers=*,-csrsigning")),
        ((f"{CERT}=", "controllers=*,-csrsigning"), (f"{CERT}=", f"{KEY}=", "controllers=*,-csrsigning")),
    ],
)
def test_arguments_for_the_signers_exclude_or_need_each_other(
    arguments: tuple[str, ...], near: tuple[str, ...]
) -> None:
    """K3s passes a certificate and a key for each signer. Seen at 1.34.4 and 1.37.2."""
    assert stops(*arguments)
    assert not stops(*near)


@pytest.mark.parametrize(
    ("arguments", "minor", "expected"),
    [
        ([], 37, True),
        ([], 36, False),
        (["feature-gates=StorageVersionMigrator=false"], 37, False),
        (["feature-gates=StorageVersionMigrator=true"], 36, True),
        (["feature-gates=StorageVersionMigrator=true"], 34, False),
        (["feature-gates=StorageVersionMigrator=true,InformerResourceVersion=true"], 34, True),
        (["feature-gates=InformerResourceVersion=false"], 37, False),
        (["controllers=*,-storage-version-migrator-controller"], 37, False),
        (["controllers=*,-svm"], 37, False),
        (["controllers=garbagecollector"], 37, False),
        (["controllers=*,-garbagecollector"], 37, True),
    ],
)
def test_the_migration_of_storage_versions_needs_the_garbage_collector(
    arguments: list[str], minor: int, *, expected: bool
) -> None:
    """The controller is on by default since 1.37. Seen at 1.34.4 and 1.37.2."""
    assert stops("enable-garbage-collector=false", *arguments, minor=minor) is expected
    assert not stops("v=2", *arguments, minor=minor)


def test_other_values_at_which_a_controller_fails() -> None:
    """A controller that is switched off does not read its values. Seen at 1.37.2."""
    period = "legacy-service-account-token-clean-up-period"
    assert stops(f"{period}=0s")
    assert not stops(f"{period}=1h")
    assert not stops(f"{period}=0s", "controllers=*,-legacy-service-account-token-cleaner")
    assert stops("authorization-always-allow-paths=/healthz,/a*b")
    assert not stops("authorization-always-allow-paths=/healthz,/a*,*")
    migration = "enable-leader-migration=true"
    assert stops(migration, "leader-elect=true")
    assert not stops(migration, "leader-elect=true", minor=34)
    assert not stops(migration, "leader-elect=false")


@pytest.mark.parametrize(
    ("words", "expected"),
    [((), True), (("*",), True), (("*", "-b"), False), (("-a", "a"), False), (("c",), False), (("b",), True)],
)
def test_the_first_word_about_a_controller_counts(words: tuple[str, ...], *, expected: bool) -> None:
    """Without a word about it, a controller runs if there is `*`."""
    assert controller_runs(words, "a", "b") is expected
