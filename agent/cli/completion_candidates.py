"""Candidates that shells complete for values; the names of commands and options are Typer's."""

from __future__ import annotations


def topics(incomplete: str) -> list[str]:
    """Return the topics of `explain` that start with this text."""
    from agent.cli.verbs.topics import titles

    return [name for name in titles() if name.startswith(incomplete)]


def benchmarks(incomplete: str) -> list[str]:
    """Return the values of --benchmark that start with this text."""
    from agent.k3s.cis.versions import Benchmark

    return [name for name in ("auto", *map(str, Benchmark)) if name.startswith(incomplete)]


def versions(incomplete: str) -> list[str]:
    """Return the K3s versions that are known and that start with this text, newest first."""
    from agent.base.model import NEWEST_KNOWN, OLDEST_COVERED

    minors = range(NEWEST_KNOWN.minor, OLDEST_COVERED.minor - 1, -1)
    return [name for name in (f"v1.{minor}" for minor in minors) if name.startswith(incomplete)]
