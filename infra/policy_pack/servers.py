"""Servers on EC2 and their disks."""

from collections.abc import Iterator

from infra.policy_pack.rule import Declared, about, dig

INSTANCE = "aws:ec2/instance:Instance"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
VOLUME = "aws:ebs/volume:Volume"


@about(
    "metadata-needs-a-token",
    "Whoever makes a server fetch an address could fetch its credentials, unless these need a token first.",
    INSTANCE,
    TEMPLATE,
)
def metadata_needs_a_token(server: Declared) -> Iterator[str]:
    tokens = dig(server.inputs, "metadataOptions.httpTokens")
    if tokens != ["required"]:
        yield f"found httpTokens {tokens[0] if tokens else 'not set'}: allowed is required (IMDSv2)"


@about(
    "disks-are-encrypted",
    "A disk outlives its server, and so do its snapshots: whoever gets hold of one could read it.",
    INSTANCE,
    TEMPLATE,
    VOLUME,
)
def disks_are_encrypted(resource: Declared) -> Iterator[str]:
    match resource.type:
        case "aws:ebs/volume:Volume":
            disks = [resource.inputs]
        case "aws:ec2/instance:Instance":
            disks = dig(resource.inputs, "rootBlockDevice") or [{}]
            disks += dig(resource.inputs, "ebsBlockDevices")
        case _:
            disks = dig(resource.inputs, "blockDeviceMappings.ebs") or [{}]
    for disk in disks:
        # A launch template has flags as text.
        if str(disk.get("encrypted")).lower() != "true":
            yield f"found a disk with encrypted {disk.get('encrypted', 'not set')}: allowed is true"
