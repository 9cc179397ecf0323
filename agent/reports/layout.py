"""Lines of a terminal: hanging indents, line breaks only between words, and commands that can be pasted."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from agent.reports.formats import fitting
from agent.reports.text import printable, stripped

NARROW = 80
"""A terminal with fewer columns gets details below their head, with a small indent."""

_SMALL_INDENT = 2
_BACKSLASH = " \\"
_CONTINUATION = "    "


def styled(text: str, style: str = "") -> Text:
    """Return one printable line."""
    return Text(printable(text), style)


def joined(*parts: Text) -> Text:
    """Return texts one after the other, each with its own style."""
    line = Text()
    for part in parts:
        line.append_text(part)
    return line


def padded(text: Text, width: int) -> Text:
    """Return a text with blanks up to a width; they have no style."""
    return joined(text, Text(" " * max(0, width - text.cell_len)))


def indent_of(console: Console, column: int) -> int:
    """Return where details begin: below the second column, or near the left edge of a narrow terminal."""
    return column if console.width >= NARROW else _SMALL_INDENT


def print_line(console: Console, text: Text, indent: int = 0, hanging: int = 0) -> None:
    """Print a text from column `indent` on, with `hanging` more columns from its second line on."""
    rest = text
    is_first = True
    while is_first or rest:
        left = indent if is_first else indent + hanging
        line, rest = _split(rest, console.width - left, console.width - indent - hanging)
        # Rich would break a long word at the last column, and a terminal does that by itself.
        console.print(Text(" " * left).append_text(line), soft_wrap=True)
        is_first = False


def print_command(console: Console, command: str, indent: int, style: str = "", head: Text | None = None) -> None:
    """Print a command line after `head`; where it is too long, a backslash continues it, so that it can be pasted."""
    start = joined(Text(" " * indent), head or Text())
    for line in command_lines(printable(command), console.width - start.cell_len):
        console.print(start.append(line, style), soft_wrap=True)
        start = Text(" " * (indent + (head.cell_len if head else 0)))


def command_lines(command: str, width: int) -> list[str]:
    """Return a command line, or several that end with a backslash. Each of these fits, and ends after a word."""
    if cell_len(command) <= width:
        return [command]
    lines: list[str] = []
    line = ""
    for word in _shell_words(command, width - len(_CONTINUATION) - len(_BACKSLASH)):
        longer = f"{line} {word}" if line else f"{_CONTINUATION if lines else ''}{word}"
        # After a word that is too long, the terminal would show the backslash alone on the next line.
        if line and cell_len(line) <= width - len(_BACKSLASH) < cell_len(longer):
            lines.append(line + _BACKSLASH)
            longer = _CONTINUATION + word
        line = longer
    return [*lines, line]


def _shell_words(command: str, width: int) -> list[str]:
    """Return the words of a command line; an option and its value are one if both fit."""
    pattern = r"""(?:\\.|'[^']*'|"(?:\\.|[^"])*"|[^\s'"\\]|['"\\])+"""
    words: list[str] = []
    for word in re.findall(pattern, command):
        is_value = bool(words) and words[-1].startswith("--") and " " not in words[-1] and not word.startswith("-")
        if is_value and cell_len(f"{words[-1]} {word}") <= width:
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words


def _split(text: Text, width: int, next_width: int) -> tuple[Text, Text]:
    """Split a text at the last place where a line of this width can end.

    That is after a blank, or, in a word that is longer than the next line as well, after a slash or comma.
    """
    if cell_len(text.plain) <= width:
        return text, Text()
    best = 0
    for word in re.finditer(r"\S+\s*", text.plain):
        end = word.end()
        if cell_len(text.plain[:end].rstrip()) <= width:
            best = end
            continue
        if best == 0 or cell_len(word.group().rstrip()) > next_width:
            best = _inside(text.plain, word.start(), end, width) or best or end
        break
    if best in {0, len(text.plain)}:
        return text, Text()
    first, rest = text.divide([best])
    first.rstrip()
    return first, rest


def _inside(plain: str, start: int, end: int, width: int) -> int:
    """Return where a word that is too long for a line can end, before the last column; 0 if nowhere."""
    ends = (start + part.end() for part in re.finditer(r"[/,](?=\S)", plain[start:end]))
    return max((end for end in ends if cell_len(plain[:end]) <= width and end - start > 1), default=0)


def write_captured(stream: TextIO, show: Callable[[Console], None]) -> None:
    """Write what `show` prints to a Rich console of the width of the stream's terminal."""
    console = Console(file=stream, highlight=False)
    console.width = console.width or 80  # with COLUMNS=0 Rich would print nothing
    with console.capture() as captured:
        show(console)
    stream.write(fitting(stripped(captured.get()), stream))
