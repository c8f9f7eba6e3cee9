"""The plugin that stands for `aws` and `awsx`: it creates nothing, and gives outputs like AWS's.

The outputs are those of the mock engine, stacks/mock_engine.py. When a preview would create something, what
only AWS could know of it is unknown. Names and arguments of methods are the engine's.
"""
# ruff: noqa: ARG002, N802

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import empty_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.provider.provider import ConstructResult, InvokeResult, Provider
from pulumi.provider.server import ProviderServicer
from pulumi.runtime import proto
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs
from pulumi.runtime.rpc import UNKNOWN

from stacks.mock_engine import AwsMocks, arguments_of, wrong_properties
from tests.engine.vpc import Vpc

# What AWS cannot change on what is there, of what holds data or traffic: a change makes a new one.
FIXED = {
    "aws:rds/instance:Instance": {
        "dbName",
        "kmsKeyId",
        "snapshotIdentifier",
        "storageEncrypted",
        "username",
    },
    "aws:rds/cluster:Cluster": {
        "databaseName",
        "kmsKeyId",
        "masterUsername",
        "snapshotIdentifier",
        "storageEncrypted",
    },
    "aws:rds/subnetGroup:SubnetGroup": {"name"},
    "aws:rds/parameterGroup:ParameterGroup": {"family", "name"},
    "aws:rds/clusterParameterGroup:ClusterParameterGroup": {"family", "name"},
    "aws:ec2/vpc:Vpc": {"cidrBlock"},
    "aws:ec2/subnet:Subnet": {"availabilityZone", "cidrBlock", "vpcId"},
    "aws:ec2/securityGroup:SecurityGroup": {"description", "name", "vpcId"},
    "aws:s3/bucket:Bucket": {"bucket"},
    "aws:sqs/queue:Queue": {"fifoQueue", "name"},
    "aws:acm/certificate:Certificate": {"domainName", "validationMethod"},
    "aws:route53/record:Record": {"name", "zoneId"},
    "aws:lb/loadBalancer:LoadBalancer": {"internal", "loadBalancerType", "name", "namePrefix"},
    "aws:lb/listener:Listener": {"loadBalancerArn"},
    "aws:lb/listenerRule:ListenerRule": {"listenerArn"},
    "aws:lb/targetGroup:TargetGroup": {"namePrefix", "port", "protocol", "targetType", "vpcId"},
    "aws:wafv2/webAcl:WebAcl": {"name", "scope"},
    "aws:wafv2/webAclAssociation:WebAclAssociation": {"resourceArn", "webAclArn"},
    "aws:ecs/cluster:Cluster": {"name"},
    "aws:ecs/service:Service": {"cluster", "launchType", "name", "schedulingStrategy"},
    "aws:ecr/repository:Repository": {"name"},
}


class MockedProvider(Provider):
    """Answers to functions, and what `awsx` makes of several resources."""

    def invoke(self, token: str, args: Mapping[str, Any]) -> InvokeResult:
        outputs, _ = AwsMocks().call(MockCallArgs(token, dict(args), provider=""))
        return InvokeResult(outputs)

    def construct(self, name: str, resource_type: str, inputs: Any, options: Any = None) -> ConstructResult:
        if resource_type != "awsx:ec2:Vpc":
            raise NotImplementedError(f"the tests' plugin does not make {resource_type}")
        vpc = Vpc(name, inputs, options)
        return ConstructResult(vpc.urn, vpc.outputs)


class FakeAwsx(ProviderServicer):
    """What a provider needs besides what Pulumi's own servicer has for components."""

    async def Attach(self, request: proto.PluginAttach, context: Any) -> Any:
        """An engine begins; it has started no plugin of its own. One at a time."""
        self.engine_address = request.address
        return empty_pb2.Empty()  # ty: ignore[missing-attribute]

    async def CheckConfig(self, request: proto.CheckRequest, context: Any) -> proto.CheckResponse:
        return proto.CheckResponse(inputs=request.news)

    async def DiffConfig(self, request: proto.DiffRequest, context: Any) -> proto.DiffResponse:
        return difference(request, set())


class FakeAws(FakeAwsx):
    async def Configure(self, request: Any, context: Any) -> proto.ConfigureResponse:
        """Secrets come as plain values, and the engine marks them again."""
        return proto.ConfigureResponse(supportsPreview=True)

    async def Check(self, request: proto.CheckRequest, context: Any) -> proto.CheckResponse:
        faults = wrong_properties(MessageToDict(request.news), arguments_of(request.type))
        return proto.CheckResponse(
            inputs=request.news, failures=[proto.CheckFailure(reason=fault) for fault in faults]
        )

    async def Diff(self, request: proto.DiffRequest, context: Any) -> proto.DiffResponse:
        return difference(request, FIXED.get(request.type, set()))

    async def Create(self, request: proto.CreateRequest, context: Any) -> proto.CreateResponse:
        inputs = MessageToDict(request.properties)
        args = MockResourceArgs(request.type, request.name, inputs, provider="", resource_id="")
        own_id, outputs = AwsMocks().new_resource(args)
        if request.preview:
            return proto.CreateResponse(properties=dict.fromkeys(outputs, UNKNOWN) | inputs)
        return proto.CreateResponse(id=own_id or "", properties=outputs)

    async def Update(self, request: proto.UpdateRequest, context: Any) -> proto.UpdateResponse:
        """What AWS has given stays, and so does whatever depends on that."""
        return proto.UpdateResponse(properties=MessageToDict(request.olds) | MessageToDict(request.news))

    async def Read(self, request: proto.ReadRequest, context: Any) -> proto.ReadResponse:
        return proto.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

    async def Delete(self, request: proto.DeleteRequest, context: Any) -> Any:
        return empty_pb2.Empty()  # ty: ignore[missing-attribute]


def difference(request: proto.DiffRequest, fixed: set[str]) -> proto.DiffResponse:
    old, new = MessageToDict(request.old_inputs), MessageToDict(request.news)
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return proto.DiffResponse(
        changes=proto.DiffResponse.DIFF_SOME if changed else proto.DiffResponse.DIFF_NONE,
        diffs=changed,
        replaces=[key for key in changed if key in fixed],
    )
