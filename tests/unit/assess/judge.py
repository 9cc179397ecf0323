"""Tables of other programs' tests: the values of a node's arguments, modes and owners that they accept and reject."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.fake import in_memory
from tests.k3s_tree import K3s
from tests.unit.assess.checks.nodes import CONFIG, CheckedNode, node

_DATA = Path(__file__).parents[2] / "data"
_ETCD = "server/db/etcd/config"
_DROP_IN = f"{CONFIG}.d/95-case.yaml"


class Case(NamedTuple):
    """A value, and whether the judge accepts it."""

    rule: str
    """As the judge names it."""
    component: str
    """A component of Kubernetes, `etcd` for its configuration, `mode` or `owner` for those of a file."""
    subject: str
    """An argument, a section and key of etcd's configuration, or a file below K3s' data directory."""
    value: str
    accepted: bool

    def __str__(self) -> str:
        return f"{self.rule}-{self.component}-{self.subject}={self.value}"


def cases(table: str) -> tuple[Case, ...]:
    """Return the cases of a table in tests/data; an empty value is written as two quotation marks."""
    _, *rows = (line.split("\t") for line in (_DATA / table).read_text(encoding="utf-8").splitlines())
    return tuple(
        Case(rule, component, subject, word.strip('"'), is_accepted)
        for rule, component, subject, accepted, rejected in rows
        for words, is_accepted in ((accepted, True), (rejected, False))
        for word in words.split()
    )


@contextmanager
def hardened_server(minor: int) -> Iterator[CheckedNode]:
    """Yield a server whose datastore is etcd, after `apply`."""
    with in_memory() as directory:
        made = node(directory / "server", K3s(etcd=True, minor=minor))
        made.harden()
        made.put("server/db/etcd/member/snap/db", "a database")
        yield made


@contextmanager
def given(server: CheckedNode, case: Case) -> Iterator[None]:
    if case.component in {"mode", "owner"}:
        file = server.path(case.subject)
        before = file.stat()
        if case.component == "mode":
            file.chmod(int(case.value, 8))
        else:
            os.chown(file, *(int(part) if part.isdecimal() else 1001 for part in case.value.split(":")))
        yield
        os.chown(file, before.st_uid, before.st_gid)
        file.chmod(before.st_mode)
        return
    config = server.path(_ETCD if case.component == "etcd" else _DROP_IN)
    text = config.read_text(encoding="utf-8") if config.exists() else ""
    if case.component == "etcd":
        section, key = case.subject.split()
        content = yaml.safe_load(text)
        content[section][key] = yaml.safe_load(case.value)
        if not case.value:
            del content[section][key]
        server.put(_ETCD, yaml.safe_dump(content))
    else:
        server.put(_DROP_IN, yaml.safe_dump({f"{case.component}-arg+": [f"{case.subject}={case.value}"]}))
    yield
    config.write_text(text, encoding="utf-8")
