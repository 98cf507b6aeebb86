"""Twilio's REST API, and the transfer of a live call.

Source: twilio.com/docs/voice/api/call-resource; for the instructions of a transfer and its result,
/voice/twiml/dial, /voice/twiml/number, /voice/twiml/refer, /voice/twiml/sip.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr
from twilio.twiml.voice_response import Dial, Refer, VoiceResponse

from calls.handover import Destination, Handover, RingTrouble
from transports.rest import (
    CARRIER_REQUEST_S,
    NumberSetup,
    RestClient,
    basic_auth,
    first_of,
    text_at,
)

AFTER_PATH: Final = "/twilio/after"
STATUS_PATH: Final = "/twilio/status"
MAX_RING_S: Final = 600
_BY_STATUS: Final[Mapping[str, Handover]] = {
    "completed": "connected",
    "answered": "connected",
    "busy": "busy",
    "no-answer": "no_answer",
    "canceled": "no_answer",
    "failed": "failed",
}
_BY_SIP_CODE: Final[Mapping[str, Handover]] = {
    "200": "connected",
    "486": "busy",
    "600": "busy",
    "408": "no_answer",
    "480": "no_answer",
    "487": "no_answer",
    "603": "declined",
}


def dial_twiml(to: Destination, *, ring_s: float, public_url: str) -> str:
    """Return the TwiML that rings a person: `<Refer>` for a SIP URI, else `<Dial>`."""
    answer, action = VoiceResponse(), f"{public_url}{AFTER_PATH}"
    if to.number.startswith(("sip:", "sips:")):
        refer = Refer(action=action)
        refer.sip(to.number)
        answer.append(refer)
        return str(answer)
    timeout = max(5, min(MAX_RING_S, round(ring_s)))
    dial = Dial(action=action, timeout=timeout, answer_on_bridge=True)
    dial.number(
        to.number,
        status_callback=f"{public_url}{STATUS_PATH}",
        status_callback_event="answered",
    )
    answer.append(dial)
    return str(answer)


def dial_outcome(form: Mapping[str, str]) -> Handover | None:
    """Return the transfer result in a webhook; `None` if it has none.

    A SIP code is more precise than the status, so a known one decides unless it means success.
    """
    if sip := form.get("DialSipResponseCode") or form.get("NotifySipResponseCode"):
        outcome = _BY_SIP_CODE.get(sip)
        if outcome is not None and outcome != "connected":
            return outcome
    if "ReferCallStatus" in form:
        return _BY_SIP_CODE.get(form.get("NotifySipResponseCode") or "", "failed")
    status = form.get("DialCallStatus")
    return None if status is None else _BY_STATUS.get(status, "failed")


def answered_for(form: Mapping[str, str]) -> str:
    """Return the id of the caller whose person has answered; empty for any other callback.

    Args:
        form: The status callback of a person's call.
    """
    return form.get("ParentCallSid", "") if form.get("CallStatus") == "in-progress" else ""


API_URL: Final = "https://api.twilio.com"
Fields: TypeAlias = Sequence[tuple[str, str]]
"""The fields of a form, in order; a name may occur twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioRest:
    """The REST API of an account: ends and redirects live calls, and serves other requests.

    Attributes:
        account_sid: The account.
        auth_token: Its secret.
        api_url: The API's address.
        public_url: Our own address, where Twilio reports a transfer's result; empty if calls cannot
            be transferred.
    """

    account_sid: str
    auth_token: SecretStr
    api_url: str = API_URL
    public_url: str = ""

    async def press(self, call_ref: str, keys: str) -> bool:
        """Return False: only TwiML can play key tones, and it would end the stream."""
        return False

    async def complete(self, call_ref: str) -> str | None:
        """End a call; do nothing if it has already ended.

        Returns:
            `None` if the call has ended, else the error, without secrets.

        Source: twilio.com/docs/voice/api/call-resource, "Update a Call resource".
        """
        over = (HTTPStatus.OK, HTTPStatus.NOT_FOUND)  # Twilio's error 20404: already ended
        fields = (("Status", "completed"),)
        trouble = await self._change_call(
            call_ref, fields, what="hang-up", success=over, may_repeat=True
        )
        return trouble and trouble.words

    async def ring(self, call_ref: str, to: Destination, *, ring_s: float) -> RingTrouble | None:
        """Redirect a live call, so that Twilio rings a person; return the error, or `None`.

        Never raises. It is an error if the call has already ended. A request cannot be withdrawn:
        Twilio may carry it out even if we get no response.
        """
        twiml = dial_twiml(to, ring_s=ring_s, public_url=self.public_url)
        return await self._change_call(call_ref, (("Twiml", twiml),), what="redirect")

    async def _change_call(
        self,
        call_sid: str,
        fields: Fields,
        *,
        what: str,
        success: Sequence[int] = (HTTPStatus.OK,),
        may_repeat: bool = False,
    ) -> RingTrouble | None:
        """Change a call; return the error, or `None` if it succeeded. Never raises.

        Args:
            call_sid: Twilio's id of the call.
            fields: The change.
            what: The name of the request in the text of the error.
            success: The statuses that mean success.
            may_repeat: See `RestClient.send`.
        """
        try:
            async with asyncio.timeout(CARRIER_REQUEST_S):
                status, _ = await self._rest_client.send(
                    "POST", _path_of_call(call_sid), data=fields, reads=False, may_repeat=may_repeat
                )
        except TimeoutError:
            words = f"{what} not answered within {CARRIER_REQUEST_S:g} s"
            return RingTrouble(words=words, may_ring=True)
        except aiohttp.ClientError as error:
            unsent = isinstance(error, aiohttp.ClientConnectorError)
            words = f"{what} failed: {type(error).__name__}"
            return RingTrouble(words=words, may_ring=not unsent)
        return None if status in success else RingTrouble(words=f"{what} answered {status}")

    async def ask(self, method: str, resource: str, fields: Fields = ()) -> Mapping[str, Any]:
        """Return the JSON of a response, for work outside a call.

        `fields` are the form of a `POST`, else the query.

        Raises:
            ServiceError: The request failed; see `RestClient.ask`.
        """
        form, query = (fields, None) if method == "POST" else (None, fields)
        return (
            await self._rest_client.ask(method, f"{resource}.json", data=form, params=query) or {}
        )

    async def number_setup(self, number: str | None) -> NumberSetup:
        """Return the account's state, and where Twilio sends the calls of a number.

        If the number has a trunk or an application, Twilio uses that instead of the webhook URL.

        Source: twilio.com/docs/iam/api/account, /phone-numbers/api/incomingphonenumber-resource.

        Raises:
            ServiceError: Twilio refused, or its response is missing or was not understood.
        """
        accounts = replace(self._rest_client, url=f"{self.api_url.rstrip('/')}/2010-04-01/Accounts")
        found = await accounts.ask("GET", f"{quote(self.account_sid, safe='')}.json")
        account = text_at(found, "status") or "unknown"
        if not number:
            return NumberSetup(account=account)
        listed = await self.ask("GET", "IncomingPhoneNumbers", [("PhoneNumber", number)])
        first = first_of(listed, "incoming_phone_numbers")
        instead = text_at(first, "trunk_sid") or text_at(first, "voice_application_sid")
        webhook = instead or text_at(first, "voice_url")
        fallback = text_at(first, "voice_fallback_url") if first and not instead else None
        return NumberSetup(
            account=account, has_number=bool(first), webhook=webhook, fallback=fallback
        )

    @property
    def _rest_client(self) -> RestClient:
        """Twilio's API of this account."""
        account = quote(self.account_sid, safe="")
        return RestClient(
            carrier="twilio",
            url=f"{self.api_url.rstrip('/')}/2010-04-01/Accounts/{account}",
            authorization=basic_auth(self.account_sid, self.auth_token),
            error_in=_error_in,
        )


def _path_of_call(call_sid: str) -> str:
    return f"Calls/{quote(call_sid, safe='')}.json"


def _error_in(body: Any) -> tuple[Any, object]:
    return body, body.get("code") if isinstance(body, dict) else None


def created_s(call: Mapping[str, Any]) -> float:
    """Return when a call was requested, in seconds since 1970; minus infinity if unknown."""
    try:
        return parsedate_to_datetime(str(call.get("date_created"))).timestamp()
    except ValueError:
        return float("-inf")
