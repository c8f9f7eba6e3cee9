"""Who is sent gzip: by `Accept-Encoding`, as RFC 9110 has it."""

from __future__ import annotations

import pytest

from api.compression import takes_gzip
from tests.api.service import Service

TAKEN = [
    "gzip", "GZip", "x-gzip", "*", "deflate, gzip", "gzip;q=1", "gzip;q=1.000", "gzip;q=0.001",
    "gzip ; q=0.5", "gzip;\tQ=0.5", "br;q=1.0, gzip;q=0.8, *;q=0.1", "*;q=0.1", "gzip, *;q=0",
    "gzip, identity;q=0", "identity;q=0.5, gzip", "identity;q=0.5, gzip;q=0.5", " , gzip ,",
]  # fmt: skip
NOT_TAKEN = [
    "", "identity", "deflate, br", "gzip;q=0", "gzip;q=0.0", "gzip;q=0.000", "gzip;q=0.", "gzip; q=0",
    "gzip ;q=0", "gzip;\tq=0", "gzip;Q=0", "x-gzip;q=0", "notgzip", "gzipped", "my-gzip", "gzip2", "*;q=0",
    "gzip;q=0, *", "gzip;q=0.4, identity;q=0.5", "identity, *;q=0.5", "deflate, gzip;q=0", "gzip;q=high",
    "gzip;q=2", "gzip;q=-1", "gzip;q=0.1234", "gzip;q=", "gzip;level=9", "gzip;q=1;q=0", '"gzip"', "gzip q=1",
    "identity;q=0",
]  # fmt: skip


@pytest.mark.parametrize("accepted", TAKEN)
def test_gzip_is_taken(accepted: str) -> None:
    assert takes_gzip(accepted)


@pytest.mark.parametrize("accepted", NOT_TAKEN)
def test_gzip_is_not_taken(accepted: str) -> None:
    assert not takes_gzip(accepted)


def test_the_header_decides_what_is_sent(ingestion: Service) -> None:
    for accepted, encoding in (("GZIP", "gzip"), ("gzip;q=0", None), ("notgzip", None), ("*;q=0.5", "gzip")):
        answer = ingestion.client.get("/openapi.json", headers={"Accept-Encoding": accepted})
        assert answer.status_code == 200
        assert answer.headers.get("content-encoding") == encoding
        assert answer.json()["openapi"]
