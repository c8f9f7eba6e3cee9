"""What Pulumi does to a stack's files in its bucket, as rights: reads for a preview, writes for an update.

Where the files lie is Pulumi's own: pkg/backend/diy of its source, `store.go`, `state.go` and `lock.go`.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from infra.iam import Statement, allow
from infra.settings.delivery import State


@dataclass(frozen=True)
class StackFiles:
    """The files of one stack: those of `staging` end in a dot or a slash, so that `staging-2` has others."""

    state: State
    project: str
    stack: str
    region: str

    def to_preview(self) -> list[Statement]:
        """A preview takes no lock and writes nothing: `Preview` in Pulumi's `backend.go`."""
        return [
            *self._to_list(),
            allow(["s3:GetObject"], self._arns("meta.yaml", f"stacks/{self.project}/{self.stack}.*")),
            *self._key(["kms:Decrypt"]),
        ]

    def to_update(self) -> list[Statement]:
        """Of its history and backups it deletes none."""
        files = self._arns(
            f"stacks/{self.project}/{self.stack}.*",
            # Whose place has the name of Pulumi's one organisation in it.
            f"locks/organization/{self.project}/{self.stack}/*",
        )
        record = self._arns(
            *(f"{kind}/{self.project}/{self.stack}/*" for kind in ("history", "backups")),
        )
        return [
            *self._to_list(),
            allow(["s3:GetObject"], self._arns("meta.yaml")),
            allow(["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], files),
            allow(["s3:GetObject", "s3:PutObject"], record),
            *self._key(["kms:Decrypt", "kms:GenerateDataKey"]),
        ]

    def _to_list(self) -> list[Statement]:
        """Names of all files, not only the stack's: without, or with a condition on the prefix, S3 calls what
        is not there forbidden, and Pulumi gives up.
        """
        return [allow(["s3:ListBucket"], f"arn:aws:s3:::{self.state.bucket}")]

    def _key(self, actions: list[str]) -> list[Statement]:
        """Through S3 alone. Without a key of ours S3 asks none that IAM would know of."""
        if self.state.key_arn is None:
            return []
        via_s3 = {"StringEquals": {"kms:ViaService": f"s3.{self.region}.amazonaws.com"}}
        return [{**allow(actions, self.state.key_arn), "Condition": via_s3}]

    def _arns(self, *paths: str) -> list[str]:
        folder = urlsplit(self.state.backend).path.strip("/")
        top = f"{folder}/.pulumi" if folder else ".pulumi"
        return [f"arn:aws:s3:::{self.state.bucket}/{top}/{path}" for path in paths]
