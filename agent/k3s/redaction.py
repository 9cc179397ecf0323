"""Redaction: which keys hold secrets, and the removal of secret values from texts and lines. Pure.

A secret is recognised by its key, also if that is misspelt, and by patterns: a K3s token, a password in a URL, and
`name=value` with the name of a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from agent.k3s.options import AGENT_KEYS, ALIASES, SECRET_KEYS, SERVER_ONLY_KEYS

HIDDEN = "(not shown)"
"""The text that replaces a secret value."""

TOKEN_PLACEHOLDER = "TOKEN"  # noqa: S105 - no password
"""Placeholder for a token in commands for the reader."""

_SQLITE = "sqlite://"
_DATASTORES = tuple(f"{name}://" for name in ("http", "https", "mysql", "nats", "postgres", "postgresql"))
"""Schemes of a datastore endpoint (kine, pkg/drivers). A scheme is not a secret."""

WITHOUT_TLS = "sslmode=disable"
"""The parameter of a PostgreSQL endpoint with which its driver does not use TLS."""

_WORDS = ("token", "secret", "password", "passwd", "passphrase")
_SHORTEST_MISSPELT = 4
_PAIRS = frozenset({"accesskey", "apikey", "joinkey", "privatekey", "secretkey"})
_OPTIONS = frozenset(key.replace("-", "") for key in SECRET_KEYS)
_LONG = 10
"""Minimum length of an option in which two typing errors are recognised, instead of one."""

_LONGEST_KEY = 50
_PLAUSIBLE = r"(--?)?[A-Za-z]{0,20}[0-9]{0,4}s?([-_./][A-Za-z]{0,20}[0-9]{0,4}s?)*\+?|<<"
"""A key, also with a typing error, in another notation or with the dashes of the command line."""

_BEFORE_NAME = "-._0123456789"
"""Characters before the first letter of a name, such as the dashes of an option."""

_NOT_SECRET = frozenset({"", "true", "false", "yes", "no", "null", "~", HIDDEN, TOKEN_PLACEHOLDER.lower()})

# Compiled on first use: most texts contain neither a token nor a URL. The text can be a whole file, so the time is
# proportional to its length: (?<!...) lets a name begin only at its first letter, not at each of them.
_TOKEN = r"(?ai)K10[0-9a-f]+::[^\s\"']*"  # noqa: S105 - a pattern
"""A token that starts with the hash of the cluster's certificate authority (k3s, pkg/clientaccess/token.go)."""

_WITH_AT = r"(?<![^\s\"'<>])[^\s\"'<>@]*@[^\s\"'<>]*"
"""A word that can be a URL with a user and password."""

_SCHEME = r"(?ai)(?<![a-z0-9+.-])[a-z0-9+.-]+:(?:\\?/){2}"
"""The beginning of a URL; `\\/` is a slash in JSON."""

_NAME = r"(?a)(?<![\w.-])([\w.-]+)\+?="
_VALUE = r"\(not shown\)(?![^\s,;)\]}`\"'])|\"[^\"]*\"?|'[^']*'?|[^\s,;)\]}`]+"


@cache
def is_secret(key: str) -> bool:
    """Return whether the value of a key must not be shown: a secret option, or an unknown key that looks like one."""
    name = ALIASES.get(key, key)
    if name in SECRET_KEYS:
        return True
    if name in AGENT_KEYS or name in SERVER_ONLY_KEYS:
        return False
    # In camel case a word begins at each upper-case letter: joinKey.
    split = key if key.islower() else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", key).lower()
    words = re.findall(r"[a-z]+", split)
    if not words:
        return False
    last, squashed = words[-1], "".join(words)
    return (
        last.endswith(_WORDS)
        or "".join(words[-2:]).endswith(tuple(_PAIRS))
        or (len(last) >= _SHORTEST_MISSPELT and any(_edits(last, word, 1) for word in _WORDS))
        or any(_edits(squashed, option, 2 if len(option) >= _LONG else 1) for option in _OPTIONS)
    )


def shown_key(key: str) -> str:
    """Return a key, or HIDDEN instead of one that no option or setting can have: it can be a secret."""
    return key if len(key) <= _LONGEST_KEY and re.fullmatch(_PLAUSIBLE, key) else HIDDEN


def without_secrets(key: str, text: str) -> str:
    """Return a value with its secret parts replaced by HIDDEN.

    Keeps the scheme of a datastore endpoint, for SQLite the path, and of the parameters only that TLS is disabled.
    """
    if not text:
        return ""
    if ALIASES.get(key, key) == "datastore-endpoint":
        if text.startswith(_SQLITE):
            path, mark, _ = text.partition("?")
            return f"{redacted(path)}{mark}{HIDDEN if mark else ''}"
        plain = f"?{WITHOUT_TLS}" if re.search(rf"[?&]{WITHOUT_TLS}(&|$)", text) else ""
        return next((scheme for scheme in _DATASTORES if text.startswith(scheme)), "") + HIDDEN + plain
    return HIDDEN if is_secret(key) and text not in _NOT_SECRET else redacted(text)


def redacted(text: str) -> str:
    """Return a text with the secrets in it that a pattern finds replaced by HIDDEN."""
    if "::" in text:
        text = re.sub(_TOKEN, HIDDEN, text)
    if "@" in text:
        text = re.sub(_WITH_AT, _without_credentials, text)
    return "".join(_without_assigned(text)) if "=" in text else text


def redacted_all(value: object) -> object:
    """Return a structure for JSON with every text redacted."""
    if isinstance(value, str):
        lines = redacted(value)
        # An enumeration is a str, too, and keeps its type.
        return value if lines == value else lines
    if isinstance(value, dict):
        return {key: redacted_all(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted_all(item) for item in value]
    return value


def _without_credentials(word: re.Match[str]) -> str:
    """Return a word; in a URL with user and password, these are replaced."""
    before, _, after = word[0].rpartition("@")
    scheme = re.search(_SCHEME, before)
    return f"{before[: scheme.end()]}{HIDDEN}@{after}" if scheme else word[0]


def _without_assigned(text: str) -> Iterator[str]:
    """Yield the parts of a text; the values that are assigned to names of secrets are replaced.

    Another value can contain an assignment, too, as in `kubelet-arg=token=...`.
    """
    name, done = re.compile(_NAME), 0
    while assigned := name.search(text, done):
        yield text[done : assigned.end()]
        done = assigned.end()
        found = re.compile(_VALUE).match(text, done) if is_secret(assigned[1].lstrip(_BEFORE_NAME)) else None
        if found and found[0].strip("\"'").lower() not in _NOT_SECRET:
            yield HIDDEN
            done = found.end()
    yield text[done:]


def _edits(text: str, word: str, most: int) -> bool:
    """Return whether two words differ by at most `most` typing errors: inserted, missing, other or swapped letters."""
    # One error changes the length by one letter and the set of letters by two: this decides almost all pairs.
    if abs(len(text) - len(word)) > most or len(set(text) ^ set(word)) > 2 * most:
        return False
    before: list[int] = []
    row = list(range(len(word) + 1))
    for i, letter in enumerate(text):
        before, last, row = row, before, [i + 1]
        for j, other in enumerate(word):
            cost = min(before[j] + (letter != other), before[j + 1] + 1, row[j] + 1)
            if i and j and letter == word[j - 1] and text[i - 1] == other:
                cost = min(cost, last[j - 1] + 1)
            row.append(cost)
    return row[-1] <= most
