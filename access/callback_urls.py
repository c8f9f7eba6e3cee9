"""Addresses to be told how a batch ended: `fault_of` for whoever accepts one, `parse` for whoever calls it.

What a name resolves to is looked at when it is called; here is only what the text itself says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import urlsplit

from access.errors import CallbackUrlRefused

LENGTH_MAX = 2_000
PORTS = {"https": 443, "http": 80}
# Printable ASCII but for what two readers of an address may take for different things.
TEXT = re.compile(r"[!-~]+")
AMBIGUOUS = re.compile(r'[\\<>"^`{|}]')
NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)
# What reaches IPv4 through it, as RFC 6052 has it.
NAT64 = ip_network("64:ff9b::/96")
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
    loopback = host.rstrip(".") == "localhost" or (address is not None and address.is_loopback)
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
    """Whether it is somebody's on the internet, also by the IPv4 address that an IPv6 one stands for."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
        if address.scope_id is not None:
            return False
    return address.is_global and not address.is_multicast
