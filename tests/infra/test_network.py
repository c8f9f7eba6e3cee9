"""The VPC: where subnets lie and that they stay there, the way out, and what is closed."""

import ipaddress
import itertools

import pytest

from infra.network import Subnets, lay_out
from stacks.mock_engine import SHAPES, Run, declared, run_stack


def blocks(run: Run) -> dict[tuple[str, int], str]:
    """Kind and zone of each subnet, and its addresses."""
    return {
        (spec["type"], zone): block
        for spec in run.one("ec2:Vpc").inputs["subnetSpecs"]
        for zone, block in enumerate(spec["cidrBlocks"])
    }


def networks(zone: Subnets) -> list[ipaddress.IPv4Network]:
    return [zone.private, zone.public, zone.isolated]


@pytest.mark.parametrize("prefix", range(16, 23))
def test_subnets_lie_in_the_vpc_and_never_overlap(prefix: int) -> None:
    vpc = ipaddress.IPv4Network(f"10.0.0.0/{prefix}")
    subnets = [network for zone in lay_out(vpc) for network in networks(zone)]

    assert len(subnets) == 4 * 3
    assert all(subnet.subnet_of(vpc) for subnet in subnets)
    assert not any(one.overlaps(other) for one, other in itertools.combinations(subnets, 2))
    # A load balancer asks for a /27 with 8 addresses free.
    assert max(subnet.prefixlen for subnet in subnets) <= 27


def test_the_subnets_of_a_16_are_these_for_good() -> None:
    """To move a subnet is to replace all that runs in it: whoever changes these has to want that."""
    assert [
        [str(network) for network in networks(zone)] for zone in lay_out(ipaddress.IPv4Network("10.0.0.0/16"))
    ] == [
        ["10.0.0.0/19", "10.0.32.0/20", "10.0.48.0/21"],
        ["10.0.64.0/19", "10.0.96.0/20", "10.0.112.0/21"],
        ["10.0.128.0/19", "10.0.160.0/20", "10.0.176.0/21"],
        ["10.0.192.0/19", "10.0.224.0/20", "10.0.240.0/21"],
    ]


@pytest.mark.parametrize("changes", [{"zones": "3"}, {"zones": "4"}, {"natGateways": "per-zone"}])
def test_a_zone_or_a_nat_gateway_more_moves_no_subnet(changes: dict[str, str]) -> None:
    before, after = blocks(declared("dev")), blocks(run_stack("dev", changes=changes))

    assert before.items() < after.items()


@pytest.mark.parametrize("shape", SHAPES)
def test_no_subnet_is_left_to_awsx_to_place(shape: str) -> None:
    vpc = declared(shape).one("ec2:Vpc").inputs

    assert vpc["subnetStrategy"] == "Auto"
    second = {"dev": 0, "aurora": 0, "staging": 1, "prod": 2}[shape]
    assert vpc["cidrBlock"] == f"10.{second}.0.0/16"
    assert [len(spec["cidrBlocks"]) for spec in vpc["subnetSpecs"]] == [
        vpc["numberOfAvailabilityZones"] for _ in vpc["subnetSpecs"]
    ]


@pytest.mark.parametrize(
    ("stack", "strategy", "zones", "kinds"),
    [
        ("dev", "None", 2, {"Public", "Isolated"}),
        ("staging", "Single", 2, {"Public", "Private", "Isolated"}),
        ("prod", "OnePerAz", 3, {"Public", "Private", "Isolated"}),
    ],
)
def test_each_stack_has_its_zones_and_its_way_out(
    stack: str, strategy: str, zones: int, kinds: set[str]
) -> None:
    vpc = declared(stack).one("ec2:Vpc").inputs

    assert vpc["enableDnsSupport"] is vpc["enableDnsHostnames"] is True
    assert vpc["numberOfAvailabilityZones"] == zones
    assert vpc["natGateways"] == {"strategy": strategy}
    assert {spec["type"] for spec in vpc["subnetSpecs"]} == kinds


@pytest.mark.parametrize("shape", SHAPES)
def test_s3_is_reached_past_the_nat_gateways_from_every_subnet(shape: str) -> None:
    vpc = declared(shape).one("ec2:Vpc").inputs

    assert vpc["vpcEndpointStrategy"] == "Auto"
    assert vpc["vpcEndpointSpecs"] == [
        {"serviceName": "com.amazonaws.eu-west-1.s3", "vpcEndpointType": "Gateway"}
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_names_no_security_group_reaches_nothing(shape: str) -> None:
    run = declared(shape)

    assert run.one("DefaultSecurityGroup").inputs == {
        "vpcId": run.exports["vpcId"],
        "ingress": [],
        "egress": [],
    }


def test_refused_connections_are_logged_for_as_long_as_the_stack_says() -> None:
    run = declared("prod")
    logs, flow, role = run.one("LogGroup", "-flow"), run.one("FlowLog"), run.one("iam/role:Role", "-flow")

    assert logs.inputs["retentionInDays"] == 30
    assert flow.inputs["vpcId"] == run.exports["vpcId"]
    assert flow.inputs["trafficType"] == "REJECT"
    assert {logs.urn, role.urn} <= set(flow.dependencies)
    assert logs.urn in run.one("RolePolicy", "-flow").dependencies
    assert declared("dev").all("FlowLog") == []
