"""Who may connect to what: the internet to the load balancer's two ports, and to nothing else."""

import ipaddress
from collections.abc import Iterator

from infra.policy_pack.balancer import LOAD_BALANCER
from infra.policy_pack.rule import UNKNOWN, Declared, Stack, about, about_stack, dig, items

GROUP = "aws:ec2/securityGroup:SecurityGroup"
DEFAULT_GROUP = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
OLD_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
VPC = "aws:ec2/vpc:Vpc"
WEB_PORTS = (80, 443)
ADMINISTRATION_PORTS = {22: "SSH", 3389: "RDP"}
# Addresses that the internet does not carry; everything else may be anybody's.
PRIVATE = [
    ipaddress.ip_network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
]


@about_stack(
    "open-to-the-internet",
    "Only the load balancer is open to the internet: whatever else is reachable there is attacked there.",
)
def open_to_the_internet(stack: Stack) -> Iterator[tuple[Declared, str]]:
    for rule in stack.all(INGRESS, OLD_RULE):
        if rule.inputs.get("type") != "egress" and (sources := public_sources(rule)):
            first, last = rule.inputs.get("fromPort"), rule.inputs.get("toPort")
            if not of_a_load_balancer(stack, rule):
                yield rule, f"found {', '.join(sources)}: allowed in a load balancer's security group alone"
            elif first != last or first not in WEB_PORTS:
                yield (
                    rule,
                    f"found ports {first} to {last}: allowed are 80 and 443, each by itself",
                )


def public_sources(rule: Declared) -> list[str]:
    blocks = [
        each
        for key in ("cidrIpv4", "cidrIpv6", "cidrBlocks", "ipv6CidrBlocks")
        for each in items(rule.inputs.get(key))
    ]
    lists = [each for key in ("prefixListId", "prefixListIds") for each in items(rule.inputs.get(key))]
    return [each for each in blocks if each != UNKNOWN and not is_private(each)] + lists


def is_private(block: str) -> bool:
    network = ipaddress.ip_network(block, strict=False)
    return any(
        network.version == private.version
        and network.network_address in private
        and network.broadcast_address in private
        for private in PRIVATE
    )


def of_a_load_balancer(stack: Stack, rule: Declared) -> bool:
    return any(
        stack.pointing(LOAD_BALANCER, "securityGroups", group)
        for group in stack.named_by(rule, "securityGroupId", GROUP)
    )


@about(
    "no-way-in-for-administration",
    "People reach servers through Session Manager, which knows who they are, and never by an open port.",
    INGRESS,
    OLD_RULE,
)
def no_way_in_for_administration(rule: Declared) -> Iterator[str]:
    if rule.inputs.get("type") == "egress":
        return
    first, last = rule.inputs.get("fromPort"), rule.inputs.get("toPort")
    everything = rule.inputs.get("ipProtocol", rule.inputs.get("protocol")) in ("-1", "all")
    for port, what in ADMINISTRATION_PORTS.items():
        if everything or (isinstance(first, (int, float)) and first <= port <= (last or first)):
            yield f"found a way in to port {port} ({what}): allowed are rules that leave it out"


@about(
    "no-inline-rules",
    "Rules are resources of their own: inline ones undo those that other components add.",
    GROUP,
)
def no_inline_rules(group: Declared) -> Iterator[str]:
    for key in ("ingress", "egress"):
        if group.inputs.get(key):
            yield f"found {key} rules inside the security group: allowed is none"


@about_stack(
    "default-group-is-empty",
    "AWS puts whatever names no security group into the default one, whose members may talk to the world.",
)
def default_group_is_empty(stack: Stack) -> Iterator[tuple[Declared, str]]:
    groups = stack.all(DEFAULT_GROUP)
    for group in groups:
        if dig(group.inputs, "ingress") + dig(group.inputs, "egress"):
            yield group, "found rules in the default security group: allowed is none"
    # The component and, where the engine shows what is inside of it, the VPC itself.
    vpcs = stack.all(VPC) or stack.all("awsx:ec2:Vpc")
    if len(groups) < len(vpcs):
        yield vpcs[0], f"found {len(groups)} emptied default security groups for {len(vpcs)} VPCs"
