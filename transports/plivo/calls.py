"""Calls that we place through Plivo: asking for one, looking one up, ending one.

Plivo answers an order with the id of the request. The call's own id comes with its callbacks; for a
single call it has been the same wherever one was recorded, and no page promises it. A call is to be
found in one of three places: it is queued, it is live, or there is a record of it, which comes some
time behind its end.

Source: plivo.com/docs/voice/api/call/make-a-call, /retrieve-all-calls, /the-call-object, and the
package `plivo`, resources/calls.py, live_calls.py and queued_calls.py (the places, their filters,
and that a request is cancelled under `Request/`); /hangup-a-call (a call under `Call/`). Not tried
on a live account: that a ringing call is live, that `Request/` knows no call's id, how soon there
is a record, and whether its price is final as soon as there is one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
from pydantic import SecretStr

from calls.handover import Destination, Handover
from calls.leg_events import LegOutcome
from calls.leg_progress import OUTCOMES
from fallbacks.classification import classify_http
from fallbacks.failure import Kind
from transports.http_requests import ASK_S, DialOrder, answered, dial_error, number_of, request

# Plivo's words for how a call ended, in the words that all carriers' callbacks are read in.
#
# Source: plivo.com/docs/voice/xml/request/call-status (the statuses) and plivo.com/docs/voice/
# troubleshooting/hangup-causes (the codes). The page of codes was not to be had whole: 1000, 4000
# and 4010 stand in what was read of it; 3000, 3010, 3020 and 6010 are what customers' code reads in
# callbacks and records of theirs (3010 with `CallStatus=busy` in one that was recorded in full). A
# code that is not here says nothing.

UNANSWERED: Final[Mapping[str, str]] = {
    "1000": "canceled",
    "3000": "no-answer",
    "3010": "busy",
    "3020": "busy",  # the red button: carriers record it so, and `calls/dialled.py` does
    "6010": "no-answer",  # it rang for as long as it was allowed to
}
"""By the code of the hang-up, of calls that nobody answered."""

STATUSES: Final[Mapping[str, str]] = {
    "completed": "completed",
    "busy": "busy",
    "no-answer": "no-answer",
    "cancel": "canceled",
    "canceled": "canceled",
    "cancelled": "canceled",
}
"""By the status of a call that is over."""

FAILED: Final = "failed"  # also `timeout`: a carrier did not connect the call in time


def ending_of(status: str, code: str) -> str:
    """Return how a call ended.

    The code goes first: Plivo's own page says that a hang-up's status is always `completed`, and
    what was recorded of one says otherwise.
    """
    return UNANSWERED.get(code) or STATUSES.get(status, FAILED)


API_URL: Final = "https://api.plivo.com"
NO_ANSWER: Final = 0  # in place of a status: the question was not answered
PROVIDER: Final = "plivo"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlivoRest:
    """Whose calls may be placed, handed on and ended, and where to ask for it.

    Attributes:
        auth_id: Whose they are.
        auth_token: Lets us in.
        api_url: Where.
        public_url: Our own address, at which Plivo asks whom to ring and tells what came of it;
            empty: a call cannot be handed on.

    Source: plivo.com/docs/voice/api/call.
    """

    auth_id: SecretStr
    auth_token: SecretStr
    api_url: str = API_URL
    public_url: str = ""

    @property
    def transfers(self) -> bool:
        """Whether a call can be handed on."""
        return bool(self.public_url)

    async def complete(self, call_ref: str) -> str | None:
        """End a call; one that has ended already (404) is fine."""
        status = await self._command("DELETE", call_of(call_ref))
        if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND):
            return None
        return f"hang-up answered {status}" if status else "hang-up not answered"

    async def press(self, call_ref: str, keys: str) -> bool:
        """Send keys to the far end."""
        status = await self._command("POST", f"{call_of(call_ref)}DTMF/", {"digits": keys})
        return status in (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT)

    async def transfer(self, call_ref: str, to: Destination, *, ring_s: float) -> Handover:
        """Return that this is not offered: a leg of Plivo's waits for what comes of it itself."""
        return "not_offered"

    async def redirect(self, call_ref: str, url: str) -> str | None:
        """Have a live call ask at `url` what to do; return what went wrong, or None.

        Raises nothing. It asks once its stream is over, which we have to end.

        Source: plivo.com/docs/voice/api/call/transfer-a-call.
        """
        fields = {"legs": "aleg", "aleg_url": url, "aleg_method": "POST"}
        status = await self._command("POST", call_of(call_ref), fields)
        if status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            return None
        return f"redirect answered {status}" if status else "redirect not answered"

    async def ask(
        self, method: str, resource: str, fields: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any] | None:
        """Return the JSON of an answer, for work outside a call; None: there is no such thing.

        Raises:
            ServiceError: It failed; says how, and whether asking again may help.
        """
        status, body = await answered(PROVIDER, self._send(method, resource, fields or {}))
        if status == HTTPStatus.NOT_FOUND:
            return None
        if status >= HTTPStatus.BAD_REQUEST or not isinstance(body, dict | None):
            raise dial_error(PROVIDER, classify_http(PROVIDER, status, body), f"HTTP {status}")
        return body or {}

    async def _command(
        self, method: str, resource: str, fields: Mapping[str, Any] | None = None
    ) -> int:
        """Return the status of the answer; raises nothing: a caller is on the line."""
        try:
            async with asyncio.timeout(ASK_S):
                return (await self._send(method, resource, fields or {}))[0]
        except (TimeoutError, aiohttp.ClientError, ValueError):
            return NO_ANSWER

    async def _send(self, method: str, resource: str, fields: Mapping[str, Any]) -> tuple[int, Any]:
        auth_id, token = self.auth_id.get_secret_value(), self.auth_token.get_secret_value()
        url = f"{self.api_url.rstrip('/')}/v1/Account/{quote(auth_id, safe='')}/{resource}"
        query, sent = (fields, None) if method == "GET" else (None, fields or None)
        proof = {"Authorization": aiohttp.encode_basic_auth(auth_id, token)}
        async with request(method, url, params=query, json=sent, headers=proof) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else None


def call_of(uuid: str) -> str:
    """Return the resource of a call."""
    return f"Call/{quote(uuid, safe='')}/"


VOICE_PATH: Final = "/plivo/voice"
STATUS_PATH: Final = "/plivo/status"
PAGE: Final = 20  # the most that Plivo lists at once
MOST_RING_S: Final = 600
CALLS: Final = "Call/"
QUEUED: Final = {"status": "queued"}
LIVE: Final = {"status": "live"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlivoRecord:
    """What Plivo says of a call.

    Attributes:
        uuid: The call's; while it is queued, the request's.
        request_uuid: The request's, where it is said: a record of a call that is over has none.
        outcome: None: it goes on.
        created: When it was asked for; None: not said, or not in which time zone.
        length_s: Of the talk; None: it goes on, or there was none.
        cost: In the account's currency; None: it is not known yet.
    """

    uuid: str
    to: str
    caller: str
    request_uuid: str = ""
    answered: bool = False
    outcome: LegOutcome | None = None
    created: datetime | None = None
    length_s: float | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlivoCalls:
    """Places calls of one account, whose callbacks come to our address.

    Every method raises `ServiceError`, classified: what is transient may be asked for again. A dial
    that was not answered may have been placed all the same: look before it is asked for again.
    """

    rest: PlivoRest
    public_url: str

    async def dial(self, order: DialOrder) -> str:
        """Ask for a call; return the id of the request."""
        answer = await self.rest.ask("POST", CALLS, self._fields(order)) or {}
        if not (request_uuid := str(answer.get("request_uuid") or "")):
            raise dial_error(
                PROVIDER, Kind.PROTOCOL, "an order was answered without the request's id"
            )
        return request_uuid

    async def fetch(self, uuid: str, *, queued: bool = True) -> PlivoRecord | None:
        """Return what has become of a call; None: Plivo has it nowhere, or has not yet.

        Args:
            uuid: The call's, or the request's where they are the same.
            queued: Whether it may still be queued. It is looked for in the order in which it moves.
        """
        places = (*((QUEUED,) if queued else ()), LIVE)
        for place in places:
            if found := await self.rest.ask("GET", call_of(uuid), place):
                return _going_on(found)
        found = await self.rest.ask("GET", call_of(uuid))
        return _record(found) if found else None

    async def search(self, *, to: str, since: datetime) -> Sequence[PlivoRecord]:
        """Return the calls to a number that were asked for since a moment, the newest first."""
        to_number = {"to_number": _digits(to), "call_direction": "outbound", "limit": PAGE}
        queued = await self._all(QUEUED, QUEUED | {"limit": PAGE})
        live = await self._all(LIVE, LIVE | to_number)
        # Of calls that are over its filter knows ends, and a call ends behind its beginning.
        over = to_number | {"end_time__gte": since.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")}
        listed = await self.rest.ask("GET", CALLS, over) or {}
        ended = [_record(item) for item in listed.get("objects", ())]
        whole_s = since.replace(microsecond=0)  # its times have no fractions
        return [
            item
            for item in (*queued, *live, *sorted(ended, key=_age, reverse=True))
            if same_number(item.to, to) and (item.created is None or item.created >= whole_s)
        ]

    async def cancel(self, uuid: str) -> None:
        """Place a call no further that was not answered yet; one that is over is fine.

        Args:
            uuid: The request's; the call's, where the answer to the order was lost. Empty: nothing
                is done. A call without an id means all of the account to Plivo.
        """
        if not uuid:
            return
        request = f"Request/{quote(uuid, safe='')}/"
        if await self.rest.ask("DELETE", request) is not None:
            return
        found = await self.fetch(uuid)
        if found and found.outcome is None and not found.answered:  # a talk would end, too
            await self.rest.ask("DELETE", call_of(found.uuid or uuid))

    async def _all(
        self, place: Mapping[str, str], query: Mapping[str, Any]
    ) -> Sequence[PlivoRecord]:
        """Return the calls of a place, of which Plivo lists the ids alone."""
        ids = (await self.rest.ask("GET", CALLS, query) or {}).get("calls", ())
        if len(ids) >= PAGE:
            # Some may be missing, and whoever is not found is called again.
            raise dial_error(PROVIDER, Kind.PROTOCOL, "more calls are under way than Plivo lists")
        found = [await self.rest.ask("GET", call_of(str(id_)), place) for id_ in ids]
        return [_going_on(item) for item in found if item]

    def _fields(self, order: DialOrder) -> Mapping[str, Any]:
        ref = urlencode({"dial": order.ref})
        status = f"{self.public_url}{STATUS_PATH}?{ref}"
        fields = {
            "from": _digits(order.caller),
            "to": _digits(order.to),
            "answer_url": f"{self.public_url}{VOICE_PATH}?{ref}",
            "answer_method": "POST",
            "ring_url": status,
            "ring_method": "POST",
            "hangup_url": status,
            "hangup_method": "POST",
            "ring_timeout": max(1, min(MOST_RING_S, round(order.ring_s))),
        }
        if order.machine:
            fields |= {
                "machine_detection": order.machine,
                "machine_detection_url": status,  # else a person who answers hears silence
                "machine_detection_method": "POST",
            }
        return fields


def same_number(a: str, b: str) -> bool:
    """Return whether two numbers are one: Plivo writes them with a plus and without."""
    return _digits(a) == _digits(b)


def _digits(number: str) -> str:
    return number.removeprefix("+")


def _going_on(body: Mapping[str, Any]) -> PlivoRecord:
    return PlivoRecord(
        uuid=str(body.get("call_uuid") or body.get("request_uuid") or ""),
        request_uuid=str(body.get("request_uuid") or ""),
        to=str(body.get("to", "")),
        caller=str(body.get("from", "")),
        answered=body.get("call_status") == "in-progress",
    )


def _record(body: Mapping[str, Any]) -> PlivoRecord:
    answered = bool(body.get("answer_time"))
    code, over = str(body.get("hangup_cause_code") or ""), bool(body.get("end_time"))
    word = "completed" if answered else ending_of("", code)
    return PlivoRecord(
        uuid=str(body.get("call_uuid", "")),
        to=str(body.get("to_number", "")),
        caller=str(body.get("from_number", "")),
        answered=answered,
        outcome=OUTCOMES[word] if over else None,  # a record may be begun before it is whole
        created=_moment(body.get("initiation_time")),
        length_s=number_of(body.get("call_duration")) if answered else None,
        cost=number_of(body.get("total_amount")) if over else None,
    )


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def _age(record: PlivoRecord) -> datetime:
    return record.created or datetime.min.replace(tzinfo=UTC)
