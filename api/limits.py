"""How often one bearer, or one address, may ask: RATES_LIMIT, such as `100/minute` (the syntax of `limits`).

Counted in each process by itself, so that nothing has to be asked for it: of a task with more than one, one
may get as many times as much. It keeps a client that asks far too much from the others' threads; a limit for
all tasks together, and before a task has any work with it, is WAF's (`requestsPerAddress`), by address alone.

Imported only where there is a limit.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import falcon
from limits import RateLimitItem, parse_many
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from access.errors import SettingUnavailable
from api.bearers import Bearers
from api.errors import Refusal
from api.health import is_health

# Each takes 300 bytes. Of more than so many those that have not asked for the longest time are forgotten.
CLIENTS_MAX = 50_000
# Whoever has an IPv6 address has 2^64 of them.
IPV6_NETWORK_BITS = 64
BEARER = "token "  # before the digest of one; an address has no blank


class Limits:
    """A middleware. `proxies` is how many of ours, such as a load balancer, stand before us: each appends to
    `X-Forwarded-For` who asked it, and what stands before those anybody may have written."""

    def __init__(self, limit: str, bearers: Bearers, proxies: int) -> None:
        self._limits = read_limits(limit)
        self._bearers, self._proxies = bearers, proxies
        self._windows = FixedWindowRateLimiter(Counts(CLIENTS_MAX))
        self._policy = ", ".join(
            f"{name_of(each)};q={each.amount};w={each.get_expiry()}" for each in self._limits
        )

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Raises 429. Health checks are not counted, nor what a browser asks before it asks."""
        if is_health(req.path) or req.method == "OPTIONS":
            return
        client = self._client_of(req)
        over = [each for each in self._limits if not self._windows.hit(each, client)]
        left = [(each, self._windows.get_window_stats(each, client)) for each in self._limits]
        resp.set_header("RateLimit-Policy", self._policy)
        told = [f"{name_of(each)};r={now.remaining};t={seconds_to(now.reset_time)}" for each, now in left]
        resp.set_header("RateLimit", ", ".join(told))
        if over:
            wait_s = max(seconds_to(now.reset_time) for each, now in left if each in over)
            whose = "token" if client.startswith(BEARER) else "address"
            reason = f"This {whose} may ask {over[0]}, and has; ask again in {wait_s} s."
            raise Refusal(429, "too_many_requests", reason, headers={"Retry-After": str(wait_s)})

    def _client_of(self, request: falcon.Request) -> str:
        """A bearer where the token is known: any other could be made up anew for each request."""
        try:
            token = self._bearers.find(request)
        except SettingUnavailable:
            token = None
        if token is not None:
            return BEARER + token.digest.hex()
        return address_of(request, self._proxies)


def read_limits(text: str) -> Sequence[RateLimitItem]:
    """Raises ValueError."""
    limits = parse_many(text)
    if not all(each.amount > 0 for each in limits):
        raise ValueError("a limit of none")
    return limits


def name_of(limit: RateLimitItem) -> str:
    return f'"{limit.multiples if limit.multiples > 1 else ""}{limit.GRANULARITY.name}"'


def seconds_to(then: float) -> int:
    return max(1, math.ceil(then - time.time()))


def address_of(request: falcon.Request, proxies: int) -> str:
    """Who asked the outermost of our proxies; of IPv6 the network, which belongs to one client."""
    told = [each.strip() for each in (request.get_header("X-Forwarded-For") or "").split(",")]
    text = told[-proxies] if 0 < proxies <= len(told) else request.remote_addr
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return request.remote_addr
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False))


class Counts(Storage):
    """Of at most `clients_max`. The library's own in memory has no bound, and looks through all that it has
    each 10 ms for what may go."""

    def __init__(self, clients_max: int) -> None:
        super().__init__()
        self._clients_max = clients_max
        self._lock = Lock()
        # Count, and when it ends; who asked last comes last.
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        now = time.time()
        with self._lock:
            count, ends = self._counts.pop(key, (0, 0.0))
            if ends <= now:
                count, ends = 0, now + expiry
            self._counts[key] = count + amount, ends
            if len(self._counts) > self._clients_max:
                self._counts.popitem(last=False)
            return count + amount

    def get(self, key: str) -> int:
        count, ends = self._counts.get(key, (0, 0.0))
        return count if ends > time.time() else 0

    def get_expiry(self, key: str) -> float:
        return self._counts.get(key, (0, time.time()))[1]

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        with self._lock:
            count = len(self._counts)
            self._counts.clear()
            return count

    def clear(self, key: str) -> None:
        with self._lock:
            self._counts.pop(key, None)
