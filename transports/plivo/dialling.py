"""Campaigns over Plivo, which reports results by callback and, without one, when asked.

Plivo answers an order with a request id, moves a call through three resources, and has no record of
it for some time after its end. So callbacks come first. A call that Plivo no longer lists, although
it did a moment ago, is waited for before it counts as lost.

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
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

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
    outcome_of,
    remember,
)
from transports.plivo.rest import STATUS_PATH, VOICE_PATH, PlivoRest, call_of, ending_of
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


LIMITED_S: Final = 5.0  # Plivo's window for counting requests
UNSEEN_S: Final = 60.0  # chosen: Plivo does not say how soon there is a record of a call


@dataclass(slots=True, kw_only=True)
class PlivoCarrier:
    """One account and one of its numbers; callbacks come to the account's public address.

    Attributes:
        rest: The account.
        number: Our number, which the callee sees.
        news: What callbacks have reported. Its ids are request ids, until the call's own is known.
        machine: Plivo's machine detection; empty for none.
        calls_per_s: How many calls the account may place; Plivo queues any more.
    """

    rest: PlivoRest
    number: str
    news: CarrierNews
    machine: str = "true"
    calls_per_s: float = 2.0
    _pace: DialPace = field(init=False)
    # When Plivo last listed a dial, on the loop's clock.
    _seen_at: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        """Create the pacing."""
        self._pace = DialPace(calls_per_s=self.calls_per_s, again_s=LIMITED_S)

    async def dial(self, request: DialRequest) -> str:
        """Place a call; return the id of the request."""
        request_uuid = await self._pace.place(lambda: self._order(request), request)
        self._see(request.dial_id, request_uuid)
        return request_uuid

    def recall(self, dial_id: str, provider_call_id: str) -> None:
        """Remember the call or request id of a dial that another process placed."""
        self.news.refs.setdefault(dial_id, provider_call_id)

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return the state of a dial; without its id, of the oldest call to the number since."""
        heard = await self.news.heard(dial_id)
        if heard is not None and heard.outcome is not None:
            self._seen_at.pop(dial_id, None)
            return heard.found
        with carrier_errors():
            record = await self._look(dial_id, heard)
            if record is None and heard is None:
                record = await self._search(dial_id, to, since_s)
        if record is None:
            return self._unseen(dial_id, heard)
        self._see(dial_id, record.uuid)
        return _found(record, heard)

    async def cancel(self, dial_id: str, ordered: str) -> None:
        """Stop an unanswered call; one that is over is fine.

        Args:
            dial_id: Our id.
            ordered: The request's, or the call's if the answer to the order was lost. Empty:
                nothing is done, because a call without an id means all of the account to Plivo.
        """
        if not ordered:
            return
        with carrier_errors():
            request = f"Request/{quote(ordered, safe='')}/"
            if await self.rest.ask("DELETE", request) is not None:
                return
            found = await _fetch(self.rest, ordered)
            if found and found.outcome is None and not found.answered:  # no conversation
                await self.rest.ask("DELETE", call_of(found.uuid or ordered))

    async def cost_of(self, provider_call_id: str) -> float | None:
        """Return the price of a call, as soon as there is a record of it."""
        with carrier_errors():
            record = await _fetch(self.rest, provider_call_id, queued=False)
        return record.cost if record else None

    async def _look(self, dial_id: str, heard: HeardLeg | None) -> PlivoRecord | None:
        """Return the call by its known id."""
        uuid = heard.call_ref if heard else self.news.refs.get(dial_id)
        return await _fetch(self.rest, uuid, queued=heard is None) if uuid else None

    async def _search(self, dial_id: str, to: str, since_s: float) -> PlivoRecord | None:
        known = await _list(self.rest, to=to, since=datetime.fromtimestamp(since_s, UTC))
        ordered = self.news.refs.get(dial_id)
        if ordered and (ours := [call for call in known if ordered == call.request_uuid]):
            return ours[0]
        taken = {uuid for ref, uuid in self.news.refs.items() if ref != dial_id}
        ours = [
            call
            for call in known
            if same_number(call.caller, self.number)
            and not {call.uuid, call.request_uuid} & taken
            and not (ordered and call.request_uuid)  # belongs to another order
        ]
        return ours[-1] if ours else None

    def _unseen(self, dial_id: str, heard: HeardLeg | None) -> FoundCall | None:
        """Return the state of a call that Plivo does not list: it may be between two resources."""
        now = asyncio.get_running_loop().time()
        if heard is not None:
            self._seen_at.setdefault(dial_id, now)
            self.news.refs[dial_id] = heard.call_ref
        uuid, answered = self.news.refs.get(dial_id, ""), heard is not None and heard.answered
        if now < self._seen_at.get(dial_id, float("-inf")) + UNSEEN_S:
            return FoundCall(provider_call_id=uuid, answered=answered)
        if heard is None:
            return None
        # The call was placed, even though Plivo has no record of it: do not call again.
        return FoundCall(provider_call_id=uuid, outcome=DialOutcome.UNKNOWN, answered=answered)

    def _see(self, dial_id: str, uuid: str) -> None:
        self.news.refs[dial_id] = uuid
        remember(self._seen_at, dial_id, asyncio.get_running_loop().time())

    async def _order(self, request: DialRequest) -> str:
        """Order a call; return the id of the request."""
        answer = await self.rest.ask("POST", CALLS, self._fields(request)) or {}
        if not (request_uuid := str(answer.get("request_uuid") or "")):
            reason = "the answer to an order lacks the request's id"
            raise dial_error("plivo", Kind.PROTOCOL, reason)
        return request_uuid

    def _fields(self, request: DialRequest) -> Mapping[str, Any]:
        ref = urlencode({"dial": request.dial_id})
        status = f"{self.rest.public_url}{STATUS_PATH}?{ref}"
        fields = {
            "from": _digits(self.number),
            "to": _digits(request.to),
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


async def _fetch(rest: PlivoRest, uuid: str, *, queued: bool = True) -> PlivoRecord | None:
    """Return a call's record; `None` if Plivo has none, or none yet.

    The id is the call's, or the request's where they are the same. The places are searched in the
    order of the call's moves.
    """
    places = (*((QUEUED,) if queued else ()), LIVE)
    for place in places:
        if found := await rest.ask("GET", call_of(uuid), place):
            return _going_on(found)
    found = await rest.ask("GET", call_of(uuid))
    return _record(found) if found else None


async def _list(rest: PlivoRest, *, to: str, since: datetime) -> Sequence[PlivoRecord]:
    """Return the calls to a number that were ordered since a moment, the newest first."""
    to_number = {"to_number": _digits(to), "call_direction": "outbound", "limit": PAGE}
    queued = await _all(rest, QUEUED, QUEUED | {"limit": PAGE})
    live = await _all(rest, LIVE, LIVE | to_number)
    # For ended calls its filter uses the end, which comes after the beginning.
    over = to_number | {"end_time__gte": since.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")}
    listed = await rest.ask("GET", CALLS, over) or {}
    ended = [_record(item) for item in listed.get("objects", ())]
    whole_s = since.replace(microsecond=0)  # its times have no fractions
    return [
        item
        for item in (*queued, *live, *sorted(ended, key=_age, reverse=True))
        if same_number(item.to, to) and (item.created is None or item.created >= whole_s)
    ]


async def _all(
    rest: PlivoRest, place: Mapping[str, str], query: Mapping[str, Any]
) -> Sequence[PlivoRecord]:
    """Return the calls of a place whose list holds only ids."""
    ids = (await rest.ask("GET", CALLS, query) or {}).get("calls", ())
    if len(ids) >= PAGE:
        # The list may be incomplete, and a call that is not found would be placed again.
        raise dial_error("plivo", Kind.PROTOCOL, "more calls are in progress than Plivo lists")
    found = [await rest.ask("GET", call_of(str(id_)), place) for id_ in ids]
    return [_going_on(item) for item in found if item]


def _found(record: PlivoRecord, heard: HeardLeg | None) -> FoundCall:
    machine = heard is not None and heard.machine  # records do not report machines
    return FoundCall(
        provider_call_id=record.uuid,
        outcome=outcome_of(record.outcome, machine=machine),
        answered=record.answered or (heard is not None and heard.answered),
        length_s=record.length_s or None,
        cost=record.cost,
    )


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
