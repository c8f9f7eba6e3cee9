"""The boundary of every role that a copy with a pipeline makes: docs/decisions/0007.

The pipeline can make roles and give them rights, since the program does. Without a boundary it could so give
itself any right in the account; with it, none that `deploy_rights.boundary` has not.
"""

from typing import Any

import pulumi
import pulumi_aws as aws

from infra.deploy_rights import Copy, boundary
from infra.iam import document


class Boundary(pulumi.ComponentResource):
    """`around` is for the options of the components whose roles it holds."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, copy: Copy, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rates:boundary:Boundary", name, None, opts)
        policy = aws.iam.Policy(
            name,
            description="The most that a role of this copy may do",
            policy=document(*boundary(copy)),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.arn = policy.arn
        self.register_outputs({"arn": self.arn})

    def around(self, opts: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
        """The same options, by which every role below has the boundary, whoever declares it."""
        return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(transformations=[self._bind]))

    def _bind(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if args.type_ != "aws:iam/role:Role":
            return None
        props: dict[str, Any] = {**args.props, "permissions_boundary": self.arn}
        return pulumi.ResourceTransformationResult(props, args.opts)
