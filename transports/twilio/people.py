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

from calls.entry import Emit
from calls.events import ProviderFailed
from calls.handover import Destination, Handover
from calls.leg_events import LegAnswered, LegEnded, LegOutcome, LegRinging
from fallbacks.failure import Kind, ServiceError, TransientError
from runtime import clock
from runtime.clock import Clock
from transports.leg import Leg
from transports.media_stream.leg import CarriedCall, StreamLeg
from transports.media_stream.messages import MULAW, Started
from transports.media_stream.stream import Stream as MediaStream
from transports.pool import KeyValues
from transports.twilio.dialect import TWILIO
from transports.twilio.rest import TwilioRest, created_s

RING_MARGIN_S: Final = 6.0  # after the ringing time: Twilio rings up to five seconds longer
# Between two status checks. An answer needs none, because the stream of the person reports it.
PERSON_CHECK_S: Final = 1.0
RESULT_BY_STATUS: Final[Mapping[str, Handover]] = {
    "busy": "busy",
    "no-answer": "no_answer",
    "canceled": "no_answer",
    "failed": "failed",
    "completed": "declined",  # answered and hung up before its stream opened
}
"""Source: twilio.com/docs/voice/api/call-resource, "Call Status Values"."""
UNCONFIRMED: Final = (Kind.TIMEOUT, Kind.NETWORK, Kind.PROTOCOL)  # a call may have been placed
RINGING: Final = frozenset({"queued", "initiated", "ringing"})
CALLED: Final = "twilio called"  # the kind of a called person in the pool's store
CALLED_S: Final = 60.0  # how long one is kept after the ringing: until all requests have failed
CLOCK_MARGIN_S: Final = 2.0  # chosen: how far our clock may be ahead of Twilio's
LEG_OUTCOME_BY_RESULT: Final[dict[Handover, LegOutcome]] = {
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
class _RingingPerson:
    """A person who is being called.

    Attributes:
        number: The person's number.
        sid: The call's id; empty until it is known.
        check_failed: Whether at least one status check has failed.
        picked_up: The person's leg, once they have answered and their stream has started.
        placing: Requests the call; returns its id.
    """

    number: str
    sid: str = ""
    check_failed: bool = False
    picked_up: asyncio.Future[Leg] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    placing: asyncio.Task[str] = field(init=False)


@dataclass(slots=True, kw_only=True)
class TwilioPeople:
    """Calls people, and takes the streams of those who answer.

    Attributes:
        rest: The account's API.
        our_number: The number that the person sees.
        socket_url: The URL of a media socket in this process.
        emit: Publishes events.
        clock: The time in seconds.
        key_values: Hold the people whom any process calls: their number, and the call's id once it
            is known.
        ringing: The people who are being called, by the token of their stream.
    """

    rest: TwilioRest
    our_number: str
    socket_url: str
    emit: Emit
    clock: Clock
    key_values: KeyValues
    ringing: dict[str, _RingingPerson] = field(default_factory=dict)

    async def call_person(self, to: Destination, *, ring_s: float) -> Leg | Handover:
        """Call a person; return their leg after they answer, or the result if they do not.

        Never raises but for a cancellation, after which the call is ended, too. Publishes the
        events of the leg; the one about its end only if no leg is returned.
        """
        token, began_at = secrets.token_urlsafe(32), self.clock()
        person = self.ringing[token] = _RingingPerson(number=to.number)
        person.placing = asyncio.get_running_loop().create_task(
            self._place_call(person, token, ring_s=ring_s), name="call a person"
        )
        try:
            person.sid = await asyncio.shield(person.placing)
            self.emit(LegRinging(call_ref=person.sid))
            result = await self._wait_for_answer(person, within_s=ring_s + RING_MARGIN_S)
        except ServiceError as error:
            self._emit_failure(error, "the person was not called")
            result = "failed"
        except asyncio.CancelledError:
            await asyncio.shield(self._end_once_placed(person))
            raise
        finally:
            del self.ringing[token]
        if result is None:
            self.emit(LegAnswered(call_ref=person.sid, after_s=self.clock() - began_at))
            return person.picked_up.result()
        await self._stop_or_hang_up(person)
        outcome = LEG_OUTCOME_BY_RESULT.get(result, "failed")
        self.emit(LegEnded(call_ref=person.sid, outcome=outcome, reason=result))
        return result

    async def take(self, token: str, started: Started, websocket: WebSocket) -> None:
        """Turn the stream of a person who has answered into their leg, and wait until it ends.

        A stream with an unknown or used token is ignored.
        """
        person = self.ringing.get(token)
        if person is None or person.picked_up.done():
            return
        leg = PersonLeg(
            websocket,
            CarriedCall(call_ref=started.call_sid, called=person.number, direction="outbound"),
            MediaStream(dialect=TWILIO, stream_id=started.stream_sid, ours=MULAW, theirs=MULAW),
            emit=self.emit,
            clock=self.clock,
            control=self.rest,
        )
        person.picked_up.set_result(leg)
        await leg.ended.wait()

    async def _wait_for_answer(self, person: _RingingPerson, *, within_s: float) -> Handover | None:
        """Wait for an answer; return `None` if the person answers in time, else the result.

        A person who answers opens a stream, which `take` reports. A call that is busy, declined or
        failed opens none, so Twilio is asked for its status every `PERSON_CHECK_S`.
        """
        until = self.clock() + within_s
        while self.clock() < until:
            await asyncio.wait({person.picked_up}, timeout=PERSON_CHECK_S)
            if person.picked_up.done():
                return None
            result = await self._check_once_unless_answered(person)
            if result is not None:
                # The person may have answered while the status was being checked.
                return None if person.picked_up.done() else result
        return None if person.picked_up.done() else "no_answer"

    async def _end_once_placed(self, person: _RingingPerson) -> None:
        """End a call after waiting for its id, because without the id the call would ring on."""
        with suppress(ServiceError):
            person.sid = await person.placing
        await self._stop_or_hang_up(person)

    async def _stop_or_hang_up(self, person: _RingingPerson) -> None:
        """Stop the ringing, or hang up on a person who has already answered.

        A stream that opens afterwards is ignored. A failure of the hang-up is published.
        """
        if person.picked_up.done() and not person.picked_up.cancelled():
            await person.picked_up.result().hang_up("too_late")
            return
        person.picked_up.cancel()  # so that `take` ignores a stream from now on
        if not person.sid:
            return
        canceled = (("Status", "canceled"),)  # for a ringing call; if it fails, we hang up
        try:
            await self.rest.ask("POST", f"Calls/{quote(person.sid, safe='')}", canceled)
        except ServiceError:
            error = await self.rest.complete(person.sid)
            if error is not None:
                self.emit(ProviderFailed(stage="transport", provider="twilio", error=error))

    async def _place_call(self, person: _RingingPerson, token: str, *, ring_s: float) -> str:
        """Place a call and return its id; meanwhile, no process takes it for a call of its own.

        Raises:
            ServiceError: It was not placed, or cannot be found.
        """
        place, sid, for_s = f"{CALLED} {token}", "", ring_s + CALLED_S
        await self.key_values.keep(place, {"number": person.number, "sid": ""}, for_s=for_s)
        try:
            sid = await self._request_call(person, token, ring_s=ring_s)
        finally:
            if sid:
                known = {"number": person.number, "sid": sid}
                await self.key_values.keep(place, known, for_s=for_s)
            else:
                await self.key_values.take(place)
        return sid

    async def _request_call(self, person: _RingingPerson, token: str, *, ring_s: float) -> str:
        """Request a call and return its id; never retry, because a second call might ring.

        If the response is lost, the call that was placed is looked for.

        Raises:
            ServiceError: It was not placed, or cannot be found.
        """
        fields = (
            ("To", person.number),
            ("From", self.our_number),
            ("Twiml", stream_twiml(self.socket_url, token)),
            ("Timeout", str(max(1, round(ring_s)))),
        )
        since_s = clock.utc_now().timestamp() - CLOCK_MARGIN_S
        try:
            placed = await self.rest.ask("POST", "Calls", fields)
        except TransientError as error:
            if error.failure.kind not in UNCONFIRMED:
                raise
            sid = await self._find_unconfirmed(person, token, since_s=since_s)
            if not sid:
                raise
            return sid
        return str(placed.get("sid", ""))

    async def _find_unconfirmed(self, person: _RingingPerson, token: str, *, since_s: float) -> str:
        """Return the id of a call that was placed although the request failed; empty without one.

        It would otherwise ring on, after the caller was told that no one could be called. If the
        person has answered, their stream says the id. Else it is the one unknown call to the number
        that rings and was requested since `since_s`: a call that was answered without a stream to
        us, or requested earlier, is someone else's. While another call to the number is being
        placed, that cannot be known.
        """
        query = (("To", person.number), ("From", self.our_number), ("PageSize", "20"))
        listed: Mapping[str, Any] = {}
        with suppress(ServiceError):  # the first failure is more informative
            listed = await self.rest.ask("GET", "Calls", query)
        if person.picked_up.done():
            return person.picked_up.result().facts.call_ref
        try:
            called = dict(await self.key_values.read_all(CALLED))
        except LookupError:
            return ""
        called.pop(f"{CALLED} {token}", None)
        known = {other["sid"] for other in called.values() if other["number"] == person.number}
        calls: Sequence[Mapping[str, Any]] = listed.get("calls", ())
        placed = {
            str(call.get("sid", ""))
            for call in calls
            if call.get("status") in RINGING and created_s(call) >= int(since_s)
        }
        unknown = placed - known
        return unknown.pop() if len(unknown) == 1 and "" not in known else ""

    async def _check_once_unless_answered(self, person: _RingingPerson) -> Handover | None:
        """Return the result of `_check_call`, or `None` as soon as the person answers meanwhile."""
        check = asyncio.get_running_loop().create_task(
            self._check_call(person), name="check a person's call"
        )
        try:
            await asyncio.wait({check, person.picked_up}, return_when=asyncio.FIRST_COMPLETED)
            return check.result() if check.done() else None
        finally:
            check.cancel()
            await asyncio.gather(check, return_exceptions=True)

    async def _check_call(self, person: _RingingPerson) -> Handover | None:
        """Return the result of a call by Twilio's record; `None` while it is in progress.

        If the check fails, the call counts as in progress.
        """
        try:
            record = await self.rest.ask("GET", f"Calls/{quote(person.sid, safe='')}")
        except ServiceError as error:
            if not person.check_failed:  # otherwise there would be one event per second
                self._emit_failure(error, "cannot check whether the call still rings")
            person.check_failed = True
            return None
        return RESULT_BY_STATUS.get(str(record.get("status")))

    def _emit_failure(self, error: ServiceError, what: str) -> None:
        logger.warning("{}: {}", what, error)
        self.emit(ProviderFailed(stage="transport", provider="twilio", error=str(error)))


class PersonLeg(StreamLeg):
    """The leg of a person that we called.

    Attributes:
        ended: Set after `hang_up`; the task of the stream waits for it.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # pyright: ignore[reportArgumentType] - passed on
        self.ended = asyncio.Event()

    async def hang_up(self, reason: str = "") -> None:
        """Hang up as every leg does; then let the task of the stream end, also after an error."""
        try:
            await super().hang_up(reason)
        finally:
            self.ended.set()
