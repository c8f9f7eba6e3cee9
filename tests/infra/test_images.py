"""The repositories: a tag means one image for good, every image is scanned, and old ones go."""

import json

import pytest

from infra.settings.images import Image
from stacks.mock_engine import IMAGES, NO_IMAGES, SHAPES, declared, run_stack

REPOSITORY = "ecr/repository:Repository"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_pushed_image_is_scanned_encrypted_and_never_replaced_under_its_tag(shape: str) -> None:
    run = declared(shape)

    assert [each.name for each in run.all(REPOSITORY)] == [
        f"rates-{run.stack}-api",
        f"rates-{run.stack}-loader",
    ]
    for repository in run.all(REPOSITORY):
        assert repository.inputs["imageTagMutability"] == "IMMUTABLE"
        assert repository.inputs["imageScanningConfiguration"] == {"scanOnPush": True}
        assert repository.inputs["encryptionConfigurations"] == [{"encryptionType": "KMS"}]
        assert repository.inputs["forceDelete"] is (shape != "prod")


def test_untagged_images_go_after_a_week_and_all_but_the_newest_at_once() -> None:
    run = run_stack("dev", changes={"imagesKept": "10"})
    policies = [json.loads(each.inputs["policy"])["rules"] for each in run.all("LifecyclePolicy")]

    assert len(policies) == 2
    for untagged, rest in policies:
        assert untagged["selection"]["tagStatus"] == "untagged"
        assert untagged["selection"]["countNumber"] == 7
        assert rest["selection"] == {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 10}
        assert untagged["rulePriority"] < rest["rulePriority"], "ECR refuses any other order"


def test_the_first_update_makes_the_repositories_that_images_are_pushed_to() -> None:
    run = run_stack("dev", changes=NO_IMAGES)

    assert len(run.all(REPOSITORY)) == 2
    assert run.exports["apiRepositoryUrl"] == "registry.example/rates-dev-api"


def test_an_image_says_which_repository_a_task_has_to_be_let_pull_from() -> None:
    image = Image(IMAGES["apiImage"])

    assert image.repository_arn == "arn:aws:ecr:eu-west-1:123456789012:repository/rates-api"
