"""A request to an address that somebody else chose: what it connects to, believes, and how long it takes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from access.callback_urls import CallbackUrl
from loader import callback_request
from loader.callback_request import ANSWER_BYTES_MAX, Call, Unanswered
from local.postgres import HOST, free_port
from tests.access.receiver import Receiver, receiving
from tests.images.authority import Authority
from tests.waiting import TIMEOUT_S, wait_until

HELD_S = 0.3
PUBLIC, PRIVATE = "93.184.215.14", "10.0.0.1"


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Generator[CallbackUrl]:
    """A server that does just this with each connection, after the request has come."""
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        connection.recv(65_536)
                        answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield CallbackUrl("http", HOST, listener.getsockname()[1], "/", loopback=True)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def fault_of(url: CallbackUrl, within_s: float = 10) -> str:
    with pytest.raises(Unanswered) as raised:
        Call(url, {}, b"{}").status_within(within_s)
    return str(raised.value)


def status_of(url: CallbackUrl) -> int:
    """Of an answer that does not end. A slow machine takes longer to begin with it."""
    for within_s in (HELD_S, 10 * HELD_S):
        with suppress(Unanswered):
            return Call(url, {}, b"{}").status_within(within_s)
    return Call(url, {}, b"{}").status_within(TIMEOUT_S)


def running_calls() -> int:
    return sum(thread.name == "callback" for thread in threading.enumerate())


# --- how long it takes -------------------------------------------------------------------------------------


def test_who_says_nothing_is_waited_for_no_longer_than_that() -> None:
    over = threading.Event()

    def say_nothing(_connection: socket.socket) -> None:
        over.wait(2 * TIMEOUT_S)

    with answering(say_nothing) as url:
        assert fault_of(url, HELD_S) == "no answer within 0.3 s"
        wait_until(lambda: running_calls() == 0)  # the server says nothing still
        over.set()


def test_who_answers_a_byte_at_a_time_is_waited_for_no_longer() -> None:
    """Each byte comes in time, and the last of them never."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
        while True:
            connection.sendall(b"x")
            time.sleep(0.01)

    with answering(drip) as url:
        fault_of(url, HELD_S)
        wait_until(lambda: running_calls() == 0)


def test_an_answer_without_end_is_an_answer() -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65_536)

    with answering(flood) as url:
        assert Call(url, {}, b"{}").status_within() == 204


def test_little_of_an_answer_is_read() -> None:
    sent = []

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(OSError):
            while True:
                sent.append(connection.send(b"x" * 65_536))

    with answering(flood) as url:
        assert Call(url, {}, b"{}").status_within() == 200
        wait_until(lambda: running_calls() == 0)
    assert ANSWER_BYTES_MAX <= sum(sent) < 50_000_000, "what the kernel takes, and no more"


def test_a_status_counts_though_its_answer_does_not_end() -> None:
    over = threading.Event()

    def half(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        over.wait(2 * TIMEOUT_S)

    with answering(half) as url:
        assert status_of(url) == 200
        over.set()


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"", "the connection ended"),
        (b"SSH-2.0-OpenSSH\r\n", "what it answers is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000, "what it answers is not HTTP"),
    ],
)
def test_what_is_no_answer_is_told_in_our_own_words(answer: bytes, fault: str) -> None:
    with answering(lambda connection: connection.sendall(answer)) as url:
        assert fault_of(url) == fault


# --- whom it connects to -----------------------------------------------------------------------------------


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Has every name resolve to these addresses; returns those that are then connected to."""

    def resolve_to(*answers: list[str]) -> list[str]:
        left, connected = list(answers), []

        def resolve(_host: str, port: int, **_options: object) -> list[tuple]:
            return [(2, 1, 6, "", (address, port)) for address in left.pop(0)]

        def connect(address: tuple[str, int], _timeout_s: float) -> socket.socket:
            connected.append(address[0])
            raise ConnectionRefusedError(111, "Connection refused")

        monkeypatch.setattr(callback_request.socket, "getaddrinfo", resolve)
        monkeypatch.setattr(callback_request.socket, "create_connection", connect)
        return connected

    return resolve_to


EXAMPLE = CallbackUrl("https", "example.com", 443, "/", loopback=False)


def test_it_connects_to_the_very_address_that_was_looked_at(names: Callable[..., list[str]]) -> None:
    """Asked again, the name would be of something inside our network."""
    connected = names([PUBLIC], [PRIVATE])
    assert fault_of(EXAMPLE) == "connection refused"
    assert connected == [PUBLIC]


def test_of_several_addresses_those_that_are_public_are_tried(names: Callable[..., list[str]]) -> None:
    connected = names([PRIVATE, "2606:2800:21f:cb07::1", "169.254.169.254", PUBLIC])
    assert fault_of(EXAMPLE) == "connection refused"
    assert connected == ["2606:2800:21f:cb07::1", PUBLIC]


def test_a_name_of_our_network_is_not_called(names: Callable[..., list[str]]) -> None:
    connected = names([PRIVATE, "169.254.170.2"])
    assert fault_of(EXAMPLE) == "it resolves to 10.0.0.1, 169.254.170.2, which is not public"
    assert connected == []


def test_a_loopback_address_is_nothing_but_that(names: Callable[..., list[str]]) -> None:
    connected = names([PUBLIC, "127.0.0.1", "::1"])
    fault_of(CallbackUrl("http", "localhost", 80, "/", loopback=True))
    assert connected == ["127.0.0.1", "::1"]


def test_a_name_that_does_not_resolve_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> list[tuple]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(callback_request.socket, "getaddrinfo", resolve)
    assert fault_of(EXAMPLE) == "its name does not resolve"


def test_a_proxy_of_the_environment_is_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom it connects to would then be the proxy's decision."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://{HOST}:{free_port()}")
    with receiving(Receiver()) as receiver:
        url = CallbackUrl("http", HOST, receiver.port, "/", loopback=True)
        assert Call(url, {}, b"{}").status_within() == 204


# --- whom it believes --------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """Whose certificates are trusted; this machine is taken for a public address."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    monkeypatch.setattr(callback_request, "may_be_called", lambda *_, **__: True)
    return authority


def certificate_of(authority: Authority) -> Path:
    return authority.folder / authority.server_settings(HOST)["ssl_cert_file"].rpartition("/")[2]


def test_tls_is_the_hosts_whose_name_was_given(authority: Authority) -> None:
    with receiving(Receiver(), certificate_of(authority)) as receiver:
        url = CallbackUrl("https", HOST, receiver.port, "/", loopback=False)
        assert Call(url, {}, b"{}").status_within() == 204
        another = CallbackUrl("https", "localhost", receiver.port, "/", loopback=False)
        assert "certificate is not valid for 'localhost'" in fault_of(another)
    assert len(receiver.requests) == 1, "nothing is sent before the certificate is good"


def test_a_certificate_that_nobody_vouches_for_is_not_believed(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with receiving(Receiver(), certificate_of(authority)) as receiver:
        url = CallbackUrl("https", HOST, receiver.port, "/", loopback=False)
        assert fault_of(url).startswith("its certificate is not good: ")
    assert receiver.requests == []


def test_what_speaks_no_tls_is_not_believed(authority: Authority) -> None:
    with receiving(Receiver()) as receiver:
        url = CallbackUrl("https", HOST, receiver.port, "/", loopback=False)
        assert fault_of(url).startswith("TLS failed: ")
