"""Redaction of secrets in texts."""

from __future__ import annotations

import pytest

from agent.k3s.redaction import redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("token=K10abc::server:def password=x", "token=(not shown) password=(not shown)"),
        ('{"text": "token=K10abc::server:def"}', '{"text": "token=(not shown)"}'),
        ("password=x, agent-token=x", "password=(not shown), agent-token=(not shown)"),
        ("password=x\nnext", "password=(not shown)\nnext"),
    ],
)
def test_what_is_redacted_already_stays(text: str, expected: str) -> None:
    once = redacted(text)
    assert once == redacted(once) == expected
