"""Cases of how a file is named."""

from __future__ import annotations

from tests.loader.cases.case import TAKEN, AddressCase

IN_S3 = "an object in S3 is named s3://bucket/key; expected"
ADDRESS_CASES = [
    AddressCase("a path", "prices.csv", TAKEN, files=("prices.csv",)),
    AddressCase("a path that looks like an address", "s3:/bucket/key", TAKEN, files=("s3:/bucket/key",)),
    AddressCase("`S3://bucket/key`", "S3://bucket/key", f"{IN_S3} s3://bucket/key"),
    AddressCase("`s3:/bucket/key`", "s3:/bucket/key", f"{IN_S3} s3://bucket/key"),
    AddressCase("`s3//bucket/key`", "s3//bucket/key", f"{IN_S3} s3://bucket/key"),
    AddressCase("`s3a://bucket/key`", "s3a://bucket/key", f"{IN_S3} s3://bucket/key"),
    AddressCase("an object's ARN", "arn:aws:s3:::bucket/a/b.csv", f"{IN_S3} s3://bucket/a/b.csv"),
    AddressCase(
        "an object's address on the web",
        "https://bucket.s3.eu-west-1.amazonaws.com/a%20b.csv?X-Amz-Signature=1",
        f"{IN_S3} s3://bucket/a b.csv",
    ),
    AddressCase(
        "the same, with the bucket in its path",
        "https://s3.amazonaws.com/bucket/a.csv",
        f"{IN_S3} s3://bucket/a.csv",
    ),
    AddressCase(
        "its page in the console",
        "https://eu-west-1.console.aws.amazon.com/s3/object/bucket?region=eu-west-1&prefix=a/b.csv",
        f"{IN_S3} s3://bucket/a/b.csv",
    ),
    AddressCase(
        "`https://…`",
        "https://example.com/prices.csv?token=1",
        "an address on the web, from which nothing is fetched",
    ),
    AddressCase("`file://…`", "file:///srv/prices%20a.csv", "expected the path alone, /srv/prices a.csv"),
    AddressCase("`gs://…` and others", "gs://bucket/key", "an address that is not known"),
    AddressCase("a file that is not there", "none.csv", "No such file or directory"),
    AddressCase("a directory", "batch", "Is a directory; name the files in it", files=("batch/a.csv",)),
    AddressCase(
        "a directory of parts, as Hive has them",
        "batch",
        "a directory of parts (day=2021-01-01)",
        files=("batch/day=2021-01-01/a.parquet",),
    ),
    AddressCase(
        "`pg_dump --format=directory`",
        "dump",
        "a dump in directory format; expected a plain one",
        files=("dump/toc.dat", "dump/3412.dat.gz"),
    ),
]
