"""What we ask of Plivo's REST interface: to end a call, and to press keys."""

import asyncio
import base64
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr

from calls.handover import Destination, Handover

API_URL: Final = "https://api.plivo.com"
ASK_S: Final = 5.0  # the caller waits; longer helps nobody
NO_ANSWER: Final = 0  # in place of a status: the question was not answered


@dataclass(frozen=True, slots=True, kw_only=True)
class PlivoRest:
    """Whose calls may be ended, and where to ask for it.

    Source: plivo.com/docs/voice/api/call.
    """

    auth_id: SecretStr
    auth_token: SecretStr
    api_url: str = API_URL

    @property
    def transfers(self) -> bool:
        """Whether a call can be handed on."""
        return False

    async def complete(self, call_ref: str) -> str | None:
        """End a call; one that has ended already (404) is fine."""
        status = await self._ask("DELETE", call_ref)
        if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND):
            return None
        return f"hang-up answered {status}" if status else "hang-up not answered"

    async def press(self, call_ref: str, keys: str) -> bool:
        """Send keys to the far end."""
        status = await self._ask("POST", call_ref, {"digits": keys}, more="DTMF/")
        return status in (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT)

    async def transfer(self, call_ref: str, to: Destination, *, ring_s: float) -> Handover:
        """Return that this is not offered."""
        return "not_offered"

    async def _ask(
        self,
        method: str,
        call_ref: str,
        fields: dict[str, Any] | None = None,
        *,
        more: str = "",
    ) -> int:
        account = quote(self.auth_id.get_secret_value(), safe="")
        call = quote(call_ref, safe="")
        url = f"{self.api_url.rstrip('/')}/v1/Account/{account}/Call/{call}/{more}"
        try:
            async with (
                asyncio.timeout(ASK_S),
                aiohttp.ClientSession(headers={"Authorization": self._proof()}) as session,
                session.request(method, url, json=fields) as answer,
            ):
                return answer.status
        except (TimeoutError, aiohttp.ClientError):
            return NO_ANSWER

    def _proof(self) -> str:
        pair = f"{self.auth_id.get_secret_value()}:{self.auth_token.get_secret_value()}"
        return "Basic " + base64.b64encode(pair.encode()).decode()
