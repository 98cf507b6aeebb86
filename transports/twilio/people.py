"""Calls people through Twilio, for callers who wait; each called person gets a media stream."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from fastapi import WebSocket
from loguru import logger
from twilio.twiml.voice_response import Connect, Stream, VoiceResponse

from bot.clock import Clock
from calls.entry import Emit
from calls.events import ProviderFailed
from calls.handover import Destination, Handover
from calls.leg_events import LegAnswered, LegEnded, LegOutcome, LegRinging
from fallbacks.failure import Kind, ServiceError, TransientError
from transports.leg import Leg
from transports.media_stream.leg import CarriedCall, StreamLeg
from transports.media_stream.messages import MULAW, Started
from transports.media_stream.stream import Stream as MediaStream
from transports.twilio.dialect import TWILIO
from transports.twilio.rest import TwilioRest

MORE_S: Final = 6.0  # waited after the ringing time: Twilio rings up to five seconds longer
LOOK_S: Final = 1.0  # between two status checks; an answer shows without them, by its stream
OUTCOMES: Final[Mapping[str, Handover]] = {
    "busy": "busy",
    "no-answer": "no_answer",
    "canceled": "no_answer",
    "failed": "failed",
    "completed": "declined",  # answered and hung up before its stream opened
}
"""Source: twilio.com/docs/voice/api/call-resource, "Call Status Values"."""
UNCONFIRMED: Final = (Kind.TIMEOUT, Kind.NETWORK, Kind.PROTOCOL)  # a call may have been placed
IN_PROGRESS: Final = frozenset({"queued", "initiated", "ringing", "in-progress"})
OUTCOME_OF: Final[dict[Handover, LegOutcome]] = {
    "busy": "busy",
    "no_answer": "no-answer",
    "declined": "completed",
}


def stream_twiml(url: str, token: str, *, action: str | None = None) -> str:
    """Return TwiML that opens a stream.

    Args:
        url: The media socket.
        token: Returned to us in the stream's start message.
        action: The URL that Twilio asks for instructions after the stream; `None` to end the call
            then.
    """
    stream = Stream(url=url)
    stream.parameter(name="token", value=token)
    connect = Connect(action=action)
    connect.append(stream)
    answer = VoiceResponse()
    answer.append(connect)
    return str(answer)


@dataclass(slots=True)
class _Called:
    """A person who is being called, and the result."""

    called: str  # the number
    placing: asyncio.Task[str]  # returns the call's id
    sid: str = ""
    check_failed: bool = False  # at least once
    picked_up: asyncio.Future[Leg] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


@dataclass(slots=True, kw_only=True)
class TwilioPeople:
    """Calls people, and takes the streams of those who answer.

    Attributes:
        rest: The account's API.
        our_number: The number that the person sees.
        socket_url: The URL of a media socket in this process.
        emit: Publishes events.
        clock: The time in seconds.
        called: The people who are being called, by the token of their stream.
    """

    rest: TwilioRest
    our_number: str
    socket_url: str
    emit: Emit
    clock: Clock
    called: dict[str, _Called] = field(default_factory=dict)

    async def call_person(self, to: Destination, *, ring_s: float) -> Leg | Handover:
        """Call a person; return their leg after they answer, or the result if they do not."""
        token, began_at = secrets.token_urlsafe(32), self.clock()
        placing = asyncio.get_running_loop().create_task(
            self._place(to.number, token, ring_s=ring_s), name="call a person"
        )
        waiting = self.called[token] = _Called(called=to.number, placing=placing)
        try:
            waiting.sid = await asyncio.shield(placing)
            self.emit(LegRinging(call_ref=waiting.sid))
            outcome = await self._outcome(waiting, ring_s + MORE_S)
        except ServiceError as error:
            self._emit_failure(error, "the person was not called")
            outcome = "failed"
        except asyncio.CancelledError:
            await asyncio.shield(self._abandon(waiting))
            raise
        finally:
            del self.called[token]
        if outcome is None:
            self.emit(LegAnswered(call_ref=waiting.sid, after_s=self.clock() - began_at))
            return waiting.picked_up.result()
        await self._end(waiting)
        ended = OUTCOME_OF.get(outcome, "failed")
        self.emit(LegEnded(call_ref=waiting.sid, outcome=ended, reason=outcome))
        return outcome

    async def take(self, token: str, started: Started, websocket: WebSocket) -> None:
        """Turn the stream of a person who has answered into their leg, and wait until it ends.

        A stream with an unknown or used token is ignored.
        """
        waiting = self.called.get(token)
        if waiting is None or waiting.picked_up.done():
            return
        leg = PersonLeg(
            websocket,
            CarriedCall(call_ref=started.call_sid, called=waiting.called, direction="outbound"),
            MediaStream(dialect=TWILIO, stream_id=started.stream_sid, ours=MULAW, theirs=MULAW),
            emit=self.emit,
            clock=self.clock,
            control=self.rest,
        )
        waiting.picked_up.set_result(leg)
        await leg.over.wait()

    async def _outcome(self, waiting: _Called, within_s: float) -> Handover | None:
        """Wait for an answer; return `None` if the call was answered in time, else its result."""
        until_s = self.clock() + within_s
        while self.clock() < until_s:
            await asyncio.wait({waiting.picked_up}, timeout=LOOK_S)
            if waiting.picked_up.done():
                return None
            if (outcome := await self._check_until_answer(waiting)) is not None:
                return None if waiting.picked_up.done() else outcome
        return None if waiting.picked_up.done() else "no_answer"

    async def _abandon(self, waiting: _Called) -> None:
        """End a call after waiting for its id, because without the id the call would ring on."""
        with suppress(ServiceError):
            waiting.sid = await waiting.placing
        await self._end(waiting)

    async def _end(self, waiting: _Called) -> None:
        """Stop the ringing, or hang up on a person who has already answered."""
        if waiting.picked_up.done() and not waiting.picked_up.cancelled():
            await waiting.picked_up.result().hang_up("too_late")
            return
        waiting.picked_up.cancel()
        if not waiting.sid:
            return
        canceled = (("Status", "canceled"),)  # for a ringing call; an answered one is completed
        try:
            await self.rest.ask("POST", f"Calls/{quote(waiting.sid, safe='')}", canceled)
        except ServiceError:
            error = await self.rest.complete(waiting.sid)
            if error is not None:
                self.emit(ProviderFailed(stage="transport", provider="twilio", error=error))

    async def _place(self, number: str, token: str, *, ring_s: float) -> str:
        """Place a call and return its id; never retry, because a second call might ring."""
        fields = (
            ("To", number),
            ("From", self.our_number),
            ("Twiml", stream_twiml(self.socket_url, token)),
            ("Timeout", str(max(1, round(ring_s)))),
        )
        try:
            placed = await self.rest.ask("POST", "Calls", fields)
        except TransientError as error:
            sid = await self._find_unconfirmed(number) if error.failure.kind in UNCONFIRMED else ""
            if not sid:
                raise
            return sid
        return str(placed.get("sid", ""))

    async def _find_unconfirmed(self, number: str) -> str:
        """Return the id of the one unknown call in progress to a number; empty unless there is one.

        This finds a call that was placed although the request failed. It would otherwise ring on,
        after the caller was told that no one could be called.
        """
        query = (("To", number), ("From", self.our_number), ("PageSize", "20"))
        try:
            listed = await self.rest.ask("GET", "Calls", query)
        except ServiceError:  # the first failure is more informative
            return ""
        calls: Sequence[Mapping[str, Any]] = listed.get("calls", ())
        placed = {str(call.get("sid", "")) for call in calls if call.get("status") in IN_PROGRESS}
        unknown = placed - {called.sid for called in self.called.values()}
        return unknown.pop() if len(unknown) == 1 else ""

    async def _check_until_answer(self, waiting: _Called) -> Handover | None:
        """Check the status of a call; return at once if it is answered meanwhile."""
        check = asyncio.get_running_loop().create_task(
            self._check(waiting), name="check a person's call"
        )
        try:
            await asyncio.wait({check, waiting.picked_up}, return_when=asyncio.FIRST_COMPLETED)
            return check.result() if check.done() else None
        finally:
            check.cancel()
            await asyncio.gather(check, return_exceptions=True)

    async def _check(self, waiting: _Called) -> Handover | None:
        """Return the result of a call by Twilio's record; `None` while it is in progress.

        If the check fails, the call counts as in progress.
        """
        try:
            record = await self.rest.ask("GET", f"Calls/{quote(waiting.sid, safe='')}")
        except ServiceError as error:
            if not waiting.check_failed:  # otherwise there would be one event per second
                self._emit_failure(error, "cannot check whether the call still rings")
            waiting.check_failed = True
            return None
        return OUTCOMES.get(str(record.get("status")))

    def _emit_failure(self, error: ServiceError, what: str) -> None:
        logger.warning("{}: {}", what, error)
        self.emit(ProviderFailed(stage="transport", provider="twilio", error=str(error)))


class PersonLeg(StreamLeg):
    """The leg of a person that we called.

    Attributes:
        over: Set after `hang_up`; the task of the stream waits for it.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # pyright: ignore[reportArgumentType] - passed on
        self.over = asyncio.Event()

    async def hang_up(self, reason: str = "") -> None:
        """End the call at the carrier, and close the socket."""
        try:
            await super().hang_up(reason)
        finally:
            self.over.set()
