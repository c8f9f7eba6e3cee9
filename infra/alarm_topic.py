"""Whom alarms tell: an encrypted topic, and an address that gets what is published to it, if there is one.

Notification rules of a pipeline may publish too. EventBridge may not: it tells a key not on whose behalf it
works, so a key that lets it in lets in everybody's.
"""

import pulumi
import pulumi_aws as aws

from infra.iam import account_of, allow_service, document, only_over_tls
from infra.keys import declare_key, let_services_use

ALARMS, NOTIFICATIONS = "cloudwatch.amazonaws.com", "codestar-notifications.amazonaws.com"
# What a service that publishes does with a key.
KEY_ACTIONS = ["kms:Decrypt", "kms:GenerateDataKey*"]


class AlarmTopic(pulumi.ComponentResource):
    """`arn` is of a topic to which whatever sends messages about the copy may publish.

    Who publishes in a role of its own needs `key_arn` too.
    """

    arn: pulumi.Output[str]
    key_arn: pulumi.Output[str]

    def __init__(
        self, name: str, region: str, email: str | None, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("rates:alarm_topic:AlarmTopic", f"{name}-alarms", None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        key = declare_key(f"{name}-alarms", f"Messages about {name}", inside)
        ours = {"StringEquals": {"aws:SourceAccount": account_of(key.arn)}}
        through_sns = {"StringEquals": {"kms:ViaService": f"sns.{region}.amazonaws.com"}}
        key_policy = let_services_use(
            f"{name}-alarms", key, KEY_ACTIONS, {ALARMS: ours, NOTIFICATIONS: through_sns}, inside
        )
        topic = aws.sns.Topic(
            f"{name}-alarms",
            kms_master_key_id=key.key_id,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[key_policy]),
        )
        policy = aws.sns.TopicPolicy(
            f"{name}-alarms",
            arn=topic.arn,
            policy=document(
                *[
                    allow_service(service, ["sns:Publish"], topic.arn, ours)
                    for service in (ALARMS, NOTIFICATIONS)
                ],
                only_over_tls("sns:Publish", [topic.arn]),
            ),
            opts=inside,
        )
        if email:
            # AWS asks the address first; until somebody follows the link, it gets nothing.
            aws.sns.TopicSubscription(
                f"{name}-alarms", topic=topic.arn, protocol="email", endpoint=email, opts=inside
            )
        # Whoever is told of the topic finds that it may publish.
        self.arn = pulumi.Output.all(topic.arn, policy.id).apply(lambda both: both[0])
        self.key_arn = key.arn
        self.register_outputs({"arn": self.arn})
