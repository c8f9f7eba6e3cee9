"""awsx's VPC as the tests' plugin makes it: fewer resources than the real one, and the same outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws

KINDS = ("Public", "Private", "Isolated")
STRATEGIES = {"None": 0, "Single": 1}


class Vpc(pulumi.ComponentResource):
    """A VPC, its subnets in each zone, and its NAT gateways. Keys of `inputs` are the engine's."""

    def __init__(self, name: str, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions | None) -> None:
        super().__init__("awsx:ec2:Vpc", name, None, opts)
        self._inside = pulumi.ResourceOptions(parent=self)
        zones = range(int(inputs["numberOfAvailabilityZones"]))
        vpc = aws.ec2.Vpc(name, cidr_block=inputs["cidrBlock"], opts=self._inside)
        subnets = {kind: [] for kind in KINDS}
        for spec in inputs["subnetSpecs"]:
            for zone in zones:
                subnet = aws.ec2.Subnet(
                    f"{name}-{spec['type'].lower()}-{zone + 1}",
                    vpc_id=vpc.id,
                    cidr_block=spec["cidrBlocks"][zone],
                    opts=self._inside,
                )
                subnets[spec["type"]].append(subnet.id)
        gateways = STRATEGIES.get(inputs["natGateways"]["strategy"], len(zones))
        for zone in zones[:gateways]:
            aws.ec2.NatGateway(f"{name}-{zone + 1}", subnet_id=subnets["Public"][zone], opts=self._inside)
        self.outputs = {"vpcId": vpc.id} | {f"{kind.lower()}SubnetIds": subnets[kind] for kind in KINDS}
        self.register_outputs(self.outputs)
