"""Plivo's REST interface, as much of it as we ask: what a request is, and what it came to."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr

from calls.handover import Destination, Handover
from fallbacks.classification import classify_http
from transports.carrier_answers import ASK_S, answered, dial_error
from transports.http_requests import request

API_URL: Final = "https://api.plivo.com"
NO_ANSWER: Final = 0  # in place of a status: the question was not answered
PROVIDER: Final = "plivo"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlivoRest:
    """Whose calls may be placed, handed on and ended, and where to ask for it.

    Attributes:
        auth_id: Whose they are.
        auth_token: Lets us in.
        api_url: Where.
        public_url: Our own address, at which Plivo asks whom to ring and tells what came of it;
            empty: a call cannot be handed on.

    Source: plivo.com/docs/voice/api/call.
    """

    auth_id: SecretStr
    auth_token: SecretStr
    api_url: str = API_URL
    public_url: str = ""

    @property
    def transfers(self) -> bool:
        """Whether a call can be handed on."""
        return bool(self.public_url)

    async def complete(self, call_ref: str) -> str | None:
        """End a call; one that has ended already (404) is fine."""
        status = await self._command("DELETE", call_of(call_ref))
        if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND):
            return None
        return f"hang-up answered {status}" if status else "hang-up not answered"

    async def press(self, call_ref: str, keys: str) -> bool:
        """Send keys to the far end."""
        status = await self._command("POST", f"{call_of(call_ref)}DTMF/", {"digits": keys})
        return status in (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT)

    async def transfer(self, call_ref: str, to: Destination, *, ring_s: float) -> Handover:
        """Return that this is not offered: a leg of Plivo's waits for what comes of it itself."""
        return "not_offered"

    async def redirect(self, call_ref: str, url: str) -> str | None:
        """Have a live call ask at `url` what to do; return what went wrong, or None.

        Raises nothing. It asks once its stream is over, which we have to end.

        Source: plivo.com/docs/voice/api/call/transfer-a-call.
        """
        fields = {"legs": "aleg", "aleg_url": url, "aleg_method": "POST"}
        status = await self._command("POST", call_of(call_ref), fields)
        if status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            return None
        return f"redirect answered {status}" if status else "redirect not answered"

    async def ask(
        self, method: str, resource: str, fields: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any] | None:
        """Return the JSON of an answer, for work outside a call; None: there is no such thing.

        Raises:
            ServiceError: It failed; says how, and whether asking again may help.
        """
        status, body = await answered(PROVIDER, self._send(method, resource, fields or {}))
        if status == HTTPStatus.NOT_FOUND:
            return None
        if status >= HTTPStatus.BAD_REQUEST or not isinstance(body, dict | None):
            raise dial_error(PROVIDER, classify_http(PROVIDER, status, body), f"HTTP {status}")
        return body or {}

    async def _command(
        self, method: str, resource: str, fields: Mapping[str, Any] | None = None
    ) -> int:
        """Return the status of the answer; raises nothing: a caller is on the line."""
        try:
            async with asyncio.timeout(ASK_S):
                return (await self._send(method, resource, fields or {}))[0]
        except (TimeoutError, aiohttp.ClientError, ValueError):
            return NO_ANSWER

    async def _send(self, method: str, resource: str, fields: Mapping[str, Any]) -> tuple[int, Any]:
        auth_id, token = self.auth_id.get_secret_value(), self.auth_token.get_secret_value()
        url = f"{self.api_url.rstrip('/')}/v1/Account/{quote(auth_id, safe='')}/{resource}"
        query, sent = (fields, None) if method == "GET" else (None, fields or None)
        proof = {"Authorization": aiohttp.encode_basic_auth(auth_id, token)}
        async with request(method, url, params=query, json=sent, headers=proof) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else None


def call_of(uuid: str) -> str:
    """Return the resource of a call."""
    return f"Call/{quote(uuid, safe='')}/"
