"""GET /docs: whole from us, and as a person sees it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, sync_playwright

from api.docs import FROM_PACKAGE, OURS, package_folder
from api.openapi import make_document
from tests.api.ingestion import refused
from tests.api.service import Service

# As root, and without what Chromium asks of its maker's hosts by itself.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
ADDRESSES = {"src", "href", "action", "data", "poster", "srcset"}


@pytest.fixture(scope="module")
def service(ingestion: Service) -> Service:
    """The one that all modules without prices share."""
    return ingestion


class Addresses(HTMLParser):
    """Those in a page, and the names of its attributes and the texts of its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.attributes: set[str] = set()
        self.inside = ""
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        self.attributes |= {name for name, _ in attrs}
        self.found += [value or "" for name, value in attrs if name in ADDRESSES]

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in ("script", "style"):
            self.texts.append(data.strip())


def test_every_address_in_the_page_is_ours_and_nothing_is_written_into_it(service: Service) -> None:
    answer = service.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Addresses(answer.text)
    assert len(page.found) == 5
    for address in page.found:
        assert re.fullmatch(r"/[a-z]\S*", address), address
        assert service.get(address).status_code == 200
    assert not [name for name in page.attributes if name == "style" or name.startswith("on")]
    assert not any(page.texts)


def test_the_policy_of_the_page_allows_nothing_inside_it_and_no_other_host(service: Service) -> None:
    policy = service.get("/docs").headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'"
    assert rules["script-src"] == "'self'"
    assert set(" ".join(rules.values()).split()) == {"'self'", "'none'", "data:"}


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("start.js", "text/javascript; charset=utf-8"),
        ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("swagger-ui.css", "text/css; charset=utf-8"),
        ("favicon-32x32.png", "image/png"),
    ],
)
def test_what_it_is_made_of_is_sent_once(service: Service, name: str, media_type: str) -> None:
    answer = service.get(f"/docs/{name}")
    assert answer.headers["content-type"] == media_type
    folder = package_folder() if name in FROM_PACKAGE else OURS
    assert answer.content == (folder / name).read_bytes()
    again = service.client.get(f"/docs/{name}", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "name",
    ["index.html", "swagger-ui.js", "LICENSE", "..%2Fdocs.py", "%2e%2e", "page.html", "%00", "x" * 300],
)
def test_nothing_else_of_the_package_or_of_ours_is_sent(service: Service, name: str) -> None:
    refused(service.get(f"/docs/{name}"), 404, "not_found")


def test_the_package_is_only_looked_into_and_what_it_wants_is_not_loaded() -> None:
    found = "import sys; from api.docs import package_folder; print(package_folder(), 'flask' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True).stdout
    assert said == f"{package_folder()} False\n"


@pytest.mark.needs("chromium")
def test_a_person_sees_every_operation_and_can_ask_one(alone: Service) -> None:
    """In Chromium, which says whatever the policy stopped; what the page asks for is all ours."""
    operations = [
        one for methods in make_document(private_batches=True)["paths"].values() for one in methods.values()
    ]
    address = str(alone.client.base_url)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = chromium.new_page()
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/docs")
        page.wait_for_selector(".opblock")
        assert page.title() == "Rates API"
        assert page.locator(".opblock").count() == len(operations)
        assert said == []
        assert answer_of(page, "Health", "get_health_live") == '{\n  "status": "live"\n}'
        chromium.close()
    assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {
        urlsplit(address).netloc
    }
    assert said == []


def answer_of(page: Page, tag: str, operation: str) -> str:
    """What is shown of the answer after the buttons are pressed."""
    block = page.locator(f"#operations-{tag}-{operation}")
    block.locator(".opblock-summary-control").click()
    block.locator(".try-out__btn").click()
    block.locator(".execute").click()
    return block.locator(".live-responses-table .highlight-code code").first.inner_text()
