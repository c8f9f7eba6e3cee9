"""How changes get to a stack: its repository, its pipeline, and who may preview it in review."""

import re
from dataclasses import dataclass

from infra.settings.reader import Reader

REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[\w.-]{1,100}", re.ASCII)
BRANCH = re.compile(r"[\w][\w./-]{0,99}", re.ASCII)
BACKEND = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/[\w./-]+)?(\?[\w=&.-]+)?", re.ASCII)
KEY_ARN = re.compile(r"arn:aws:kms:[a-z0-9-]+:\d{12}:key/[\w-]+")


@dataclass(frozen=True)
class State:
    """Where Pulumi keeps what it knows of the stack, and the key of that in KMS, if it has one of ours."""

    backend: str
    key_arn: str | None

    @property
    def bucket(self) -> str:
        match = BACKEND.fullmatch(self.backend)
        if match is None:
            raise AssertionError(self.backend)
        return match["bucket"]


@dataclass(frozen=True)
class DeliverySettings:
    """A pipeline that deploys the stack from a branch of a repository on GitHub, `owner/name`."""

    repository: str
    branch: str
    state: State
    production: bool  # which somebody approves


@dataclass(frozen=True)
class ReviewSettings:
    """A role in which pull requests of the repository may preview the stack."""

    repository: str
    state: State
    declare_provider: bool  # GitHub's identity provider, of which an account has one


def read_delivery(reader: Reader, production: bool) -> tuple[DeliverySettings | None, ReviewSettings | None]:
    repository = reader.text_if_set("repository", REPOSITORY, "a repository on GitHub, owner/name")
    branch = reader.text_if_set("deliveryBranch", BRANCH, "a branch such as main")
    backend = reader.text_if_set("stateBackend", BACKEND, "a bucket as in `pulumi login`, s3://BUCKET")
    key_arn = reader.text_if_set("stateKeyArn", KEY_ARN, "a key of KMS, arn:aws:kms:…:key/…")
    review, provider = reader.flag("review"), reader.flag("githubProvider")
    for key, value in {"repository": repository, "stateBackend": backend}.items():
        reader.demand(key, value is not None or branch is None, "deliveryBranch is set, and needs it")
        reader.demand(key, value is not None or not review, "review is true, and needs it")
    reader.demand("githubProvider", review or not provider, "review is false, and nothing else uses it")
    if repository is None or backend is None or not BACKEND.fullmatch(backend):
        return None, None
    state = State(backend, key_arn)
    return (
        DeliverySettings(repository, branch, state, production) if branch else None,
        ReviewSettings(repository, state, provider) if review else None,
    )
