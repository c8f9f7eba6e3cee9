"""What differs between the stacks, read off what the program declares for each.

`python -m tests.infra.sizes` prints `docs/stacks.md`, where the table is kept.
"""

from collections.abc import Callable

from tests.infra.engine import STACKS, Run, declared

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
    logs = run.all("cloudwatch/logGroup:LogGroup")
    return f"{logs[0].inputs['retentionInDays']:g} days" if logs else NO


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


def database(run: Run) -> dict:
    """The instance or the cluster."""
    (resource,) = run.all("rds/instance:Instance") + run.all("rds/cluster:Cluster")
    return resource.inputs


def is_protected(run: Run) -> str:
    return yes_or_no(any(resource.protect for resource in run.resources))


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
    "Pulumi refuses to delete the database": is_protected,
    "A deleted database leaves a snapshot": lambda run: yes_or_no(not database(run)["skipFinalSnapshot"]),
    "A deleted database leaves its backups": lambda run: yes_or_no(
        not database(run)["deleteAutomatedBackups"]
    ),
    "Changes that restart the database": changes,
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
