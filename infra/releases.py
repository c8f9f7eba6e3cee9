"""What runs, by digest, where the program finds it again: one parameter a stack, which the program keeps.

The pipeline names new images in the configuration; any other `pulumi up` names none, and goes on with those
that were deployed last. Otherwise one by a person would take the running services away.
"""

import json

import pulumi
import pulumi_aws as aws

from infra.iam import Statement, allow
from infra.settings.images import IMAGE, Image

API, LOADER = "apiImage", "loaderImage"
NAME = "release"


def parameter_path(project: str, stack: str) -> str:
    """A copy's parameters, and no other's: its name has no slash."""
    return f"/{project}/{stack}"


def last_release(path: str, provider: aws.Provider) -> tuple[Image, Image] | None:
    """The images of the API and the loader that were deployed last; None where none ever were.

    The one question to AWS that the program asks while it runs. By path: one without parameters is an empty
    list, and a parameter that is missing an error. Raises RunError if it is not what the program wrote.
    """
    found = aws.ssm.get_parameters_by_path(path=path, opts=pulumi.InvokeOptions(provider=provider))
    texts = dict(zip(found.names, found.values, strict=True))
    text = texts.get(f"{path}/{NAME}")
    return None if text is None else understood(f"{path}/{NAME}", text)


def understood(name: str, text: str) -> tuple[Image, Image]:
    try:
        release = json.loads(text)
        references = (release[API], release[LOADER])
        if not all(IMAGE.fullmatch(reference) for reference in references):
            raise ValueError(text)
    except (ValueError, KeyError, TypeError) as error:
        raise pulumi.RunError(
            f"the parameter {name} in SSM is {text!r}: expected are the images that run, {API} and {LOADER}, "
            "by digest, as JSON. Set both in the configuration to write it anew"
        ) from error
    api, loader = references
    return Image(api), Image(loader)


def to_read(path: str, region: str, account: pulumi.Input[str]) -> Statement:
    """For whoever runs the program: the right to ask that."""
    arn = pulumi.Output.concat("arn:aws:ssm:", region, ":", account, f":parameter{path}")
    return allow(["ssm:GetParametersByPath"], [arn, pulumi.Output.concat(arn, "/*")])


class Release(pulumi.ComponentResource):
    """The record of what runs. Whoever reads it needs it to stay as long as the services do."""

    def __init__(
        self,
        name: str,
        path: str,
        images: tuple[Image, Image],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("rates:releases:Release", name, None, opts)
        api, loader = images
        aws.ssm.Parameter(
            name,
            name=f"{path}/{NAME}",
            description="Images that run, as the last deploy left them",
            type="String",
            # No secret: a preview shows what would run.
            insecure_value=json.dumps({API: api.reference, LOADER: loader.reference}),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
