"""Calls that we place through Twilio: asking for one, looking one up, ending one.

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

# Handing a live call of Twilio's on: what it is told to do, and what is said to have come of it.
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
    """Return what connects the caller with somebody: `<Refer>` for a SIP URI, else `<Dial>`."""
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
    """Return what a webhook says to have come of handing on; None: it says nothing of it."""
    if sip := form.get("DialSipResponseCode") or form.get("NotifySipResponseCode"):
        known = _SIP.get(sip)
        if known is not None and known != "connected":
            return known
    if "ReferCallStatus" in form:
        return _SIP.get(form.get("NotifySipResponseCode") or "", "failed")
    status = form.get("DialCallStatus")
    return None if status is None else _FATES.get(status, "failed")


def answered_for(form: Mapping[str, str]) -> str:
    """Return whose caller is being talked to by the person who answered; empty: nobody's."""
    return form.get("ParentCallSid", "") if form.get("CallStatus") == "in-progress" else ""


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


EVENTS: Final = ("initiated", "ringing", "answered", "completed")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """What Twilio says of a call.

    Attributes:
        length_s: Of the talk, in whole seconds; None: it goes on, or there was none.
        cost: In the account's currency; None: it is not known yet, which may last for a while
            behind the end.
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
    """Places calls of one account, whose callbacks come to our address.

    Every method raises `ServiceError`, classified: what is transient may be asked for again. A dial
    that was not answered may have been placed all the same: look before it is asked for again.
    """

    rest: TwilioRest
    public_url: str

    async def dial(self, order: DialOrder) -> CallRecord:
        """Ask for a call."""
        return _record(await self.rest.ask("POST", "Calls", self._fields(order)))

    async def fetch(self, call_sid: str) -> CallRecord:
        """Return what has become of a call."""
        return _record(await self.rest.ask("GET", f"Calls/{quote(call_sid, safe='')}"))

    async def search(self, *, to: str, since: datetime) -> Sequence[CallRecord]:
        """Return the calls to a number that were asked for since a moment, the newest first.

        Twilio's own filter knows starts, and a call that waits has none: so we filter here.
        """
        found = await self.rest.ask("GET", "Calls", (("To", to), ("PageSize", "50")))
        records = [_record(item) for item in found.get("calls", ())]
        whole_s = since.replace(microsecond=0)  # its times have no fractions
        return [
            record for record in records if record.created is not None and record.created >= whole_s
        ]

    async def cancel(self, call_sid: str) -> CallRecord:
        """Place a call no further that was not answered yet."""
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
                ("AsyncAmd", "true"),  # else a person who answers hears silence for seconds
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
    """Return what is charged: its prices are texts, and negative."""
    amount = number_of(price)
    return None if amount is None else abs(amount)


def _moment(text: object) -> datetime | None:
    try:
        return parsedate_to_datetime(str(text)).astimezone(UTC)
    except ValueError:
        return None
