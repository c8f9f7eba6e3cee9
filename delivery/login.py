"""`python -m delivery.login`: lets the image builder push to ECR for the next 12 hours.

Before `delivery.images`, in a build of the pipeline. The login lands in $REGISTRY_AUTH_FILE, where buildah
looks for it, and in no process list.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

FILE_MODE = 0o600
REPOSITORIES = ("API_REPOSITORY", "LOADER_REPOSITORY")


def write_login(file: Path, repositories: list[str], token: str) -> None:
    """ECR's token is what the file holds of a login: user and password, in base64."""
    registries = {repository.partition("/")[0] for repository in repositories}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=FILE_MODE)
    file.write_text(json.dumps({"auths": {registry: {"auth": token} for registry in sorted(registries)}}))


def main(environment: Mapping[str, str] = os.environ) -> int:
    missing = [name for name in (*REPOSITORIES, "REGISTRY_AUTH_FILE") if not environment.get(name)]
    if missing:
        sys.stderr.write(f"not set: {', '.join(missing)}\n")
        return 2
    try:
        answer = boto3.client("ecr").get_authorization_token()
    except (BotoCoreError, ClientError) as error:
        sys.stderr.write(f"ECR gives no login: {error}\n")
        return 3
    token = answer["authorizationData"][0]["authorizationToken"]
    file = Path(environment["REGISTRY_AUTH_FILE"])
    write_login(file, [environment[name] for name in REPOSITORIES], token)
    return 0


if __name__ == "__main__":
    sys.exit(main())
