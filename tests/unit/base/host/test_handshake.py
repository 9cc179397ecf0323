"""Handshakes and requests without a credential, answered by OpenSSL's server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from agent.assess.checks.port_effects import CLOSED, SUITES
from agent.base.errors import HostError
from agent.base.host.https import TLS_1_1, TLS_1_2, anonymous_answer, own_address, tls_answer
from agent.k3s.pem import validity

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

ALL = [*SUITES.values()]
CBC, GCM = SUITES["TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"], SUITES["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]
PROTOCOL_VERSION, HANDSHAKE_FAILURE = 70, 40
LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate with its key in one file."""
    file = tmp_path_factory.mktemp("pair") / "pair.pem"
    kind = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3", "-subj", "/CN=x"]
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", *kind, "-keyout", "-"], capture_output=True, check=True
    )
    file.write_bytes(made.stdout)
    return file


def free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def tls_server(pair: Path, *options: str) -> Iterator[tuple[str, int]]:
    """Run a server that answers requests with its own state."""
    address = (LOOPBACK, free_port())
    words = ["openssl", "s_server", "-accept", f"{LOOPBACK}:{address[1]}", "-cert", str(pair), "-www", *options]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(address) == 0:
                        break
                time.sleep(0.05)
            yield address
        finally:
            process.kill()


def test_only_an_alert_of_the_server_is_a_refusal(pair: Path) -> None:
    with tls_server(pair, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256") as address:
        assert tls_answer(address, TLS_1_1, ALL, 5) == (False, PROTOCOL_VERSION)
        assert tls_answer(address, TLS_1_2, [CBC], 5) == (False, HANDSHAKE_FAILURE)
        assert tls_answer(address, TLS_1_2, [CBC, GCM], 5) == (True, GCM)


def test_an_old_version_that_is_accepted_is_seen(pair: Path) -> None:
    """Although the client's own library would refuse it."""
    with tls_server(pair, "-cipher", "ALL:@SECLEVEL=0", "-min_protocol", "TLSv1") as address:
        is_accepted, suite = tls_answer(address, TLS_1_1, ALL, 5)
    assert is_accepted
    assert suite in ALL


def test_an_anonymous_request_has_a_status_and_the_certificate_in_use(pair: Path) -> None:
    with tls_server(pair) as address:
        status, certificate = anonymous_answer(address, "/", 5, is_tls=True)
    assert status == 200
    first, last = validity(certificate)
    assert first < last
    assert (first[:2], len(last)) == ("20", len("2026-12-02 04:05:06 UTC"))


def test_a_server_that_requires_a_certificate_has_no_status(pair: Path) -> None:
    with tls_server(pair, "-Verify", "1", "-verify_return_error") as address:
        assert anonymous_answer(address, "/", 5, is_tls=True)[0] == 0


@contextmanager
def answering(serve: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """Run a server that treats its only connection like this."""
    with socket.create_server((LOOPBACK, 0)) as server:

        def accept() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()
        thread.join()


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.0 400 Bad Request\r\n\r\n", b"\x16\x03\x01\0\1\2", b"\x15\x03\x01\0\0"]
)
def test_any_other_answer_is_neither_refusal_nor_acceptance(answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    with answering(serve) as address, pytest.raises(HostError, match="neither an alert nor a ServerHello"):
        tls_answer(address, TLS_1_1, ALL, 5)


def test_a_silent_server_ends_in_time() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        began = time.monotonic()
        with pytest.raises(HostError):
            tls_answer(server.getsockname(), TLS_1_1, ALL, 0.1)
        with pytest.raises(HostError):
            anonymous_answer(server.getsockname(), "/", 0.1, is_tls=True)
        assert time.monotonic() - began < 5


def test_a_server_that_sends_a_byte_at_a_time_ends_in_time() -> None:
    def serve(connection: socket.socket) -> None:
        while connection.send(b"\x16"):
            time.sleep(0.1)

    began = time.monotonic()
    with answering(serve) as address, pytest.raises(HostError, match="no complete answer in time"):
        tls_answer(address, TLS_1_1, ALL, 0.8)
    assert time.monotonic() - began < 5


def test_a_closed_port_is_no_answer() -> None:
    address = (LOOPBACK, free_port())
    with pytest.raises(HostError, match=CLOSED):
        tls_answer(address, TLS_1_1, ALL, 1)
    with pytest.raises(HostError, match=CLOSED):
        anonymous_answer(address, "/", 1, is_tls=False)


def test_the_address_of_this_machine_is_not_loopback() -> None:
    assert not own_address().startswith("127.")
