"""Requests by kubectl have one limit together."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from agent.base.errors import HostError
from agent.cluster.connection import Kubectl
from agent.cluster.kubernetes.queries import REQUESTS, Query
from agent.cluster.reader import Reader


@pytest.mark.parametrize("answer", ["sleep 1000", """echo '{"items": [{}], "metadata": {"continue": "next"}}'"""])
def test_a_list_without_an_end_has_a_limit(tmp_path: Path, answer: str) -> None:
    """An API server can hang, or name another page again and again."""
    (tmp_path / "kubectl").write_text(f"#!/bin/sh\n{answer}\n")
    (tmp_path / "kubectl").chmod(0o755)
    client = Kubectl.of_user((), {"PATH": f"{tmp_path}:{os.environ['PATH']}"}, 2)
    start = time.monotonic()
    with pytest.raises(HostError, match=r"cannot (run kubectl: it did not finish|read /api/v1/pods: no complete)"):
        Reader(client).listed(REQUESTS[Query.PODS], dict)
    assert time.monotonic() - start < 20
