"""Which addresses may be told how a batch ended, by their text."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

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
    "http://[::ffff:127.0.0.1]/": CallbackUrl("http", "::ffff:127.0.0.1", 80, "/", loopback=True),
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
PUBLIC = [
    "1.1.1.1", "93.184.215.14", "192.0.1.0", "223.255.255.255", "2606:2800:21f:cb07::", "2a00::1",
    "64:ff9b::5db8:d70e", "::ffff:93.184.215.14", "2002:5db8:d70e::1",
]  # fmt: skip
NOT_PUBLIC = [
    "fe80::1%eth0", "2606:2800:21f:cb07::%eth0", "::7f00:1", "::5db8:d70e", "::ffff:169.254.169.254",
    "::ffff:0:93.184.215.14", "64:ff9b::a9fe:a9fe", "64:ff9b:1::5db8:d70e", "2002:7f00:1::",
    "2002:a9fe:a9fe::1", "2001:0:5db8:d70e::1", "fd00:ec2::254", "1000::1", "4000::1",
]  # fmt: skip
# IANA's registries of special-purpose addresses (October 2025), and what is reserved or multicast.
SPECIAL = [
    "0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32",
    "192.0.0.170/32", "192.0.0.171/32", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24",
    "192.88.99.0/24", "192.88.99.2/32", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32", "::1/128",
    "::/128", "::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001::/32",
    "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32", "2001:4:112::/48",
    "2001:10::/28", "2001:20::/28", "2001:30::/28", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20",
    "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
]  # fmt: skip
# Those whose neighbours are not special.
OUTERMOST = [
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
    "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32",
    "2620:4f:8000::/48",
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


@pytest.mark.parametrize("block", SPECIAL)
def test_nothing_in_a_special_block_is_public(block: str) -> None:
    network = ip_network(block)
    for address in (network[0], network[network.num_addresses // 2], network[-1]):
        assert not is_public(address), address


@pytest.mark.parametrize("block", OUTERMOST)
def test_what_stands_right_before_and_behind_a_special_block_is_public(block: str) -> None:
    network = ip_network(block)
    assert is_public(network[0] - 1)
    assert is_public(network[-1] + 1)


def test_of_ipv6_only_what_is_given_to_anybody_is_public() -> None:
    """2000::/3, and from the first that a registry has there."""
    for address in ("1fff:ffff::", "2001:1ff:ffff::1", "4000::", "ffff::"):
        assert not is_public(ip_address(address))
    for address in ("2001:200::", "2003::", "3ffe:ffff::", "3fff:1000::", "2000::"):
        assert is_public(ip_address(address))


@pytest.mark.parametrize("block", [each for each in SPECIAL if "." in each])
def test_an_ipv6_address_is_judged_by_the_ipv4_address_that_it_stands_for(block: str) -> None:
    inner = int(ip_network(block)[-1])
    for first, bits in (("::ffff:0:0", 0), ("64:ff9b::", 0), ("2002::", 80)):
        assert not is_public(IPv6Address(int(ip_address(first)) | inner << bits))
