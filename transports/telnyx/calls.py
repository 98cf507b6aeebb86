"""Calls that we place through Telnyx: asking for one, looking one up, ending one.

Source: developers.telnyx.com/api-reference/call-commands/dial, /debugging/list-call-events,
/call-information/retrieve-a-call-status, .../list-all-active-calls-for-given-connection.

A call's status says that it is over, and never why: the cause stands in the news of its end, and in
the list of its events. Not tried on a live account: where in an event's `metadata` the news itself
stands ("includes raw event" is all that is written), and how soon an event is listed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import quote

from fallbacks.failure import Kind
from transports.carrier_answers import DialOrder, dial_error
from transports.media_stream.messages import is_id, part, text
from transports.telnyx.dial import answerer_of, end_of, ref_of, state_of
from transports.telnyx.dialect import MAX_REF_CHARS
from transports.telnyx.rest import LEAST_RING_S, MOST_RING_S, PROVIDER, TelnyxAnswer, TelnyxRest

VOICE_PATH: Final = "/telnyx/voice"
MOST_PAGES: Final = 25  # of active calls, twenty each
EVENTS_A_PAGE: Final = 250
MOST_NESTED: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TelnyxRecord:
    """What Telnyx says of a call.

    Attributes:
        call_id: Its `call_control_id`.
        status: How it ended, in the words of `calls.leg_progress`; empty: that is not known, or it
            goes on.
        over: Whether it has ended.
        sip_code: With which it ended, as far as that is known.
        answered: Whether somebody is known to have picked up.
        answered_by: What the detection of answering machines is known to have found.
    """

    call_id: str
    status: str = ""
    over: bool = False
    sip_code: int | None = None
    answered: bool = False
    answered_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelnyxCalls:
    """Places calls of one application, whose news comes to our address.

    Every method raises `ServiceError`, classified: what is transient may be asked for again. A dial
    that was not answered may have been placed all the same: look before it is asked for again.
    """

    rest: TelnyxRest
    connection_id: str
    public_url: str

    async def dial(self, order: DialOrder) -> TelnyxRecord:
        """Ask for a call.

        Its `command_id` is our own id: for a minute Telnyx takes no second order with the same.
        """
        fields: dict[str, Any] = {
            "connection_id": self.connection_id,
            "to": order.to,
            "from": order.caller,
            "webhook_url": f"{self.public_url}{VOICE_PATH}",
            "webhook_url_method": "POST",
            "client_state": state_of(order.ref),
            "command_id": order.ref,
            "timeout_secs": max(LEAST_RING_S, min(MOST_RING_S, round(order.ring_s))),
            "answering_machine_detection": order.machine or "disabled",
        }
        placed = _record(_data(await self.rest.ask("POST", "calls", fields=fields)))
        if not placed.call_id:
            raise dial_error(PROVIDER, Kind.PROTOCOL, "no call_control_id")
        return placed

    async def fetch(self, call_id: str) -> TelnyxRecord | None:
        """Return what has become of a call; None: Telnyx knows none, or no more.

        It knows one for ten minutes behind its end. While a call rings it is `is_alive: false`
        already, so that only the moment of its end says that it is over.
        """
        known = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
        told = await self.rest.ask("GET", f"calls/{quote(call_id, safe='')}", but=known)
        return _record(_data(told)) if told is not None else None

    async def active(self, ref: str) -> TelnyxRecord | None:
        """Return the call of a dial that goes on; None: none does."""
        path = f"connections/{quote(self.connection_id, safe='')}/active_calls"
        query: list[tuple[str, str]] = []
        for _ in range(MOST_PAGES):
            told = await self.rest.ask("GET", path, query=query) or {}
            calls = _listed(told)
            for each in calls:
                if ref_of(each.get("client_state")) == ref:
                    return _record(each)
            after = text(part(part(told, "meta"), "cursors"), "after")
            if not calls or not after:
                return None
            query = [("page[after]", after)]
        return None

    async def search(self, ref: str, *, to: str, since: datetime) -> TelnyxRecord | None:
        """Return what the list of events has of a dial: by number and time, and then by our own id.

        Telnyx lists those of the last day alone.
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
            (text(each, "name"), news)
            for each in _listed(told)
            if (news := _news(each.get("metadata"))) and ref_of(news.get("client_state")) == ref
        ]
        return _by_events(ours)

    async def cancel(self, call_id: str) -> str | None:
        """End a call, also one that rings; return what went wrong, or None."""
        return await self.rest.complete(call_id)


def _by_events(events: Sequence[tuple[str, dict[str, Any]]]) -> TelnyxRecord | None:
    """Return what the news of one dial says together, in whatever order it is."""
    ids = [each["call_control_id"] for _, each in events]
    if not ids:
        return None
    ends = [end_of(each) for name, each in events if name == "call.hangup"]
    judged = [found for name, each in events if (found := answerer_of(name, each))]
    return TelnyxRecord(
        call_id=ids[0],
        over=bool(ends),
        answered=any(name == "call.answered" for name, _ in events),
        answered_by=judged[0] if judged else "",
        status=ends[0].status if ends else "",
        sip_code=ends[0].sip_code if ends else None,
    )


def _news(metadata: object, depth: int = 0) -> dict[str, Any] | None:
    """Return the payload that was told, wherever in an event's metadata it stands."""
    if not isinstance(metadata, dict) or depth > MOST_NESTED:
        return None
    fields = cast("dict[str, Any]", metadata)
    call_id = fields.get("call_control_id")
    if is_id(call_id, MAX_REF_CHARS):
        return fields
    found = (_news(each, depth + 1) for each in fields.values())
    return next((each for each in found if each is not None), None)


def _record(call: dict[str, Any]) -> TelnyxRecord:
    over = call.get("is_alive") is False and bool(call.get("end_time"))
    return TelnyxRecord(call_id=text(call, "call_control_id"), over=over)


def _data(told: TelnyxAnswer | None) -> dict[str, Any]:
    return part(told or {}, "data")


def _listed(told: TelnyxAnswer) -> list[dict[str, Any]]:
    return list(_dicts(told.get("data")))


def _dicts(found: object) -> Iterator[dict[str, Any]]:
    for each in cast("list[object]", found) if isinstance(found, list) else ():
        if isinstance(each, dict):
            yield cast("dict[str, Any]", each)
