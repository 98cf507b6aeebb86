"""Twilio's REST interface, as much of it as we ask: what a request is, and what it came to."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr

from calls.handover import Destination, Handover, RingTrouble
from fallbacks.classification import classify_http
from fallbacks.failure import ServiceError
from transports.carrier_answers import ASK_S, answered, dial_error
from transports.http_requests import request
from transports.twilio.dial import dial_twiml

API_URL: Final = "https://api.twilio.com"
PROVIDER: Final = "twilio"
Fields: TypeAlias = Sequence[tuple[str, str]]
"""A form's, in order; a name may come twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioRest:
    """Whose calls may be ended and redirected, and where to ask for it.

    Attributes:
        account_sid: Whose they are.
        auth_token: Lets us in.
        api_url: Where.
        public_url: Our own address, at which Twilio tells what came of a hand-over; empty: a call
            cannot be handed on.
    """

    account_sid: str
    auth_token: SecretStr
    api_url: str = API_URL
    public_url: str = ""

    @property
    def transfers(self) -> bool:
        """Whether a call can be handed on."""
        return bool(self.public_url)

    async def press(self, call_ref: str, keys: str) -> bool:
        """Return False: keys can only be played by TwiML, which ends the stream."""
        return False

    async def transfer(self, call_ref: str, to: Destination, *, ring_s: float) -> Handover:
        """Return that this is not offered: a leg of Twilio's waits for what comes of it itself."""
        return "not_offered"

    async def complete(self, call_ref: str) -> str | None:
        """End a call; one that has ended already is fine.

        Returns:
            None when the call is over, else what went wrong, with no secret in it.

        Source: twilio.com/docs/voice/api/call-resource, "Update a Call resource".
        """
        trouble = await self._change(call_ref, (("Status", "completed"),), what="hang-up")
        return trouble and trouble.words

    async def ring(self, call_ref: str, to: Destination, *, ring_s: float) -> RingTrouble | None:
        """Have a live call connected with somebody; return what went wrong, or None.

        Twilio cannot be told to forget an order: one without an answer may be carried out later.
        """
        return await self._redirect(
            call_ref, dial_twiml(to, ring_s=ring_s, public_url=self.public_url)
        )

    async def redirect(self, call_sid: str, twiml: str) -> str | None:
        """Have a live call do something else; return what went wrong, or None.

        Raises nothing. A call that has ended is no success here.
        """
        trouble = await self._redirect(call_sid, twiml)
        return trouble and trouble.words

    async def _redirect(self, call_sid: str, twiml: str) -> RingTrouble | None:
        return await self._change(
            call_sid, (("Twiml", twiml),), what="redirect", over=(HTTPStatus.OK,)
        )

    async def _change(
        self,
        call_sid: str,
        fields: Fields,
        *,
        what: str,
        over: Sequence[int] = (HTTPStatus.OK, HTTPStatus.NOT_FOUND),  # 20404: ended already
    ) -> RingTrouble | None:
        try:
            async with asyncio.timeout(ASK_S):
                resource = f"Calls/{quote(call_sid, safe='')}"
                status, _ = await self.send("POST", resource, fields, reads=False)
        except TimeoutError:
            words = f"{what} not answered within {ASK_S:g} s"
            return RingTrouble(words=words, may_ring=True)
        except aiohttp.ClientError as error:
            unsent = isinstance(error, aiohttp.ClientConnectorError)
            words = f"{what} failed: {type(error).__name__}"
            return RingTrouble(words=words, may_ring=not unsent)
        return None if status in over else RingTrouble(words=f"{what} answered {status}")

    async def ask(self, method: str, resource: str, fields: Fields = ()) -> Mapping[str, Any]:
        """Return the JSON of an answer, for work outside a call.

        Raises:
            ServiceError: It failed; says how, and whether asking again may help.
        """
        status, body = await answered(PROVIDER, self.send(method, resource, fields))
        if status >= HTTPStatus.BAD_REQUEST or not isinstance(body, dict):
            raise _refusal(status, body)
        return body

    async def send(
        self, method: str, resource: str, fields: Fields, *, reads: bool = True
    ) -> tuple[int, Any]:
        """Send a request; return the answer's status and its JSON, None when it has none."""
        account = quote(self.account_sid, safe="")
        url = f"{self.api_url.rstrip('/')}/2010-04-01/Accounts/{account}/{resource}.json"
        form, query = (fields, None) if method == "POST" else (None, fields)
        proof = aiohttp.encode_basic_auth(self.account_sid, self.auth_token.get_secret_value())
        twice, headers = ("Status", "completed") in fields, {"Authorization": proof}
        async with request(
            method, url, twice=twice, data=form, params=query, headers=headers
        ) as answer:
            is_json = reads and answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else None


def _refusal(status: int, body: Any) -> ServiceError:
    code = body.get("code") if isinstance(body, dict) else None
    reason = f"HTTP {status}" + (f", Twilio error {code}" if code else "")
    return dial_error(PROVIDER, classify_http(PROVIDER, status, body), reason)
