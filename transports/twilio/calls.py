"""Outbound calls through Twilio: ordering one, looking one up, ending one.

Source: twilio.com/docs/voice/api/call-resource, /voice/answering-machine-detection.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlencode

import aiohttp
from pydantic import SecretStr
from twilio.twiml.voice_response import Dial, Refer, VoiceResponse

from calls.handover import Destination, Handover, RingTrouble
from fallbacks.classification import classify_http
from fallbacks.failure import ServiceError
from transports.http_requests import ASK_S, DialOrder, answered, dial_error, number_of, request
from transports.twilio.webhook import VOICE_PATH

# Transfers of a live call: the instructions to Twilio, and the result that it reports.
#
# Source: twilio.com/docs/voice/twiml/dial, /voice/twiml/number, /voice/twiml/refer,
# /voice/twiml/sip.

AFTER_PATH: Final = "/twilio/after"
STATUS_PATH: Final = "/twilio/status"
MOST_RING_S: Final = 600
_FATES: Final[Mapping[str, Handover]] = {
    "completed": "connected",
    "answered": "connected",
    "busy": "busy",
    "no-answer": "no_answer",
    "canceled": "no_answer",
    "failed": "failed",
}
_SIP: Final[Mapping[str, Handover]] = {
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
    timeout = max(5, min(MOST_RING_S, round(ring_s)))
    dial = Dial(action=action, timeout=timeout, answer_on_bridge=True)
    dial.number(
        to.number,
        status_callback=f"{public_url}{STATUS_PATH}",
        status_callback_event="answered",
    )
    answer.append(dial)
    return str(answer)


def dial_outcome(form: Mapping[str, str]) -> Handover | None:
    """Return the transfer result in a webhook; `None` if it has none."""
    if sip := form.get("DialSipResponseCode") or form.get("NotifySipResponseCode"):
        known = _SIP.get(sip)
        if known is not None and known != "connected":
            return known
    if "ReferCallStatus" in form:
        return _SIP.get(form.get("NotifySipResponseCode") or "", "failed")
    status = form.get("DialCallStatus")
    return None if status is None else _FATES.get(status, "failed")


def answered_for(form: Mapping[str, str]) -> str:
    """Return the caller's call that an answering person was rung for; empty if none."""
    return form.get("ParentCallSid", "") if form.get("CallStatus") == "in-progress" else ""


API_URL: Final = "https://api.twilio.com"
PROVIDER: Final = "twilio"
Fields: TypeAlias = Sequence[tuple[str, str]]
"""A form's fields, in order; a name may come twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioRest:
    """The REST account for ending and redirecting calls.

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

    @property
    def transfers(self) -> bool:
        """Whether a call can be transferred."""
        return bool(self.public_url)

    async def press(self, call_ref: str, keys: str) -> bool:
        """Return False: only TwiML can play keys, and it would end the stream."""
        return False

    async def transfer(self, call_ref: str, to: Destination, *, ring_s: float) -> Handover:
        """Return that this is not offered: Twilio's leg waits for the result itself."""
        return "not_offered"

    async def complete(self, call_ref: str) -> str | None:
        """End a call; one that has already ended is fine.

        Returns:
            `None` if the call is over, else the error, without secrets.

        Source: twilio.com/docs/voice/api/call-resource, "Update a Call resource".
        """
        trouble = await self._change(call_ref, (("Status", "completed"),), what="hang-up")
        return trouble and trouble.words

    async def ring(self, call_ref: str, to: Destination, *, ring_s: float) -> RingTrouble | None:
        """Connect a live call with a person; return the error, or `None`.

        Twilio cannot withdraw an order: one without an answer may be carried out later.
        """
        return await self._redirect(
            call_ref, dial_twiml(to, ring_s=ring_s, public_url=self.public_url)
        )

    async def redirect(self, call_sid: str, twiml: str) -> str | None:
        """Give a live call other instructions; return the error, or `None`.

        Never raises. A call that has already ended is an error here.
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
        over: Sequence[int] = (HTTPStatus.OK, HTTPStatus.NOT_FOUND),  # 20404: already ended
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
            ServiceError: It failed; tells how, and whether a retry may help.
        """
        status, body = await answered(PROVIDER, self.send(method, resource, fields))
        if status >= HTTPStatus.BAD_REQUEST or not isinstance(body, dict):
            raise _refusal(status, body)
        return body

    async def send(
        self, method: str, resource: str, fields: Fields, *, reads: bool = True
    ) -> tuple[int, Any]:
        """Send a request; return the answer's status and its JSON, `None` if it has none."""
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


EVENTS: Final = ("initiated", "ringing", "answered", "completed")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """Twilio's record of a call.

    Attributes:
        length_s: Of the conversation, in whole seconds; `None` while it goes on, or if there was
            none.
        cost: In the account's currency; `None` until it is known, some time after the end.
    """

    call_sid: str
    status: str  # queued, initiated, ringing, in-progress, completed, busy, no-answer, ...
    to: str
    caller: str
    created: datetime | None = None
    answered_by: str = ""
    length_s: float | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioCalls:
    """Places calls of one account; callbacks come to our address.

    Every method raises a classified `ServiceError`; transient failures may be retried. A dial that
    got no answer may have been placed anyway: look it up before a retry.
    """

    rest: TwilioRest
    public_url: str

    async def dial(self, order: DialOrder) -> CallRecord:
        """Order a call."""
        return _record(await self.rest.ask("POST", "Calls", self._fields(order)))

    async def fetch(self, call_sid: str) -> CallRecord:
        """Return a call's record."""
        return _record(await self.rest.ask("GET", f"Calls/{quote(call_sid, safe='')}"))

    async def search(self, *, to: str, since: datetime) -> Sequence[CallRecord]:
        """Return the calls to a number that were ordered since a moment, the newest first.

        Twilio's filter uses the start, which a queued call lacks: so we filter here.
        """
        found = await self.rest.ask("GET", "Calls", (("To", to), ("PageSize", "50")))
        records = [_record(item) for item in found.get("calls", ())]
        whole_s = since.replace(microsecond=0)  # its times have no fractions
        return [
            record for record in records if record.created is not None and record.created >= whole_s
        ]

    async def cancel(self, call_sid: str) -> CallRecord:
        """Stop an unanswered call."""
        fields = (("Status", "canceled"),)
        return _record(await self.rest.ask("POST", f"Calls/{quote(call_sid, safe='')}", fields))

    def _fields(self, order: DialOrder) -> list[tuple[str, str]]:
        ref = urlencode({"dial": order.ref})
        status = f"{self.public_url}{STATUS_PATH}?{ref}"
        fields = [
            ("To", order.to),
            ("From", order.caller),
            ("Url", f"{self.public_url}{VOICE_PATH}?{ref}"),
            ("Method", "POST"),
            ("Timeout", str(max(1, min(MOST_RING_S, round(order.ring_s))))),
            ("StatusCallback", status),
            ("StatusCallbackMethod", "POST"),
            *(("StatusCallbackEvent", event) for event in EVENTS),
        ]
        if order.machine:
            fields += [
                ("MachineDetection", order.machine),
                ("AsyncAmd", "true"),  # otherwise a person who answers hears silence for seconds
                ("AsyncAmdStatusCallback", status),
                ("AsyncAmdStatusCallbackMethod", "POST"),
            ]
        return fields


def _record(body: Mapping[str, Any]) -> CallRecord:
    return CallRecord(
        call_sid=str(body.get("sid", "")),
        status=str(body.get("status", "")),
        to=str(body.get("to", "")),
        caller=str(body.get("from", "")),
        created=_moment(body.get("date_created")),
        answered_by=str(body.get("answered_by") or ""),
        length_s=number_of(body.get("duration")),
        cost=_cost(body.get("price")),
    )


def _cost(price: object) -> float | None:
    """Return the cost: Twilio's prices are texts, and negative."""
    amount = number_of(price)
    return None if amount is None else abs(amount)


def _moment(text: object) -> datetime | None:
    try:
        return parsedate_to_datetime(str(text)).astimezone(UTC)
    except ValueError:
        return None
