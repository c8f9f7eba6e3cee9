"""Where the images of the API and the loader lie. The pipeline builds and pushes them; a preview never does.

What runs is said by digest in `apiImage` and `loaderImage`. The first `pulumi up`, without them, makes the
repositories; once images are pushed, one with their digests makes the services.
"""

import json

import pulumi
import pulumi_aws as aws

from infra.settings.images import ImageSettings

# Images that nobody can name any more; a push that failed half-way leaves some.
UNTAGGED_DAYS = 7


class Images(pulumi.ComponentResource):
    """A repository for each image: what may push one need not be able to push the other."""

    api_repository_url: pulumi.Output[str]
    loader_repository_url: pulumi.Output[str]
    api_repository_arn: pulumi.Output[str]
    loader_repository_arn: pulumi.Output[str]

    def __init__(
        self, name: str, settings: ImageSettings, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("rates:images:Images", name, None, opts)
        self._base = name
        self._settings = settings
        self._inside = pulumi.ResourceOptions(parent=self)
        api, loader = self._declare_repository("api"), self._declare_repository("loader")
        self.api_repository_url, self.api_repository_arn = api.repository_url, api.arn
        self.loader_repository_url, self.loader_repository_arn = loader.repository_url, loader.arn
        self.register_outputs(
            {"apiRepositoryUrl": self.api_repository_url, "loaderRepositoryUrl": self.loader_repository_url}
        )

    def _declare_repository(self, image: str) -> aws.ecr.Repository:
        repository = aws.ecr.Repository(
            f"{self._base}-{image}",
            # What was tested under a tag is what the tag means for good.
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration=aws.ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
            # With AWS's own key for ECR, which costs nothing.
            encryption_configurations=[aws.ecr.RepositoryEncryptionConfigurationArgs(encryption_type="KMS")],
            force_delete=not self._settings.production,
            opts=self._inside,
        )
        aws.ecr.LifecyclePolicy(
            f"{self._base}-{image}",
            repository=repository.name,
            policy=json.dumps({"rules": self._rules()}),
            opts=self._inside,
        )
        return repository

    def _rules(self) -> list[dict]:
        """ECR applies the rule of the lowest number first; one for `any` has to have the highest."""
        rules = [
            (
                "untagged",
                {"countType": "sinceImagePushed", "countUnit": "days", "countNumber": UNTAGGED_DAYS},
            ),
            ("any", {"countType": "imageCountMoreThan", "countNumber": self._settings.kept}),
        ]
        return [
            {
                "rulePriority": priority,
                "selection": {"tagStatus": status} | count,
                "action": {"type": "expire"},
            }
            for priority, (status, count) in enumerate(rules, 1)
        ]
