"""What stacks cost: each rule by hand, what no rule knows, and that the page is up to date."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stacks import billing, cost, mock_engine, prices, usage
from stacks.billing import FREE, RULES, Copy, uses
from stacks.cost import Bill, bill, bill_of, compare, document, main
from stacks.mock_engine import ROOT, SHAPES, STACKS, Resource, Run, declared, run_stack, stack_config
from stacks.prices import CostUnknown, date, price_of, read_prices, region_prices
from stacks.usage import awake_hours

IRELAND = {"aws:region": "eu-west-1"}
HOURS = 730
# 06-20 on the 5 days of 365 / 7 / 12 weeks.
DEV_HOURS = 14 * 5 * 365 / 7 / 12
# No queue, bucket or service of a program is in what the examples declare, so that a figure is one rule's.
VPC = {"numberOfAvailabilityZones": 3, "natGateways": {"strategy": "OnePerAz"}}
INSTANCE = {"instanceClass": "db.t4g.small", "allocatedStorage": 50, "backupRetentionPeriod": 7}
TASK = {"cpu": "1024", "memory": "2048", "runtimePlatform": {"cpuArchitecture": "X86_64"}}
SERVICE = {
    "taskDefinition": "arn:aws:ecs:mock:1:api",
    "capacityProviderStrategies": [{"capacityProvider": "FARGATE"}],
    "networkConfiguration": {"assignPublicIp": False},
    "loadBalancers": [{}],
}
CAPACITY = {"resourceId": "service/rates/api", "minCapacity": 2, "maxCapacity": 4}
ALARM = {"id": "a", "metric": {"period": 60}}
PIPELINE = {
    "stages": [
        {"actions": [{"category": "Source"}]},
        {"actions": [{"category": "Approval"}]},
        {"actions": [{"category": "Build"}, {"category": "Build"}]},
    ]
}
TEMPLATE = {
    "instanceType": "t4g.nano",
    "networkInterfaces": [{"associatePublicIpAddress": "true"}],
    "blockDeviceMappings": [{"ebs": {"volumeSize": 8}}],
}


def resource(kind: str, inputs: dict[str, Any] | None = None, name: str = "it") -> Resource:
    return Resource(
        urn="urn",
        type=kind,
        name=name,
        inputs=inputs or {},
        custom=True,
        parent="",
        protect=False,
        retain_on_delete=False,
        ignore_changes=(),
        dependencies=(),
        provider="",
        providers={},
        update_timeout="",
        property_dependencies={},
    )


def total(*resources: Resource, config: dict[str, str] | None = None) -> tuple[float, float]:
    found = bill(Run("dev", list(resources)), IRELAND | (config or {}))["total"]
    return found["idle"], found["busy"]


def api(task: dict[str, Any] = TASK, service: dict[str, Any] = SERVICE) -> list[Resource]:
    """A service of 2 to 4 tasks."""
    return [
        resource("aws:ecs/service:Service", service, "api"),
        resource("aws:ecs/taskDefinition:TaskDefinition", task, "api"),
        resource("aws:appautoscaling/target:Target", CAPACITY, "api"),
    ]


# --- the rules, each on an example that is reckoned by hand -------------------------------------------------


def test_a_nat_gateway_costs_its_hours_and_those_of_its_address() -> None:
    one = resource("awsx:ec2:Vpc", VPC | {"natGateways": {"strategy": "Single"}})

    assert total(one) == pytest.approx((HOURS * (0.048 + 0.005),) * 2, abs=0.01)
    assert total(resource("awsx:ec2:Vpc", VPC)) == pytest.approx((3 * HOURS * (0.048 + 0.005),) * 2, abs=0.01)


def test_a_network_without_nat_gateways_costs_nothing() -> None:
    gateway = {"vpcEndpointSpecs": [{"serviceName": "s3", "vpcEndpointType": "Gateway"}]}
    none = resource("awsx:ec2:Vpc", VPC | gateway | {"natGateways": {"strategy": "None"}})

    assert total(none) == (0, 0)


def test_a_task_passes_a_gigabyte_through_the_nat_gateway() -> None:
    network = resource("awsx:ec2:Vpc", VPC)
    with_tasks, without = total(network, *api()), total(*api())

    assert with_tasks[0] - without[0] == pytest.approx(3 * HOURS * 0.053 + 2 * 0.048, abs=0.02)


def test_tasks_cost_by_their_size_and_in_bursts_there_are_more() -> None:
    an_hour = 0.04048 + 2 * 0.004445
    figures = 14 * 0.30 * 60 / HOURS  # a loader's: it is not named as the API's service is

    busy = (2 * HOURS + 60) * an_hour + figures
    assert total(*api()) == pytest.approx((2 * HOURS * an_hour, busy), abs=0.02)


def test_of_a_tasks_disk_twenty_gibibytes_are_free() -> None:
    plain = total(*api())[0]
    free, more = (total(*api(TASK | {"ephemeralStorage": {"sizeInGib": gib}}))[0] for gib in (20, 70))

    assert plain == free
    assert more - free == pytest.approx(2 * HOURS * 50 * 0.000122, abs=0.02)


def test_spare_capacity_costs_a_third_and_a_public_address_extra() -> None:
    an_hour = (0.04048 + 2 * 0.004445) * 0.33 + 0.005
    spot: dict[str, Any] = {
        "capacityProviderStrategies": [{"capacityProvider": "FARGATE_SPOT"}],
        "networkConfiguration": {"assignPublicIp": True},
    }

    assert total(*api(service=SERVICE | spot))[0] == pytest.approx(2 * HOURS * an_hour, abs=0.02)


def test_arm_tasks_have_prices_of_their_own() -> None:
    arm = api(TASK | {"runtimePlatform": {"cpuArchitecture": "ARM64"}})

    assert total(*arm)[0] == pytest.approx(2 * HOURS * (0.03238 + 2 * 0.00356), abs=0.02)


def test_a_database_costs_its_hours_and_its_storage() -> None:
    one = resource("aws:rds/instance:Instance", INSTANCE)

    assert total(one) == pytest.approx((HOURS * 0.035 + 50 * 0.127,) * 2, abs=0.01)


def test_a_standby_doubles_the_database() -> None:
    single = total(resource("aws:rds/instance:Instance", INSTANCE))
    double = total(resource("aws:rds/instance:Instance", INSTANCE | {"multiAz": True}))

    assert double == pytest.approx([2 * each for each in single], abs=0.02)


def test_backups_are_free_up_to_the_size_of_the_database() -> None:
    kept = resource("aws:rds/instance:Instance", INSTANCE | {"backupRetentionPeriod": 35})
    kept_gib = 50 * 0.5 * (1 + 35 * 0.03)

    assert total(kept)[0] == pytest.approx(HOURS * 0.035 + 50 * 0.127 + (kept_gib - 50) * 0.095, abs=0.01)


def test_a_master_password_that_rds_keeps_is_a_secret() -> None:
    plain = total(resource("aws:rds/instance:Instance", INSTANCE))[0]
    managed = total(resource("aws:rds/instance:Instance", INSTANCE | {"manageMasterUserPassword": True}))[0]

    assert managed - plain == pytest.approx(0.40, abs=0.01)


def test_a_paused_aurora_costs_its_storage_and_in_bursts_half_its_capacity() -> None:
    scaling = {"serverlessv2ScalingConfiguration": {"minCapacity": 0, "maxCapacity": 4}}
    idle, busy = total(
        resource("aws:rds/cluster:Cluster", scaling),
        resource("aws:rds/clusterInstance:ClusterInstance", {"instanceClass": "db.serverless"}),
    )

    assert idle == pytest.approx(20 * 0.11, abs=0.01)
    # 2 GiB of batches, of 5 million reads and writes each.
    assert busy - idle == pytest.approx(60 * 2 * 0.14 + 10 * 0.22, abs=0.01)


def test_a_load_balancer_costs_its_hours_and_an_address_a_zone() -> None:
    both = resource("aws:lb/loadBalancer:LoadBalancer", {"subnets": ["a", "b"], "internal": False})

    assert total(both) == pytest.approx((HOURS * (0.0252 + 2 * 0.005),) * 2, abs=0.01)


def test_requests_cost_units_of_the_load_balancer_traffic_and_the_firewall() -> None:
    metric = {"predefinedMetricSpecification": {"predefinedMetricType": "ALBRequestCountPerTarget"}}
    policy = resource(
        "aws:appautoscaling/policy:Policy",
        {
            "policyType": "TargetTrackingScaling",
            "resourceId": CAPACITY["resourceId"],
            "targetTrackingScalingPolicyConfiguration": metric | {"targetValue": 1000},
        },
    )
    balancer = resource("aws:lb/loadBalancer:LoadBalancer", {"subnets": [], "internal": False})
    firewall = resource("aws:wafv2/webAcl:WebAcl", {"rules": [{}, {}]})
    found = bill(Run("dev", [*api(), policy, balancer, firewall]), IRELAND)
    # 3 tasks, 1,000 a minute, 60 hours; 1.5 KB each, and a unit is 1 GB an hour.
    millions = 3 * 1000 * 60 * 60 / 1e6

    assert found["Firewall and domain"]["idle"] == 5 + 2
    assert found["Firewall and domain"]["busy"] == pytest.approx(7 + millions * 0.60, abs=0.01)
    extra = found["Load balancer"]["busy"] - found["Load balancer"]["idle"]
    assert extra == pytest.approx(millions * 1.5 * (0.008 + 0.09), abs=0.01)
    # Target tracking makes itself two alarms.
    assert found["Monitoring and logs"]["idle"] == 0.20


@pytest.mark.parametrize(
    ("kind", "inputs", "idle"),
    [
        ("aws:kms/key:Key", {}, 1.00),
        ("aws:secretsmanager/secret:Secret", {}, 0.40),
        ("aws:ssm/parameter:Parameter", {"tier": "Advanced"}, 0.05),
        ("aws:ssm/parameter:Parameter", {"type": "String"}, 0),
        ("aws:cloudwatch/dashboard:Dashboard", {}, 3.00),
        ("aws:cloudwatch/compositeAlarm:CompositeAlarm", {}, 0.50),
        ("aws:cloudwatch/metricAlarm:MetricAlarm", {"metricName": "m", "period": 60}, 0.10),
        ("aws:cloudwatch/metricAlarm:MetricAlarm", {"metricName": "m", "period": 10}, 0.30),
        ("aws:cloudwatch/metricAlarm:MetricAlarm", {"metricQueries": [ALARM, ALARM, {"id": "e"}]}, 0.20),
        ("aws:ecr/repository:Repository", {}, 0.10),
        ("aws:route53/zone:Zone", {}, 0.50),
        ("aws:ec2/eip:Eip", {}, 3.65),
        ("aws:s3/bucket:Bucket", {}, 0.02),
        ("aws:ec2/instance:Instance", {"instanceType": "t4g.micro"}, 730 * 0.0092 + 8 * 0.088),
    ],
)
def test_small_things_cost_what_the_list_says(kind: str, inputs: dict[str, Any], idle: float) -> None:
    assert total(resource(kind, inputs))[0] == pytest.approx(idle, abs=0.005)


def test_a_bastion_is_what_its_launch_template_says() -> None:
    template = resource("aws:ec2/launchTemplate:LaunchTemplate", TEMPLATE)
    a_server = HOURS * (0.0046 + 0.005) + 8 * 0.088

    assert total(template) == (0, 0)
    assert total(template, resource("aws:ec2/instance:Instance"))[0] == pytest.approx(a_server, abs=0.01)
    group = resource("aws:autoscaling/group:Group", {"minSize": 0, "maxSize": 1, "desiredCapacity": 1})
    assert total(template, group)[0] == pytest.approx(a_server, abs=0.01)
    asleep = resource("aws:autoscaling/group:Group", {"minSize": 0, "maxSize": 1})
    assert total(template, asleep)[0] == 0


def test_deploys_cost_minutes_and_an_approval_none() -> None:
    machine = {"type": "LINUX_CONTAINER", "computeType": "BUILD_GENERAL1_SMALL"}
    build = resource("aws:codebuild/project:Project", {"environment": machine})

    assert total(build) == pytest.approx((0, 200 * 6 * 0.005))
    assert total(resource("aws:codepipeline/pipeline:Pipeline", PIPELINE)) == pytest.approx(
        (0, 200 * 3 * 6 * 0.002)
    )


def test_container_insights_cost_by_the_metric_and_enhanced_ones_by_the_task() -> None:
    def cluster(value: str) -> float:
        settings = {"settings": [{"name": "containerInsights", "value": value}]}
        return total(resource("aws:ecs/cluster:Cluster", settings), *api())[0] - total(*api())[0]

    logs = 2 * 0.1 * 0.57
    assert cluster("disabled") == 0
    assert cluster("enabled") == pytest.approx((8 + 11 + 6) * 0.30 + logs, abs=0.01)
    assert cluster("enhanced") == pytest.approx((8 + 11 + 6 + 2 * 28) * 0.07 + logs, abs=0.01)


def test_logs_cost_what_is_written_and_what_is_kept() -> None:
    idle, busy = total(resource("aws:cloudwatch/logGroup:LogGroup", {"retentionInDays": 365}))

    assert idle == pytest.approx(0.1 * (0.57 + 12 * 0.15 * 0.03), abs=0.01)
    assert busy == pytest.approx(0.57 + 12 * 0.15 * 0.03, abs=0.01)


def test_batches_stay_in_the_bucket_as_long_as_it_keeps_them() -> None:
    rules = {"rules": [{"expiration": {"days": 355}, "noncurrentVersionExpiration": {"noncurrentDays": 10}}]}
    bucket = resource("aws:s3/bucket:Bucket", name="rates-batches")
    lifecycle = resource(
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration", rules, "rates-batches"
    )

    # A tenth of 20 GiB a month, for twelve.
    assert total(bucket, lifecycle) == pytest.approx((0, 2 * 12 * 0.023), abs=0.01)


# --- when a stack sleeps ------------------------------------------------------------------------------------


def test_a_month_is_as_long_as_a_stack_is_awake() -> None:
    assert awake_hours({}) == HOURS
    assert awake_hours({"rates:awakeHours": ""}) == HOURS
    assert awake_hours({"rates:awakeHours": "06-20"}) == pytest.approx(DEV_HOURS)


def test_a_stack_that_sleeps_pays_its_servers_and_tasks_by_the_hour_and_its_storage_always() -> None:
    asleep = {"rates:awakeHours": "06-20"}
    instance = resource("aws:rds/instance:Instance", INSTANCE)

    assert total(instance, config=asleep)[0] == pytest.approx(DEV_HOURS * 0.035 + 50 * 0.127, abs=0.01)
    assert total(*api(), config=asleep)[0] == pytest.approx(total(*api())[0] * DEV_HOURS / HOURS, abs=0.01)


def test_dev_would_cost_more_if_it_never_slept() -> None:
    def parts(changes: dict[str, str]) -> Bill:
        return bill(run_stack("dev", changes=changes), stack_config("dev", changes))

    asleep, awake = parts({"awakeHours": "06-20"}), parts({"awakeHours": ""})

    assert awake["Database"]["idle"] - asleep["Database"]["idle"] == pytest.approx(
        (HOURS - DEV_HOURS) * 0.017, abs=0.01
    )
    assert awake["API tasks"]["idle"] > 2 * asleep["API tasks"]["idle"]
    assert awake["Load balancer"] == asleep["Load balancer"]


# --- the stacks ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bills() -> dict[str, Bill]:
    return {stack: bill_of(stack) for stack in STACKS}


def test_dev_costs_a_third_of_staging_and_staging_a_third_of_prod_at_most(bills: dict[str, Bill]) -> None:
    dev, staging, prod = (bills[stack]["total"] for stack in STACKS)
    for month in ("idle", "busy"):
        assert dev[month] * 3 < staging[month], month
        assert staging[month] * 3 < prod[month], month


def test_many_copies_like_dev_are_cheap(bills: dict[str, Bill]) -> None:
    """The load balancer is most of it; tasks, database and all else are less."""
    assert 25 < bills["dev"]["total"]["idle"] < 60
    assert bills["dev"]["total"]["busy"] < 75


def test_a_busy_month_costs_more_and_no_part_costs_less(bills: dict[str, Bill]) -> None:
    for each in bills.values():
        assert all(part["busy"] >= part["idle"] >= 0 for part in each.values())
        assert each["total"]["busy"] > each["total"]["idle"]


def test_the_parts_add_up_to_the_cent(bills: dict[str, Bill]) -> None:
    for each in bills.values():
        parts = [amounts for part, amounts in each.items() if part != "total"]
        assert sum(part["idle"] for part in parts) == pytest.approx(each["total"]["idle"])


def test_what_a_stack_does_not_declare_costs_nothing(bills: dict[str, Bill]) -> None:
    assert "Network" not in bills["dev"]
    assert "Network" in bills["staging"]


def test_the_page_in_the_documentation_is_up_to_date() -> None:
    assert (ROOT / "docs/costs.md").read_text() == document(), "make stacks writes it"


# --- what is not known --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_the_requests_of_a_busy_month_are_found_in_what_is_declared(shape: str) -> None:
    """Otherwise the load balancer and the firewall would cost too little, and nobody would notice."""
    assert Copy(declared(shape)).million_requests() > 1


def test_an_alarm_of_autoscaling_is_charged_for_each_metric_it_reads() -> None:
    groups = [{"id": "a", "metricStat": {"metric": {"metricName": "RequestCountPerTarget"}}}] * 2
    custom = {"metrics": [*groups, {"id": "sum", "expression": "SUM([a])"}]}
    tracking = {"targetValue": 1000, "customizedMetricSpecification": custom}
    inputs = {"resourceId": CAPACITY["resourceId"], "targetTrackingScalingPolicyConfiguration": tracking}
    policy = resource("aws:appautoscaling/policy:Policy", inputs)

    assert bill(Run("dev", [policy]), IRELAND)["Monitoring and logs"]["idle"] == pytest.approx(2 * 2 * 0.10)
    assert Copy(Run("dev", [policy, *api()])).million_requests() == 3 * 1000 * 60 * 60 / 1e6


@pytest.mark.parametrize("shape", SHAPES)
def test_every_type_that_is_declared_has_a_rule_or_is_known_to_be_free(shape: str) -> None:
    assert list(uses(Copy(declared(shape))))


def test_a_type_that_nobody_priced_is_an_error_that_names_it() -> None:
    with pytest.raises(CostUnknown, match=r"aws:elasticache/cluster:Cluster costs \(it\).*stacks/billing.py"):
        total(resource("aws:elasticache/cluster:Cluster"))


def test_no_type_is_both_free_and_priced() -> None:
    assert RULES.keys() & FREE == set()


def test_an_aurora_server_that_is_not_serverless_is_an_error() -> None:
    with pytest.raises(CostUnknown, match=r"it is an Aurora server of class db.r8g.large"):
        total(resource("aws:rds/clusterInstance:ClusterInstance", {"instanceClass": "db.r8g.large"}))


def test_a_class_without_a_price_is_a_sentence_that_says_what_to_add_where() -> None:
    with pytest.raises(CostUnknown) as caught:
        total(resource("aws:rds/instance:Instance", INSTANCE | {"instanceClass": "db.x8g.large"}))

    assert str(caught.value) == (
        "stacks/prices.toml has no price of db.x8g.large in eu-west-1: add it under [eu-west-1.database_hour]"
    )


def test_a_price_without_an_entry_names_the_table_of_the_region() -> None:
    with pytest.raises(CostUnknown, match=r"no price of key_month in eu-west-1: add it under \[eu-west-1\]$"):
        price_of({}, "key_month", "eu-west-1")


def test_a_region_without_prices_is_a_sentence_that_says_what_to_do() -> None:
    with pytest.raises(CostUnknown, match=r"no prices of the region ap-southeast-2: its head says how"):
        total(resource("aws:kms/key:Key"), config={"aws:region": "ap-southeast-2"})


# --- the list of prices -------------------------------------------------------------------------------------


def regions() -> Iterator[str]:
    return (name for name, value in read_prices().items() if isinstance(value, dict))


def test_every_region_has_the_same_prices() -> None:
    """But for classes of servers, which each region may have others of."""
    keys = [{key for key in region_prices(region) if "/" not in key} for region in regions()]

    assert all(each == keys[0] for each in keys)


def test_every_price_says_how_it_is_known() -> None:
    for region in regions():
        for key, price in region_prices(region).items():
            assert price.price > 0, key
            assert price.unit, key
            assert price.aws, key
            assert price.sources in (0, 1, 2), key
    assert date() in prices.FILE.read_text()


def test_what_is_said_of_a_month_is_what_is_reckoned_with() -> None:
    assert f"{usage.BUSY_HOURS} hours" in document()
    assert set(billing.PARTS) >= {part for stack in STACKS for part in bill_of(stack)} - {"total"}


# --- the command --------------------------------------------------------------------------------------------


def test_the_command_prints_a_table_in_markdown_where_nobody_watches(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["dev"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| $ a month | dev, idle | dev, busy |"
    assert lines[-1].startswith("| total | ")


def test_the_command_draws_a_table_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["dev"]) == 0

    out = capsys.readouterr().out
    assert "Load balancer" in out
    assert "━" in out or "─" in out


def test_the_command_answers_machines_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "dev", "prod"]) == 0

    answer = json.loads(capsys.readouterr().out)
    assert list(answer) == ["dev", "prod"]
    assert answer["dev"]["Database"].keys() == answer["dev"]["total"].keys() == {"idle", "busy"}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One of the test's own, with the program and the stacks' files, in which it may put others."""
    for path in [ROOT / "infra", *ROOT.glob("Pulumi*.yaml")]:
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.setattr(mock_engine, "ROOT", tmp_path)
    monkeypatch.setattr(cost, "ROOT", tmp_path)
    return tmp_path


def test_a_copy_that_has_a_file_is_priced_with_the_others(checkout: Path) -> None:
    (checkout / "Pulumi.zoe.yaml").write_text((ROOT / "Pulumi.dev.yaml").read_text())

    assert cost.stacks_here()[:3] == list(STACKS)
    assert "zoe" in cost.stacks_here()
    assert bill_of("zoe") == bill_of("dev")


def test_a_stack_whose_settings_do_not_fit_is_a_sentence(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (ROOT / "Pulumi.dev.yaml").read_text().replace("06-20", "late")
    (checkout / "Pulumi.zoe.yaml").write_text(settings)

    assert main(["zoe"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("the configuration of stack zoe cannot be used:")
    assert "awakeHours is 'late'" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("text", ["", "encryptionsalt: v1:abc\n"])
def test_a_stack_without_settings_is_a_sentence(
    text: str, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "Pulumi.zoe.yaml").write_text(text)

    assert main(["zoe"]) == 2
    assert capsys.readouterr().err.startswith("Pulumi.zoe.yaml has no `config:`")


def test_a_stack_that_is_not_there_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere"]) == 2

    assert capsys.readouterr().err == "there is no stack nowhere: Pulumi.nowhere.yaml is missing\n"


# --- a change, in review ------------------------------------------------------------------------------------

BEFORE: dict[str, Bill] = {
    "dev": {
        "Database": {"idle": 7.0, "busy": 7.0},
        "Load balancer": {"idle": 25.0, "busy": 28.0},
        "total": {"idle": 32.0, "busy": 35.0},
    }
}
AFTER: dict[str, Bill] = {
    "dev": {
        "Database": {"idle": 17.5, "busy": 17.5},
        "Load balancer": {"idle": 25.0, "busy": 28.0},
        "total": {"idle": 42.5, "busy": 45.5},
    }
}


def test_a_change_shows_the_parts_that_cost_more_or_less_and_no_others() -> None:
    assert compare(BEFORE, AFTER).splitlines()[2:] == [
        "| dev | Database | 7.00 → 17.50 (+10.50) | 7.00 → 17.50 (+10.50) |",
        "| dev | total | 32.00 → 42.50 (+10.50) | 35.00 → 45.50 (+10.50) |",
    ]


def test_a_stack_that_comes_or_goes_is_compared_with_nothing() -> None:
    assert "| dev | total | 0.00 → 32.00 (+32.00) | 0.00 → 35.00 (+35.00) |" in compare({}, BEFORE)
    assert "| dev | total | 32.00 → 0.00 (-32.00) | 35.00 → 0.00 (-35.00) |" in compare(BEFORE, {})


def test_a_change_that_costs_nothing_is_a_sentence() -> None:
    assert compare(BEFORE, BEFORE) == "What the stacks cost does not change.\n"


def test_the_command_compares_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(json.dumps(BEFORE))
    after.write_text(json.dumps(AFTER))

    assert main(["--compare", str(before), str(after)]) == 0
    assert capsys.readouterr().out == compare(BEFORE, AFTER)
    assert main(["--compare", str(before), str(tmp_path / "none.json")]) == 2
