"""A call over a carrier's media stream, as a leg."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from fastapi import WebSocket
from pipecat.transports.websocket.fastapi import (
    FastAPIWebsocketParams,
    FastAPIWebsocketTransport,
)

from calls.caller import Attestation
from calls.entry import Emit
from calls.events import ProviderFailed
from calls.handover import MAX_RING_S, RESULT_S, Destination, Handover, RingTrouble
from transports.key_tones import key_tones
from transports.leg import MOVED, Gone, LegFacts, PlainLeg, may_order
from transports.media_stream.input import StreamInput
from transports.media_stream.line import (
    ENDED,
    HUNG_UP,
    LOST,
    NORMAL,
    STALLED,
    LinePatience,
    StreamLine,
    close,
)
from transports.media_stream.output import StreamOutput
from transports.media_stream.stream import Stream, StreamSerializer

SPARE_S: Final = 30.0  # a margin, so that our own time limit comes first: a caller returns in 15 s
UNNAMED: Final = frozenset({"", "unknown", "carrier"})  # values that do not say who ended a call
# How long a transfer request without a response may take to show an effect, while the caller waits
# (chosen).
LATE_S: Final = 5.0


class StreamTransport(FastAPIWebsocketTransport):
    """Pipecat's transport with our input and output."""

    def __init__(self, websocket: WebSocket, line: StreamLine) -> None:
        """Build the input and output, and declare the `on_gone` event; no task starts."""
        self._line = line
        rate_hz = line.stream.rate_hz
        params = FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_in_sample_rate=rate_hz,
            audio_out_enabled=True,
            audio_out_sample_rate=rate_hz,
            audio_out_end_silence_secs=0,  # the last mark shows when the last word was played
            # While there is no stream, speech waits longer than Pipecat's default: for the caller's
            # return, or for the end of a transfer's ringing.
            audio_out_write_timeout_secs=line.returns_within_s + MAX_RING_S + SPARE_S,
            serializer=StreamSerializer(line.stream),
            allowed_origins=[],  # carriers send no `Origin`
        )
        super().__init__(websocket, params)
        self.stream_input = self._input = StreamInput(self, line)
        self.stream_output = self._output = StreamOutput(self, line)
        self._register_event_handler("on_gone")

    def on_gone(self, gone: Gone) -> None:
        """Call `gone` when the far end is gone."""

        async def call(_: "StreamTransport", reason: str) -> None:
            await gone(reason)

        self.add_event_handler("on_gone", call)
        self._line.emit_gone = self._emit_gone

    def renew(self, websocket: WebSocket, stream_id: str) -> None:
        """Switch both directions to another stream; `StreamLine.restore` must follow."""
        self._line.renew(websocket, stream_id)
        self._client._websocket = websocket  # noqa: SLF001 - Pipecat has no method for it

    async def _emit_gone(self, reason: str) -> None:
        """Call the handlers of `on_gone`, without waiting for them."""
        # In a task of Pipecat's, because a handler may end the task that has noticed the end.
        await self._call_event_handler("on_gone", reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedCall:
    """A carrier's information about a call."""

    call_ref: str
    caller: str = ""
    called: str = ""
    direction: Literal["inbound", "outbound"] = "inbound"
    dial_id: str = ""  # our own id of the dial, if we placed the call
    attestation: Attestation = "unknown"

    @property
    def other_party(self) -> str:
        """The other party's number; empty if it is unknown."""
        return self.called if self.direction == "outbound" else self.caller


class CallControl(Protocol):
    """The call commands that a carrier offers in addition to its media stream."""

    async def complete(self, call_ref: str) -> str | None:
        """End a call; return the error, without secrets, or `None`."""
        ...

    async def press(self, call_ref: str, keys: str) -> bool:
        """Send keypad digits to the far end; return False if they were not sent."""
        ...


class TransferOrder(Protocol):
    """Requests a transfer during which the call's stream continues."""

    async def __call__(self, leg: LegFacts, to: Destination, *, ring_s: float) -> Handover:
        """Transfer a call and return the result; never raises."""
        ...


class RingOrder(Protocol):
    """Requests a transfer that ends the call's stream while the person's telephone rings."""

    async def __call__(
        self, call_ref: str, to: Destination, *, ring_s: float
    ) -> RingTrouble | None:
        """Return the error, or `None` if the request was accepted; never raises.

        Args:
            call_ref: The carrier's id of the caller's call.
            to: The destination, from the configuration and never from a model's words.
            ring_s: How long it may ring there.
        """
        ...


class StreamLeg(PlainLeg):
    """The caller's audio connection through a carrier.

    Reasons given to `on_gone`: `caller_hung_up` (reported by the carrier, or the stream's `stop`,
    which names no party), `line_ended` (the carrier reports that it was not the far end),
    `connection_lost` (the socket closed without a report, or because of a flood of messages),
    `stalled` (no media arrived, or none of ours was accepted).

    A ring order ends the stream, and the call waits for its caller as after a lost line.
    `note_transfer_result` brings the carrier's result.

    Attributes:
        stream_ids: The carrier's ids of the streams that this leg has had.

    Args:
        websocket: Accepted; this leg is its only user from here on.
        call: The carrier's information about the call.
        stream: The stream and its carrier's dialect.
        emit: Takes events about refused messages. A key is a frame, reported by its reader.
        clock: Monotonic seconds.
        control: Hangs up and sends digits; without it, the socket is closed, and digits are tones.
        patience: How long to wait for the line.
        transfer: Transfers the caller, if the carrier can beside the stream.
        ring: Rings a person for the caller, if the carrier can in place of the stream.
    """

    def __init__(
        self,
        websocket: WebSocket,
        call: CarriedCall,
        stream: Stream,
        *,
        emit: Emit,
        clock: Callable[[], float],
        control: CallControl | None = None,
        patience: LinePatience | None = None,
        transfer: TransferOrder | None = None,
        ring: RingOrder | None = None,
    ) -> None:
        """Build the line and the transport around the socket; nothing is read or sent yet."""
        self.facts = LegFacts(
            transport=stream.dialect.carrier,
            sample_rate_hz=stream.rate_hz,
            caller=call.caller,
            called=call.called,
            call_ref=call.call_ref,
            direction=call.direction,
            dial_id=call.dial_id,
            attestation=call.attestation,
            moves=stream.dialect.opens_again and bool(patience and patience.returns_within_s),
            transfers=transfer is not None or ring is not None,
        )
        self.stream_ids = {stream.stream_id}
        self._control, self._transfer, self._ring = control, transfer, ring
        self._hung_up = self.is_moved = False
        self._transferred = False  # the caller talks to another person, so we must not hang up
        self._transfer_result: asyncio.Future[Handover] | None = None
        # A transfer has no known result, and the caller has not returned.
        self._transfer_unresolved = False
        self._transfer_unconfirmed = False  # the transfer request has had no response
        self._line = StreamLine(
            websocket, stream, emit=emit, clock=clock, patience=patience or LinePatience()
        )
        self._transport = StreamTransport(websocket, self._line)

    def tell_to(self, emit: Emit) -> None:
        """Publish refused messages as events of the call, now that the call exists."""
        self._line.emit = emit

    def input(self) -> StreamInput:
        """Return the processor that receives the caller's audio."""
        return self._transport.stream_input

    def output(self) -> StreamOutput:
        """Return the processor that plays to the caller."""
        return self._transport.stream_output

    def played_s(self) -> float:
        """Return the seconds of our audio that the carrier has played to the caller.

        This is known from the echoes of marks, which are sent after every 0.2 s of audio and after
        each utterance. Audio that a `clear` dropped is not counted. The value is never more than
        the caller has heard, but may be up to 0.2 s late, plus the time of a message.
        """
        return self._line.marks.played_s

    def on_gone(self, gone: Gone) -> None:
        """Call `gone` when the far end is gone; it must not wait for the call's end."""
        self._transport.on_gone(gone)

    @property
    def may_come_back(self) -> bool:
        """Whether the call may continue on another stream, at some carriers only after a loss."""
        opens = self._line.stream.dialect.opens_again or self.is_lost
        return opens and self._line.may_come_back and not (self._hung_up or self._transferred)

    @property
    def is_lost(self) -> bool:
        """Whether the stream is lost, and the carrier has not reported the call's end."""
        return self._line.gone_reason in {LOST, STALLED} or not self._line.up.is_set()

    async def resume(self, websocket: WebSocket, stream_id: str) -> None:
        """Continue the call on another stream, and wait until that stream has ended.

        The new stream's `start` message must have been read. Speech that the caller has not heard
        is played first, beginning with the word that was cut off. The previous stream is closed,
        even if it still seems to be open. The caller is back with us now: a transfer request that
        had no response counts as failed, because the carrier would have reported its result if the
        request had taken effect.
        """
        self._transfer_unresolved = False
        self.stream_ids.add(stream_id)
        if self._transfer_unconfirmed:
            self.note_transfer_result("failed")
        line, previous = self._line, self._line.socket
        previous.stop_reading()
        await self._transport.stream_output.resume(
            lambda: self._transport.renew(websocket, stream_id)
        )
        await close(previous.websocket, NORMAL)
        if not line.over:
            await line.socket.ended.wait()

    async def carrier_ended(self, by: str = "") -> None:
        """Record that the call is over at the carrier, and report it to `on_gone`, once.

        Args:
            by: Who ended it, as the carrier names it; empty if the carrier does not report it, and
                then it counts as ended by the far end.
        """
        self.note_transfer_result("failed")  # no effect unless a result is still expected
        far_end = "callee" if self.facts.direction == "outbound" else "caller"
        by_far_end = by.lower() in {far_end, *UNNAMED}
        await self._line.gone(HUNG_UP if by_far_end else ENDED)

    async def press(self, keys: str) -> bool:
        """Send keypad digits by command, or else as tones; return False if they were not sent.

        They are not sent if a digit is invalid, the line has ended, or the call is not ours now.
        """
        tones = key_tones(keys, rate_hz=self.facts.sample_rate_hz)
        if tones is None or self._line.over:
            return False
        if not await may_order(self):
            return False
        if self._control is not None and await self._control.press(self.facts.call_ref, keys):
            return True
        return await self.output().press(tones)

    async def transfer(self, to: Destination, *, ring_s: float) -> Handover:
        """Transfer the caller; return the result after an answer or the caller's return.

        If the carrier rings the person (`RingOrder`), the caller hears the ringing and none of our
        audio meanwhile. After "connected", `hang_up` does not end the call.
        """
        if not await may_order(self):
            return "failed"
        if self._ring is not None:
            return await self._ring_for(to, self._ring, ring_s=ring_s)
        if self._transfer is None:
            return "not_offered"
        outcome = await self._transfer(self.facts, to, ring_s=ring_s)
        self._transferred = self._transferred or outcome == "connected"
        return outcome

    def note_transfer_result(self, outcome: Handover) -> None:
        """Record the result of a transfer in which the carrier rings; without one, do nothing."""
        if self._transfer_result is not None and not self._transfer_result.done():
            self._transferred = outcome == "connected"
            self._transfer_result.set_result(outcome)

    async def hang_up(self, reason: str = "") -> None:
        """Close the socket, once, and end the call at the carrier unless it goes on without us.

        It does if the caller was transferred, or if another process has taken the call up; it may
        if the line is lost and the store does not answer.

        If the result of a transfer is unknown, the call is not ended either: the caller may be
        talking to the person. In that case the carrier asks us for instructions after their
        conversation, or ends the call by itself.
        """
        if self._hung_up:
            return
        self._hung_up, self.is_moved = True, reason == MOVED
        self._transferred = self._transferred or self._transfer_unresolved
        over = self._line.gone_reason in {HUNG_UP, ENDED} or self._transferred or self.is_moved
        ordering = not over and await may_order(self)
        self._line.leave()
        self._line.socket.ended.set()
        if self._control is not None and ordering:
            error = await self._control.complete(self.facts.call_ref)
            if error is not None:
                self._emit_failure(error)
        await close(self._line.socket.websocket, NORMAL)

    async def _ring_for(self, to: Destination, ring: RingOrder, *, ring_s: float) -> Handover:
        """Let the carrier ring; return the result, or "failed" if none comes in time.

        Only one transfer is possible at a time. Until its end, the call may be without a stream.
        """
        if self._transfer_result is not None:
            return "not_offered"
        self._transfer_result = result = asyncio.get_running_loop().create_future()
        self._line.absence.allow(ring_s + RESULT_S)
        try:
            async with asyncio.timeout(ring_s + RESULT_S):
                outcome = await self._request_ringing(ring, to, ring_s, result)
        except TimeoutError:
            outcome = "failed"
        finally:
            has_result = result.done() and not result.cancelled()
            self._transfer_unresolved = not has_result and (
                self._line.over or not self._line.up.is_set()
            )
            self._transfer_result, self._line.absence.away_s = None, 0.0
            self._transfer_unconfirmed = False
        return outcome

    async def _request_ringing(
        self, ring: RingOrder, to: Destination, ring_s: float, result: asyncio.Future[Handover]
    ) -> Handover:
        """Request the ringing, and return its result once the caller is connected or back.

        The caller sets the time limit, and must have created `result`.

        A request without a response may have taken effect, so it fails only after `_took_effect`.
        """
        previous = self._line.socket
        trouble = await ring(self.facts.call_ref, to, ring_s=ring_s)
        if trouble is not None:
            self._emit_failure(trouble.words)
            if not trouble.may_ring or not await self._took_effect(result):
                return "failed"
        if self._line.stream.dialect.outlives_redirect and self._line.socket is previous:
            self._line.socket.stop_reading()  # ends the stream, so that the redirect takes effect
        outcome = await result
        if outcome != "connected":
            await self._line.up.wait()  # the caller comes back on another stream
        return outcome

    async def _took_effect(self, result: asyncio.Future[Handover]) -> bool:
        """Wait for `LATE_S`; return whether a request without a response has taken effect.

        If it has, the stream ends, or the carrier reports the result.
        """
        self._transfer_unconfirmed, socket = True, self._line.socket
        async with asyncio.TaskGroup() as tasks:
            ended = tasks.create_task(socket.ended.wait(), name="the end of the stream")
            await asyncio.wait((ended, result), timeout=LATE_S, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
        return socket.ended.is_set() or result.done()

    def _emit_failure(self, error: str) -> None:
        failed = ProviderFailed(stage="transport", provider=self.facts.transport, error=error)
        self._line.emit(failed)
