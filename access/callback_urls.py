"""Addresses to be told how a batch ended: `fault_of` for whoever accepts one, `parse` for whoever calls it.

What a name resolves to is looked at when it is called; here is only what the text itself says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias
from urllib.parse import urlsplit

from access.errors import CallbackUrlRefused

LENGTH_MAX = 2_000
PORTS = {"https": 443, "http": 80}
# Printable ASCII but for what two readers of an address may take for different things.
TEXT = re.compile(r"[!-~]+")
AMBIGUOUS = re.compile(r'[\\<>"^`{|}]')
NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)
# IANA's registries of special-purpose addresses, and multicast. Python's `is_global` follows them by version.
SPECIAL_IPV4 = [
    IPv4Network(block)
    for block in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
        "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
]  # fmt: skip
# The one block of which addresses are given out, and what is special in it; Teredo is in the first.
GLOBAL_IPV6 = IPv6Network("2000::/3")
SPECIAL_IPV6 = [
    IPv6Network(block) for block in ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20")
]
# What stands for the IPv4 address in it, and how many bits behind that are not of it: as mapped, as RFC 6052
# has it, and 6to4.
WITH_IPV4 = {IPv6Network("::ffff:0:0/96"): 0, IPv6Network("64:ff9b::/96"): 0, IPv6Network("2002::/16"): 80}
Address: TypeAlias = IPv4Address | IPv6Address


@dataclass(frozen=True)
class CallbackUrl:
    """An address taken apart; `target` is its path and query, and `loopback` this machine itself."""

    scheme: str
    host: str
    port: int
    target: str
    loopback: bool


def fault_of(url: str) -> str | None:
    """Why nobody can be told at this address; None where somebody may."""
    try:
        parse(url)
    except CallbackUrlRefused as error:
        return str(error)
    return None


def parse(url: str) -> CallbackUrl:
    """Raises CallbackUrlRefused."""
    if len(url) > LENGTH_MAX:
        raise CallbackUrlRefused(f"it has {len(url):,} characters, {LENGTH_MAX:,} are allowed")
    if not TEXT.fullmatch(url) or AMBIGUOUS.search(url):
        raise CallbackUrlRefused("it has characters that an address has to encode")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise CallbackUrlRefused(f"it is no address: {error}") from error
    if parts.scheme not in PORTS:
        raise CallbackUrlRefused(f"it begins with {parts.scheme!r}, https:// is expected")
    if "@" in parts.netloc:
        raise CallbackUrlRefused("it has a user or a password in it")
    if port == 0:
        raise CallbackUrlRefused("port 0 is none")
    loopback = refuse_host(parts.scheme, host)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return CallbackUrl(parts.scheme, host, port or PORTS[parts.scheme], target, loopback)


def refuse_host(scheme: str, host: str) -> bool:
    """Whether the host is this machine itself, by its name or address."""
    address = literal_address(host)
    if address is None and not NAME.fullmatch(host):
        raise CallbackUrlRefused(f"{host!r} is no name of a host")
    loopback = host.rstrip(".") == "localhost" or (address is not None and is_loopback(address))
    if scheme == "http" and not loopback:
        raise CallbackUrlRefused("it begins with 'http', https:// is expected")
    if scheme == "https" and (loopback or (address is not None and not is_public(address))):
        raise CallbackUrlRefused(f"{host} is no public address")
    return loopback


def literal_address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether it is global unicast, a host's on the internet; one that stands for an IPv4 address is judged
    by that."""
    if isinstance(address, IPv4Address):
        return not any(address in block for block in SPECIAL_IPV4)
    if address.scope_id is not None:
        return False
    inner = ipv4_in(address)
    if inner is not None:
        return is_public(inner)
    return address in GLOBAL_IPV6 and not any(address in block for block in SPECIAL_IPV6)


def is_loopback(address: Address) -> bool:
    """Whether it is this machine itself."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def ipv4_in(address: IPv6Address) -> IPv4Address | None:
    for block, bits in WITH_IPV4.items():
        if address in block:
            return IPv4Address(int(address) >> bits & 0xFFFF_FFFF)
    return None
