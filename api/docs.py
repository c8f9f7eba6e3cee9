"""`GET /docs`: Swagger UI over `GET /openapi.json`, whole from us.

Its script and style are the files that the package flask-swagger-ui carries, which is kept at their newest
version. Nothing of its Python is run, and Flask is not installed with it (`requirements/uv.toml`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path

import falcon

from api import compression, headers
from api.answers import is_known

OURS = Path(__file__).parent / "docs_page"
PACKAGE = "flask_swagger_ui"
MEDIA_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".png": "image/png"}
# What the page may ask for, and nothing else of the package.
FROM_PACKAGE = ("favicon-32x32.png", "swagger-ui-bundle.js", "swagger-ui.css")
FROM_US = ("start.js",)
# No script but from files of ours, no other host whatever; the styles' own small pictures are in them.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass
class Document:
    """What is the same for everybody as long as the process lives."""

    body: bytes
    media_type: str
    tag: str = field(init=False)

    def __post_init__(self) -> None:
        # Weak, since packed or not it is the same.
        self.tag = f'W/"{blake2b(self.body, digest_size=8).hexdigest()}"'

    @cached_property
    def packed(self) -> bytes:
        return compression.compress(self.body)

    def respond(self, request: falcon.Request, response: falcon.Response) -> None:
        """200, or 304 to whoever has it already."""
        response.set_header("ETag", self.tag)
        known = request.env.get("HTTP_IF_NONE_MATCH")
        if known and is_known(request, known, self.tag):
            response.status = falcon.HTTP_304
            return
        response.content_type = self.media_type
        if compression.is_taken(request):
            response.set_header("Content-Encoding", "gzip")
            response.data = self.packed
        else:
            response.data = self.body


class OpenApi:
    """`make` makes the document, when it is first asked for."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._document = cache(lambda: Document(make(), falcon.MEDIA_JSON))

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """OpenAPI 3.1."""
        self._document().respond(request, response)

    on_head = on_get


@dataclass(frozen=True)
class Docs:
    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """The document as pages, from which requests can be sent."""
        response.set_header(headers.POLICY, POLICY)
        read_document(OURS / "page.html").respond(request, response)

    on_head = on_get


@dataclass(frozen=True)
class DocsFile:
    """`GET /docs/NAME`: what the page is made of."""

    def on_get(self, request: falcon.Request, response: falcon.Response, name: str) -> None:
        if name in FROM_US:
            path = OURS / name
        elif name in FROM_PACKAGE:
            path = package_folder() / name
        else:
            raise falcon.HTTPNotFound
        read_document(path).respond(request, response)

    on_head = on_get


@cache
def read_document(path: Path) -> Document:
    media_type = MEDIA_TYPES[path.suffix]
    text = media_type.startswith("text/")
    return Document(path.read_bytes(), f"{media_type}; charset=utf-8" if text else media_type)


def package_folder() -> Path:
    """Found without running the package, which would import Flask."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{PACKAGE} is not installed")
    return Path(spec.origin).parent / "dist"
