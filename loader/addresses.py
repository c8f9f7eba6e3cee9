"""Says what an address that names no file was meant to be; `inputs` asks where there is none of that name."""

from __future__ import annotations

import re
from urllib.parse import unquote

AWS = r"amazonaws\.com(?:\.cn)?"
KEY = r"(?P<key>[^?#]+)"
# How an object in S3 is named elsewhere.
OF_S3 = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"s3[an]?(?::/*|//)(?P<bucket>[^/?#]+)/{KEY}",
        rf"arn:aws[a-z-]*:s3:::(?P<bucket>[^/]+)/{KEY}",
        rf"https?://(?P<bucket>[^/?#]+)\.s3[.-](?:[a-z0-9-]+\.)*{AWS}(?::443)?/{KEY}",
        rf"https?://s3[.-](?:[a-z0-9-]+\.)*{AWS}(?::443)?/(?P<bucket>[^/?#]+)/{KEY}",
        r"https?://[a-z0-9.-]*console\.aws\.amazon\.com/s3/object/(?P<bucket>[^/?#]+)\?.*?prefix=(?P<key>[^&#]+)",
    )
)
FILE = re.compile(r"file:(?://(?:localhost)?)?(?P<path>/.*)", re.IGNORECASE)
WEB = re.compile(r"(?:https?|ftps?|sftp):/", re.IGNORECASE)
OTHER = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)


def refusal_of(address: str) -> str | None:
    """What it names and what to say instead; None where it is but the path of a file that is not there.

    Without what stands behind a question mark: it may be a signature, and this goes into logs.
    """
    shown = address.partition("?")[0]
    for spelling in OF_S3:
        if found := spelling.match(address):
            key = found["key"] if address.lower().startswith(("s3", "arn")) else unquote(found["key"])
            return f"{shown}: an object in S3 is named s3://bucket/key; expected s3://{found['bucket']}/{key}"
    if found := FILE.match(address):
        return f"{shown}: expected the path alone, {unquote(found['path'])}"
    if WEB.match(address):
        return f"{shown}: an address on the web, from which nothing is fetched; download the file and name it"
    if OTHER.match(address):
        return f"{shown}: an address that is not known; expected a path, - or s3://bucket/key"
    return None
