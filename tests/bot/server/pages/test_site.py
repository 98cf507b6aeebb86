import re

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException
from starlette.middleware.base import RequestResponseEndpoint
from starlette.responses import Response

from bot.server.credentials import Identity, Role
from bot.server.pages.site import (
    CONSOLE_PAGES,
    CONTENT_TYPES,
    FOLDER,
    LINKS,
    VENDOR,
    asset_routes,
    client_routes,
    console_routes,
    explain_missing,
)

FILES = sorted(path.name for path in FOLDER.iterdir() if path.suffix in CONTENT_TYPES)
OTHERS = sorted(path.name for path in VENDOR.iterdir() if path.suffix in CONTENT_TYPES)
NAMESPACES = ("http://www.w3.org/2000/svg",)  # a name, never fetched
ADDRESS = re.compile(r"""(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s"'`)]*""")


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    app.include_router(client_routes())
    app.include_router(asset_routes())
    app.include_router(console_routes())
    return TestClient(app)


def test_every_page_and_file_is_sent_under_the_strict_policy(client: TestClient) -> None:
    for path in ("/", "/client/", "/calls/c1", *(f"/client/{name}" for name in FILES + OTHERS)):
        answer = client.get(path)

        assert answer.status_code == 200, path
        assert answer.headers["content-security-policy"].startswith("default-src 'self';"), path
        assert answer.headers["x-content-type-options"] == "nosniff", path


@pytest.mark.parametrize("role", Role)
def test_an_operators_page_is_marked_if_they_may_only_read(role: Role) -> None:
    app = FastAPI()
    app.include_router(console_routes())

    @app.middleware("http")
    async def identify(request: Request, call_next: RequestResponseEndpoint) -> Response:
        request.state.identity = Identity(role=role, shown="session", name="A & B")
        return await call_next(request)

    marked = f'<body data-role="{"see" if role is Role.SEE else "act"}" data-name="A &amp; B"'
    for path in (*CONSOLE_PAGES, "/calls/c1"):
        text = TestClient(app).get(path).text

        assert marked in text, path
        assert ("Read-only access</p></header>" in text) is (role is Role.SEE), path


def test_every_operators_page_has_the_same_navigation(client: TestClient) -> None:
    for path in (*CONSOLE_PAGES, "/calls/c1"):
        text = client.get(path).text

        (links,) = re.findall(r'<nav aria-label="Pages">(.*)</nav>', text)
        assert re.findall(r'href="([^"]*)"', links) == list(LINKS)
        assert links.count("aria-current") == (path in LINKS)
        assert 'data-lab="off"' in text


@pytest.mark.parametrize(
    ("accept", "kind"), [("text/html,*/*", "text/html"), ("application/json", "application/json")]
)
def test_an_unknown_address_gets_a_page_in_a_browser(accept: str, kind: str) -> None:
    app = FastAPI()
    app.add_exception_handler(HTTPException, explain_missing)

    answer = TestClient(app).get("/campaign", headers={"Accept": accept})

    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith(kind)


def test_no_file_names_another_server_a_missing_file_or_markup_that_the_policy_refuses() -> None:
    for name in FILES:
        text = (FOLDER / name).read_text(encoding="utf-8")

        assert [url for url in ADDRESS.findall(text) if url not in NAMESPACES] == [], name
        for wanted in re.findall(r'from "\./([^"]+)"', text):
            assert (FOLDER / wanted).is_file(), f"{name} imports {wanted}"
        refused = r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+="
        assert not name.endswith(".html") or re.search(refused, text) is None, name


def test_only_the_pages_are_served(client: TestClient) -> None:
    for name in ("site.py", "..%2Fserver.py", "%2Fetc%2Fpasswd", "nothing.js"):
        assert client.get(f"/client/{name}").status_code == 404, name


def test_third_party_files_have_their_licence_next_to_them() -> None:
    licence = (VENDOR / "uPlot.LICENSE").read_text(encoding="utf-8")

    assert licence.startswith("The MIT License (MIT)")
    assert {name.partition(".")[0] for name in OTHERS} == {"uPlot"}
    assert all((VENDOR / name).stat().st_size < 60_000 for name in OTHERS)
