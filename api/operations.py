"""What the API can be asked, an operation an entry: `openapi` makes its document of this table.

Each names what really answers: the resource's method, whose docstring describes it, the parameters that it
reads, and the types that it encodes. What a table cannot take from the code, it repeats, and tests compare:
routes and codes in tests/api/test_openapi.py, statuses, headers and bodies of whatever those get.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import falcon

from access.tokens import READ, WRITE
from api import batch_errors, batches, lanes, orders, places, question, uploads
from api.as_csv import CSV
from api.batch import WAIT_S_MAX, Batch
from api.batch_errors import NOT_LISTED, BatchErrors, BatchErrorsFile, BatchFaults
from api.batches import Batches, BatchList
from api.docs import Docs, OpenApi
from api.health import Health, Live, Ready
from api.known import KnownBatch
from api.lanes import Lanes, LanesPage
from api.orders import KEY_CHARS_MAX, KEY_HEADER
from api.parameters import Parameter
from api.places import Ports, PortsPage, Regions, RegionsPage
from api.rates import Rates, RatesAnswer
from api.requests import CHARS_MAX, HEADER
from api.uploads import FinishedUpload, UploadAnswer, Uploads
from storage.manifest import MADE_HERE

HTML, BYTES = "text/html", "application/octet-stream"
# How files of prices are usually called, with an example; a body is told by its content all the same.
FILES = {
    CSV: "orig_code,dest_code,day,price\nCNSGH,EETLL,2021-03-01,2510\n",
    "application/x-ndjson": '{"orig_code":"CNSGH","dest_code":"EETLL","day":"2021-03-01","price":2510}\n',
    "application/vnd.apache.parquet": None,
    BYTES: None,
}


@dataclass(frozen=True)
class RequestHeader:
    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True)
class Answer:
    """`content` is the type of the body by media type; `headers` are always there, `perhaps` not always.
    X-Request-ID goes without saying."""

    status: int
    description: str
    content: Mapping[str, Any] = field(default_factory=dict)
    headers: Sequence[str] = ()
    perhaps: Sequence[str] = ()


@dataclass(frozen=True)
class Operation:
    """`parameters` are None where a query is not looked at; `scope` is what its token may do, where it takes
    one, `read` only where batches are private; `needs` is what may be away; `sheds` says whether it is turned
    away where more is asked than can be answered, and not answered without the app (`worker`); `links` names
    what an answer's batch can be asked next.

    `codes` are those of its refusals by status, but for what `openapi` knows: of the parameters, of the
    token where there has to be one, of what may be away, and of the server before a resource is asked.
    """

    method: str
    path: str
    summary: str
    respond: Callable[..., None]
    answers: Sequence[Answer]
    tag: str
    parameters: Mapping[str, Parameter] | None = field(default_factory=dict)
    headers: Sequence[RequestHeader] = ()
    body: Mapping[str, str | None] = field(default_factory=dict)
    scope: str | None = None
    needs: Sequence[str] = ()
    sheds: bool = True
    codes: Mapping[int, Sequence[str]] = field(default_factory=dict)
    links: Sequence[str] = ()


IF_NONE_MATCH = RequestHeader(
    "If-None-Match", "The ETag of an answer that is at hand: 304 where it still holds."
)
IDEMPOTENCY_KEY = RequestHeader(
    KEY_HEADER,
    "What the batch goes by: the same key with the same content is the same batch. At most"
    f" {KEY_CHARS_MAX} printable characters in UTF-8; without it, the content is the key.",
    {
        "type": "string",
        "minLength": 1,
        "maxLength": KEY_CHARS_MAX,
        "pattern": rf"^(?!{'|'.join(MADE_HERE)})[!-~](?:[ -~]*[!-~])?$",
        "examples": ["march"],
    },
)
PREFER = RequestHeader(
    "Prefer",
    f"`wait=SECONDS`, at most {WAIT_S_MAX}: answer as soon as the batch has ended. Left aside"
    " where too many wait already.",
    {"type": "string", "examples": ["wait=20"]},
)
REQUEST_ID = RequestHeader(
    HEADER,
    f"Goes into the log and into the answer. Of at most {CHARS_MAX} printable ASCII characters; any other is"
    " replaced by one that is made here.",
)
# Each is sent with some answers, and described once.
ANSWER_HEADERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    HEADER: ("The id of this request in the log.", {"type": "string"}),
    "ETag": ("Weak: of the data's version and the question.", {"type": "string"}),
    "Data-Version": ("Raised whenever answers may have changed.", {"type": "integer"}),
    "Location": ("Where the batch is told of.", {"type": "string", "format": "uri-reference"}),
    "Content-Location": ("The batch's own address, where it is known by another id.", {"type": "string"}),
    "Preference-Applied": ("How long it was waited at most.", {"type": "string"}),
    "Retry-After": ("When to ask again, in seconds.", {"type": "integer", "minimum": 0}),
    "WWW-Authenticate": ("What is wrong with the token (RFC 6750).", {"type": "string"}),
    "Link": ("Where the next page is, if there is one (RFC 8288).", {"type": "string"}),
    "Content-Disposition": ("What to call the file.", {"type": "string"}),
    NOT_LISTED: ("How many faults were counted beside those in the file.", {"type": "integer"}),
    "Content-Encoding": ("`gzip`, to whoever takes it (`Accept-Encoding`).", {"type": "string"}),
    "RateLimit": (
        "How often this client may still ask, and within how many seconds.",
        {"type": "string"},
    ),
    "RateLimit-Policy": ("How often a client may ask, and within how many seconds.", {"type": "string"}),
    "Access-Control-Allow-Origin": ("The page that may read this from a browser.", {"type": "string"}),
    "Access-Control-Expose-Headers": ("What it may read of the headers.", {"type": "string"}),
    "Cache-Control": ("Whether it may be kept.", {"type": "string"}),
    "Vary": ("What else the answer depends on.", {"type": "string"}),
    "X-Content-Type-Options": ("To browsers: nothing is of another type than it says.", {"type": "string"}),
    "Referrer-Policy": ("To browsers: no other address is told of this one.", {"type": "string"}),
    "Content-Security-Policy": ("To browsers: what a page may load, if this is one.", {"type": "string"}),
    "Strict-Transport-Security": ("To browsers, over HTTPS: to ask by HTTPS alone.", {"type": "string"}),
}
# What every answer has, whoever writes it (`api.headers`); and what any may have by the server's settings: of
# limits, which do not count health checks (`api.limits`), of HTTPS, of origins (`api.cors`).
BROWSERS = ("X-Content-Type-Options", "Referrer-Policy", "Content-Security-Policy")
EVERYWHERE = ("Cache-Control", "Vary", *BROWSERS)
LIMITED = ("RateLimit-Policy", "RateLimit")
OF_ORIGINS = ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers")
COMMON_HEADERS = (*LIMITED, *EVERYWHERE, "Strict-Transport-Security", *OF_ORIGINS)
PACKED = ("Content-Encoding",)
PAGED = ("Link", *PACKED)
VERSIONED = ("ETag", "Data-Version")
FIXED = ("ETag",)
UNCHANGED = "The answer at hand still holds."
NOT_MODIFIED = Answer(304, UNCHANGED, headers=VERSIONED)
NO_BATCH = {404: ("batch_not_found",)}
TAKEN_CODES = ("key_taken", "nothing_to_replace")
BODY_CODES = {
    400: ("empty_body", "body_cut_short", "malformed_body"),
    408: ("body_stalled",),
    413: ("body_too_large",),
    415: ("unsupported_media_type",),
    503: ("busy",),
}
DATABASE, STORAGE, QUEUE = "database", "storage", "queue"


def versioned(description: str, body: Any, perhaps: Sequence[str] = PACKED) -> Answer:
    """What `api.answers` answers with, `body` in JSON."""
    return Answer(200, description, {falcon.MEDIA_JSON: body, CSV: str}, VERSIONED, perhaps)


def told(status: int, description: str, body: Any = KnownBatch, perhaps: Sequence[str] = ()) -> Answer:
    """What `api.batches.respond` answers with."""
    headers = ("Location",) if status in (201, 202) else ()
    return Answer(status, description, {falcon.MEDIA_JSON: body}, headers, perhaps)


OPERATIONS = (
    Operation(
        *("GET", "/rates", "Average price a day", Rates.on_get),
        (versioned("Prices by day.", RatesAnswer), NOT_MODIFIED),
        tag="Rates",
        parameters=question.PARAMETERS,
        headers=(IF_NONE_MATCH,),
        needs=(DATABASE,),
        codes={400: ("range_too_long", "reversed_range", "unknown_code")},
    ),
    Operation(
        *("GET", "/lanes", "Which lanes have prices", Lanes.on_get),
        (versioned("A page of them.", LanesPage, PAGED), NOT_MODIFIED),
        tag="Rates",
        parameters=lanes.PARAMETERS,
        headers=(IF_NONE_MATCH,),
        needs=(DATABASE,),
        codes={400: ("unknown_code",)},
    ),
    Operation(
        *("GET", "/ports", "Which ports there are", Ports.on_get),
        (versioned("A page of them.", PortsPage, PAGED), NOT_MODIFIED),
        tag="Places",
        parameters=places.PORTS_PARAMETERS,
        headers=(IF_NONE_MATCH,),
        needs=(DATABASE,),
        codes={400: ("unknown_code",)},
    ),
    Operation(
        *("GET", "/regions", "Which regions there are", Regions.on_get),
        (versioned("A page of them.", RegionsPage, PAGED), NOT_MODIFIED),
        tag="Places",
        parameters=places.REGIONS_PARAMETERS,
        headers=(IF_NONE_MATCH,),
        needs=(DATABASE,),
        codes={400: ("unknown_code",)},
    ),
    Operation(
        *("POST", "/batches", "Send a batch of prices", Batches.on_post),
        (told(202, "It is accepted, and loaded whole or not at all."),),
        tag="Batches",
        parameters=orders.PARAMETERS,
        headers=(IDEMPOTENCY_KEY,),
        body=FILES,
        scope=WRITE,
        needs=(STORAGE,),
        codes={
            **BODY_CODES,
            400: ("invalid_key", *BODY_CODES[400]),
            409: TAKEN_CODES,
        },
        links=("/batches/{batch}", "/batches/{batch}/errors"),
    ),
    Operation(
        *("GET", "/batches", "The newest batches", Batches.on_get),
        (Answer(200, "A page of them.", {falcon.MEDIA_JSON: BatchList}, perhaps=PAGED),),
        tag="Batches",
        scope=READ,
        parameters=batches.LIST_PARAMETERS,
        needs=(DATABASE,),
    ),
    Operation(
        *("POST", "/batches/uploads", "Announce a large batch", Uploads.on_post),
        (
            told(201, "Where to put the file.", UploadAnswer),
            told(200, "The file is there already."),
        ),
        tag="Batches",
        parameters=uploads.PARAMETERS,
        headers=(IDEMPOTENCY_KEY,),
        scope=WRITE,
        needs=(STORAGE,),
        codes={400: ("invalid_key",), 409: TAKEN_CODES},
        links=("/batches/{batch}", "/batches/{batch}/upload"),
    ),
    Operation(
        *("GET", "/batches/{batch}", "What became of a batch", Batch.on_get),
        (told(200, "The batch.", perhaps=("Content-Location", "Preference-Applied")),),
        tag="Batches",
        scope=READ,
        headers=(PREFER,),
        needs=(DATABASE, STORAGE),
        codes=NO_BATCH,
    ),
    Operation(
        *("DELETE", "/batches/{batch}", "Withdraw a batch", Batch.on_delete),
        (told(200, "It is out of the answers."), told(202, "It is going to be.")),
        tag="Batches",
        scope=WRITE,
        needs=(DATABASE, STORAGE, QUEUE),
        codes={**NO_BATCH, 409: ("nothing_to_withdraw",)},
        links=("/batches/{batch}",),
    ),
    Operation(
        *("GET", "/batches/{batch}/errors", "What is wrong with a batch", BatchErrors.on_get),
        (
            Answer(
                *(200, "Its faults.", {falcon.MEDIA_JSON: BatchFaults, CSV: str}),
                perhaps=("Content-Disposition", NOT_LISTED, *PAGED),
            ),
        ),
        tag="Batches",
        scope=READ,
        parameters=batch_errors.PARAMETERS,
        needs=(DATABASE, STORAGE),
        codes={**NO_BATCH, 503: ("busy",)},
    ),
    Operation(
        *(
            "GET",
            "/batches/{batch}/errors.csv",
            "What is wrong with a batch, as a file",
            BatchErrorsFile.on_get,
        ),
        (
            Answer(
                *(200, "Its faults, an apostrophe before what spreadsheets take for a formula.", {CSV: str}),
                *(("Content-Disposition", NOT_LISTED), PACKED),
            ),
        ),
        tag="Batches",
        scope=READ,
        needs=(DATABASE, STORAGE),
        codes={**NO_BATCH, 503: ("busy",)},
    ),
    Operation(
        *("POST", "/batches/{batch}/upload", "Put the parts of a file together", FinishedUpload.on_post),
        (told(202, "The file is there, and is loaded."),),
        tag="Batches",
        scope=WRITE,
        needs=(STORAGE,),
        codes={**NO_BATCH, 409: ("no_parts", "upload_expired", "upload_incomplete")},
        links=("/batches/{batch}",),
    ),
    Operation(
        *("GET", "/health/live", "Is the process alive?", Live.on_get),
        (Answer(200, "It is.", {falcon.MEDIA_JSON: Health}),),
        tag="Health",
        parameters=None,
        sheds=False,
    ),
    Operation(
        *("GET", "/health/ready", "Would a request be answered?", Ready.on_get),
        (Answer(200, "It would.", {falcon.MEDIA_JSON: Health}),),
        tag="Health",
        parameters=None,
        needs=(DATABASE,),
    ),
    Operation(
        *("GET", "/openapi.json", "This document", OpenApi.on_get),
        (
            Answer(200, "OpenAPI 3.1.", {falcon.MEDIA_JSON: dict}, FIXED, PACKED),
            Answer(304, UNCHANGED, headers=FIXED),
        ),
        tag="Documentation",
        parameters=None,
        headers=(IF_NONE_MATCH,),
    ),
    Operation(
        *("GET", "/docs", "These pages", Docs.on_get),
        (
            Answer(200, "HTML, which loads nothing from anywhere else.", {HTML: str}, FIXED, PACKED),
            Answer(304, UNCHANGED, headers=FIXED),
        ),
        tag="Documentation",
        parameters=None,
        headers=(IF_NONE_MATCH,),
    ),
)
