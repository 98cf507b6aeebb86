"""Campaigns over Telnyx, which finds calls by our own id.

Telnyx reports once how a call ended, in a signed webhook. The call's status shows only that it has
ended, not how. So webhooks are read first. Then the call is looked up by its id, or in the list of
active calls, which has our id. Last comes Telnyx's list of events, for a webhook that no process
has received. The length of a call is our own measurement: it is not documented whether Telnyx's
includes the ringing.

Source: developers.telnyx.com/api-reference/call-commands/dial, /debugging/list-call-events,
/call-information/retrieve-a-call-status, .../list-all-active-calls-for-given-connection. Not tried
on a live account: where an event's `metadata` holds the event itself ("includes raw event" is all
the documentation says), and how soon an event is listed.
"""

from collections.abc import Sequence
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
    dial_outcome_of,
    verdict_of,
)
from transports.media_stream.messages import is_id, part, text
from transports.rest import dial_error
from transports.telnyx.dialect import MAX_REF_CHARS
from transports.telnyx.events import answerer_of, encoded_state, end_of, ref_of
from transports.telnyx.rest import MAX_RING_S, MIN_RING_S, TelnyxAnswer, TelnyxRest

VOICE_PATH: Final = "/telnyx/voice"
MAX_PAGES: Final = 25  # of active calls, twenty each
EVENTS_A_PAGE: Final = 250
MAX_NESTED: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TelnyxRecord:
    """Telnyx's record of a call.

    Attributes:
        call_id: The call's `call_control_id`.
        status: How the call ended, in the terms of `calls.leg_progress`; empty if it goes on, or if
            this is unknown.
        over: Whether the call has ended.
        sip_code: The SIP code at the end, if known.
        answered: Whether the call is known to have been answered.
        answered_by: The result of the machine detection, if known.
    """

    call_id: str
    status: str = ""
    over: bool = False
    sip_code: int | None = None
    answered: bool = False
    answered_by: str = ""


THIS_NUMBER: Final = frozenset({Scope.PAYLOAD})
"""The scope of a bad request that refuses the number; other scopes do not concern the number."""


@dataclass(slots=True, kw_only=True)
class TelnyxCarrier:
    """One application and one of its numbers; events come to our address.

    Attributes:
        rest: The account's API.
        connection_id: The application.
        public_url: Our address.
        number: Our number, which the callee sees.
        news: What the application's webhooks have reported.
        machine: The mode of Telnyx's machine detection; empty for none.
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
        self._pace = DialPace(calls_per_s=self.calls_per_s, refused_scopes=THIS_NUMBER)

    async def dial(self, request: DialRequest) -> str:
        """Place a call; return its id."""
        call_id = await self._pace.place(lambda: self._request_call(request), request)
        self.news.refs[request.dial_id] = call_id
        return call_id

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return the state of a dial; `None` if Telnyx never had such a call, or has deleted it.

        A call that has ended without a reported cause counts as in progress for ten minutes. Then
        Telnyx no longer has it.
        """
        reported = await self.news.heard(dial_id)
        if reported is not None and reported.outcome is not None:
            return reported.found
        with carrier_errors():
            record = await self._fetch_or_search(dial_id, to, since_s, reported)
        if record is None:
            return None
        self.news.refs[dial_id] = record.call_id
        return _found_call(record, reported)

    async def cancel(self, dial_id: str, ordered: str) -> None:
        """End a call, even if it has been answered meanwhile.

        Raises:
            CarrierError: Telnyx did not confirm it.
        """
        if error := await self.rest.complete(ordered):
            raise CarrierError(error)

    async def cost_of(self, provider_call_id: str) -> float | None:
        """Return the price of a call; `None` if no webhook has reported it. Sends no request."""
        return await self.news.charged(provider_call_id)

    async def _fetch_or_search(
        self, dial_id: str, to: str, since_s: float, reported: HeardLeg | None
    ) -> TelnyxRecord | None:
        """Return a dial by its id or among the active calls, else by its events, else `None`.

        The events also replace a record that shows an end, because they show how the call ended.
        """
        call_id = reported.call_ref if reported else self.news.refs.get(dial_id)
        record = await self._fetch_record(call_id) if call_id else await self._find_active(dial_id)
        if record is not None and not record.over:
            return record
        since = datetime.fromtimestamp(since_s, UTC)
        listed = await self._search_events(dial_id, to=to, since=since)
        if listed is None or (call_id and not listed.over):
            return record  # the list does not have the end, or not yet
        return listed

    async def _request_call(self, request: DialRequest) -> str:
        """Request a call; return its id.

        The `command_id` is our own id: for a minute Telnyx ignores a second request with it.
        """
        fields: dict[str, Any] = {
            "connection_id": self.connection_id,
            "to": request.to,
            "from": self.number,
            "webhook_url": f"{self.public_url}{VOICE_PATH}",
            "webhook_url_method": "POST",
            "client_state": encoded_state(request.dial_id),
            "command_id": request.dial_id,
            "timeout_secs": max(MIN_RING_S, min(MAX_RING_S, round(request.patience_s))),
            "answering_machine_detection": self.machine or "disabled",
        }
        placed = _record_from_call(
            _data_in_answer(await self.rest.ask("POST", "calls", fields=fields))
        )
        if not placed.call_id:
            raise dial_error("telnyx", Kind.PROTOCOL, "no call_control_id")
        return placed.call_id

    async def _fetch_record(self, call_id: str) -> TelnyxRecord | None:
        """Return a call's record; `None` without one, as from ten minutes after the call's end.

        `is_alive` is also false while a call rings, so only the end time shows that it has ended.
        """
        unknown = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
        answer = await self.rest.ask("GET", f"calls/{quote(call_id, safe='')}", none_for=unknown)
        return _record_from_call(_data_in_answer(answer)) if answer is not None else None

    async def _find_active(self, ref: str) -> TelnyxRecord | None:
        """Return the live call of a dial; `None` if the first `MAX_PAGES` pages do not have it."""
        path = f"connections/{quote(self.connection_id, safe='')}/active_calls"
        query: list[tuple[str, str]] = []
        for _ in range(MAX_PAGES):
            answer = await self.rest.ask("GET", path, query=query) or {}
            calls = _items_in_answer(answer)
            for call in calls:
                if ref_of(call.get("client_state")) == ref:
                    return _record_from_call(call)
            after = text(part(part(answer, "meta"), "cursors"), "after")
            if not calls or not after:
                return None
            query = [("page[after]", after)]
        return None

    async def _search_events(self, ref: str, *, to: str, since: datetime) -> TelnyxRecord | None:
        """Return a dial as Telnyx's list of events shows it; `None` if it has no event there.

        The list, which has only the events of the last day, is filtered by number and time, and
        here by our own id. Only the first `EVENTS_A_PAGE` events in it are read.
        """
        query = [
            ("filter[product]", "call_control"),
            ("filter[type]", "webhook"),
            ("filter[to]", to),
            ("filter[occurred_at][gte]", since.astimezone(UTC).isoformat()),
            ("page[size]", str(EVENTS_A_PAGE)),
        ]
        answer = await self.rest.ask("GET", "call_events", query=query) or {}
        events = [
            (text(row, "name"), payload)
            for row in _items_in_answer(answer)
            if (payload := _payload_in(row.get("metadata")))
            and ref_of(payload.get("client_state")) == ref
        ]
        return _record_from_events(events)


def _found_call(record: TelnyxRecord, reported: HeardLeg | None) -> FoundCall:
    """Join a record with the webhooks, `None` without any, which may know of an answer first."""
    machine = record.answered_by.startswith(MACHINES) or bool(reported and reported.machine)
    outcome = dial_outcome_of(OUTCOMES.get(record.status), machine=machine)
    return FoundCall(
        provider_call_id=record.call_id,
        outcome=outcome,
        answered=record.answered or bool(reported and reported.answered),
        verdict=verdict_of(outcome, record.sip_code),
    )


def _record_from_events(events: Sequence[tuple[str, dict[str, Any]]]) -> TelnyxRecord | None:
    """Return what the events of one dial, in any order, show together; `None` without any."""
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


def _payload_in(metadata: object, depth: int = 0) -> dict[str, Any] | None:
    """Return the event's payload, wherever it is in the metadata; `None` if it is not there."""
    if not isinstance(metadata, dict) or depth > MAX_NESTED:
        return None
    fields = cast("dict[str, Any]", metadata)
    call_id = fields.get("call_control_id")
    if is_id(call_id, MAX_REF_CHARS):
        return fields
    inner = (_payload_in(field, depth + 1) for field in fields.values())
    return next((payload for payload in inner if payload is not None), None)


def _record_from_call(call: dict[str, Any]) -> TelnyxRecord:
    over = call.get("is_alive") is False and bool(call.get("end_time"))
    return TelnyxRecord(call_id=text(call, "call_control_id"), over=over)


def _data_in_answer(answer: TelnyxAnswer | None) -> dict[str, Any]:
    return part(answer or {}, "data")


def _items_in_answer(answer: TelnyxAnswer) -> list[dict[str, Any]]:
    found = answer.get("data")
    items = cast("list[object]", found) if isinstance(found, list) else []
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]
