"""Calling somebody through Twilio's REST API: placed with its TwiML, followed by asking, ended."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr

from calls.handover import Handover

ASK_S: Final = 5.0
LOOK_S: Final = 1.0  # between two questions what has become of a call; an answer comes by itself
OUTCOMES: Final[Mapping[str, Handover]] = {
    "busy": "busy",
    "no-answer": "no_answer",
    "canceled": "no_answer",
    "failed": "failed",
    "completed": "declined",  # picked up and put down again, before its stream was opened
}
"""Source: twilio.com/docs/voice/api/call-resource, "Call Status Values"."""


class DialError(Exception):
    """Twilio does not place the call; the text has no secret and no number in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioDial:
    """Through whom calls are placed.

    Attributes:
        account_sid: Whose account it is.
        auth_token: Its token.
        our_number: What the person who is called sees.
        api_url: Twilio's.
    """

    account_sid: str
    auth_token: SecretStr
    our_number: str
    api_url: str

    async def place(self, number: str, twiml: str, *, ring_s: float) -> str:
        """Have a call placed and return its id; what is said in it stands in the TwiML.

        Raises:
            DialError: It is not placed.
        """
        wanted = {
            "To": number,
            "From": self.our_number,
            "Twiml": twiml,
            "Timeout": str(max(1, round(ring_s))),
        }
        status, answer = await self._ask("POST", "Calls.json", wanted)
        sid = answer.get("sid")
        if status != HTTPStatus.CREATED or not isinstance(sid, str):
            raise DialError(f"answered {status}, code {answer.get('code')}")
        return sid

    async def outcome(self, sid: str) -> Handover | None:
        """Return what has become of a call that nobody has taken; None: it is under way.

        Raises:
            DialError: Twilio does not say.
        """
        status, answer = await self._ask("GET", f"Calls/{quote(sid, safe='')}.json")
        if status != HTTPStatus.OK:
            raise DialError(f"answered {status}, code {answer.get('code')}")
        return OUTCOMES.get(str(answer.get("status")))

    async def end(self, sid: str) -> None:
        """End a call, ringing or answered; one that has ended already is fine.

        Raises:
            DialError: Twilio does not do it.
        """
        status, answer = await self._ask(
            "POST", f"Calls/{quote(sid, safe='')}.json", {"Status": "completed"}
        )
        if status not in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):  # 404: there is none any more
            raise DialError(f"answered {status}, code {answer.get('code')}")

    async def _ask(
        self, method: str, path: str, form: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        account = quote(self.account_sid, safe="")
        url = f"{self.api_url.rstrip('/')}/2010-04-01/Accounts/{account}/{path}"
        proof = aiohttp.BasicAuth(self.account_sid, self.auth_token.get_secret_value())
        try:
            async with (
                asyncio.timeout(ASK_S),
                aiohttp.ClientSession(auth=proof) as session,
                session.request(method, url, data=form) as answer,
            ):
                read = await answer.json(content_type=None)
                return answer.status, read if isinstance(read, dict) else {}
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            raise DialError(type(error).__name__) from error
