"""Plivo's REST API: the commands to a call.

Source: plivo.com/docs/voice/api/call; /hangup-a-call (a call under `Call/`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from pydantic import SecretStr

from transports.rest import NumberSetup, RestClient, basic_auth, text_at

API_URL: Final = "https://api.plivo.com"
VOICE_PATH: Final = "/plivo/voice"
STATUS_PATH: Final = "/plivo/status"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlivoRest:
    """The REST API of an account: outbound calls, transfers and hang-ups.

    Attributes:
        auth_id: The account.
        auth_token: Its secret.
        api_url: The API's address.
        public_url: Our own address, where Plivo fetches transfer instructions and reports results;
            empty if calls cannot be transferred.

    Source: plivo.com/docs/voice/api/call.
    """

    auth_id: SecretStr
    auth_token: SecretStr
    api_url: str = API_URL
    public_url: str = ""

    async def complete(self, call_ref: str) -> str | None:
        """End a call, unless it has already ended; return the error, or `None`."""
        status = await self._rest_client.command("DELETE", call_of(call_ref))
        if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND):
            return None
        return f"hang-up answered {status}" if status else "hang-up not answered"

    async def press(self, call_ref: str, keys: str) -> bool:
        """Send key tones to the far end; return whether Plivo accepted them."""
        status = await self._rest_client.command(
            "POST", f"{call_of(call_ref)}DTMF/", json={"digits": keys}
        )
        return status in (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT)

    async def redirect(self, call_ref: str, url: str) -> str | None:
        """Make a live call fetch instructions at `url`; return the error, or `None`.

        Never raises. The call fetches them after its stream, which we have to end.

        Source: plivo.com/docs/voice/api/call/transfer-a-call.
        """
        fields = {"legs": "aleg", "aleg_url": url, "aleg_method": "POST"}
        status = await self._rest_client.command("POST", call_of(call_ref), json=fields)
        if status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            return None
        return f"redirect answered {status}" if status else "redirect not answered"

    async def ask(
        self, method: str, resource: str, fields: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any] | None:
        """Return a response's JSON, for work outside a call; `None` if there is no such resource.

        Raises:
            ServiceError: The request failed; see `RestClient.ask`.
        """
        sent = {"params": fields or {}} if method == "GET" else {"json": fields or None}
        return await self._rest_client.ask(
            method, resource, none_for=(HTTPStatus.NOT_FOUND,), **sent
        )

    async def number_setup(self, number: str | None) -> NumberSetup:
        """Return whether the account is active, and where Plivo sends the calls of a number.

        Source: plivo.com/docs/account/api, /numbers/api/account-phone-number, /account/api/
        application.

        Raises:
            ServiceError: Plivo refused, or its response is missing or was not understood.
        """
        if await self.ask("GET", "") is None:
            return NumberSetup(account="unknown")
        if not number:
            return NumberSetup(account="active")
        found = await self.ask("GET", f"Number/{quote(number.lstrip('+'), safe='')}/")
        application = text_at(found, "application").rstrip("/").rpartition("/")[2]
        if not application:
            return NumberSetup(account="active", has_number=found is not None, webhook="")
        shown = await self.ask("GET", f"Application/{quote(application, safe='')}/")
        return NumberSetup(
            account="active",
            has_number=True,
            webhook=text_at(shown, "answer_url"),
            fallback=text_at(shown, "fallback_answer_url"),
        )

    @property
    def _rest_client(self) -> RestClient:
        """Plivo's API of this account; a response without a body is no error."""
        auth_id = self.auth_id.get_secret_value()
        return RestClient(
            carrier="plivo",
            url=f"{self.api_url.rstrip('/')}/v1/Account/{quote(auth_id, safe='')}",
            authorization=basic_auth(auth_id, self.auth_token),
            may_be_empty=True,
        )


def call_of(uuid: str) -> str:
    """Return the resource of a call."""
    return f"Call/{quote(uuid, safe='')}/"


UNANSWERED: Final[Mapping[str, str]] = {
    "1000": "canceled",
    "3000": "no-answer",
    "3010": "busy",
    "3020": "busy",  # declined by hand; carriers count this as busy, and so does `calls/dialled.py`
    "6010": "no-answer",  # it rang for the allowed time
}
"""By the hang-up code, for unanswered calls."""

STATUSES: Final[Mapping[str, str]] = {
    "completed": "completed",
    "busy": "busy",
    "no-answer": "no-answer",
    "cancel": "canceled",
    "canceled": "canceled",
    "cancelled": "canceled",
}
"""By the status of an ended call."""

SIP_CODES: Final[Mapping[str, int]] = {
    "1010": 402,  # out of credit
    "2000": 404,  # an invalid destination
    "2030": 403,  # the account may not call this country
    "2040": 403,  # the account may not call such costly numbers
    "3020": 603,
}
"""The SIP status that a hang-up code stands for: Plivo reports none, and it says what follows."""

FAILED: Final = "failed"  # also `timeout`: a carrier did not connect the call in time
COMPLETED: Final = "completed"
NOT_ANSWERED: Final = ("1", "2", "3")  # first digits of the codes of calls that were not answered


def ending_of(status: str, code: str) -> str:
    """Return how a call ended, in the terms that all carriers share.

    A known code takes precedence over the status. By Plivo's own page, the status at a hang-up is
    always `completed`, so the class of any other code decides whether the call was answered. A
    recorded callback had another status: 3010 with `CallStatus=busy`.

    Source: plivo.com/docs/voice/xml/request/call-status (the statuses) and plivo.com/docs/voice/
    troubleshooting/hangup-causes (the codes). The page of codes was not available in full: those up
    to 2040, and 4000 to 4030, are in the part that was read. Customers' code handles 3000, 3010,
    3020 and 6010 in callbacks and records.
    """
    word = UNANSWERED.get(code) or STATUSES.get(status, FAILED)
    return FAILED if word == COMPLETED and code.startswith(NOT_ANSWERED) else word
