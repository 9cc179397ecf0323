"""Suggestions for misspelt names."""

from __future__ import annotations

from agent.k3s.options import MOST_COMPARED, Spelling


def test_only_a_limited_number_of_names_is_compared() -> None:
    """A generated file can have thousands of unknown names."""
    spelling = Spelling(("tls-san",))
    assert {spelling.meant("tls-sans") for _ in range(MOST_COMPARED)} == {"tls-san"}
    assert spelling.meant("tls-sans") == ""
