"""A way for people to the database: a small server that forwards its port, and only through Session Manager.

No port of it is open. Who may start a session is for IAM to say, and a person logs into the database as
himself: the server has no right to do so.
"""

import json
import shlex

import pulumi
import pulumi_aws as aws

from infra.database import Database
from infra.iam import Statement, account_of, allow, document, trust
from infra.network import Network
from infra.security_groups import declare_closed_group
from infra.settings.bastion import BastionSettings

# The smallest there is, a few dollars a month; it only passes bytes on.
INSTANCE_TYPE = "t4g.nano"
# Amazon Linux has the agent of Session Manager. EC2 looks the newest image up when it starts the server.
IMAGE = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
# How that image calls its disk.
ROOT_DEVICE = "/dev/xvda"
# Where the database is on the laptop: beside a PostgreSQL that runs there.
LOCAL_PORT = 15432
NONE = "none: set bastion to true for a way to the database"


class Bastion(pulumi.ComponentResource):
    """`command` forwards the database's port to a laptop, as long as it runs."""

    command: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        settings: BastionSettings,
        region: str,
        network: Network,
        database: Database,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:bastion:Bastion", name, None, opts)
        self._base = name
        self._settings = settings
        self._network = network
        self._inside = pulumi.ResourceOptions(parent=self)
        role, policy = self._declare_role(region, account_of(database.arn))
        template = self._declare_template(role)
        group = declare_closed_group(name, f"Bastion {name}", network.vpc_id, self._inside)
        groups = [group, database.client_security_group_id]
        instance = self._declare_instance(template, groups, policy)
        self.command = pulumi.Output.all(instance.id, database.host).apply(
            lambda both: forward(region, *both, database.port)
        )
        self.register_outputs({"command": self.command})

    def _declare_role(
        self, region: str, account: pulumi.Output[str]
    ) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
        role = aws.iam.Role(self._base, assume_role_policy=trust("ec2.amazonaws.com"), opts=self._inside)
        policy = aws.iam.RolePolicy(
            self._base, role=role.id, policy=document(*to_be_reached(region, account)), opts=self._inside
        )
        return role, policy

    def _declare_template(self, role: aws.iam.Role) -> aws.ec2.LaunchTemplate:
        profile = aws.iam.InstanceProfile(self._base, role=role.name, opts=self._inside)
        return aws.ec2.LaunchTemplate(
            self._base,
            image_id=IMAGE,
            instance_type=INSTANCE_TYPE,
            iam_instance_profile=aws.ec2.LaunchTemplateIamInstanceProfileArgs(arn=profile.arn),
            metadata_options=aws.ec2.LaunchTemplateMetadataOptionsArgs(
                # Credentials for processes of the server alone, and for none that can be led to fetch a URL.
                http_endpoint="enabled",
                http_tokens="required",
                http_put_response_hop_limit=1,
            ),
            block_device_mappings=[
                aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
                    device_name=ROOT_DEVICE,
                    # With AWS's own key, which costs nothing: the disk holds the image and no data.
                    ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                        encrypted="true", volume_type="gp3", delete_on_termination="true"
                    ),
                )
            ],
            opts=self._inside,
        )

    def _declare_instance(
        self,
        template: aws.ec2.LaunchTemplate,
        groups: list[pulumi.Output[str]],
        policy: aws.iam.RolePolicy,
    ) -> aws.ec2.Instance:
        return aws.ec2.Instance(
            self._base,
            launch_template=aws.ec2.InstanceLaunchTemplateArgs(
                id=template.id, version=template.latest_version.apply(str)
            ),
            subnet_id=self._network.task_subnet_ids[0],
            associate_public_ip_address=self._network.tasks_need_public_ip,
            vpc_security_group_ids=groups,
            user_data=let_in(self._settings.public_key) if self._settings.public_key else None,
            # It is read at the first start only.
            user_data_replace_on_change=True,
            tags={"Name": self._base},
            # An agent that is refused at first asks again only after minutes.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )


def to_be_reached(region: str, account: pulumi.Output[str]) -> list[Statement]:
    """What the agent needs for sessions. A role cannot name a server that is not there before it."""
    servers = pulumi.Output.concat("arn:aws:ec2:", region, ":", account, ":instance/*")
    return [
        allow(["ssm:UpdateInstanceInformation"], servers),
        allow(
            [
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
            ],
            "*",  # AWS knows no resource for them
        ),
    ]


def let_in(public_key: str) -> str:
    """For SSH through a session, as the image's own user. JSON is YAML, which is what cloud-init reads."""
    return "#cloud-config\n" + json.dumps({"ssh_authorized_keys": [public_key]})


def forward(region: str, instance_id: str, host: str, port: int) -> str:
    parameters = {"host": [host], "portNumber": [str(port)], "localPortNumber": [str(LOCAL_PORT)]}
    return shlex.join(
        [
            *["aws", "ssm", "start-session", "--region", region, "--target", instance_id],
            *["--document-name", "AWS-StartPortForwardingSessionToRemoteHost"],
            *["--parameters", json.dumps(parameters)],
        ]
    )
