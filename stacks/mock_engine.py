"""Runs the real program of `infra/` for a stack, without AWS, the `pulumi` command or a network.

A mock monitor stands where the engine would: it keeps each registration, answers with outputs that look like
AWS's, and refuses what the engine or AWS would refuse and mocks alone let through: names used twice, and
properties that do not exist or are missing. It reaches into private parts of Pulumi's runtime, whose version
is pinned.
"""

import asyncio
import contextvars
import copy
import gc
import inspect
import json
import logging
import os
import runpy
import typing
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws
import pulumi_awsx
import yaml
from pulumi._types import input_type_py_to_pulumi_names, input_type_types, is_input_type
from pulumi.runtime import resource as registration
from pulumi.runtime import rpc, set_all_config, set_mocks
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks
from pulumi.runtime.proto.source_pb2 import StackTrace
from pulumi.runtime.settings import set_root_resource
from pulumi.runtime.stack import run_in_stack

with warnings.catch_warnings():
    # They load on first use, and then warn of what they deprecate and nothing here uses.
    warnings.simplefilter("ignore", DeprecationWarning)
    assert pulumi_aws.ec2.Vpc
    assert pulumi_aws.s3.Bucket
    assert pulumi_aws.lb.LoadBalancer
    assert pulumi_aws.acm.Certificate
    assert pulumi_aws.route53.Record
    assert pulumi_aws.wafv2.WebAcl
    assert pulumi_aws.ecs.Service
    assert pulumi_aws.cloudwatch.MetricAlarm
    assert pulumi_awsx.ec2.Vpc

# Where in the program a resource is declared: only the engine shows it, and finding it is a seventh of a run.
registration._get_stack_trace = StackTrace  # ty: ignore[invalid-assignment]
ROOT = Path(__file__).parents[1]
PROJECT = "rates"
STACKS = ("dev", "staging", "prod")
# No stack runs on Aurora today; one that does, and that pauses, is dev with these changes.
AURORA = {
    "databaseEngine": "aurora-postgresql",
    "databaseInstanceClass": "",
    "databaseStorageGib": "0",
    "databaseStorageGibMax": "0",
    "databaseAcusMin": "0",
    "databaseAcusMax": "4",
    "databaseMultiAz": "false",
    "awakeHours": "",
}
SHAPES = (*STACKS, "aurora")
# What a deploy sets, and no stack's file: without images there are no services.
REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
IMAGES = {
    "apiImage": f"{REGISTRY}/rates-api@sha256:{'a' * 64}",
    "loaderImage": f"{REGISTRY}/rates-loader@sha256:{'b' * 64}",
}
NO_IMAGES = dict.fromkeys(IMAGES, "")
PACKAGES = {"aws": pulumi_aws, "awsx": pulumi_awsx}
PARAMETERS_BY_PATH = "aws:ssm/getParametersByPath:getParametersByPath"
# Region and account of every ARN that the mocks make.
PLACE = "mock-region-1:123456789012"
SECRET_ARN = f"arn:aws:secretsmanager:{PLACE}:secret:rds!db-1"


class EngineRefused(Exception):
    """What a program declared and the engine, or AWS, would not take."""


@dataclass(frozen=True)
class Resource:
    """One registration. Names and keys of `inputs` are the engine's: `instanceClass`."""

    urn: str
    type: str
    name: str
    inputs: dict[str, Any]
    custom: bool
    parent: str
    protect: bool
    retain_on_delete: bool
    ignore_changes: tuple[str, ...]
    update_timeout: str
    dependencies: tuple[str, ...]
    property_dependencies: dict[str, tuple[str, ...]]
    provider: str
    providers: dict[str, str]


@dataclass
class Run:
    """What a program declared for a stack, by type and name; what it exports, and warns of; its settings."""

    stack: str
    resources: list[Resource] = field(default_factory=list)
    exports: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    config: dict[str, str] = field(default_factory=dict)
    # Parameters in SSM that an earlier run has left, by name.
    parameters: Mapping[str, str] = field(default_factory=dict)

    def all(self, kind: str) -> list[Resource]:
        """By the end of the type, such as `rds/instance:Instance`."""
        return [resource for resource in self.resources if resource.type.endswith(f":{kind}")]

    def one(self, kind: str, name: str = "") -> Resource:
        """The only one of its type, or of those the one whose name ends so."""
        (resource,) = [resource for resource in self.all(kind) if resource.name.endswith(name)]
        return resource

    def named(self, urn: str) -> Resource:
        (resource,) = [resource for resource in self.resources if resource.urn == urn]
        return resource


@cache
def declared(shape: str) -> Run:
    """What the program declares for one of SHAPES. For those who only look at it."""
    return run_stack("dev", changes=AURORA) if shape == "aurora" else run_stack(shape)


def run_stack(
    stack: str,
    profile: str | None = None,
    changes: Mapping[str, str] | None = None,
    folder: Path = ROOT,
    parameters: Mapping[str, str] | None = None,
) -> Run:
    """What `infra/__main__.py` declares as a deploy, by `Pulumi.<profile>.yaml` or the stack's own.

    A copy for each who asks; the program runs once for the same settings, so it must be as it stands.
    """
    config = stack_config(profile or stack, IMAGES | dict(changes or {}), folder)
    return copy.deepcopy(run_infra(stack, tuple(config.items()), tuple((parameters or {}).items())))


def run_changed_program(stack: str, changes: Mapping[str, str] | None = None) -> Run:
    """The same, for a test that has changed the program."""
    return run_program(infra, Run(stack), stack_config(stack, IMAGES | dict(changes or {})))


@cache
def run_infra(
    stack: str, config: tuple[tuple[str, str], ...], parameters: tuple[tuple[str, str], ...]
) -> Run:
    return run_program(infra, Run(stack, parameters=dict(parameters)), dict(config))


def infra() -> None:
    """The program, started as Pulumi's own executor starts a folder."""
    runpy.run_path(str(ROOT / "infra"), run_name="__main__")


def stack_config(
    profile: str, changes: Mapping[str, str] | None = None, folder: Path = ROOT
) -> dict[str, str]:
    """The stack's file on top of the defaults in `Pulumi.yaml`, each value as text, as the engine has it.

    `changes` go on top of both, keyed without the project. The folder is the stack file's.
    """
    declarations = read_yaml("Pulumi.yaml")["config"]
    config = {f"{PROJECT}:{key}": declaration["default"] for key, declaration in declarations.items()}
    config |= read_yaml(f"Pulumi.{profile}.yaml", folder)["config"]
    return config | {f"{PROJECT}:{key}": value for key, value in (changes or {}).items()}


def read_yaml(name: str, folder: Path = ROOT) -> Any:
    # The base loader leaves scalars as they are written, as the engine does: 17.10 does not become 17.1.
    # The one in C takes a tenth of the time.
    return yaml.load((folder / name).read_text(), yaml.CBaseLoader)  # noqa: S506  # it makes nothing but text


def run_program(program: Callable[[], None], run: Run, config: Mapping[str, str]) -> Run:
    """Fills the run, in a context of its own, since Pulumi keeps its state in context variables."""
    run.config.update(config)
    with without_garbage_collection():
        contextvars.copy_context().run(run_here, program, run, config)
    run.resources.sort(key=lambda resource: (resource.type, resource.name))
    refuse_duplicates(run)
    for resource in run.resources:
        refuse_wrong_properties(resource)
    return run


@contextmanager
def without_garbage_collection() -> Generator[None]:
    """A program makes many objects at once, and looking for garbage among them took over half of its time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def run_here(program: Callable[[], None], run: Run, config: Mapping[str, str]) -> None:
    with event_loop() as loop, environment("PULUMI_CONFIG", json.dumps(config)):
        mocks = AwsMocks(run.parameters)
        logger = logging.Logger("engine", logging.WARNING)
        logger.addHandler(WarningsOf(run))
        recorder = Recorder(mocks, run)
        set_mocks(mocks, PROJECT, run.stack, preview=False, logger=logger, monitor=recorder)
        set_root_resource(typing.cast(pulumi.Resource, None))
        set_all_config(dict(config), [])
        loop.run_until_complete(run_in_stack(program))


@contextmanager
def event_loop() -> Generator[asyncio.AbstractEventLoop]:
    """The program's loop, and one for the thread in which the monitor answers, a request at a time."""
    with ThreadPoolExecutor(1, initializer=open_loop) as monitor_thread:
        loop = open_loop()
        loop.set_default_executor(monitor_thread)
        try:
            yield loop
        finally:
            monitor_thread.submit(close_loop).result()
            close_loop()


def open_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


def close_loop() -> None:
    asyncio.get_event_loop().close()
    asyncio.set_event_loop(None)


@contextmanager
def environment(name: str, value: str) -> Generator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


class WarningsOf(logging.Handler):
    """What the engine would say to whoever runs it."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def emit(self, record: logging.LogRecord) -> None:
        self._run.warnings.append(record.getMessage())


class Recorder(MockMonitor):
    """The mock monitor, plus what it forgets: options, and the outputs of the stack."""

    def __init__(self, mocks: Mocks, run: Run) -> None:
        super().__init__(mocks)
        self._run = run

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802  # the engine's name
        response = super().RegisterResource(request)
        if request.type != "pulumi:pulumi:Stack":
            self._run.resources.append(
                Resource(
                    urn=response.urn,
                    type=request.type,
                    name=request.name,
                    inputs=comparable(rpc.deserialize_properties(request.object)),
                    custom=request.custom,
                    parent=request.parent,
                    protect=request.protect,
                    retain_on_delete=request.retainOnDelete,
                    ignore_changes=tuple(request.ignoreChanges),
                    update_timeout=request.customTimeouts.update,
                    dependencies=tuple(sorted(request.dependencies)),
                    property_dependencies={
                        key: tuple(sorted(value.urns)) for key, value in request.propertyDependencies.items()
                    },
                    provider=request.provider,
                    providers=dict(request.providers),
                )
            )
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        if "::pulumi:pulumi:Stack::" in request.urn:
            self._run.exports.update(rpc.deserialize_properties(request.outputs))
        return super().RegisterResourceOutputs(request)


def comparable(inputs: dict[str, Any]) -> dict[str, Any]:
    """A file by its path from the root: Pulumi's own object for one is like no other."""
    return {
        key: os.path.relpath(each.path, ROOT) if isinstance(each, pulumi.FileAsset) else each
        for key, each in inputs.items()
    }


class AwsMocks(Mocks):
    """Gives each resource the outputs that the program reads, and answers what it asks of AWS."""

    def __init__(self, parameters: Mapping[str, str] | None = None) -> None:
        self._parameters = parameters or {}

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict]:
        if args.typ == "awsx:ec2:Vpc":
            # A remote component: its inputs are none of its outputs.
            return None, vpc_outputs(args)
        service = args.typ.partition(":")[2].partition("/")[0]
        arn = f"arn:aws:{service}:{PLACE}:{args.name}"
        own = OUTPUTS[args.typ](args) if args.typ in OUTPUTS else {}
        return f"{args.name}-id", {"arn": arn, "name": args.name} | args.inputs | own

    def call(self, args: MockCallArgs) -> tuple[dict, list[tuple[str, str]] | None]:
        if args.token == PARAMETERS_BY_PATH:
            return parameters_below(args.args["path"], self._parameters), []
        raise EngineRefused(f"the program asks AWS for {args.token}, which these tests do not answer")


def parameters_below(path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    found = {name: value for name, value in parameters.items() if name.startswith(f"{path}/")}
    return {"id": path, "path": path, "names": list(found), "values": list(found.values())}


def vpc_outputs(args: MockResourceArgs) -> dict[str, Any]:
    zones = range(1, int(args.inputs["numberOfAvailabilityZones"]) + 1)
    kinds = {spec["type"].lower() for spec in args.inputs["subnetSpecs"]}
    return {"vpcId": f"{args.name}-vpc"} | {
        f"{kind}SubnetIds": [f"{args.name}-{kind}-{zone}" for zone in zones if kind in kinds]
        for kind in ("public", "private", "isolated")
    }


SECRETS = [{"secretArn": SECRET_ARN, "kmsKeyId": "key", "secretStatus": "active"}]
# What only AWS could know of a resource, and the program reads.
OUTPUTS: dict[str, Callable[[MockResourceArgs], dict[str, Any]]] = {
    "aws:acm/certificate:Certificate": lambda args: {
        "domainValidationOptions": [
            {
                "domainName": args.inputs["domainName"],
                "resourceRecordName": f"_proof.{args.inputs['domainName']}",
                "resourceRecordType": "CNAME",
                "resourceRecordValue": "_proof.acm.example",
            }
        ]
    },
    "aws:ec2/launchTemplate:LaunchTemplate": lambda _: {"latestVersion": 1},
    "aws:ecr/repository:Repository": lambda args: {"repositoryUrl": f"registry.example/{args.name}"},
    "aws:kms/key:Key": lambda args: {"keyId": f"key-of-{args.name}"},
    "aws:lb/loadBalancer:LoadBalancer": lambda args: {
        "arnSuffix": f"app/{args.name}/1",
        "dnsName": f"{args.name}.elb.example",
        "zoneId": "zone-of-load-balancers",
    },
    "aws:lb/targetGroup:TargetGroup": lambda args: {"arnSuffix": f"targetgroup/{args.name}/1"},
    "aws:rds/cluster:Cluster": lambda args: {
        "clusterResourceId": "cluster-1",
        "endpoint": f"{args.name}.rds.example",
        "masterUserSecrets": SECRETS,
        "readerEndpoint": f"{args.name}.ro.rds.example",
    },
    "aws:rds/instance:Instance": lambda args: {
        "address": f"{args.name}.rds.example",
        "masterUserSecrets": SECRETS,
        "resourceId": "db-1",
    },
    "aws:route53/record:Record": lambda args: {"fqdn": args.inputs["name"]},
    "aws:sqs/queue:Queue": lambda args: {"url": f"https://sqs.example/{args.name}"},
}


def refuse_duplicates(run: Run) -> None:
    """Two resources of a type and name have one URN where their parents are of a type; so nowhere."""
    seen = set()
    for resource in run.resources:
        if (resource.type, resource.name) in seen:
            raise EngineRefused(f"{resource.type} {resource.name} is declared twice")
        seen.add((resource.type, resource.name))


def refuse_wrong_properties(resource: Resource) -> None:
    arguments = arguments_of(resource.type)
    for fault in wrong_properties(resource.inputs, arguments) if arguments else ():
        raise EngineRefused(f"{resource.type} {resource.name} {fault}")


def arguments_of(kind: str) -> type | None:
    """`InstanceArgs` of pulumi_aws.rds for `aws:rds/instance:Instance`; None for our own components."""
    if kind.startswith("pulumi:providers:"):
        return PACKAGES[kind.rpartition(":")[2]].ProviderArgs
    package, module, name = kind.split(":")
    if package not in PACKAGES:
        return None
    types = getattr(PACKAGES[package], module.partition("/")[0])
    # Where an input of another resource has the name already, the resource's own is another.
    return getattr(types, f"{name}InitArgs", None) or getattr(types, f"{name}Args")


def wrong_properties(value: Any, kind: Any, path: str = "") -> list[str]:
    """What the value, and what is nested in it, has and its type does not, or lacks and its type needs."""
    if isinstance(value, list):
        return [fault for item in value for fault in wrong_properties(item, kind, path)]
    candidates = list(input_types(kind))
    if not isinstance(value, dict) or not candidates:
        return []
    # Of a union, the type that is meant is the one with the fewest faults.
    return min((faults_as(value, candidate, path) for candidate in candidates), key=len)


def faults_as(value: dict[str, Any], kind: type, path: str) -> list[str]:
    types, names = input_type_types(kind), input_type_py_to_pulumi_names(kind)
    parameters = inspect.signature(kind).parameters.values()
    required = {names[each.name] for each in parameters if each.default is each.empty}
    return [
        *[f"lacks {path}{key}" for key in sorted(required - value.keys())],
        *[f"has no property {path}{key}" for key in sorted(value.keys() - types.keys())],
        *[
            fault
            for key in sorted(value.keys() & types.keys())
            for fault in wrong_properties(value[key], types[key], f"{path}{key}.")
        ],
    ]


def input_types(kind: Any) -> Iterator[type]:
    """The type itself, or those that it is an Optional, Sequence or union of."""
    if is_input_type(kind):
        yield kind
    for inner in typing.get_args(kind):
        yield from input_types(inner)
