"""OpenAPI 3.1 of all operations, made of the types that answer and validate; `docs` serves it.

msgspec says in JSON Schema what it encodes, which is OpenAPI 3.1's own language, and each `Parameter` what it
reads. It takes milliseconds, when the document is first asked for: nobody waits for it at start-up.
"""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import falcon
import msgspec
import msgspec.inspect

from access.tokens import READ, WRITE
from api.errors import Error
from api.health import is_health
from api.operations import (
    ANSWER_HEADERS,
    COMMON_HEADERS,
    DATABASE,
    EVERYWHERE,
    LIMITED,
    OPERATIONS,
    REQUEST_ID,
    Answer,
    Operation,
    RequestHeader,
)
from api.parameters import NONE, Parameter
from api.requests import HEADER

VERSION = "1"
DESCRIPTION = (
    "Average freight prices per day between ports and regions, and batches of new prices.\n\n"
    "Rates and places are read without a token; what takes one says so. Every error is JSON: `title` and"
    " `description` are for people, `code` is stable."
    " Where there is nothing it is `not_found` (404), where a method is not taken `method_not_allowed` (405)."
    " Whatever takes `GET` takes `HEAD` as well, and all of it `OPTIONS`.\n\n"
    "Besides what is said of it, each answer has, or by the server's settings may have:\n\n"
)
REF = "#/components/schemas/{name}"
PLACEHOLDER = re.compile(r"{(\w+)}")
PATH_PARAMETERS = {
    "batch": {
        "name": "batch",
        "in": "path",
        "required": True,
        "description": "The batch's id.",
        "schema": {"type": "string", "format": "uuid"},
    }
}
BEARER = "bearer"
# What is refused before a resource is asked, most of it before enough is read of a request to give it an id.
BEFORE = {
    400: ("bad_request", "query_too_long"),
    414: ("uri_too_long",),
    417: ("expectation_failed",),
    431: ("request_header_fields_too_large",),
    501: ("not_implemented",),
}
FAILED = {500: ("internal_server_error",)}
OVER_LIMIT = {429: ("too_many_requests",)}
SHED = {503: ("overloaded",)}
TOKEN = {401: ("unauthorized",), 403: ("forbidden",), 503: ("service_unavailable",)}
AWAY = {503: ("service_unavailable",)}
SLOW = {503: ("too_slow",)}
ERROR_HEADERS = {
    401: ("WWW-Authenticate",),
    403: ("WWW-Authenticate",),
    429: ("Retry-After", *LIMITED),
    503: ("Retry-After",),
}
Json = dict[str, Any]


def encode_document(*, private_batches: bool) -> bytes:
    return msgspec.json.encode(make_document(private_batches=private_batches))


def make_document(*, private_batches: bool) -> Json:
    """`private_batches`: whether reading batches takes a token."""
    paths: dict[str, Json] = defaultdict(dict)
    for operation in OPERATIONS:
        paths[operation.path][operation.method.lower()] = describe(operation, private_batches)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Rates",
            "version": VERSION,
            "description": DESCRIPTION + common_headers(),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in OPERATIONS)],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "headers": {name: header_of(name, required=name in EVERYWHERE) for name in COMMON_HEADERS},
            "securitySchemes": {BEARER: {"type": "http", "scheme": "bearer"}},
        },
    }


def describe(operation: Operation, private_batches: bool) -> Json:
    described: Json = {
        "operationId": operation_id(operation),
        "summary": operation.summary,
        "description": inspect.getdoc(operation.respond) or operation.summary,
        "tags": [operation.tag],
        "parameters": [
            *(PATH_PARAMETERS[name] for name in PLACEHOLDER.findall(operation.path)),
            *(query_parameter(each) for each in (operation.parameters or NONE).values()),
            *(header_parameter(each) for each in (*operation.headers, REQUEST_ID)),
        ],
        "responses": responses(operation, private_batches),
    }
    if operation.body:
        # Bytes, of which JSON Schema says nothing but that there are some.
        schema = {"schema": {"minLength": 1}}
        content = {
            media_type: schema | ({"example": example} if example else {})
            for media_type, example in operation.body.items()
        }
        described["requestBody"] = {"required": True, "content": content}
    if takes_token(operation, private_batches):
        described["security"] = [{BEARER: []}]
    return described


def takes_token(operation: Operation, private_batches: bool) -> bool:
    return operation.scope == WRITE or (operation.scope == READ and private_batches)


def operation_id(operation: Operation) -> str:
    """Of the method and the path, for whoever generates a client: `get_batches_errors_csv`."""
    words = re.findall(r"[a-z]+", operation.path)
    return "_".join((operation.method.lower(), *dict.fromkeys(words)))


def query_parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "required": parameter.required,
        "schema": parameter.schema,
    }


def header_parameter(header: RequestHeader) -> Json:
    return {
        "name": header.name,
        "in": "header",
        "description": header.description,
        "required": False,
        "schema": header.schema,
    }


def responses(operation: Operation, private_batches: bool) -> Json:
    answers = {str(answer.status): answer_of(operation, answer) for answer in operation.answers}
    refusals = {
        str(status): error_of(status, codes) for status, codes in codes_of(operation, private_batches).items()
    }
    return answers | refusals


def answer_of(operation: Operation, answer: Answer) -> Json:
    always, perhaps = (*answer.headers,), (*answer.perhaps,)
    if operation.sheds:
        always = HEADER, *always
    else:  # it is answered without the app
        perhaps = HEADER, *perhaps
    described: Json = {
        "description": answer.description,
        "headers": headers_of(always, perhaps),
    }
    if answer.content:
        described["content"] = {
            media_type: {"schema": schema_of(body)} for media_type, body in answer.content.items()
        }
    links = [each for each in OPERATIONS if each.path in operation.links]
    if links:
        described["links"] = {
            operation_id(each): {
                "operationId": operation_id(each),
                "parameters": {"batch": "$response.body#/batch"},
            }
            for each in links
        }
    return described


def codes_of(operation: Operation, private_batches: bool) -> dict[int, tuple[str, ...]]:
    """Of its refusals, by status."""
    parts: list[Mapping[int, Sequence[str]]] = [BEFORE, FAILED]
    parts += [SHED] if operation.sheds else []
    parts += [] if is_health(operation.path) else [OVER_LIMIT]
    parts += [{400: parameter_codes(operation.parameters)}] if operation.parameters is not None else []
    parts += [TOKEN] if takes_token(operation, private_batches) else []
    parts += [AWAY] if operation.needs else []
    parts += [SLOW] if DATABASE in operation.needs else []
    found: dict[int, dict[str, None]] = defaultdict(dict)
    for part in (*parts, operation.codes):
        for status, codes in part.items():
            found[status] |= dict.fromkeys(codes)
    return {status: tuple(codes) for status, codes in sorted(found.items())}


def parameter_codes(parameters: Mapping[str, Parameter]) -> tuple[str, ...]:
    """What `api.parameters.read_parameters` refuses, and each of them itself."""
    own = [code for parameter in parameters.values() for code in parameter.codes]
    codes = ["malformed_query", "unknown_parameter", *(["repeated_parameter"] if parameters else [])]
    codes += ["missing_parameter"] if any(each.required for each in parameters.values()) else []
    return (*codes, *own)


def error_of(status: int, codes: Sequence[str]) -> Json:
    schema = {
        "allOf": [{"$ref": REF.format(name=Error.__name__)}],
        "properties": {"code": {"enum": list(codes)}},
    }
    reason = falcon.code_to_http_status(status)[4:]
    return {
        "description": f"{reason}: {', '.join(f'`{code}`' for code in codes)}.",
        "headers": headers_of(ERROR_HEADERS.get(status, ()), (HEADER,)),
        "content": {falcon.MEDIA_JSON: {"schema": schema}},
    }


def headers_of(always: Iterable[str], perhaps: Iterable[str]) -> Json:
    return {name: header_of(name, required=True) for name in always} | {
        name: header_of(name, required=False) for name in perhaps
    }


def header_of(name: str, *, required: bool) -> Json:
    text, schema = ANSWER_HEADERS[name]
    return {"description": text, "schema": schema} | ({"required": True} if required else {})


def common_headers() -> str:
    """In Markdown; `components` has them for programs. At each answer they would hide what is its own."""
    return "\n".join(f"- `{name}`: {ANSWER_HEADERS[name][0]}" for name in COMMON_HEADERS)


def answer_types() -> list[Any]:
    found = [
        body
        for operation in OPERATIONS
        for answer in operation.answers
        for body in answer.content.values()
        if is_struct(body)
    ]
    return [Error, *dict.fromkeys(found)]


def is_struct(body: Any) -> bool:
    return isinstance(body, type) and issubclass(body, msgspec.Struct)


def schema_of(body: Any) -> Json:
    [schema], _ = msgspec.json.schema_components([body], ref_template=REF)
    return schema


def schemas() -> Json:
    """Of all types that are answered with, by name."""
    types = answer_types()
    _, components = msgspec.json.schema_components(types, ref_template=REF)
    structs: dict[str, Any] = {}
    for each in types:
        find_structs(msgspec.inspect.type_info(each), structs)
    return {name: as_answered(schema, structs[name]) for name, schema in components.items()}


def as_answered(schema: Json, struct: type[msgspec.Struct]) -> Json:
    """msgspec says what it would read, where a field with a default may be left out; it writes all but what
    may be UNSET, and is."""
    properties = {
        name: {key: value for key, value in each.items() if key != "default"}
        for name, each in schema["properties"].items()
    }
    fields = msgspec.structs.fields(struct)
    required = [field.encode_name for field in fields if msgspec.UnsetType not in get_args(field.type)]
    said = {"description": inspect.getdoc(struct)} if "description" in schema else {}
    return schema | said | {"properties": properties, "required": required}


def find_structs(kind: Any, found: dict[str, Any]) -> None:
    """Those in a type, of msgspec's own description of it, by name."""
    if isinstance(kind, msgspec.inspect.StructType):
        found[kind.cls.__name__] = kind.cls
    if isinstance(kind, msgspec.inspect.Type | msgspec.inspect.Field):
        for part in msgspec.structs.astuple(kind):
            for each in part if isinstance(part, tuple) else (part,):
                find_structs(each, found)
