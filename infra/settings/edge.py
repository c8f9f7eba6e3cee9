"""How a stack is reached: domain, limits and the record of who asked."""

import re
from dataclasses import dataclass

from infra.settings.observability import LOG_DAYS
from infra.settings.reader import Reader

DOMAIN = re.compile(r"(?=.{1,64}$)([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}")  # ACM takes 64 characters
ZONE_ID = re.compile(r"Z[A-Z0-9]{1,31}")
# What WAF takes, and none.
REQUESTS_PER_ADDRESS = range(10, 2_000_000_001)


@dataclass(frozen=True)
class Domain:
    """A name, and the hosted zone in Route 53 in which it is declared."""

    name: str
    zone_id: str


@dataclass(frozen=True)
class EdgeSettings:
    domain: Domain | None  # None: plain HTTP at the load balancer's own name
    requests_per_address: int | None  # in 5 minutes; None: no limit
    access_log_days: int  # 0: no access logs
    production: bool


def read_edge(reader: Reader, production: bool) -> EdgeSettings:
    name = reader.text_if_set("domain", DOMAIN, "a name such as rates.example.com")
    zone_id = reader.text_if_set("domainZoneId", ZONE_ID, "a hosted zone of Route 53, such as Z0123456789ABC")
    reader.demand("domainZoneId", not name or bool(zone_id), "domain is set, and declared in a hosted zone")
    reader.demand("domain", not zone_id or bool(name), "domainZoneId is set, and nothing to declare in it")
    if production:
        reader.demand("domain", name is not None, "production needs it: without there is no HTTPS")
    return EdgeSettings(
        domain=Domain(name, zone_id) if name and zone_id else None,
        requests_per_address=reader.whole_if_set("requestsPerAddress", REQUESTS_PER_ADDRESS),
        access_log_days=reader.whole("accessLogDays", (0, *LOG_DAYS)),
        production=production,
    )
