"""Words that components accept, words.tsv: cipher suites, controllers, eviction signals and node labels. Pure."""

from __future__ import annotations

from agent.base import package_data

_WORDS = {kind: frozenset(words.split()) for kind, words in package_data.rows("k3s", "components", "words.tsv")}

SUITES, CONTROLLERS, SIGNALS, LABELS = (
    _WORDS[kind] for kind in ("cipher suite", "controller", "eviction signal", "label")
)
