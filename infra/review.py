"""A role in which pull requests preview the stack, so that whoever reviews one sees what it would change.

A preview runs the program of the pull request, whatever that has become. So the role sees how the stack is
built, changes nothing and reads no customer's data. GitHub vouches for the workflow: no key is kept anywhere.
"""

import pulumi
import pulumi_aws as aws

from infra.iam import Statement, allow, document
from infra.pulumi_state import StackFiles
from infra.releases import parameter_path, to_read
from infra.settings.delivery import ReviewSettings

ISSUER = "token.actions.githubusercontent.com"
# What a workflow asks GitHub's token for, and AWS's own action does.
AUDIENCE = "sts.amazonaws.com"
# The least that IAM takes.
SESSION_S = 3600


class Review(pulumi.ComponentResource):
    role_arn: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        settings: ReviewSettings,
        files: StackFiles,
        account: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:review:Review", name, None, opts)
        self._inside = pulumi.ResourceOptions(parent=self)
        role = aws.iam.Role(
            name,
            description="Previews of pull requests: sees how the stack is built, and changes nothing",
            assume_role_policy=document(
                trust_pull_requests(self._provider_arn(name, settings, account), settings.repository)
            ),
            max_session_duration=SESSION_S,
            opts=self._inside,
        )
        aws.iam.RolePolicy(
            name,
            role=role.id,
            policy=document(*to_preview(files, account)),
            opts=self._inside,
        )
        self.role_arn = role.arn
        self.register_outputs({"roleArn": self.role_arn})

    def _provider_arn(
        self, name: str, settings: ReviewSettings, account: pulumi.Input[str]
    ) -> pulumi.Output[str]:
        """An account has one at most; where another stack declares it, its ARN is known all the same."""
        if not settings.declare_provider:
            return pulumi.Output.concat("arn:aws:iam::", account, ":oidc-provider/", ISSUER)
        # No thumbprint: IAM knows the authorities that GitHub's certificate comes from.
        provider = aws.iam.OpenIdConnectProvider(
            name, url=f"https://{ISSUER}", client_id_lists=[AUDIENCE], opts=self._inside
        )
        return provider.arn


def trust_pull_requests(provider_arn: pulumi.Input[str], repository: str) -> Statement:
    """Of this repository alone, by equality: another could have a name that fits a pattern. GitHub gives a
    workflow of a fork no token.
    """
    return {
        "Effect": "Allow",
        "Principal": {"Federated": provider_arn},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {
            "StringEquals": {
                f"{ISSUER}:aud": AUDIENCE,
                f"{ISSUER}:sub": f"repo:{repository}:pull_request",
            }
        },
    }


def to_preview(files: StackFiles, account: pulumi.Input[str]) -> list[Statement]:
    """Without `--refresh`, Pulumi compares the program with its state and asks AWS for next to nothing."""
    return [
        *files.to_preview(),
        to_read(parameter_path(files.project, files.stack), files.region, account),
        # Where awsx puts subnets. AWS knows no resource for it.
        {
            **allow(["ec2:DescribeAvailabilityZones"], "*"),
            "Condition": {"StringEquals": {"aws:RequestedRegion": files.region}},
        },
        # Which account this is, asked by Pulumi's plugin first of all. AWS knows no resource for it.
        allow(["sts:GetCallerIdentity"], "*"),
    ]
