"""Exotel's REST interface, as much of it as we ask: what a request is, and what it came to."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeAlias, cast
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr

from fallbacks.classification import classify_http
from transports.carrier_answers import answered, dial_error
from transports.http_requests import request
from transports.media_stream.messages import part

API_URL: Final = "https://api.exotel.com"
PROVIDER: Final = "exotel"
MOST_ANSWER_BYTES: Final = 64 * 1024  # a call has 1 kB
PIECE_BYTES: Final = 8 * 1024
Form: TypeAlias = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExotelRest:
    """Whose calls may be placed, and where to ask for it.

    Source: developer.exotel.com/docs/voice-v1/overview, /api/make-a-call-api ("just append .json").
    """

    account_sid: SecretStr
    api_key: SecretStr
    api_token: SecretStr
    api_url: str = API_URL

    async def ask(self, method: str, resource: str, form: Form = ()) -> dict[str, Any] | None:
        """Return the JSON of an answer, its names in lower case; None: there is no such thing.

        Exotel's pages write the same names as `Sid` and as `sid`.

        Raises:
            ServiceError: It failed; says how, and whether asking again may help.
        """
        status, told = await answered(PROVIDER, self._send(method, resource, form))
        body = cast("dict[str, Any]", told) if isinstance(told, dict) else {}
        if status == HTTPStatus.NOT_FOUND and method == "GET":
            return None
        if status >= HTTPStatus.BAD_REQUEST:
            found = classify_http(PROVIDER, status, part(body, "restexception"))
            raise dial_error(PROVIDER, found, f"HTTP {status}")
        return body

    async def _send(self, method: str, resource: str, form: Form) -> tuple[int, Any]:
        account = quote(self.account_sid.get_secret_value(), safe="")
        url = f"{self.api_url.rstrip('/')}/v1/Accounts/{account}/{resource}"
        key, token = self.api_key.get_secret_value(), self.api_token.get_secret_value()
        proof = {"Authorization": aiohttp.encode_basic_auth(key, token)}
        async with request(method, url, data=form or None, headers=proof) as answer:
            return answer.status, await _json(answer)


async def _json(answer: aiohttp.ClientResponse) -> Any:
    """Return what an answer says; None: it is no JSON, or too long."""
    body = bytearray()
    async for piece in answer.content.iter_chunked(PIECE_BYTES):
        body += piece
        if len(body) > MOST_ANSWER_BYTES:
            return None
    try:
        return json.loads(body, object_pairs_hook=_lowered)
    except (ValueError, RecursionError):
        return None


def _lowered(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    return {name.lower(): value for name, value in pairs}
