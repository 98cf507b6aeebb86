"""Outbound calls through Plivo: ordering one, looking one up, ending one.

Plivo answers an order with the id of the request. The call's own id comes with its callbacks; for a
single call it has been the same wherever one was recorded, but no page promises it. A call is in
one of three places: it is queued, it is live, or there is a record of it, which appears some time
after its end.

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

# Translates Plivo's words for a call's end into the terms that all carriers share.
#
# Source: plivo.com/docs/voice/xml/request/call-status (the statuses) and plivo.com/docs/voice/
# troubleshooting/hangup-causes (the codes). The page of codes was not available in full: 1000, 4000
# and 4010 are in the part that was read; 3000, 3010, 3020 and 6010 are what customers' code reads
# in their callbacks and records (3010 with `CallStatus=busy` in one that was recorded in full). A
# code that is missing here says nothing.

UNANSWERED: Final[Mapping[str, str]] = {
    "1000": "canceled",
    "3000": "no-answer",
    "3010": "busy",
    "3020": "busy",  # the red button: carriers record it so, and so does `calls/dialled.py`
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

FAILED: Final = "failed"  # also `timeout`: a carrier did not connect the call in time


def ending_of(status: str, code: str) -> str:
    """Return how a call ended.

    The code takes precedence: Plivo's own page says that a hang-up's status is always `completed`,
    and a recorded one says otherwise.
    """
    return UNANSWERED.get(code) or STATUSES.get(status, FAILED)


API_URL: Final = "https://api.plivo.com"
NO_ANSWER: Final = 0  # in place of a status: the request got no answer
PROVIDER: Final = "plivo"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlivoRest:
    """The REST account for outbound calls, transfers and hang-ups.

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

    @property
    def transfers(self) -> bool:
        """Whether a call can be transferred."""
        return bool(self.public_url)

    async def complete(self, call_ref: str) -> str | None:
        """End a call; one that has already ended (404) is fine."""
        status = await self._command("DELETE", call_of(call_ref))
        if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND):
            return None
        return f"hang-up answered {status}" if status else "hang-up not answered"

    async def press(self, call_ref: str, keys: str) -> bool:
        """Send keys to the far end."""
        status = await self._command("POST", f"{call_of(call_ref)}DTMF/", {"digits": keys})
        return status in (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT)

    async def transfer(self, call_ref: str, to: Destination, *, ring_s: float) -> Handover:
        """Return that this is not offered: Plivo's leg waits for the result itself."""
        return "not_offered"

    async def redirect(self, call_ref: str, url: str) -> str | None:
        """Make a live call fetch instructions at `url`; return the error, or `None`.

        Never raises. The call fetches them after its stream is over, which we have to end.

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
        """Return the JSON of an answer, for work outside a call; `None` if nothing exists there.

        Raises:
            ServiceError: It failed; tells how, and whether a retry may help.
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
        """Return the status of the answer; never raises, because a caller is on the line."""
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
PAGE: Final = 20  # Plivo's largest page
MOST_RING_S: Final = 600
CALLS: Final = "Call/"
QUEUED: Final = {"status": "queued"}
LIVE: Final = {"status": "live"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlivoRecord:
    """Plivo's record of a call.

    Attributes:
        uuid: The call's; while it is queued, the request's.
        request_uuid: The request's, where known: a record of an ended call has none.
        outcome: `None` while the call goes on.
        created: When it was ordered; `None` if that or its time zone is unknown.
        length_s: Of the conversation; `None` while it goes on, or if there was none.
        cost: In the account's currency; `None` if it is not known yet.
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
    """Places calls of one account; callbacks come to our address.

    Every method raises a classified `ServiceError`; transient failures may be retried. A dial that
    got no answer may have been placed anyway: look it up before a retry.
    """

    rest: PlivoRest
    public_url: str

    async def dial(self, order: DialOrder) -> str:
        """Order a call; return the id of the request."""
        answer = await self.rest.ask("POST", CALLS, self._fields(order)) or {}
        if not (request_uuid := str(answer.get("request_uuid") or "")):
            raise dial_error(
                PROVIDER, Kind.PROTOCOL, "the answer to an order lacks the request's id"
            )
        return request_uuid

    async def fetch(self, uuid: str, *, queued: bool = True) -> PlivoRecord | None:
        """Return a call's record; `None` if Plivo has none, or none yet.

        Args:
            uuid: The call's, or the request's where they are the same.
            queued: Whether it may still be queued. The places are searched in the order of its
                moves.
        """
        places = (*((QUEUED,) if queued else ()), LIVE)
        for place in places:
            if found := await self.rest.ask("GET", call_of(uuid), place):
                return _going_on(found)
        found = await self.rest.ask("GET", call_of(uuid))
        return _record(found) if found else None

    async def search(self, *, to: str, since: datetime) -> Sequence[PlivoRecord]:
        """Return the calls to a number that were ordered since a moment, the newest first."""
        to_number = {"to_number": _digits(to), "call_direction": "outbound", "limit": PAGE}
        queued = await self._all(QUEUED, QUEUED | {"limit": PAGE})
        live = await self._all(LIVE, LIVE | to_number)
        # For ended calls its filter uses the end, which comes after the beginning.
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
        """Stop an unanswered call; one that is over is fine.

        Args:
            uuid: The request's, or the call's if the answer to the order was lost. Empty: nothing
                is
                done, because a call without an id means all of the account to Plivo.
        """
        if not uuid:
            return
        request = f"Request/{quote(uuid, safe='')}/"
        if await self.rest.ask("DELETE", request) is not None:
            return
        found = await self.fetch(uuid)
        if found and found.outcome is None and not found.answered:  # else a conversation would end
            await self.rest.ask("DELETE", call_of(found.uuid or uuid))

    async def _all(
        self, place: Mapping[str, str], query: Mapping[str, Any]
    ) -> Sequence[PlivoRecord]:
        """Return the calls of a place whose list holds only ids."""
        ids = (await self.rest.ask("GET", CALLS, query) or {}).get("calls", ())
        if len(ids) >= PAGE:
            # The list may be incomplete, and a call that is not found would be placed again.
            raise dial_error(PROVIDER, Kind.PROTOCOL, "more calls are in progress than Plivo lists")
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
                "machine_detection_url": status,  # otherwise a person who answers hears silence
                "machine_detection_method": "POST",
            }
        return fields


def same_number(a: str, b: str) -> bool:
    """Return whether two numbers are equal: Plivo writes them with a plus and without."""
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
        outcome=OUTCOMES[word] if over else None,  # a record may exist before it is complete
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
