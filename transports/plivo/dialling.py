"""Campaigns over Plivo, which reports the result of a dial by a callback, or else when asked.

Plivo responds to a call request with the id of the request. The call's own id comes with its
callbacks. In every recorded request for one call, both ids were the same, but no page promises
that.

Plivo lists a call in one of three places: among the queued calls, among the live calls, or in the
records, where it appears some time after its end. In between, it is in none. So callbacks are
read first, and a call that was listed a moment ago counts as in progress for a while.

Source: plivo.com/docs/voice/api/call/make-a-call, /retrieve-all-calls, /the-call-object, and the
package `plivo`, resources/calls.py, live_calls.py and queued_calls.py (the places, their filters,
and that a request is cancelled under `Request/`); /hangup-a-call (a call under `Call/`). Not tried
on a live account: that a ringing call is live, that `Request/` knows no call's id, how soon there
is a record, and whether its price is final as soon as there is one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from calls.dialled import DialVerdict
from calls.leg_events import LegOutcome
from calls.leg_progress import OUTCOMES
from calls.outbound import DialOutcome
from fallbacks.failure import Kind
from transports.dialling import (
    CarrierNews,
    DialPace,
    DialRequest,
    FoundCall,
    HeardLeg,
    carrier_errors,
    dial_outcome_of,
    remember,
    verdict_of,
)
from transports.plivo.rest import (
    SIP_CODES,
    STATUS_PATH,
    VOICE_PATH,
    PlivoRest,
    call_of,
    ending_of,
)
from transports.rest import dial_error, number_of

PAGE: Final = 20  # Plivo's largest page
MAX_RING_S: Final = 600
CALLS: Final = "Call/"
QUEUED: Final = {"status": "queued"}
LIVE: Final = {"status": "live"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlivoRecord:
    """Plivo's record of a call.

    Attributes:
        uuid: The call's id, or the request's while the call is queued.
        to: The called number.
        caller: The calling number.
        request_uuid: The request's id; empty for an ended call, whose record does not have it.
        answered: Whether the callee has answered.
        outcome: How the call ended; `None` while it goes on.
        created: When the call was requested; `None` if that or its time zone is unknown.
        length_s: The length of the conversation; `None` while it goes on, or if there was none.
        cost: The price in the account's currency; `None` if it is not known yet.
        verdict: The meaning of the hang-up code of an unanswered call; `None` if it has none.
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
    verdict: DialVerdict | None = None


LIMITED_S: Final = 5.0  # the period over which Plivo counts requests
# How long a call that is listed nowhere counts as in progress (chosen: Plivo does not say how soon
# there is a record of a call).
UNLISTED_S: Final = 60.0


@dataclass(slots=True, kw_only=True)
class PlivoCarrier:
    """One account and one of its numbers; callbacks come to the account's public address.

    Attributes:
        rest: The account's API.
        number: Our number, which the callee sees.
        news: What callbacks have reported. Its `refs` are request ids until a call's own is known.
        machine: The mode of Plivo's machine detection; empty for none.
        calls_per_s: How many calls the account may place; Plivo queues further ones.
    """

    rest: PlivoRest
    number: str
    news: CarrierNews
    machine: str = "true"
    calls_per_s: float = 2.0
    _pace: DialPace = field(init=False)
    # When a dial was placed or last listed by Plivo, on the loop's clock.
    _listed_at: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        """Create the pacing."""
        self._pace = DialPace(calls_per_s=self.calls_per_s, rate_limit_s=LIMITED_S)

    async def dial(self, request: DialRequest) -> str:
        """Place a call; return the id of the request."""
        request_uuid = await self._pace.place(lambda: self._request_call(request), request)
        self._note_listed(request.dial_id, request_uuid)
        return request_uuid

    def recall(self, dial_id: str, provider_call_id: str) -> None:
        """Remember the call or request id of a dial that another process placed."""
        self.news.refs.setdefault(dial_id, provider_call_id)

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return the state of a dial; `None` if there is no sign of such a call.

        An outcome in the callbacks decides; without one, Plivo is asked. If no callback has come
        and the id is unknown or finds no call, a call to the number `to` since `since_s` is
        searched for.
        """
        reported = await self.news.heard(dial_id)
        if reported is not None and reported.outcome is not None:
            self._listed_at.pop(dial_id, None)
            found = reported.found
            sip_code = SIP_CODES.get(reported.reason)
            return replace(found, verdict=verdict_of(found.outcome, sip_code))
        with carrier_errors():
            record = await self._fetch_by_id(dial_id, reported)
            if record is None and reported is None:
                record = await self._search_and_claim_call(dial_id, to, since_s)
        if record is None:
            return self._call_not_listed(dial_id, reported)
        self._note_listed(dial_id, record.uuid)
        return _found_call(record, reported)

    async def cancel(self, dial_id: str, ordered: str) -> None:
        """Stop an unanswered call; do nothing if it has already ended.

        Args:
            dial_id: Our id.
            ordered: The id of the request, or of the call if the response to the request was lost.
                If empty, nothing is done: without an id, Plivo would end all calls of the account.
        """
        if not ordered:
            return
        with carrier_errors():
            request = f"Request/{quote(ordered, safe='')}/"
            if await self.rest.ask("DELETE", request) is not None:
                return
            found = await _fetch_call(self.rest, ordered)
            if found and found.outcome is None and not found.answered:
                await self.rest.ask("DELETE", call_of(found.uuid or ordered))

    async def cost_of(self, provider_call_id: str) -> float | None:
        """Return the price of a call; `None` until there is a complete record of it."""
        with carrier_errors():
            record = await _fetch_call(self.rest, provider_call_id, queued=False)
        return record.cost if record else None

    async def _fetch_by_id(self, dial_id: str, reported: HeardLeg | None) -> PlivoRecord | None:
        """Return the call by its id; `None` if no id is known, or Plivo lists no call with it."""
        uuid = reported.call_ref if reported else self.news.refs.get(dial_id)
        return await _fetch_call(self.rest, uuid, queued=reported is None) if uuid else None

    async def _search_and_claim_call(
        self, dial_id: str, to: str, since_s: float
    ) -> PlivoRecord | None:
        """Return the call that the dial's request placed, else one that may belong to the dial.

        That is the oldest call from our number to the number `to` since `since_s` that belongs
        neither to another dial nor to another request; `None` if there is none. The call belongs to
        the dial only after `_note_listed`, which the caller of this calls.
        """
        listed = await _list_calls(self.rest, to=to, since=datetime.fromtimestamp(since_s, UTC))
        request_uuid = self.news.refs.get(dial_id)
        for call in listed:
            if request_uuid and call.request_uuid == request_uuid:
                return call
        taken = {uuid for ref, uuid in self.news.refs.items() if ref != dial_id}
        unclaimed = [  # the newest first, like `listed`
            call
            for call in listed
            if same_number(call.caller, self.number)
            and not {call.uuid, call.request_uuid} & taken
            and not (request_uuid and call.request_uuid)  # belongs to another request
        ]
        return unclaimed[-1] if unclaimed else None

    def _call_not_listed(self, dial_id: str, reported: HeardLeg | None) -> FoundCall | None:
        """Return the state of a call that Plivo does not list, perhaps while it changes its place.

        It is in progress for `UNLISTED_S`; then its outcome is unknown if a callback reported it.
        Returns `None` if neither a callback nor a recent listing shows that there is a call.
        """
        now = asyncio.get_running_loop().time()
        if reported is not None:
            self._listed_at.setdefault(dial_id, now)
            self.news.refs[dial_id] = reported.call_ref
        uuid, answered = self.news.refs.get(dial_id, ""), reported is not None and reported.answered
        if now < self._listed_at.get(dial_id, float("-inf")) + UNLISTED_S:
            return FoundCall(provider_call_id=uuid, answered=answered)
        if reported is None:
            return None
        # A callback shows that the call was placed, although Plivo has no record: never dial again.
        return FoundCall(provider_call_id=uuid, outcome=DialOutcome.UNKNOWN, answered=answered)

    def _note_listed(self, dial_id: str, uuid: str) -> None:
        """Remember a dial's id at Plivo, and that it was placed or listed just now."""
        self.news.refs[dial_id] = uuid
        remember(self._listed_at, dial_id, asyncio.get_running_loop().time())

    async def _request_call(self, request: DialRequest) -> str:
        """Request a call; return the id of the request.

        Raises:
            ServiceError: It was refused, or the answer has no id: then the call may have begun.
        """
        answer = await self.rest.ask("POST", CALLS, self._dial_fields(request)) or {}
        if not (request_uuid := str(answer.get("request_uuid") or "")):
            reason = "the answer to an order lacks the request's id"
            raise dial_error("plivo", Kind.PROTOCOL, reason)
        return request_uuid

    def _dial_fields(self, request: DialRequest) -> Mapping[str, Any]:
        """Return the fields that request a call; it rings for up to `patience_s`."""
        ref = urlencode({"dial": request.dial_id})
        status = f"{self.rest.public_url}{STATUS_PATH}?{ref}"
        fields = {
            "from": _without_plus(self.number),
            "to": _without_plus(request.to),
            "answer_url": f"{self.rest.public_url}{VOICE_PATH}?{ref}",
            "answer_method": "POST",
            "ring_url": status,
            "ring_method": "POST",
            "hangup_url": status,
            "hangup_method": "POST",
            "ring_timeout": max(1, min(MAX_RING_S, round(request.patience_s))),
        }
        if self.machine:
            fields |= {
                "machine_detection": self.machine,
                "machine_detection_url": status,  # otherwise a person who answers hears silence
                "machine_detection_method": "POST",
            }
        return fields


async def _fetch_call(rest: PlivoRest, uuid: str, *, queued: bool = True) -> PlivoRecord | None:
    """Return a call; `None` if Plivo does not list it, or not yet.

    The places are searched in the order in which a call moves through them.

    Args:
        rest: The account's API.
        uuid: The call's id, or the request's, which finds the call if both are the same.
        queued: Whether the call may still be queued.
    """
    places = (*((QUEUED,) if queued else ()), LIVE)
    for place in places:
        if found := await rest.ask("GET", call_of(uuid), place):
            return _record_in_progress(found)
    found = await rest.ask("GET", call_of(uuid))
    return _record_from_json(found) if found else None


async def _list_calls(rest: PlivoRest, *, to: str, since: datetime) -> Sequence[PlivoRecord]:
    """Return the calls to a number that were requested since a moment, or at an unknown time.

    Queued calls come first, then live ones, then ended ones from the newest to the oldest.
    """
    to_number = {"to_number": _without_plus(to), "call_direction": "outbound", "limit": PAGE}
    queued = await _fetch_all(rest, QUEUED, QUEUED | {"limit": PAGE})
    live = await _fetch_all(rest, LIVE, LIVE | to_number)
    # Plivo filters ended calls by their end, which is later than their beginning.
    ended_query = to_number | {"end_time__gte": since.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")}
    listed = await rest.ask("GET", CALLS, ended_query) or {}
    ended = [_record_from_json(item) for item in listed.get("objects", ())]
    since_second = since.replace(microsecond=0)  # Plivo's times have no fractions of seconds
    return [
        item
        for item in (*queued, *live, *sorted(ended, key=_created_at, reverse=True))
        if same_number(item.to, to) and (item.created is None or item.created >= since_second)
    ]


async def _fetch_all(
    rest: PlivoRest, place: Mapping[str, str], query: Mapping[str, Any]
) -> Sequence[PlivoRecord]:
    """Return the calls of a place, fetching each one, because the place lists only their ids."""
    ids = (await rest.ask("GET", CALLS, query) or {}).get("calls", ())
    if len(ids) >= PAGE:
        # The list may be incomplete, and a call that is not in it would be placed again.
        raise dial_error("plivo", Kind.PROTOCOL, "more calls are in progress than Plivo lists")
    found = [await rest.ask("GET", call_of(str(id_)), place) for id_ in ids]
    return [_record_in_progress(item) for item in found if item]


def _found_call(record: PlivoRecord, reported: HeardLeg | None) -> FoundCall:
    """Join a record with the callbacks, `None` without any, which may know of an answer first."""
    machine = reported is not None and reported.machine  # records do not report machines
    return FoundCall(
        provider_call_id=record.uuid,
        outcome=dial_outcome_of(record.outcome, machine=machine),
        verdict=record.verdict,
        answered=record.answered or (reported is not None and reported.answered),
        length_s=record.length_s or None,
        cost=record.cost,
    )


def same_number(a: str, b: str) -> bool:
    """Return whether two numbers are equal; Plivo writes them with or without a plus."""
    return _without_plus(a) == _without_plus(b)


def _without_plus(number: str) -> str:
    return number.removeprefix("+")


def _record_in_progress(body: Mapping[str, Any]) -> PlivoRecord:
    """Read a queued or live call, whose fields have other names than those of a record."""
    return PlivoRecord(
        uuid=str(body.get("call_uuid") or body.get("request_uuid") or ""),
        request_uuid=str(body.get("request_uuid") or ""),
        to=str(body.get("to", "")),
        caller=str(body.get("from", "")),
        answered=body.get("call_status") == "in-progress",
    )


def _record_from_json(body: Mapping[str, Any]) -> PlivoRecord:
    """Read the record of a call, which has an outcome and a price only once it is complete."""
    answered = bool(body.get("answer_time"))
    code, over = str(body.get("hangup_cause_code") or ""), bool(body.get("end_time"))
    word = "completed" if answered else ending_of("", code)
    return PlivoRecord(
        uuid=str(body.get("call_uuid", "")),
        to=str(body.get("to_number", "")),
        caller=str(body.get("from_number", "")),
        answered=answered,
        outcome=OUTCOMES[word] if over else None,  # a record may exist before it is complete
        verdict=verdict_of(dial_outcome_of(OUTCOMES[word], machine=False), SIP_CODES.get(code)),
        created=_parse_moment(body.get("initiation_time")),
        length_s=number_of(body.get("call_duration")) if answered else None,
        cost=number_of(body.get("total_amount")) if over else None,
    )


def _parse_moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


def _created_at(record: PlivoRecord) -> datetime:
    return record.created or datetime.min.replace(tzinfo=UTC)
