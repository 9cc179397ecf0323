"""systemd's unit file syntax: logical lines and the words of a setting."""

from __future__ import annotations

import pytest

from agent.linux.unit_files import logical_lines, words


def test_continuation_lines_are_joined_and_keep_the_first_line_number() -> None:
    assert list(logical_lines("a\nb \\\nc\nd\\")) == [(1, "a"), (2, "b  \nc"), (4, "d")]


def test_each_word_has_its_own_line() -> None:
    assert words("a \n 'b c' \n\"d\"", 7) == [(7, "a"), (8, "b c"), (9, "d")]


def test_an_open_quote_is_an_error() -> None:
    with pytest.raises(ValueError, match="quotation"):
        words("'a", 1)
