"""Google's Sheets on loopback: tokens for a signed assertion, appending, reading, and faults.

Written from the published API: values.append with RAW, values.get, OAuth 2 for service accounts.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from runtime import clock
from tests.kit.served import served

EMAIL = "mirror@holdline.iam.example"
SPREADSHEET = "a-spreadsheet"
TOKEN = "ya29.a-token"
AUDIENCE = "https://oauth2.googleapis.com/token"  # even if another address gives tokens
KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
REFUSALS: dict[str, tuple[int, str]] = {
    "429": (429, "RESOURCE_EXHAUSTED"),
    "500": (500, "INTERNAL"),
    "500 done": (500, "INTERNAL"),
    "403": (403, "PERMISSION_DENIED"),
}


@dataclass
class Google:
    """The simulated service: its rows, its requests, and its next faults."""

    tabs: dict[str, list[list[Any]]] = field(default_factory=lambda: {"calls": [], "alerts": []})
    faults: list[str] = field(default_factory=list)  # of the next appends, one each
    garbled: list[bool] = field(default_factory=list)  # which of the next reads are
    withheld: list[str] = field(default_factory=list)  # the failures of the next token requests
    asked: list[str] = field(default_factory=list)
    tokens: int = 0
    url: str = ""

    async def give_token(self, request: web.Request) -> web.StreamResponse:
        match self.withheld.pop(0) if self.withheld else "":
            case "garbage":
                return garbage()
            case "cut":
                return await half_an_answer(request)
            case _:
                pass
        (assertion,) = parse_qs(await request.text())["assertion"]
        own: Any = {"verify_exp": False, "verify_iat": False}  # the library reads the real time
        said = jwt.decode(assertion, KEY.public_key(), ["RS256"], audience=AUDIENCE, options=own)
        assert said["iat"] <= clock.utc_now().timestamp() < said["exp"]
        assert said["iss"] == EMAIL
        assert said["scope"] == "https://www.googleapis.com/auth/spreadsheets"
        self.tokens += 1
        return web.json_response(
            {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
        )

    async def read(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return refusal(401, "UNAUTHENTICATED")
        tab, cells = self._place(request.match_info["range"])
        assert cells == "A:A"
        self.asked.append("read")
        if self.garbled and self.garbled.pop(0):
            return garbage()
        if tab not in self.tabs:
            return refusal(400, "INVALID_ARGUMENT")
        values = [item[:1] for item in self.tabs[tab]]
        return web.json_response({"range": f"{tab}!A:A", **({"values": values} if values else {})})

    async def append(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return refusal(401, "UNAUTHENTICATED")
        assert request.query["valueInputOption"] == "RAW"
        assert request.query["insertDataOption"] == "INSERT_ROWS"
        tab, _ = self._place(request.match_info["range"])
        rows = (await request.json())["values"]
        self.asked.append(f"append {len(rows)}")
        fault = self.faults.pop(0) if self.faults else ""
        if fault in ("", "lost", "500 done"):
            self.tabs[tab] += rows
        if fault == "lost":
            assert request.transport
            request.transport.abort()
        if fault in REFUSALS:
            return refusal(*REFUSALS[fault])
        if fault == "garbage":
            return garbage()
        if fault == "elsewhere":
            return web.Response(status=302, headers={"Location": "/a-page"})
        return web.json_response({"updates": {"updatedRows": len(rows)}})

    def _place(self, text: str) -> tuple[str, str]:
        tab, _, cells = text.rpartition("!")
        return tab.strip("'"), cells

    def credentials(self, folder: Path) -> Path:
        """Write the file of the service account."""
        key = KEY.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file = folder / "account.json"
        told = {"type": "service_account", "client_email": EMAIL, "private_key": key.decode()}
        file.write_text(json.dumps(told | {"token_uri": f"{self.url}/token"}))
        return file


def refusal(status: int, why: str) -> web.Response:
    headers = {"Retry-After": "70"} if status == 429 else None
    error = {"error": {"code": status, "status": why, "message": "no"}}
    return web.json_response(error, status=status, headers=headers)


def garbage() -> web.Response:
    """Return the sign-in page of a proxy in between."""
    return web.Response(text="<html>Please sign in.</html>", content_type="text/html")


async def half_an_answer(request: web.Request) -> web.StreamResponse:
    """Send the beginning of an answer, and close the connection."""
    answer = web.StreamResponse(headers={"Content-Length": "100"})
    await answer.prepare(request)
    await answer.write(b"{")
    if request.transport:
        request.transport.close()
    return answer


@asynccontextmanager
async def google_on_loopback() -> AsyncIterator[Google]:
    google = Google()
    app = web.Application()
    values = f"/v4/spreadsheets/{SPREADSHEET}/values"
    app.router.add_post("/token", google.give_token)
    app.router.add_post(values + "/{range}:append", google.append)
    app.router.add_get(values + "/{range}", google.read)
    async with served(app) as google.url:
        yield google
