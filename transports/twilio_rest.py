"""The one thing we ask of Twilio's REST API: to end a call."""

import asyncio
import base64
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr

from calls.handover import Destination, Handover

API_URL: Final = "https://api.twilio.com"
ASK_S: Final = 5.0  # the caller waits for the line to go dead; longer helps nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioRest:
    """Whose calls may be ended, and where to ask for it."""

    account_sid: str
    auth_token: SecretStr
    api_url: str = API_URL

    @property
    def transfers(self) -> bool:
        """Whether a call can be handed on."""
        return False

    async def press(self, call_ref: str, keys: str) -> bool:
        """Return False: keys can only be played by TwiML, which ends the stream."""
        return False

    async def transfer(self, call_ref: str, to: Destination, *, ring_s: float) -> Handover:
        """Return that this is not offered."""
        return "not_offered"

    async def complete(self, call_sid: str) -> str | None:
        """End a call; one that has ended already is fine.

        Returns:
            None when the call is over, else what went wrong, with no secret in it.

        Source: twilio.com/docs/voice/api/call-resource, "Update a Call resource".
        """
        try:
            async with asyncio.timeout(ASK_S):
                status = await self._post(call_sid)
        except TimeoutError:
            return f"hang-up not answered within {ASK_S:g} s"
        except aiohttp.ClientError as error:
            return f"hang-up failed: {type(error).__name__}"
        # 404 is error 20404: there is no such call any more.
        over = status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}
        return None if over else f"hang-up answered {status}"

    async def _post(self, call_sid: str) -> int:
        account, call = quote(self.account_sid, safe=""), quote(call_sid, safe="")
        url = f"{self.api_url.rstrip('/')}/2010-04-01/Accounts/{account}/Calls/{call}.json"
        async with (
            aiohttp.ClientSession(headers={"Authorization": self._proof()}) as session,
            session.post(url, data={"Status": "completed"}) as answer,
        ):
            return answer.status

    def _proof(self) -> str:
        pair = f"{self.account_sid}:{self.auth_token.get_secret_value()}"
        return "Basic " + base64.b64encode(pair.encode()).decode()
