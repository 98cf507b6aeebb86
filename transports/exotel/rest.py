"""Exotel's REST API.

Source: developer.exotel.com/docs/voice-v1/overview, /api/make-a-call-api ("just append .json").
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr

from runtime.http import read_body
from transports.media_stream.messages import part
from transports.rest import NumberSetup, RestClient, basic_auth, text_at

API_URL: Final = "https://api.exotel.com"
MAX_ANSWER_BYTES: Final = 64 * 1024  # the record of a call has 1 kB
Form: TypeAlias = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExotelRest:
    """The API of the account that places outbound calls."""

    account_sid: SecretStr
    api_key: SecretStr
    api_token: SecretStr
    api_url: str = API_URL

    async def ask(self, method: str, resource: str, form: Form = ()) -> dict[str, Any] | None:
        """Return a response's JSON, empty without any; `None` if a `GET` finds no such resource.

        Names are in lower case, because Exotel's pages write both `Sid` and `sid`.

        Raises:
            ServiceError: The request failed; see `RestClient.ask`.
        """
        none_for = (HTTPStatus.NOT_FOUND,) if method == "GET" else ()
        return await self._rest_client.ask(method, resource, none_for=none_for, data=form or None)

    async def number_setup(self) -> NumberSetup:
        """Return the account's state; this API does not show where a number's calls go.

        `has_number` is therefore always True. An account without a status in the response counts as
        active, because Exotel has accepted the key.

        Raises:
            ServiceError: Exotel refused, or its response is missing or was not understood.
        """
        client = replace(self._rest_client, url=f"{self.api_url.rstrip('/')}/v1/Accounts")
        account = quote(self.account_sid.get_secret_value(), safe="")
        found = await client.ask("GET", f"{account}.json")
        state = text_at(found, "account", "status") or "active"
        return NumberSetup(account=state, has_number=True)

    @property
    def _rest_client(self) -> RestClient:
        """Exotel's API of this account; a response without a body is no error."""
        account = quote(self.account_sid.get_secret_value(), safe="")
        return RestClient(
            carrier="exotel",
            url=f"{self.api_url.rstrip('/')}/v1/Accounts/{account}",
            authorization=basic_auth(self.api_key.get_secret_value(), self.api_token),
            read=_read_json,
            error_in=lambda body: (part(body or {}, "restexception"), None),
            may_be_empty=True,
        )


async def _read_json(answer: aiohttp.ClientResponse) -> dict[str, Any] | None:
    """Return a response's JSON object; `None` if it is malformed, too long or not an object."""
    try:
        body = await read_body(answer.content, most_bytes=MAX_ANSWER_BYTES)
        parsed = json.loads(body, object_pairs_hook=_lower_names)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _lower_names(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    return {name.lower(): value for name, value in pairs}
