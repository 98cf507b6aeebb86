"""Outbound calls through Telnyx: ordering one, looking one up, ending one.

Source: developers.telnyx.com/api-reference/call-commands/dial, /debugging/list-call-events,
/call-information/retrieve-a-call-status, .../list-all-active-calls-for-given-connection.

A call's status shows that it is over, but not why: only its hang-up event and the list of its
events give the cause. Not tried on a live account: where an event's `metadata` holds the event
itself ("includes raw event" is all the documentation says), and how soon an event is listed.
"""

import asyncio
import base64
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, TypeAlias, cast
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr

from fallbacks.classification import classify_http
from fallbacks.failure import Kind, ServiceError
from transports.http_requests import ASK_S, DialOrder, answered, dial_error, request
from transports.media_stream.messages import is_id, part, text
from transports.telnyx.dial import answerer_of, end_of, ref_of, state_of
from transports.telnyx.dialect import MAX_REF_CHARS

PROVIDER: Final = "telnyx"
API_URL: Final = "https://api.telnyx.com"
LEAST_RING_S: Final = 5
MOST_RING_S: Final = 600
NO_ANSWER: Final = 0  # in place of a status: the request got no answer
ASKED: Final = 2  # times: an unanswered command is repeated, but is carried out only once
TelnyxAnswer: TypeAlias = dict[str, Any]
"""The JSON of an answer: the result is in `data`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TelnyxRest:
    """The REST account for commands, and the format of a call's sound.

    Source: developers.telnyx.com/api-reference/call-commands. Repeating a command with the same
    `command_id` for the same call has no effect.
    """

    api_key: SecretStr
    api_url: str = API_URL
    codec: str = "PCMU"
    rate_hz: int = 8000

    async def pick_up(self, call_id: str, *, token: str) -> int:
        """Answer a call; the token returns with all its events. Return the status."""
        state = base64.b64encode(token.encode()).decode()
        fields = {"client_state": state, "command_id": "answer"}
        return await self._command(call_id, "answer", fields)

    async def reject(self, call_id: str) -> int:
        """Play the busy tone to a caller. Return the status."""
        return await self._command(call_id, "reject", {"cause": "USER_BUSY"})

    async def start_stream(self, call_id: str, *, url: str, token: str, once: str = "") -> int:
        """Stream a call's sound to `url`, and ours back. Return the status.

        Args:
            call_id: The call.
            url: The address of our socket.
            token: Authorises the stream there.
            once: Names the stream, so that a call cannot have two of the same name; empty to use
                its token.
        """
        fields = {
            "stream_url": url,
            "stream_track": "inbound_track",
            "stream_codec": self.codec,
            "stream_bidirectional_mode": "rtp",  # the default is MP3, one message a second
            "stream_bidirectional_codec": self.codec,
            "stream_bidirectional_sampling_rate": self.rate_hz,
            "custom_parameters": [{"name": "token", "value": token}],
            "command_id": f"stream-{once or token[:32]}",
        }
        return await self._command(call_id, "streaming_start", fields)

    async def complete(self, call_ref: str) -> str | None:
        """End a call; one that has already ended (422, code 90018) is fine."""
        status = await self._command(call_ref, "hangup", {})
        over = (HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
        if status in over:
            return None
        return f"hang-up answered {status}" if status else "hang-up not answered"

    async def press(self, call_ref: str, keys: str) -> bool:
        """Send keys to the far end; repeated if unanswered, but carried out once."""
        fields = {"digits": keys, "command_id": f"keys-{secrets.token_hex(8)}"}
        return await self._insist(call_ref, "send_dtmf", fields) == HTTPStatus.OK

    async def hand_on(
        self, call_id: str, number: str, *, ring_s: float, once: str, state: str, own_state: str
    ) -> int:
        """Ring a person and connect them with the caller; repeated if it was not answered.

        Return the status.

        Args:
            call_id: The caller's call.
            number: The number to ring.
            ring_s: How long; Telnyx accepts five seconds to ten minutes.
            once: Names the ringing: a repeat with this name does not ring again.
            state: Returns with all events of the ringing leg.
            own_state: Returns with all events of the caller's leg from now on.
        """
        fields = {
            "to": number,
            "timeout_secs": max(LEAST_RING_S, min(MOST_RING_S, round(ring_s))),
            "client_state": base64.b64encode(own_state.encode()).decode(),
            "target_leg_client_state": base64.b64encode(state.encode()).decode(),
            "command_id": f"transfer-{once}",
        }
        return await self._insist(call_id, "transfer", fields)

    async def note(self, call_id: str, state: str) -> int:
        """Attach this state to all of a call's events from now on. Return the status."""
        fields = {"client_state": base64.b64encode(state.encode()).decode()}
        return await self._command(call_id, "client_state_update", fields, method="PUT")

    async def ask(
        self,
        method: str,
        resource: str,
        *,
        fields: Mapping[str, Any] | None = None,
        query: Sequence[tuple[str, str]] = (),
        but: Sequence[int] = (),
    ) -> TelnyxAnswer | None:
        """Return the JSON of an answer, for work outside a call; `None` for a status in `but`.

        Raises:
            ServiceError: It failed; tells how, and whether a retry may help.
        """
        status, body = await answered(PROVIDER, self._send(method, resource, fields, query))
        if status in but:
            return None
        if status >= HTTPStatus.BAD_REQUEST or not isinstance(body, dict):
            raise _refusal(status, body)
        return body

    async def _insist(self, call_id: str, action: str, fields: dict[str, Any]) -> int:
        """Send a named command, twice if it gets no answer: it is carried out once."""
        status = NO_ANSWER
        for _ in range(ASKED):
            status = await self._command(call_id, action, fields)
            if status != NO_ANSWER:
                break
        return status

    async def _command(
        self, call_id: str, action: str, fields: dict[str, Any], *, method: str = "POST"
    ) -> int:
        try:
            async with asyncio.timeout(ASK_S):
                resource = f"calls/{quote(call_id, safe='')}/actions/{action}"
                status, _ = await self._send(method, resource, fields, (), reads=False)
        except (TimeoutError, aiohttp.ClientError):
            return NO_ANSWER
        return status

    async def _send(
        self,
        method: str,
        resource: str,
        fields: Mapping[str, Any] | None,
        query: Sequence[tuple[str, str]],
        *,
        reads: bool = True,
    ) -> tuple[int, Any]:
        """Send a request; return the answer's status and its JSON, `None` if it has none.

        A command, whose answer is not read, may be sent twice.
        """
        url = f"{self.api_url.rstrip('/')}/v2/{resource}"
        headers = {"Authorization": f"Bearer {self.api_key.get_secret_value()}"}
        async with request(
            method, url, twice=not reads, json=fields, params=query, headers=headers
        ) as answer:
            is_json = reads and answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else None


def _refusal(status: int, body: Any) -> ServiceError:
    """Return the error of a refusal: `{"errors": [{"code": …}, …]}`, whose first entry counts."""
    errors = body.get("errors") if isinstance(body, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    code = first.get("code") if isinstance(first, dict) else None
    reason = f"HTTP {status}" + (f", Telnyx error {code}" if code else "")
    return dial_error(PROVIDER, classify_http(PROVIDER, status, first), reason)


VOICE_PATH: Final = "/telnyx/voice"
MOST_PAGES: Final = 25  # of active calls, twenty each
EVENTS_A_PAGE: Final = 250
MOST_NESTED: Final = 4


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TelnyxCalls:
    """Places calls of one application; events come to our address.

    Every method raises a classified `ServiceError`; transient failures may be retried. A dial that
    got no answer may have been placed anyway: look it up before a retry.
    """

    rest: TelnyxRest
    connection_id: str
    public_url: str

    async def dial(self, order: DialOrder) -> TelnyxRecord:
        """Order a call.

        Its `command_id` is our own id: for a minute Telnyx accepts no second order with it.
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
        """Return a call's record; `None` if Telnyx has none, or no longer.

        Telnyx keeps one for ten minutes after the call's end. A ringing call is already
        `is_alive: false`, so only the time of its end shows that it is over.
        """
        known = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
        told = await self.rest.ask("GET", f"calls/{quote(call_id, safe='')}", but=known)
        return _record(_data(told)) if told is not None else None

    async def active(self, ref: str) -> TelnyxRecord | None:
        """Return the live call of a dial; `None` if there is none."""
        path = f"connections/{quote(self.connection_id, safe='')}/active_calls"
        query: list[tuple[str, str]] = []
        for _ in range(MOST_PAGES):
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

    async def search(self, ref: str, *, to: str, since: datetime) -> TelnyxRecord | None:
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

    async def cancel(self, call_id: str) -> str | None:
        """End a call, even a ringing one; return the error, or `None`."""
        return await self.rest.complete(call_id)


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
    if not isinstance(metadata, dict) or depth > MOST_NESTED:
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
