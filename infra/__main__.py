"""One copy of the system on AWS: settings in, components wired to each other, outputs out.

Nothing here belongs to one stack: what differs stands in `Pulumi.<stack>.yaml`.
"""

import pulumi
import pulumi_aws as aws

from infra.database import Database
from infra.network import Network
from infra.settings import read_settings

project, stack = pulumi.get_project(), pulumi.get_stack()
settings = read_settings(project, stack, pulumi.runtime.get_config_env())

# The start of every name, so that any number of copies can share an account.
name = f"{project}-{stack}"
# Not the default one, whose tags could not have the stack's name in them. It takes credentials from the
# environment, as the default one does.
provider = aws.Provider(
    name,
    region=settings.region,
    default_tags=aws.ProviderDefaultTagsArgs(
        tags={"Project": project, "Stack": stack, "Owner": settings.owner, "ManagedBy": "pulumi"}
    ),
)
on_aws = pulumi.ResourceOptions(providers=[provider])

network = Network(name, settings.network, settings.region, on_aws)
database = Database(
    f"{name}-database", settings.database, network.vpc_id, network.isolated_subnet_ids, on_aws
)

pulumi.export("vpcId", network.vpc_id)
pulumi.export("publicSubnetIds", network.public_subnet_ids)
pulumi.export("taskSubnetIds", network.task_subnet_ids)
pulumi.export("databaseHost", database.host)
pulumi.export("databasePort", database.port)
pulumi.export("databaseName", database.database_name)
pulumi.export("databaseMasterSecretArn", database.master_secret_arn)
pulumi.export("databaseClientSecurityGroupId", database.client_security_group_id)
