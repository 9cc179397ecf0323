"""Rows of the datastore and rules of the packet filter, as only root can read them. Nothing is changed."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from agent.base.errors import HostError
from agent.base.host import Host
from agent.base.linux.file_systems import FilterRule
from agent.base.repair import Instruction

_LEGACY = {"iptables": "/proc/net/ip_tables_names", "ip6tables": "/proc/net/ip6_tables_names"}
"""The tables in use by the older interface of the kernel: reading another one would create it."""
_FAMILIES = {4: "iptables", 6: "ip6tables"}
_RULE = re.compile(r"^-A (\S+)( .*)?$", re.MULTILINE)
_PART = re.compile(r' (-[sdj]|--comment) ("(?:[^"\\]|\\.)*"|\S+)')
_TIMEOUT = 5.0
_LARGEST = 32 << 20


def filter_rules(host: Host, bundled: PurePosixPath, families: Iterable[int]) -> Mapping[int, tuple[FilterRule, ...]]:
    """Return the rules for these families of addresses, 4 or 6, of both interfaces of the kernel. Raises HostError.

    Without tools of the host, those in the directory `bundled` are run.
    """
    return {family: tuple(_rules(host, bundled, _FAMILIES[family])) for family in families}


def _rules(host: Host, bundled: PurePosixPath, name: str) -> Iterator[FilterRule]:
    yield from parsed_rules(_saved(host, bundled, "nft", name))
    with suppress(OSError), open(f"{host.root}{_LEGACY[name]}", encoding="ascii") as tables:
        if "filter" in tables.read().split():
            yield from parsed_rules(_saved(host, bundled, "legacy", name))


def _saved(host: Host, bundled: PurePosixPath, interface: str, name: str) -> str:
    program = f"xtables-{interface}-multi"
    tool = host.trusted_tool(program) or bundled / program
    if host.tree.trust_problem(tool) or not host.tree.exists(tool):
        raise HostError(f"cannot read the packet filter: this host has no {program}", Instruction("install iptables"))
    done = host.run([str(tool), f"{name}-save", "-t", "filter"], timeout=_TIMEOUT, largest_output=_LARGEST)
    if done.code:
        reason = next(iter(done.stderr.strip().splitlines()), f"{program} exited with {done.code}")
        raise HostError(f"cannot read the packet filter, which needs CAP_NET_ADMIN: {reason}")
    return done.stdout


def parsed_rules(text: str) -> Iterator[FilterRule]:
    """Yield the rules of a listing."""
    for chain, rest in _RULE.findall(text):
        found = {key: value.strip('"').replace("\\", "") for key, value in _PART.findall(rest)}
        source, destination = (found.get(key, "").partition("/")[0] for key in ("-s", "-d"))
        conditions = _PART.sub("", rest).replace(" -m comment", "").strip()
        yield FilterRule(chain, found.get("-j", ""), source, destination, found.get("--comment", ""), conditions)


_STEPS = 10_000
"""Instructions of SQLite's virtual machine between two looks at the clock: less than 1 ms."""


def read_rows(host: Host, file: PurePosixPath, query: str, *, most: int, seconds: float) -> list[tuple[Any, ...]]:
    """Return at most this many rows. Raises HostError, also after this time.

    With the write-ahead log, which K3s uses, a reader does not block writers.
    """
    problem = host.tree.trust_problem(file)
    if problem:
        raise HostError(f"cannot read {file}: {problem}")
    try:
        import sqlite3
    except ImportError:
        raise HostError(f"cannot read {file}: this Python has no module sqlite3") from None
    end = time.monotonic() + seconds
    place = quote(f"{host.root.rstrip('/')}{file}")
    try:
        with closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True, timeout=seconds)) as connection:
            connection.set_progress_handler(lambda: int(time.monotonic() > end), _STEPS)
            return connection.execute(query).fetchmany(most)
    except sqlite3.Error as error:
        raise HostError(f"cannot read {file}: {error}") from error
