"""Which addresses may be told how a batch ended, by their text."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from access.callback_urls import LENGTH_MAX, CallbackUrl, fault_of, is_public, parse

GOOD = {
    "https://example.com": CallbackUrl("https", "example.com", 443, "/", loopback=False),
    "https://EXAMPLE.com:8443/told?of=batch#here": CallbackUrl(
        "https", "example.com", 8443, "/told?of=batch", loopback=False
    ),
    "https://93.184.215.14/": CallbackUrl("https", "93.184.215.14", 443, "/", loopback=False),
    "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/": CallbackUrl(
        "https", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", 443, "/", loopback=False
    ),
    "http://127.0.0.1:9000/told": CallbackUrl("http", "127.0.0.1", 9000, "/told", loopback=True),
    "http://localhost/": CallbackUrl("http", "localhost", 80, "/", loopback=True),
    "http://[::1]:9000/": CallbackUrl("http", "::1", 9000, "/", loopback=True),
}
BAD = {
    "": "it has characters that an address has to encode",
    "example.com/told": "it begins with '', https:// is expected",
    "ftp://example.com/": "it begins with 'ftp', https:// is expected",
    "http://example.com/": "it begins with 'http', https:// is expected",
    "http://localhost.example.com/": "it begins with 'http', https:// is expected",
    "https:///told": "'' is no name of a host",
    "https://me:secret@example.com/": "it has a user or a password in it",
    "https://@example.com/": "it has a user or a password in it",
    "https://exam%2eple.com/": "'exam%2eple.com' is no name of a host",
    "https://a..b/": "'a..b' is no name of a host",
    "https://example.com:0/": "port 0 is none",
    "https://example.com:65536/": "it is no address: Port out of range 0-65535",
    "https://example.com:https/": "it is no address: Port could not be cast to integer value as 'https'",
    "https://[::1/": "it is no address: Invalid IPv6 URL",
    "https://example.com\\@10.0.0.1/": "it has characters that an address has to encode",
    "https://example.com/a b": "it has characters that an address has to encode",
    "https://example.com/\r\nHost: other": "it has characters that an address has to encode",
    "https://exämple.com/": "it has characters that an address has to encode",
    "https://localhost/": "localhost is no public address",
    "https://LOCALHOST./": "localhost. is no public address",
    "https://169.254.169.254/latest/meta-data": "169.254.169.254 is no public address",
    "https://10.0.0.1/": "10.0.0.1 is no public address",
    "https://[::ffff:10.0.0.1]/": "::ffff:10.0.0.1 is no public address",
    f"https://example.com/{'a' * LENGTH_MAX}": "it has 2,020 characters, 2,000 are allowed",
}
PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07::", "64:ff9b::5db8:d70e"]
NOT_PUBLIC = [
    "0.0.0.1", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.170.2", "172.31.0.2", "192.168.0.1",
    "224.0.0.1", "255.255.255.255", "::", "::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "ff02::1",
    "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
]  # fmt: skip


@pytest.mark.parametrize(("url", "parsed"), GOOD.items(), ids=GOOD)
def test_an_address_is_taken_apart(url: str, parsed: CallbackUrl) -> None:
    assert parse(url) == parsed
    assert fault_of(url) is None


@pytest.mark.parametrize(("url", "fault"), BAD.items(), ids=[repr(url[:40]) for url in BAD])
def test_an_address_that_nobody_may_be_told_at_says_why(url: str, fault: str) -> None:
    assert fault_of(url) == fault


def test_a_long_name_is_refused_as_quickly_as_any() -> None:
    assert fault_of(f"https://{'a' * 1900}!/") == f"{'a' * 1900 + '!'!r} is no name of a host"


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_on_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_only_this_network_reaches_is_not(address: str) -> None:
    assert not is_public(ip_address(address))
