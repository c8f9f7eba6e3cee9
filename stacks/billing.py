"""How AWS charges for each type of resource that the program declares: how much of which price, each month.

A type that is neither here nor in FREE is an error, so that none is forgotten. `stacks.usage` says what a
month is like, `prices.toml` what each thing costs.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from stacks import usage
from stacks.mock_engine import PROJECT, Resource, Run
from stacks.prices import CostUnknown
from stacks.usage import HOURS, Amount, always, between, when_busy

NETWORK = "Network"
BALANCER = "Load balancer"
FIREWALL = "Firewall and domain"
DATABASE = "Database"
API = "API tasks"
LOADER = "Loader tasks"
STORAGE = "Storage"
KEYS = "Keys and secrets"
MONITORING = "Monitoring and logs"
DELIVERY = "Delivery"
BASTION = "Bastion"
PARTS = (
    NETWORK, BALANCER, FIREWALL, DATABASE, API, LOADER, STORAGE, KEYS, MONITORING, DELIVERY, BASTION
)  # fmt: skip

# AWS takes nothing for these themselves. What some of them cause is charged where it happens.
FREE = {
    "aws:acm/certificate:Certificate",
    "aws:acm/certificateValidation:CertificateValidation",
    "aws:appautoscaling/scheduledAction:ScheduledAction",
    "aws:appautoscaling/target:Target",
    "aws:cloudwatch/eventRule:EventRule",
    "aws:cloudwatch/eventTarget:EventTarget",
    "aws:cloudwatch/logMetricFilter:LogMetricFilter",
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy",
    "aws:codeconnections/connection:Connection",
    "aws:codestarconnections/connection:Connection",
    "aws:codestarnotifications/notificationRule:NotificationRule",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    "aws:ec2/flowLog:FlowLog",
    "aws:ec2/keyPair:KeyPair",
    "aws:ec2/launchTemplate:LaunchTemplate",
    "aws:ec2/securityGroup:SecurityGroup",
    "aws:ecr/lifecyclePolicy:LifecyclePolicy",
    "aws:ecr/repositoryPolicy:RepositoryPolicy",
    "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders",
    "aws:ecs/taskDefinition:TaskDefinition",
    "aws:iam/instanceProfile:InstanceProfile",
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
    "aws:iam/policy:Policy",
    "aws:iam/role:Role",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
    "aws:kms/alias:Alias",
    "aws:kms/keyPolicy:KeyPolicy",
    "aws:lb/listener:Listener",
    "aws:lb/listenerCertificate:ListenerCertificate",
    "aws:lb/listenerRule:ListenerRule",
    "aws:lb/targetGroup:TargetGroup",
    "aws:rds/clusterParameterGroup:ClusterParameterGroup",
    "aws:rds/parameterGroup:ParameterGroup",
    "aws:rds/subnetGroup:SubnetGroup",
    "aws:route53/record:Record",  # queries of an alias of a load balancer are free
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
    "aws:s3/bucketLogging:BucketLogging",
    "aws:s3/bucketNotification:BucketNotification",
    "aws:s3/bucketObject:BucketObject",
    "aws:s3/bucketObjectv2:BucketObjectv2",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
    "aws:s3/bucketPolicy:BucketPolicy",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketVersioning:BucketVersioning",
    "aws:scheduler/scheduleGroup:ScheduleGroup",
    "aws:secretsmanager/secretPolicy:SecretPolicy",
    "aws:secretsmanager/secretVersion:SecretVersion",
    "aws:sns/topicPolicy:TopicPolicy",
    "aws:sqs/queuePolicy:QueuePolicy",
    "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy",
    "aws:sqs/redrivePolicy:RedrivePolicy",
    "aws:ssm/document:Document",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "aws:wafv2/webAclAssociation:WebAclAssociation",
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration",
}


@dataclass(frozen=True)
class Use:
    """So much of a price, for a part of the copy."""

    part: str
    price: str
    amount: Amount
    factor_of: str = ""  # a second price that is a share of the first


@dataclass(frozen=True)
class Copy:
    """What a stack declares, and for how many hours of a month it runs."""

    run: Run
    hours: float = HOURS

    def tasks(self, service: Resource) -> Amount:
        """Hours of all its tasks."""
        for target in self.run.all("appautoscaling/target:Target"):
            if target.inputs["resourceId"].endswith(f"/{service.name}"):
                return between(target.inputs["minCapacity"], target.inputs["maxCapacity"], self.hours)
        return always(service.inputs.get("desiredCount", 1) * self.hours)

    def all_tasks(self) -> Amount:
        return sum((self.tasks(each) for each in self.run.all("ecs/service:Service")), always(0))

    def burst_hours(self) -> float:
        return min(usage.BUSY_HOURS, self.hours)

    def million_requests(self) -> float:
        """In a busy month: what makes autoscaling ask for more tasks, halfway between least and most."""
        millions = 0.0
        for policy in self.run.all("appautoscaling/policy:Policy"):
            tracking = policy.inputs.get("targetTrackingScalingPolicyConfiguration") or {}
            # AWS's own metric of requests, or one that is put together of several target groups'.
            if "RequestCountPerTarget" in str(tracking):
                (target,) = [
                    each
                    for each in self.run.all("appautoscaling/target:Target")
                    if each.inputs["resourceId"] == policy.inputs["resourceId"]
                ]
                tasks = (target.inputs["minCapacity"] + target.inputs["maxCapacity"]) / 2
                millions += tasks * tracking["targetValue"] * 60 * self.burst_hours() / 1e6
        return millions

    def batches_gib(self) -> float:
        """In a busy month."""
        instances = self.run.all("rds/instance:Instance")
        declared = sum(each.inputs.get("allocatedStorage", 0) for each in instances)
        return usage.BATCHES_SHARE * (declared or usage.AURORA_GIB)

    def logged_gb(self) -> Amount:
        return sum((log_gb(self, each) for each in self.run.all("cloudwatch/logGroup:LogGroup")), always(0))

    def zones(self) -> float:
        return sum(each.inputs["numberOfAvailabilityZones"] for each in self.run.all("ec2:Vpc"))


Rule = Callable[[Copy, Resource], Iterable[Use]]


def uses(copy: Copy) -> Iterator[Use]:
    """Raises CostUnknown for a type that has no rule and is not known to be free."""
    for resource in copy.run.resources:
        if resource.type in RULES:
            yield from RULES[resource.type](copy, resource)
        elif resource.type not in FREE and not resource.type.startswith((f"{PROJECT}:", "pulumi:providers:")):
            raise CostUnknown(
                f"nobody has said what {resource.type} costs ({resource.name}): "
                "add a rule to RULES in stacks/billing.py, or the type to FREE if AWS takes nothing for it"
            )


def vpc(copy: Copy, resource: Resource) -> Iterator[Use]:
    zones = resource.inputs["numberOfAvailabilityZones"]
    strategy = resource.inputs["natGateways"]["strategy"]
    gateways = {"None": 0, "Single": 1, "OnePerAz": zones}[strategy]
    interfaces = [
        each
        for each in resource.inputs.get("vpcEndpointSpecs", [])
        if each.get("vpcEndpointType") != "Gateway"
    ]
    yield Use(NETWORK, "vpc_endpoint_hour", always(len(interfaces) * zones * HOURS))
    yield Use(NETWORK, "nat_gateway_hour", always(gateways * HOURS))
    yield Use(NETWORK, "public_address_hour", always(gateways * HOURS))
    if gateways:
        per_task = copy.all_tasks() * (usage.NAT_GB_PER_TASK / HOURS)
        yield Use(NETWORK, "nat_gateway_gb", per_task + copy.logged_gb())


def address(_copy: Copy, _resource: Resource) -> Iterator[Use]:
    yield Use(NETWORK, "public_address_hour", always(HOURS))


def balancer(copy: Copy, resource: Resource) -> Iterator[Use]:
    """Units are charged by the hour, by whichever of its measures is the most."""
    yield Use(BALANCER, "balancer_hour", always(HOURS))
    if not resource.inputs.get("internal"):
        yield Use(BALANCER, "public_address_hour", always(len(resource.inputs["subnets"]) * HOURS))
    requests, hours = copy.million_requests(), copy.burst_hours()
    out_gb = requests * usage.ANSWER_KB
    connections_per_s = requests * 1e6 / usage.REQUESTS_PER_CONNECTION / (hours * 3600)
    units = max(out_gb / hours / usage.LCU_GB, connections_per_s / usage.LCU_CONNECTIONS_PER_S)
    yield Use(BALANCER, "balancer_lcu_hour", when_busy(units * hours))
    yield Use(BALANCER, "internet_gb", when_busy(out_gb))


def firewall(copy: Copy, resource: Resource) -> Iterator[Use]:
    yield Use(FIREWALL, "firewall_month", always(1))
    yield Use(FIREWALL, "firewall_rule_month", always(len(resource.inputs.get("rules") or [])))
    yield Use(FIREWALL, "firewall_million_requests", when_busy(copy.million_requests()))


def zone(_copy: Copy, _resource: Resource) -> Iterator[Use]:
    yield Use(FIREWALL, "zone_month", always(1))


def database(copy: Copy, resource: Resource) -> Iterator[Use]:
    inputs = resource.inputs
    multi_az, gib = bool(inputs.get("multiAz")), inputs.get("allocatedStorage", 0)
    servers = 2 if multi_az else 1
    yield Use(DATABASE, f"database_hour/{inputs['instanceClass']}", always(servers * copy.hours))
    yield Use(DATABASE, "database_multi_az_gib_month" if multi_az else "database_gib_month", always(gib))
    yield Use(DATABASE, "database_backup_gib_month", always(backups_gib(gib, inputs)))
    yield from master_secret(inputs)


def backups_gib(gib: float, inputs: dict[str, Any]) -> float:
    """Beyond the size of the database, up to which they are free."""
    days = inputs.get("backupRetentionPeriod", 1)
    kept = usage.FULL_SHARE * gib * (1 + days * usage.BACKUP_SHARE_A_DAY) if days else 0
    return max(0, kept - gib)


def master_secret(inputs: dict[str, Any]) -> Iterator[Use]:
    if inputs.get("manageMasterUserPassword"):
        yield Use(KEYS, "secret_month", always(1))


def cluster(copy: Copy, resource: Resource) -> Iterator[Use]:
    """Aurora Serverless v2. What pauses is asleep but for the bursts."""
    scaling = resource.inputs["serverlessv2ScalingConfiguration"]
    servers = len(copy.run.all("rds/clusterInstance:ClusterInstance"))
    capacity = between(scaling["minCapacity"], scaling["maxCapacity"], copy.hours)
    yield Use(DATABASE, "aurora_acu_hour", capacity * servers)
    yield Use(DATABASE, "aurora_gib_month", always(usage.AURORA_GIB))
    millions = copy.batches_gib() * usage.AURORA_IO_MILLIONS_PER_GIB
    yield Use(DATABASE, "aurora_million_io", when_busy(millions))
    yield from master_secret(resource.inputs)


def cluster_server(_copy: Copy, resource: Resource) -> Iterator[Use]:
    """Its capacity is charged by the cluster's rule, if it is serverless; others are not declared today."""
    if resource.inputs["instanceClass"] != "db.serverless":
        raise CostUnknown(
            f"{resource.name} is an Aurora server of class {resource.inputs['instanceClass']}: "
            "stacks/billing.py has a rule for db.serverless alone"
        )
    yield from ()


def snapshot(copy: Copy, _resource: Resource) -> Iterator[Use]:
    """One that was taken or copied is charged as backup: what the database is filled with."""
    gib = copy.batches_gib() / usage.BATCHES_SHARE * usage.FULL_SHARE
    yield Use(DATABASE, "database_backup_gib_month", always(gib))


def service(copy: Copy, resource: Resource) -> Iterator[Use]:
    definition = resource.inputs["taskDefinition"].rpartition(":")[2]
    task = copy.run.one("ecs/taskDefinition:TaskDefinition", definition).inputs
    arm = (task.get("runtimePlatform") or {}).get("cpuArchitecture") == "ARM64"
    kind = "fargate_arm" if arm else "fargate"
    strategies = resource.inputs.get("capacityProviderStrategies") or []
    spot = "fargate_spot" if any(each["capacityProvider"] == "FARGATE_SPOT" for each in strategies) else ""
    part = API if resource.name.endswith("-api") else LOADER
    hours = copy.tasks(resource)
    disk = (task.get("ephemeralStorage") or {}).get("sizeInGib", usage.DISK_GIB_FREE)
    yield Use(part, "fargate_disk_gib_hour", hours * (disk - usage.DISK_GIB_FREE))
    figures = usage.FIGURES_API if part == API else usage.FIGURES_LOADER
    yield Use(MONITORING, "metric_month", when_busy(figures * copy.burst_hours() / HOURS))
    yield Use(part, f"{kind}_vcpu_hour", hours * (int(task["cpu"]) / 1024), spot)
    yield Use(part, f"{kind}_gib_hour", hours * (int(task["memory"]) / 1024), spot)
    if resource.inputs["networkConfiguration"].get("assignPublicIp"):
        yield Use(part, "public_address_hour", hours)


def bucket(copy: Copy, resource: Resource) -> Iterator[Use]:
    """Batches and access logs stay for days; all else is small."""
    months = usage.months_kept(days_kept(copy, resource))
    if "batches" in resource.name:
        amount = when_busy(copy.batches_gib() * months)
    elif "access" in resource.name:
        amount = when_busy(copy.million_requests() * usage.ACCESS_LOG_GB_PER_MILLION * months)
    else:
        amount = always(usage.OTHER_BUCKET_GB)
    yield Use(STORAGE, "bucket_gb_month", amount)


def days_kept(copy: Copy, resource: Resource) -> float:
    days = 0.0
    for each in copy.run.all("s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"):
        if each.name == resource.name:
            for rule in each.inputs["rules"]:
                expired = (rule.get("expiration") or {}).get("days") or 0
                gone = (rule.get("noncurrentVersionExpiration") or {}).get("noncurrentDays") or 0
                days = max(days, expired + gone)
    return days


def queue(copy: Copy, resource: Resource) -> Iterator[Use]:
    """What waits for messages polls; nothing does at a dead-letter queue."""
    if not resource.name.endswith("-dead"):
        loaders = [each for each in copy.run.all("ecs/service:Service") if not each.inputs["loadBalancers"]]
        hours = sum((copy.tasks(each) for each in loaders), always(0))
        yield Use(STORAGE, "million_messages", hours * (usage.POLLS_PER_TASK_HOUR / 1e6))


def repository(_copy: Copy, _resource: Resource) -> Iterator[Use]:
    yield Use(STORAGE, "image_gb_month", always(usage.IMAGES_GB))


def key(_copy: Copy, _resource: Resource) -> Iterator[Use]:
    yield Use(KEYS, "key_month", always(1))


def secret(_copy: Copy, _resource: Resource) -> Iterator[Use]:
    yield Use(KEYS, "secret_month", always(1))


def parameter(_copy: Copy, resource: Resource) -> Iterator[Use]:
    """Standard ones are free."""
    yield Use(KEYS, "parameter_month", always(resource.inputs.get("tier") == "Advanced"))


def alarm(_copy: Copy, resource: Resource) -> Iterator[Use]:
    """Each metric that it reads is charged; one of an expression over four is four alarms."""
    metrics = [each["metric"] for each in resource.inputs.get("metricQueries") or [] if each.get("metric")]
    periods = [each["period"] for each in metrics] or [resource.inputs.get("period") or 60]
    fast = min(periods) < 60
    yield Use(MONITORING, "fast_alarm_month" if fast else "alarm_month", always(len(periods)))


def composite_alarm(_copy: Copy, _resource: Resource) -> Iterator[Use]:
    yield Use(MONITORING, "composite_alarm_month", always(1))


def scaling_policy(_copy: Copy, resource: Resource) -> Iterator[Use]:
    """Autoscaling makes itself two alarms to track a target, one up and one down, of each metric it reads."""
    tracking = resource.inputs.get("targetTrackingScalingPolicyConfiguration")
    if tracking:
        custom = tracking.get("customizedMetricSpecification") or {}
        metrics = [each for each in custom.get("metrics") or [] if each.get("metricStat")]
        yield Use(MONITORING, "alarm_month", always(2 * max(1, len(metrics))))


def dashboard(_copy: Copy, _resource: Resource) -> Iterator[Use]:
    yield Use(MONITORING, "dashboard_month", always(1))


def log_group(copy: Copy, resource: Resource) -> Iterator[Use]:
    written = log_gb(copy, resource)
    months = usage.months_kept(resource.inputs.get("retentionInDays") or 365)
    yield Use(MONITORING, "log_gb", written)
    yield Use(MONITORING, "log_gb_month", written * (months * usage.LOG_COMPRESSED))


def log_gb(copy: Copy, resource: Resource) -> Amount:
    if resource.name.endswith("-flow"):
        return always(usage.FLOW_LOG_GB_PER_ZONE * copy.zones())
    return Amount(usage.LOG_GB_IDLE, usage.LOG_GB_BUSY)


def insights(copy: Copy, resource: Resource) -> Iterator[Use]:
    settings = {each["name"]: each["value"] for each in resource.inputs.get("settings") or []}
    mode = settings.get("containerInsights", "disabled")
    if mode == "disabled":
        return
    services = len(copy.run.all("ecs/service:Service"))
    metrics = always(usage.INSIGHTS_CLUSTER + services * (usage.INSIGHTS_SERVICE + usage.INSIGHTS_FAMILY))
    tasks = copy.all_tasks() * (1 / HOURS)
    if mode == "enhanced":
        metrics += tasks * usage.INSIGHTS_TASK
    yield Use(MONITORING, "insights_metric_month" if mode == "enhanced" else "metric_month", metrics)
    yield Use(MONITORING, "log_gb", tasks * usage.INSIGHTS_LOG_GB_PER_TASK)


def topic(_copy: Copy, _resource: Resource) -> Iterator[Use]:
    yield Use(MONITORING, "million_notices", when_busy(usage.NOTICES / 1e6))


def subscription(_copy: Copy, resource: Resource) -> Iterator[Use]:
    mails = usage.NOTICES if resource.inputs["protocol"].startswith("email") else 0
    yield Use(MONITORING, "thousand_mails", when_busy(mails / 1000))


def pipeline(_copy: Copy, resource: Resource) -> Iterator[Use]:
    actions = [action for stage in resource.inputs["stages"] for action in stage["actions"]]
    charged = [action for action in actions if action["category"] != "Approval"]
    yield Use(DELIVERY, "pipeline_minute", when_busy(usage.DEPLOYS * len(charged) * usage.ACTION_MINUTES))


def build(_copy: Copy, resource: Resource) -> Iterator[Use]:
    machine = resource.inputs["environment"]
    yield Use(
        DELIVERY,
        f"build_minute/{machine['type']} {machine['computeType']}",
        when_busy(usage.DEPLOYS * usage.BUILD_MINUTES),
    )


def server(copy: Copy, resource: Resource, count: float = 1) -> Iterator[Use]:
    """With what its launch template says, where there is one; a stack has no more than one."""
    templates = copy.run.all("ec2/launchTemplate:LaunchTemplate")
    inputs = (templates[0].inputs if templates else {}) | resource.inputs
    yield Use(BASTION, f"server_hour/{inputs['instanceType']}", always(count * HOURS))
    disks = [(each.get("ebs") or {}) for each in inputs.get("blockDeviceMappings") or []]
    disks = disks or [inputs.get("rootBlockDevice") or {}]
    gib = sum(disk.get("volumeSize") or 8 for disk in disks)
    yield Use(BASTION, "disk_gib_month", always(count * gib))
    cards = [inputs, *(inputs.get("networkInterfaces") or [])]
    public = any(str(card.get("associatePublicIpAddress")).lower() == "true" for card in cards)
    yield Use(BASTION, "public_address_hour", always(count * public * HOURS))


def server_group(copy: Copy, resource: Resource) -> Iterator[Use]:
    count = resource.inputs.get("desiredCapacity")
    yield from server(copy, resource, resource.inputs.get("minSize", 0) if count is None else count)


def schedule(_copy: Copy, _resource: Resource) -> Iterator[Use]:
    """Starts or stops the database, once a working day."""
    yield Use(DATABASE, "million_schedules", always(usage.WEEKDAYS / 1e6))


RULES: dict[str, Rule] = {
    "awsx:ec2:Vpc": vpc,
    "aws:appautoscaling/policy:Policy": scaling_policy,
    "aws:autoscaling/group:Group": server_group,
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": composite_alarm,
    "aws:cloudwatch/dashboard:Dashboard": dashboard,
    "aws:cloudwatch/logGroup:LogGroup": log_group,
    "aws:cloudwatch/metricAlarm:MetricAlarm": alarm,
    "aws:codebuild/project:Project": build,
    "aws:codepipeline/pipeline:Pipeline": pipeline,
    "aws:ec2/eip:Eip": address,
    "aws:ec2/instance:Instance": server,
    "aws:ecr/repository:Repository": repository,
    "aws:ecs/cluster:Cluster": insights,
    "aws:ecs/service:Service": service,
    "aws:kms/key:Key": key,
    "aws:lb/loadBalancer:LoadBalancer": balancer,
    "aws:rds/cluster:Cluster": cluster,
    "aws:rds/clusterInstance:ClusterInstance": cluster_server,
    "aws:rds/clusterSnapshotCopy:ClusterSnapshotCopy": snapshot,
    "aws:rds/instance:Instance": database,
    "aws:rds/snapshot:Snapshot": snapshot,
    "aws:rds/snapshotCopy:SnapshotCopy": snapshot,
    "aws:route53/zone:Zone": zone,
    "aws:s3/bucket:Bucket": bucket,
    "aws:scheduler/schedule:Schedule": schedule,
    "aws:secretsmanager/secret:Secret": secret,
    "aws:sns/topic:Topic": topic,
    "aws:sns/topicSubscription:TopicSubscription": subscription,
    "aws:sqs/queue:Queue": queue,
    "aws:ssm/parameter:Parameter": parameter,
    "aws:wafv2/webAcl:WebAcl": firewall,
}
