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
from transports.leg import Gone, LegFacts, PlainLeg
from transports.media_stream.input import StreamInput
from transports.media_stream.line import ENDED, HUNG_UP, NORMAL, LinePatience, StreamLine, close
from transports.media_stream.output import StreamOutput
from transports.media_stream.stream import Stream, StreamSerializer

SPARE_S: Final = 30.0  # margin: the wait's own timeout comes first; a returning caller takes 15
UNSAID: Final = frozenset({"", "unknown", "carrier"})  # no word of who ended a call
LATE_S: Final = 5.0  # chosen: for an unanswered order to take effect; the caller waits meanwhile


class StreamTransport(FastAPIWebsocketTransport):
    """Pipecat's transport with our input and output."""

    def __init__(self, websocket: WebSocket, line: StreamLine) -> None:
        self._line = line
        rate_hz = line.stream.rate_hz
        params = FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_in_sample_rate=rate_hz,
            audio_out_enabled=True,
            audio_out_sample_rate=rate_hz,
            audio_out_end_silence_secs=0,  # the last mark tells when the last word was played
            # Pending speech waits for another stream longer than Pipecat lets a write wait, and
            # longer still while a person is rung for a caller who has no stream yet.
            audio_out_write_timeout_secs=line.returns_within_s + MAX_RING_S + SPARE_S,
            serializer=StreamSerializer(line.stream),
            allowed_origins=[],  # a carrier is no browser and sends no Origin
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
        """Switch both directions to another stream."""
        self._line.renew(websocket, stream_id)
        self._client._websocket = websocket  # noqa: SLF001 - Pipecat has no word for it

    async def _emit_gone(self, reason: str) -> None:
        # Pipecat runs handlers in the transport's own tasks, and a handler may end the very task
        # that noticed.
        await self._call_event_handler("on_gone", reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedCall:
    """A carrier's information about a call."""

    call_ref: str
    caller: str = ""
    called: str = ""
    direction: Literal["inbound", "outbound"] = "inbound"
    dial_id: str = ""  # our own, if we placed the call
    attestation: Attestation = "unknown"


class CallControl(Protocol):
    """The call commands that a carrier offers in addition to its media stream."""

    async def complete(self, call_ref: str) -> str | None:
        """End a call; return the error, without secrets, or `None`."""
        ...

    async def press(self, call_ref: str, keys: str) -> bool:
        """Send keys to the far end; return False if they were not sent."""
        ...


class TransferOrder(Protocol):
    """Transfers a call whose stream goes on meanwhile."""

    async def __call__(self, leg: LegFacts, to: Destination, *, ring_s: float) -> Handover:
        """Transfer a call and return the result; never raises."""
        ...


class RingOrder(Protocol):
    """Asks a carrier to ring a person for a live call, which ends its stream."""

    async def __call__(
        self, call_ref: str, to: Destination, *, ring_s: float
    ) -> RingTrouble | None:
        """Return the error, or `None` if the ringing is under way. Never raises.

        Args:
            call_ref: The carrier's own id of the caller's call.
            to: From the configuration, never from a model's words.
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
    `handed_on` brings the carrier's result.

    Args:
        websocket: Accepted; this leg is its only user from here on.
        call: The carrier's information about the call.
        stream: The stream and its carrier's dialect.
        emit: Takes events about refused messages. A key is a frame, reported by its reader.
        clock: Monotonic seconds.
        control: For a hang-up; without it, the socket is closed instead.
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
        self.facts = LegFacts(
            transport=stream.dialect.carrier,
            sample_rate_hz=stream.rate_hz,
            caller=call.caller,
            called=call.called,
            call_ref=call.call_ref,
            direction=call.direction,
            dial_id=call.dial_id,
            attestation=call.attestation,
            transfers=transfer is not None or ring is not None,
        )
        self._control, self._transfer, self._ring = control, transfer, ring
        self._hung_up = False
        self._handed_on = False  # another person talks with the caller: their call is not ours
        self._transfer_result: asyncio.Future[Handover] | None = None
        self._result_unknown = False  # the result is unknown, and the caller has not returned
        self._unanswered = False  # the order has not been confirmed
        self._line = StreamLine(
            websocket, stream, emit=emit, clock=clock, patience=patience or LinePatience()
        )
        self._transport = StreamTransport(websocket, self._line)

    def tell_to(self, emit: Emit) -> None:
        """Report refused messages to the call, now that it exists."""
        self._line.emit = emit

    def input(self) -> StreamInput:
        """Return the processor that brings the caller's audio."""
        return self._transport.stream_input

    def output(self) -> StreamOutput:
        """Return the processor that plays to the caller."""
        return self._transport.stream_output

    def played_s(self) -> float:
        """Return the seconds of our audio that the carrier has played to the caller.

        Marks tell: one after every 0.2 s and one after the end of an utterance. Audio that a
        `clear` dropped is not counted. Never more than the caller heard, and late by up to 0.2 s
        plus a message's way back.
        """
        return self._line.marks.played_s

    def on_gone(self, gone: Gone) -> None:
        """Call `gone` when the far end is gone; it must not wait for the call's end."""
        self._transport.on_gone(gone)

    @property
    def may_come_back(self) -> bool:
        """Whether the call goes on, so that its caller may reconnect to it."""
        return self._line.may_come_back and not self._hung_up and not self._handed_on

    async def resume(self, websocket: WebSocket, stream_id: str) -> None:
        """Continue on another stream, whose `start` has been read, and return when it is over.

        Unheard speech is repeated first, from the start of its first word. An earlier stream that
        still seems alive is abandoned. The caller is here, whatever the result of a transfer.
        """
        self._result_unknown = False
        if self._unanswered:  # an order that took effect would have been reported
            self.handed_on("failed")
        line, lost = self._line, self._line.socket
        lost.give_up()
        await self._transport.stream_output.go_on(
            lambda: self._transport.renew(websocket, stream_id)
        )
        await close(lost.websocket, NORMAL)
        if not line.over:
            await line.socket.over.wait()

    async def carrier_ended(self, by: str = "") -> None:
        """Record that the call is over at the carrier.

        Args:
            by: Who ended it, as the carrier names it; empty if it does not say.
        """
        self.handed_on("failed")
        far_end = "callee" if self.facts.direction == "outbound" else "caller"
        theirs = by.lower() in {far_end, *UNSAID}
        await self._line.gone(HUNG_UP if theirs else ENDED)

    async def press(self, keys: str) -> bool:
        """Send keys by the carrier's own command, else as sound."""
        tones = key_tones(keys, rate_hz=self.facts.sample_rate_hz)
        if tones is None or self._line.over:
            return False
        if self._control is not None and await self._control.press(self.facts.call_ref, keys):
            return True
        return await self.output().press(tones)

    async def transfer(self, to: Destination, *, ring_s: float) -> Handover:
        """Transfer the caller; return when the person answered or the caller is back with us.

        While a ring order is carried out, the caller hears the ringing and none of our sound.
        """
        if self._ring is not None:
            return await self._ring_for(to, self._ring, ring_s=ring_s)
        if self._transfer is None:
            return "not_offered"
        outcome = await self._transfer(self.facts, to, ring_s=ring_s)
        self._handed_on = self._handed_on or outcome == "connected"
        return outcome

    def handed_on(self, outcome: Handover) -> None:
        """Process the carrier's result of a ring order."""
        if self._transfer_result is not None and not self._transfer_result.done():
            self._handed_on = outcome == "connected"
            self._transfer_result.set_result(outcome)

    async def hang_up(self, reason: str = "") -> None:
        """End the call at the carrier, if we may, and close the socket.

        A transferred call belongs to another person: only our part of it ends. So does that of a
        call whose transfer has no known result: the carrier's report may be lost, and the carrier
        asks us for instructions after the conversation, or ends the call by itself.
        """
        if self._hung_up:
            return
        self._hung_up = True
        self._handed_on = self._handed_on or self._result_unknown
        over = self._line.gone_for in {HUNG_UP, ENDED} or self._handed_on
        self._line.leave()
        self._line.socket.over.set()
        if self._control is not None and not over:
            error = await self._control.complete(self.facts.call_ref)
            if error is not None:
                self._emit_failure(error)
        await close(self._line.socket.websocket, NORMAL)

    async def _ring_for(self, to: Destination, ring: RingOrder, *, ring_s: float) -> Handover:
        if self._transfer_result is not None:
            return "not_offered"
        self._transfer_result = came = asyncio.get_running_loop().create_future()
        self._line.absence.hand_on(ring_s + RESULT_S)
        try:
            async with asyncio.timeout(ring_s + RESULT_S):
                outcome = await self._hand_on(ring, to, ring_s, came)
        except TimeoutError:
            outcome = "failed"
        finally:
            told = came.done() and not came.cancelled()
            self._result_unknown = not told and (self._line.over or not self._line.up.is_set())
            self._transfer_result, self._line.absence.away_s = None, 0.0
            self._unanswered = False
        return outcome

    async def _hand_on(
        self, ring: RingOrder, to: Destination, ring_s: float, came: asyncio.Future[Handover]
    ) -> Handover:
        before = self._line.socket
        trouble = await ring(self.facts.call_ref, to, ring_s=ring_s)
        if trouble is not None:
            self._emit_failure(trouble.words)
            if not trouble.may_ring or not await self._shows(came):
                return "failed"
        if self._line.stream.dialect.outlives_redirect and self._line.socket is before:
            self._line.socket.give_up()
        outcome = await came
        if outcome != "connected":
            await self._line.up.wait()
        return outcome

    async def _shows(self, came: asyncio.Future[Handover]) -> bool:
        """Return whether an unanswered order takes effect anyway.

        If so, the stream ends, as with any order, or the carrier reports the result.
        """
        self._unanswered, socket = True, self._line.socket
        async with asyncio.TaskGroup() as tasks:
            ended = tasks.create_task(socket.over.wait(), name="an order that shows")
            await asyncio.wait((ended, came), timeout=LATE_S, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
        return socket.over.is_set() or came.done()

    def _emit_failure(self, error: str) -> None:
        failed = ProviderFailed(stage="transport", provider=self.facts.transport, error=error)
        self._line.emit(failed)
