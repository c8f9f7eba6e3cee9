"""What differs between the stacks, read off what the program declares for each.

`python -m stacks.sizes` prints `docs/stacks.md`, where the table is kept.
"""

import json
from collections.abc import Callable

from stacks.mock_engine import STACKS, Run, declared

HEAD = """# The stacks

One program, `infra/`, declares every copy of the system. How big and how safe a copy is stands in
`Pulumi.<stack>.yaml`, on top of the defaults in `Pulumi.yaml`. The table is read off what the program
declares for each stack; a test fails when it is out of date. `make stacks` writes this page.
"""
YES, NO = "yes", "no"


def nat_gateways(run: Run) -> str:
    vpc = run.one("ec2:Vpc").inputs
    strategy = vpc["natGateways"]["strategy"]
    return {"None": "0", "Single": "1", "OnePerAz": f"{vpc['numberOfAvailabilityZones']:g}"}[strategy]


def task_subnets(run: Run) -> str:
    return "private" if run.exports["taskSubnetIds"] != run.exports["publicSubnetIds"] else "public"


def flow_logs(run: Run) -> str:
    return log_days(run, "-flow") if run.all("ec2/flowLog:FlowLog") else NO


def log_days(run: Run, name: str) -> str:
    return f"{run.one('cloudwatch/logGroup:LogGroup', name).inputs['retentionInDays']:g} days"


def alarms(run: Run) -> str:
    if not run.all("sns/topic:Topic"):
        return NO
    told = [each.inputs["protocol"] for each in run.all("sns/topicSubscription:TopicSubscription")]
    return f"{YES}, by {' and '.join(told)}" if told else f"{YES}, told to nobody yet"


def counted(run: Run) -> str:
    (insights,) = run.one("ecs/cluster:Cluster").inputs["settings"]
    return yes_or_no(insights["value"] != "disabled")


def task(run: Run, service: str) -> str:
    inputs = run.one("ecs/taskDefinition:TaskDefinition", service).inputs
    return f"{int(inputs['cpu']) / 1024:g} vCPU, {int(inputs['memory']) / 1024:g} GiB"


def disk(run: Run) -> str:
    inputs = run.one("ecs/taskDefinition:TaskDefinition", "-loader").inputs
    return f"{inputs['ephemeralStorage']['sizeInGib']:g} GiB"


def tasks(run: Run, service: str) -> str:
    inputs = run.one("appautoscaling/target:Target", service).inputs
    return f"{inputs['minCapacity']:g} to {inputs['maxCapacity']:g}"


def spot(run: Run, service: str) -> str:
    (strategy,) = run.one("ecs/service:Service", service).inputs["capacityProviderStrategies"]
    return yes_or_no(strategy["capacityProvider"] == "FARGATE_SPOT")


def engine(run: Run) -> str:
    inputs = database(run)
    return f"{inputs['engine']} {inputs['engineVersion']}"


def server(run: Run) -> str:
    inputs = database(run)
    scaling = inputs.get("serverlessv2ScalingConfiguration")
    if scaling:
        return f"{scaling['minCapacity']:g} to {scaling['maxCapacity']:g} ACU"
    return inputs["instanceClass"]


def storage(run: Run) -> str:
    inputs = database(run)
    if "allocatedStorage" not in inputs:
        return "as needed"
    return f"{inputs['allocatedStorage']:g} GiB, grows to {inputs['maxAllocatedStorage']:g}"


def standby(run: Run) -> str:
    servers = run.all("rds/clusterInstance:ClusterInstance")
    return yes_or_no(len(servers) > 1 or database(run).get("multiAz", False))


def backups(run: Run) -> str:
    days = database(run)["backupRetentionPeriod"]
    return f"{days:g} day{'s' if days != 1 else ''}"


def changes(run: Run) -> str:
    return "at once" if database(run)["applyImmediately"] else "in the weekly window"


def images_kept(run: Run) -> str:
    rules = json.loads(run.one("ecr/lifecyclePolicy:LifecyclePolicy", "-api").inputs["policy"])["rules"]
    return str(rules[-1]["selection"]["countNumber"])


def database(run: Run) -> dict:
    """The instance or the cluster."""
    (resource,) = run.all("rds/instance:Instance") + run.all("rds/cluster:Cluster")
    return resource.inputs


def is_protected(run: Run) -> str:
    """The database, and the bucket of the batches."""
    return yes_or_no(any(resource.protect for resource in run.resources))


def batches(run: Run) -> str:
    (rule,) = [
        rule
        for rule in run.one("BucketLifecycleConfiguration", "-batches").inputs["rules"]
        if rule["id"] == "old-batches"
    ]
    days, versions = rule["expiration"]["days"], rule["noncurrentVersionExpiration"]["noncurrentDays"]
    return f"{days:g} days, {versions:g} after deletion"


def scheme(run: Run) -> str:
    return run.exports["address"].partition(":")[0].upper()


def requests_per_address(run: Run) -> str:
    for acl in run.all("wafv2/webAcl:WebAcl"):
        (rule,) = acl.inputs["rules"]
        return f"{rule['statement']['rateBasedStatement']['limit']:g}"
    return "any number"


def access_logs(run: Run) -> str:
    for lifecycle in run.all("BucketLifecycleConfiguration"):
        if lifecycle.name.endswith("-access-logs"):
            (rule,) = lifecycle.inputs["rules"]
            return f"{rule['expiration']['days']:g} days"
    return NO


def private_batches(run: Run) -> str:
    definition = run.one("ecs/taskDefinition:TaskDefinition", "-api").inputs["containerDefinitions"]
    (api,) = [each for each in json.loads(definition) if each["name"] == "api"]
    return yes_or_no({"name": "RATES_PRIVATE_BATCHES", "value": "1"} in api["environment"])


def rollout(run: Run) -> str:
    return run.one("ecs/service:Service", "-api").inputs["deploymentConfiguration"]["strategy"].lower()


def starts_with(run: Run) -> str:
    objects = {"bucketObjectv2:BucketObjectv2": "the sample", "objectCopy:ObjectCopy": "a dump"}
    found = [seed for kind, seed in objects.items() if run.all(f"s3/{kind}")]
    return "a snapshot" if "snapshotIdentifier" in database(run) else (found or ["nothing"])[0]


def yes_or_no(value: bool) -> str:
    return YES if value else NO


ROWS: dict[str, Callable[[Run], str]] = {
    "Availability zones": lambda run: f"{run.one('ec2:Vpc').inputs['numberOfAvailabilityZones']:g}",
    "NAT gateways": nat_gateways,
    "Subnets of the tasks": task_subnets,
    "Log of refused connections": flow_logs,
    "Database engine": engine,
    "Database server": server,
    "Standby in another zone": standby,
    "Database storage": storage,
    "Backups kept": backups,
    "AWS refuses to delete the database": lambda run: yes_or_no(database(run)["deletionProtection"]),
    "Pulumi refuses to delete database and bucket": is_protected,
    "A deleted database leaves a snapshot": lambda run: yes_or_no(not database(run)["skipFinalSnapshot"]),
    "A deleted database leaves its backups": lambda run: yes_or_no(
        not database(run)["deleteAutomatedBackups"]
    ),
    "Changes that restart the database": changes,
    "A new copy starts with": starts_with,
    "Batches kept": batches,
    "Images kept": images_kept,
    "API tasks": lambda run: tasks(run, "-api"),
    "An API task": lambda run: task(run, "-api"),
    "API on spare capacity": lambda run: spot(run, "-api"),
    "Loader tasks": lambda run: tasks(run, "-loader"),
    "A loader task": lambda run: task(run, "-loader"),
    "Disk of a loader task": disk,
    "Loader on spare capacity": lambda run: spot(run, "-loader"),
    "Stopped at night and at weekends": lambda run: yes_or_no(bool(run.all("scheduler/schedule:Schedule"))),
    "A bastion for people": lambda run: yes_or_no(bool(run.all("ec2/instance:Instance"))),
    "Logs of the services": lambda run: log_days(run, "-api"),
    "Reached over": scheme,
    "Requests of an address in 5 minutes": requests_per_address,
    "Record of requests": access_logs,
    "Reading batches takes a token": private_batches,
    "How new API tasks take over": rollout,
    "Alarms": alarms,
    "Dashboard": lambda run: yes_or_no(bool(run.all("cloudwatch/dashboard:Dashboard"))),
    "Tasks counted and measured one by one": counted,
    "AWS refuses to delete the load balancer": lambda run: yes_or_no(
        run.one("lb/loadBalancer:LoadBalancer").inputs["enableDeletionProtection"]
    ),
}


def sizes(runs: dict[str, Run]) -> dict[str, dict[str, str]]:
    """Row, then stack, then what it has."""
    return {row: {stack: read(run) for stack, run in runs.items()} for row, read in ROWS.items()}


def document(table: dict[str, dict[str, str]]) -> str:
    stacks = list(next(iter(table.values())))
    lines = [["", *stacks], ["---"] * (len(stacks) + 1)]
    lines += [[row, *cells.values()] for row, cells in table.items()]
    return HEAD + "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    print(document(sizes({stack: declared(stack) for stack in STACKS})), end="")  # noqa: T201
