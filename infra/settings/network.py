"""The VPC of a stack: its addresses, zones and way out."""

import ipaddress
from dataclasses import dataclass
from enum import StrEnum

from infra.settings.observability import LOG_DAYS
from infra.settings.reader import Reader

# AWS allows a VPC /16 to /28; below /22 the smallest subnets of `network` leave no room for tasks.
VPC_PREFIXES = range(16, 23)
# The upper end is the room in the layout of `network`.
ZONES = range(2, 5)


class Nat(StrEnum):
    """NAT gateways, by which private subnets reach the internet."""

    NONE = "none"
    SINGLE = "single"
    PER_ZONE = "per-zone"


@dataclass(frozen=True)
class NetworkSettings:
    cidr: ipaddress.IPv4Network
    zones: int
    nat: Nat
    flow_log_days: int  # 0: no flow logs


def read_network(reader: Reader, production: bool) -> NetworkSettings:
    nat = reader.choice("natGateways", Nat)
    if production:
        reason = (
            "production takes none or per-zone: when the zone of a single one fails, all lose their way out"
        )
        reader.demand("natGateways", nat is not Nat.SINGLE, reason)
    return NetworkSettings(
        cidr=reader.private_cidr("vpcCidr", VPC_PREFIXES),
        zones=reader.whole("zones", ZONES, "; a database needs subnets in two zones"),
        nat=nat,
        flow_log_days=reader.whole("flowLogDays", (0, *LOG_DAYS)),
    )
