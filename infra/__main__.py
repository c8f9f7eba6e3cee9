"""One copy of the system on AWS: settings in, components wired to each other, outputs out.

Nothing here belongs to one stack: what differs stands in `Pulumi.<stack>.yaml`.
"""

import pulumi
import pulumi_aws as aws

from infra.api_service import ApiService
from infra.bastion import NONE as NO_BASTION
from infra.bastion import Bastion
from infra.boundary import Boundary
from infra.cluster import Cluster, insights_log_group
from infra.database import Database, Place, exported_log_groups
from infra.delivery import Around, Delivery
from infra.deploy_rights import Copy
from infra.fargate import Surroundings
from infra.iam import account_of
from infra.images import Images
from infra.ingestion import Ingestion
from infra.load_balancer import LoadBalancer
from infra.loader_service import LoaderService
from infra.logs import Logs
from infra.network import Network
from infra.observability import Observability, Parts
from infra.pulumi_state import StackFiles
from infra.releases import Release, last_release, parameter_path
from infra.review import Review
from infra.seed import SeedObject
from infra.service_alarms import Watched
from infra.settings.placeholders import warn_of_placeholders
from infra.settings.seed import Dump, Sample
from infra.settings.stack import read_settings
from infra.sleep import Sleep, Sleeper
from infra.storage import BatchStorage
from infra.tokens import ApiTokens, CallbackSecret

# For a first look, on the sample's data.
RATES_PATH = "/rates?date_from=2021-01-20&date_to=2021-01-31&orig_code=china_main&dest_code=northern_europe"

project, stack = pulumi.get_project(), pulumi.get_stack()
config = pulumi.runtime.get_config_env()
settings = read_settings(project, stack, config)
warn_of_placeholders(project, stack, config)

# The start of every name, so that any number of copies can share an account.
name = f"{project}-{stack}"
tags = {"Project": project, "Stack": stack, "Owner": settings.owner, "ManagedBy": "pulumi"}
if settings.expires:
    tags["Expires"] = settings.expires.isoformat()
# Not the default one, whose tags could not have the stack's name in them. It takes credentials from the
# environment, as the default one does.
provider = aws.Provider(name, region=settings.region, default_tags=aws.ProviderDefaultTagsArgs(tags=tags))
on_aws = pulumi.ResourceOptions(providers=[provider])
# Roles that a pipeline may change are bound; its own and those of reviews it may not.
unbound = on_aws
if settings.delivery:
    boundary = Boundary(f"{name}-delivery-boundary", Copy(project, stack, name, settings.region), on_aws)
    on_aws = boundary.around(on_aws)

exported = exported_log_groups(f"{name}-database", settings.database.engine)
logs = Logs(
    name,
    settings.region,
    settings.tasks.log_days,
    [*exported.values(), insights_log_group(name)],
    on_aws,
)
network = Network(name, settings.network, settings.region, logs, on_aws)
database = Database(
    f"{name}-database",
    settings.database,
    settings.seed,
    Place(network.vpc_id, network.isolated_subnet_ids, logs),
    on_aws,
)
storage = BatchStorage(f"{name}-batches", settings.storage, on_aws)
tokens = ApiTokens(f"{name}-tokens", storage.key_arn, settings.production, on_aws)
callback_secret = CallbackSecret(f"{name}-callbacks", storage.key_arn, settings.production, on_aws)
if isinstance(settings.seed, Sample | Dump):
    SeedObject(f"{name}-seed", settings.seed, storage, on_aws)
images = Images(name, settings.images, on_aws)
balancer = LoadBalancer(name, settings.edge, network.vpc_id, network.public_subnet_ids, on_aws)
cluster = Cluster(name, settings.observability.container_insights, logs, on_aws)
observability = Observability(name, settings, Parts(stack, balancer, cluster, database, storage), on_aws)

path = parameter_path(project, stack)
release = settings.images.release or last_release(path, provider)
sleepers: list[Sleeper] = []
if release:
    api_image, loader_image = release
    around = Surroundings(
        ingestion=Ingestion(stack, settings.region, storage, tokens, callback_secret),
        region=settings.region,
        vpc_id=network.vpc_id,
        subnet_ids=network.task_subnet_ids,
        public_ip=network.tasks_need_public_ip,
        cluster=cluster,
        logs=logs,
        database=database,
        migrations=loader_image,
        settings=settings.tasks,
        rollback_alarm_names=observability.rollback_alarm_names,
    )
    api = ApiService(f"{name}-api", api_image, settings.api, around, balancer, on_aws)
    loader = LoaderService(f"{name}-loader", loader_image, settings.loader, around, on_aws)
    Release(f"{name}-release", path, release, on_aws)
    observability.watch(
        Watched("api", api.service_name, settings.api.size.tasks_min),
        Watched("loader", loader.service_name, settings.loader.size.tasks_min),
        [api, loader],
    )
    sleepers = [
        Sleeper("api", api.target, settings.api.size),
        Sleeper("loader", loader.target, settings.loader.size),
    ]
    pulumi.export("services", "running")
    pulumi.export("apiService", api.running)
    pulumi.export("loaderService", loader.running)
else:
    pulumi.export(
        "services", "none yet: push both images to the repositories, then set apiImage and loaderImage"
    )
    pulumi.export("apiService", "none yet")
    pulumi.export("loaderService", "none yet")
if settings.awake:
    Sleep(f"{name}-sleep", settings.awake, settings.database.engine, database, sleepers, on_aws)

if settings.bastion:
    bastion = Bastion(f"{name}-bastion", settings.bastion, settings.region, network, database, on_aws)
    pulumi.export("bastion", bastion.command)
else:
    pulumi.export("bastion", NO_BASTION)

if settings.delivery:
    delivery = Delivery(
        f"{name}-delivery",
        settings.delivery,
        Around(
            images=images,
            files=StackFiles(settings.delivery.state, project, stack, settings.region),
            tasks=settings.tasks,
            logs=logs,
            boundary_arn=boundary.arn,
            zone_id=settings.edge.domain.zone_id if settings.edge.domain else None,
            topic=observability.topic,
        ),
        unbound,
    )
    pulumi.export("pipeline", delivery.how_to_connect)
    pulumi.export("pipelineAddress", delivery.console)
else:
    pulumi.export("pipeline", "none: deliveryBranch is not set")
    pulumi.export("pipelineAddress", "none")

if settings.review:
    review = Review(
        f"{name}-review",
        settings.review,
        StackFiles(settings.review.state, project, stack, settings.region),
        account_of(storage.key_arn),
        unbound,
    )
    pulumi.export("reviewRoleArn", review.role_arn)
else:
    pulumi.export("reviewRoleArn", "none: review is false")

# What `make reap` goes by.
pulumi.export("owner", settings.owner)
pulumi.export("expires", settings.expires.isoformat() if settings.expires else "never")
pulumi.export("production", settings.production)

pulumi.export("address", balancer.address)
pulumi.export("curl", pulumi.Output.concat("curl '", balancer.address, RATES_PATH, "'"))
pulumi.export("dashboard", observability.dashboard)
pulumi.export("vpcId", network.vpc_id)
pulumi.export("publicSubnetIds", network.public_subnet_ids)
pulumi.export("taskSubnetIds", network.task_subnet_ids)
pulumi.export("databaseHost", database.host)
pulumi.export("databasePort", database.port)
pulumi.export("databaseName", database.database_name)
pulumi.export("databaseMasterSecretArn", database.master_secret_arn)
pulumi.export("databaseClientSecurityGroupId", database.client_security_group_id)
pulumi.export("batchBucket", storage.bucket_name)
pulumi.export("batchQueueUrl", storage.queue_url)
pulumi.export("batchDeadLetterQueueUrl", storage.dead_letter_queue_url)
pulumi.export("apiTokensSecretArn", tokens.arn)
pulumi.export("callbackSecretArn", callback_secret.arn)
pulumi.export("apiRepositoryUrl", images.api_repository_url)
pulumi.export("loaderRepositoryUrl", images.loader_repository_url)
