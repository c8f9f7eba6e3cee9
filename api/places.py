"""`GET /ports`, `GET /regions`: the places that prices are quoted between, and how they are found."""

from __future__ import annotations

from dataclasses import dataclass

import falcon
import msgspec

from api.answers import Answers
from api.pages import LIMIT, SEARCH, next_address, read_page, respond_page, unknown_code
from api.parameters import Parameter, by_name, printable, read_parameters
from api.question import CODE_CHARS_MAX, read_code
from api.store import Store
from api.totals import DataVersion


class Port(msgspec.Struct):
    """`region` is the slug of the region that it is right below, `regions` those of all that it is below,
    from this one up to the top."""

    code: str
    name: str
    region: str
    regions: list[str]


class Region(msgspec.Struct):
    """`parent` is the slug of the region that it is right below, null at the top; `ports` says how many are
    below it at whatever depth."""

    slug: str
    name: str
    parent: str | None
    ports: int


class PortsPage(msgspec.Struct):
    """`next` is the address of the page that follows, null on the last."""

    ports: list[Port]
    next: str | None


class RegionsPage(msgspec.Struct):
    """`next` is the address of the page that follows, null on the last."""

    regions: list[Region]
    next: str | None


@dataclass(frozen=True)
class Ports:
    """In the order of their codes."""

    store: Store
    answers: Answers

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page of them."""

        def read() -> tuple[DataVersion, PortsPage]:
            asked = read_parameters(request, PORTS_PARAMETERS)
            version, rows = read_page(self.store, "ports", asked_for(asked))
            if not rows[0][0]:
                raise unknown_code("region", asked["region"], "region of this slug")
            ports = [Port(*row[1:]) for row in rows if row[1] is not None]
            shown = ports[: asked["limit"]]
            following = next_address(request, shown[-1].code) if len(ports) > len(shown) else None
            return version, PortsPage(shown, following)

        respond_page(self.answers, request, response, read, Port)

    on_head = on_get


@dataclass(frozen=True)
class Regions:
    """In the order of their slugs."""

    store: Store
    answers: Answers

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        """A page of them."""

        def read() -> tuple[DataVersion, RegionsPage]:
            asked = read_parameters(request, REGIONS_PARAMETERS)
            version, rows = read_page(self.store, "regions", asked_for(asked))
            if not rows[0][0]:
                raise unknown_code("parent", asked["parent"], "region of this slug")
            regions = [Region(*row[1:]) for row in rows if row[1] is not None]
            shown = regions[: asked["limit"]]
            following = next_address(request, shown[-1].slug) if len(regions) > len(shown) else None
            return version, RegionsPage(shown, following)

        respond_page(self.answers, request, response, read, Region)

    on_head = on_get


def asked_for(asked: dict) -> dict:
    """One more than is shown tells whether a page follows."""
    return {**asked, "words": list(asked["name"]), "limit": asked["limit"] + 1}


def code_parameter(
    name: str, description: str, *, default: str | None = None, chars_min: int = 0
) -> Parameter:
    """Empty is a text as well: no code lies before it, and no region above it."""
    schema = printable(CODE_CHARS_MAX, chars_min)
    return Parameter(name, description, schema, read_code, default=default, codes=("invalid_code",))


PORTS_PARAMETERS = by_name(
    SEARCH,
    code_parameter("region", "A region's slug: the ports below it, at whatever depth.", chars_min=1),
    LIMIT,
    code_parameter("after", "The last code of the page before; `next` has it.", default=""),
)
REGIONS_PARAMETERS = by_name(
    SEARCH,
    code_parameter("parent", "A region's slug: those right below it. Empty: those at the top."),
    LIMIT,
    code_parameter("after", "The last slug of the page before; `next` has it.", default=""),
)
