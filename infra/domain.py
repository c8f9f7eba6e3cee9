"""The name by which clients reach a stack: its certificate, and where the name leads.

`load_balancer` answers with the certificate.
"""

import pulumi
import pulumi_aws as aws

from infra.settings.edge import Domain

# The record that proves the name to be ours never changes.
VALIDATION_TTL_S = 300


class Certificate(pulumi.ComponentResource):
    """ACM issues it, and renews it for as long as the record stands. `arn` is there once it is issued."""

    arn: pulumi.Output[str]

    def __init__(self, name: str, domain: Domain, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("rates:domain:Certificate", name, None, opts)
        inside = pulumi.ResourceOptions(parent=self)
        certificate = aws.acm.Certificate(name, domain_name=domain.name, validation_method="DNS", opts=inside)
        # One for each name of the certificate, which has one.
        proof = certificate.domain_validation_options[0]
        record = aws.route53.Record(
            f"{name}-validation",
            zone_id=domain.zone_id,
            name=proof.resource_record_name,
            type=proof.resource_record_type,
            records=[proof.resource_record_value],
            ttl=VALIDATION_TTL_S,
            opts=inside,
        )
        # Nothing on AWS; it waits until the certificate is issued.
        issued = aws.acm.CertificateValidation(
            name, certificate_arn=certificate.arn, validation_record_fqdns=[record.fqdn], opts=inside
        )
        self.arn = issued.certificate_arn
        self.register_outputs({"arn": self.arn})


def lead_to(
    name: str, domain: Domain, balancer: aws.lb.LoadBalancer, opts: pulumi.ResourceOptions
) -> aws.route53.Record:
    """IPv4 alone, which is all that the network carries."""
    return aws.route53.Record(
        name,
        zone_id=domain.zone_id,
        name=domain.name,
        type="A",
        aliases=[
            aws.route53.RecordAliasArgs(
                name=balancer.dns_name,
                zone_id=balancer.zone_id,
                # There is nowhere else to send clients to.
                evaluate_target_health=False,
            )
        ],
        opts=opts,
    )
