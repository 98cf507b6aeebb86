"""Campaigns over Telnyx, which finds calls by our own id.

Telnyx reports how a call ended once, in a signed webhook; the call's status says only that it is
over. So webhooks come first, then the list of active calls, which has our id, and then the list of
events, for webhooks that were sent while no process received them. The length comes from our own
side: it is not documented whether Telnyx includes the ringing.

Source: developers.telnyx.com/api-reference/call-commands/dial, /debugging/list-call-events,
/call-information/retrieve-a-call-status, .../list-all-active-calls-for-given-connection.

A call's status shows that it is over, but not why: only its hang-up event and the list of its
events give the cause. Not tried on a live account: where an event's `metadata` holds the event
itself ("includes raw event" is all the documentation says), and how soon an event is listed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import quote

from calls.leg_progress import MACHINES, OUTCOMES
from fallbacks.failure import Kind, Scope
from transports.dialling import (
    CarrierError,
    CarrierNews,
    DialPace,
    DialRequest,
    FoundCall,
    HeardLeg,
    carrier_errors,
    outcome_of,
    verdict_of,
)
from transports.media_stream.messages import is_id, part, text
from transports.rest import dial_error
from transports.telnyx.dialect import MAX_REF_CHARS
from transports.telnyx.events import answerer_of, end_of, ref_of, state_of
from transports.telnyx.rest import MAX_RING_S, MIN_RING_S, TelnyxAnswer, TelnyxRest

VOICE_PATH: Final = "/telnyx/voice"
MAX_PAGES: Final = 25  # of active calls, twenty each
EVENTS_A_PAGE: Final = 250
MAX_NESTED: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TelnyxRecord:
    """Telnyx's record of a call.

    Attributes:
        call_id: Its `call_control_id`.
        status: How it ended, in the terms of `calls.leg_progress`; empty if unknown, or if it goes
            on.
        over: Whether it has ended.
        sip_code: The SIP code of its end, if known.
        answered: Whether it is known to have been answered.
        answered_by: The result of answering-machine detection, if known.
    """

    call_id: str
    status: str = ""
    over: bool = False
    sip_code: int | None = None
    answered: bool = False
    answered_by: str = ""


THIS_NUMBER: Final = frozenset({Scope.PAYLOAD})
"""Other bad requests, such as an unknown application, are not about the number."""


@dataclass(slots=True, kw_only=True)
class TelnyxCarrier:
    """One application and one of its numbers; events come to our address.

    Attributes:
        rest: The account.
        connection_id: The application.
        public_url: Our address.
        number: Our number, which the callee sees.
        news: What the application's webhooks have reported.
        machine: Telnyx's machine detection.
        calls_per_s: How many calls the account may place.
    """

    rest: TelnyxRest
    connection_id: str
    public_url: str
    number: str
    news: CarrierNews
    machine: str = "detect"
    calls_per_s: float = 1.0
    _pace: DialPace = field(init=False)

    def __post_init__(self) -> None:
        """Create the pacing."""
        self._pace = DialPace(calls_per_s=self.calls_per_s, refuses=THIS_NUMBER)

    async def dial(self, request: DialRequest) -> str:
        """Place a call; return its id."""
        call_id = await self._pace.place(lambda: self._order(request), request)
        self.news.refs[request.dial_id] = call_id
        return call_id

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return the state of a dial.

        A call that is over without a reported reason counts as going on for ten minutes. Then
        Telnyx no longer knows it, and its outcome is unknown.
        """
        heard = await self.news.heard(dial_id)
        if heard is not None and heard.outcome is not None:
            return heard.found
        with carrier_errors():
            record = await self._look(dial_id, to, since_s, heard)
        if record is None:
            return None
        self.news.refs[dial_id] = record.call_id
        return _found(record, heard)

    async def cancel(self, dial_id: str, ordered: str) -> None:
        """Stop the ringing."""
        if refused := await self.rest.complete(ordered):
            raise CarrierError(refused)

    async def cost_of(self, provider_call_id: str) -> float | None:
        """Return the price of a call, if a webhook has reported it."""
        return await self.news.charged(provider_call_id)

    async def _look(
        self, dial_id: str, to: str, since_s: float, heard: HeardLeg | None
    ) -> TelnyxRecord | None:
        call_id = heard.call_ref if heard else self.news.refs.get(dial_id)
        record = await self._fetch(call_id) if call_id else await self._active(dial_id)
        if record is not None and not record.over:
            return record
        since = datetime.fromtimestamp(since_s, UTC)
        listed = await self._search(dial_id, to=to, since=since)
        if listed is None or (call_id and not listed.over):
            return record  # the list lags, or has lost the end
        return listed

    async def _order(self, request: DialRequest) -> str:
        """Order a call; return its id.

        Its `command_id` is our own id: for a minute Telnyx accepts no second order with it.
        """
        fields: dict[str, Any] = {
            "connection_id": self.connection_id,
            "to": request.to,
            "from": self.number,
            "webhook_url": f"{self.public_url}{VOICE_PATH}",
            "webhook_url_method": "POST",
            "client_state": state_of(request.dial_id),
            "command_id": request.dial_id,
            "timeout_secs": max(MIN_RING_S, min(MAX_RING_S, round(request.patience_s))),
            "answering_machine_detection": self.machine or "disabled",
        }
        placed = _record(_data(await self.rest.ask("POST", "calls", fields=fields)))
        if not placed.call_id:
            raise dial_error("telnyx", Kind.PROTOCOL, "no call_control_id")
        return placed.call_id

    async def _fetch(self, call_id: str) -> TelnyxRecord | None:
        """Return a call's record; `None` if Telnyx has none, or no longer.

        Telnyx keeps one for ten minutes after the call's end. A ringing call is already
        `is_alive: false`, so only the time of its end shows that it is over.
        """
        known = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
        told = await self.rest.ask("GET", f"calls/{quote(call_id, safe='')}", but=known)
        return _record(_data(told)) if told is not None else None

    async def _active(self, ref: str) -> TelnyxRecord | None:
        """Return the live call of a dial; `None` if there is none."""
        path = f"connections/{quote(self.connection_id, safe='')}/active_calls"
        query: list[tuple[str, str]] = []
        for _ in range(MAX_PAGES):
            told = await self.rest.ask("GET", path, query=query) or {}
            calls = _listed(told)
            for call in calls:
                if ref_of(call.get("client_state")) == ref:
                    return _record(call)
            after = text(part(part(told, "meta"), "cursors"), "after")
            if not calls or not after:
                return None
            query = [("page[after]", after)]
        return None

    async def _search(self, ref: str, *, to: str, since: datetime) -> TelnyxRecord | None:
        """Return a dial's events from the list: found by number and time, then by our own id.

        Telnyx lists only those of the last day.
        """
        query = [
            ("filter[product]", "call_control"),
            ("filter[type]", "webhook"),
            ("filter[to]", to),
            ("filter[occurred_at][gte]", since.astimezone(UTC).isoformat()),
            ("page[size]", str(EVENTS_A_PAGE)),
        ]
        told = await self.rest.ask("GET", "call_events", query=query) or {}
        ours = [
            (text(row, "name"), news)
            for row in _listed(told)
            if (news := _news(row.get("metadata"))) and ref_of(news.get("client_state")) == ref
        ]
        return _by_events(ours)


def _found(record: TelnyxRecord, heard: HeardLeg | None) -> FoundCall:
    machine = record.answered_by.startswith(MACHINES) or bool(heard and heard.machine)
    outcome = outcome_of(OUTCOMES.get(record.status), machine=machine)
    return FoundCall(
        provider_call_id=record.call_id,
        outcome=outcome,
        answered=record.answered or bool(heard and heard.answered),
        verdict=verdict_of(outcome, record.sip_code),
    )


def _by_events(events: Sequence[tuple[str, dict[str, Any]]]) -> TelnyxRecord | None:
    """Combine the events of one dial, in any order."""
    ids = [payload["call_control_id"] for _, payload in events]
    if not ids:
        return None
    ends = [end_of(payload) for name, payload in events if name == "call.hangup"]
    judged = [found for name, payload in events if (found := answerer_of(name, payload))]
    return TelnyxRecord(
        call_id=ids[0],
        over=bool(ends),
        answered=any(name == "call.answered" for name, _ in events),
        answered_by=judged[0] if judged else "",
        status=ends[0].status if ends else "",
        sip_code=ends[0].sip_code if ends else None,
    )


def _news(metadata: object, depth: int = 0) -> dict[str, Any] | None:
    """Return the event's payload, wherever it is in the metadata."""
    if not isinstance(metadata, dict) or depth > MAX_NESTED:
        return None
    fields = cast("dict[str, Any]", metadata)
    call_id = fields.get("call_control_id")
    if is_id(call_id, MAX_REF_CHARS):
        return fields
    found = (_news(field, depth + 1) for field in fields.values())
    return next((item for item in found if item is not None), None)


def _record(call: dict[str, Any]) -> TelnyxRecord:
    over = call.get("is_alive") is False and bool(call.get("end_time"))
    return TelnyxRecord(call_id=text(call, "call_control_id"), over=over)


def _data(told: TelnyxAnswer | None) -> dict[str, Any]:
    return part(told or {}, "data")


def _listed(told: TelnyxAnswer) -> list[dict[str, Any]]:
    return list(_dicts(told.get("data")))


def _dicts(found: object) -> Iterator[dict[str, Any]]:
    for item in cast("list[object]", found) if isinstance(found, list) else ():
        if isinstance(item, dict):
            yield cast("dict[str, Any]", item)
