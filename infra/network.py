"""The VPC of a stack: public, private and isolated subnets, the way out, and what it refuses to carry.

Tasks run in `task_subnet_ids`, the database in `isolated_subnet_ids`, which have no way out at all.
"""

import ipaddress
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
import pulumi_awsx as awsx

from infra.iam import account_of, allow, document, trust
from infra.logs import Logs
from infra.settings.network import Nat, NetworkSettings

NAT_STRATEGIES = {
    Nat.NONE: awsx.ec2.NatGatewayStrategy.NONE,
    Nat.SINGLE: awsx.ec2.NatGatewayStrategy.SINGLE,
    Nat.PER_ZONE: awsx.ec2.NatGatewayStrategy.ONE_PER_AZ,
}


@dataclass(frozen=True)
class Subnets:
    """One zone's share of the VPC, of a /16: 8,192, 4,096 and 2,048 addresses, and as many spare."""

    private: ipaddress.IPv4Network
    public: ipaddress.IPv4Network
    isolated: ipaddress.IPv4Network


def lay_out(cidr: ipaddress.IPv4Network) -> list[Subnets]:
    """The subnets of up to four zones.

    Each zone has a quarter, and each kind of subnet its place in it, used or not. So neither a new zone nor a
    NAT gateway moves a subnet, which would replace all that runs in it.
    """
    zones = []
    for quarter in cidr.subnets(prefixlen_diff=2):
        private, rest = quarter.subnets()
        public, rest = rest.subnets()
        isolated, _spare = rest.subnets()
        zones.append(Subnets(private, public, isolated))
    return zones


class Network(pulumi.ComponentResource):
    """Without NAT gateways there are no private subnets; tasks run in the public ones, in closed groups."""

    vpc_id: pulumi.Output[str]
    public_subnet_ids: pulumi.Output[list[str]]
    task_subnet_ids: pulumi.Output[list[str]]
    isolated_subnet_ids: pulumi.Output[list[str]]
    tasks_need_public_ip: bool

    def __init__(
        self,
        name: str,
        settings: NetworkSettings,
        region: str,
        logs: Logs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:network:Network", name, None, opts)
        self._inside = pulumi.ResourceOptions(parent=self)
        vpc = awsx.ec2.Vpc(
            name,
            cidr_block=str(settings.cidr),
            number_of_availability_zones=settings.zones,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            # With CIDR blocks given for each zone, awsx computes none; Auto, unlike Exact, allows gaps.
            subnet_strategy=awsx.ec2.SubnetAllocationStrategy.AUTO,
            subnet_specs=subnet_specs(settings),
            nat_gateways=awsx.ec2.NatGatewayConfigurationArgs(strategy=NAT_STRATEGIES[settings.nat]),
            # Batches pass S3's endpoint and no NAT gateway, at no charge. Auto puts it in every route table.
            vpc_endpoint_strategy=awsx.ec2.VpcEndpointStrategy.AUTO,
            vpc_endpoint_specs=[
                awsx.ec2.VpcEndpointSpecArgs(
                    service_name=f"com.amazonaws.{region}.s3", vpc_endpoint_type="Gateway"
                )
            ],
            opts=self._inside,
        )
        # AWS puts whatever names no group into this one, whose members may talk to each other and to the
        # world. It cannot be deleted, so it is emptied.
        aws.ec2.DefaultSecurityGroup(name, vpc_id=vpc.vpc_id, ingress=[], egress=[], opts=self._inside)
        if settings.flow_log_days:
            refused = logs.declare_log_group(f"{name}-flow", settings.flow_log_days, self)
            self._log_refused_connections(name, vpc.vpc_id, refused)

        self.tasks_need_public_ip = settings.nat is Nat.NONE
        self.vpc_id = vpc.vpc_id
        self.public_subnet_ids = vpc.public_subnet_ids.apply(list)
        self.isolated_subnet_ids = vpc.isolated_subnet_ids.apply(list)
        self.task_subnet_ids = (
            self.public_subnet_ids if self.tasks_need_public_ip else vpc.private_subnet_ids.apply(list)
        )
        self.register_outputs(
            {
                "vpcId": self.vpc_id,
                "publicSubnetIds": self.public_subnet_ids,
                "taskSubnetIds": self.task_subnet_ids,
                "isolatedSubnetIds": self.isolated_subnet_ids,
            }
        )

    def _log_refused_connections(
        self, name: str, vpc_id: pulumi.Output[str], logs: aws.cloudwatch.LogGroup
    ) -> None:
        role = aws.iam.Role(
            f"{name}-flow",
            assume_role_policy=trust(
                "vpc-flow-logs.amazonaws.com", {"StringEquals": {"aws:SourceAccount": account_of(logs.arn)}}
            ),
            opts=self._inside,
        )
        aws.iam.RolePolicy(
            f"{name}-flow",
            role=role.id,
            policy=document(
                allow(
                    ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
                    pulumi.Output.concat(logs.arn, ":*"),
                )
            ),
            opts=self._inside,
        )
        aws.ec2.FlowLog(
            f"{name}-flow",
            vpc_id=vpc_id,
            traffic_type="REJECT",
            log_destination_type="cloud-watch-logs",
            log_destination=logs.arn,
            iam_role_arn=role.arn,
            opts=self._inside,
        )


def subnet_specs(settings: NetworkSettings) -> list[awsx.ec2.SubnetSpecArgs]:
    zones = lay_out(settings.cidr)[: settings.zones]
    blocks = {
        awsx.ec2.SubnetType.PUBLIC: [zone.public for zone in zones],
        awsx.ec2.SubnetType.PRIVATE: [zone.private for zone in zones],
        awsx.ec2.SubnetType.ISOLATED: [zone.isolated for zone in zones],
    }
    if settings.nat is Nat.NONE:
        del blocks[awsx.ec2.SubnetType.PRIVATE]
    return [
        awsx.ec2.SubnetSpecArgs(type=kind, cidr_blocks=[str(block) for block in networks])
        for kind, networks in blocks.items()
    ]
