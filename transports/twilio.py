"""A call over Twilio Media Streams, as a leg."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import WebSocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import (
    FastAPIWebsocketParams,
    FastAPIWebsocketTransport,
)

from calls.entry import Tell
from calls.events import ProviderFailed
from transports.leg import Gone, LegFacts, PlainLeg
from transports.twilio_input import TwilioInput
from transports.twilio_line import HUNG_UP, NORMAL, LinePatience, TwilioLine, close
from transports.twilio_output import TwilioOutput
from transports.twilio_rest import TwilioRest
from transports.twilio_wire import RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioCall:
    """What the webhook and the stream's `start` said of a call."""

    call_sid: str
    stream_sid: str
    caller: str = ""
    called: str = ""


class TwilioLeg(PlainLeg):
    """The caller's audio connection through Twilio.

    Reasons given to `on_gone`: `caller_hung_up` (Twilio said `stop`), `connection_lost` (the
    socket closed without it), `stalled` (no media came, or nothing we sent was taken),
    `input_refused` (what came cannot be Twilio's; the socket was closed).
    """

    def __init__(
        self,
        websocket: WebSocket,
        call: TwilioCall,
        *,
        tell: Tell,
        clock: Callable[[], float],
        rest: TwilioRest | None = None,
        patience: LinePatience | None = None,
    ) -> None:
        """Continue with a socket whose `start` has been read.

        Args:
            websocket: Accepted; nothing else reads or writes it from here on.
            call: Whose it is.
            tell: Is told of what was refused. A key is a frame, told by who reads frames.
            clock: Monotonic seconds.
            rest: Where a hang-up is asked for; without it, closing the socket ends the call,
                since no TwiML follows the `<Connect>`.
            patience: How long the line is waited for.
        """
        self.facts = LegFacts(
            transport="twilio",
            sample_rate_hz=RATE_HZ,
            caller=call.caller,
            called=call.called,
            call_ref=call.call_sid,
        )
        self._call_sid = call.call_sid
        self._rest = rest
        self._websocket = websocket
        self._hung_up = False
        self._line = TwilioLine(
            websocket,
            stream_sid=call.stream_sid,
            tell=tell,
            clock=clock,
            patience=patience or LinePatience(),
        )
        self._transport = _TwilioTransport(websocket, self._line)

    def input(self) -> TwilioInput:
        """Return the processor that brings the caller's audio."""
        return self._transport.twilio_input

    def output(self) -> TwilioOutput:
        """Return the processor that plays to the caller."""
        return self._transport.twilio_output

    def played_s(self) -> float:
        """Return the seconds of our audio that the carrier says it has played to the caller.

        It says so by marks, one behind every 0.2 s and behind the last of an utterance; audio
        that a `clear` threw away is not counted. Never more than was heard, and behind the ear by
        up to 0.2 s and a message's way back.
        """
        return self._line.marks.played_s

    def on_gone(self, gone: Gone) -> None:
        """Have `gone` called when the far end has gone; it must not wait for the call's end."""

        async def call(_: _TwilioTransport, reason: str) -> None:
            await gone(reason)

        self._transport.add_event_handler("on_gone", call)

    async def answered(self) -> None:
        """Return at once: Twilio opens a stream when the call is answered."""

    @property
    def may_come_back(self) -> bool:
        """Whether the call goes on, so that its caller may be connected to it again."""
        return self._line.may_come_back and not self._hung_up

    async def resume(self, websocket: WebSocket, stream_sid: str) -> None:
        """Go on over another stream, whose `start` has been read, and return when it is over.

        What was not heard is said first, from the first word of it. A stream that still seems to
        be there is given up for this one.
        """
        line, lost = self._line, self._line.websocket
        line.give_up()
        await self._transport.twilio_output.go_on(
            lambda: self._transport.renew(websocket, stream_sid)
        )
        await close(lost, NORMAL)
        if not line.over:
            await line.stream_over.wait()

    async def carrier_ended(self) -> None:
        """Take the carrier's word that the call is over."""
        await self._line.gone(HUNG_UP)

    async def hang_up(self, reason: str = "") -> None:
        """End the call at Twilio, where we may, and close the socket, which ends it too."""
        if self._hung_up:
            return
        self._hung_up = True
        over = self._line.caller_hung_up
        self._line.leave()
        self._line.stream_over.set()
        if self._rest is not None and not over:
            error = await self._rest.complete(self._call_sid)
            if error is not None:
                self._line.tell(ProviderFailed(stage="transport", provider="twilio", error=error))
        await close(self._websocket, NORMAL)


class _TwilioTransport(FastAPIWebsocketTransport):
    """Pipecat's transport with our two directions in it."""

    def __init__(self, websocket: WebSocket, line: TwilioLine) -> None:
        self._line = line
        self._serializer = serializer = TwilioFrameSerializer(
            line.stream_sid, params=TwilioFrameSerializer.InputParams(auto_hang_up=False)
        )
        params = FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_in_sample_rate=RATE_HZ,
            audio_out_enabled=True,
            audio_out_sample_rate=RATE_HZ,
            audio_out_end_silence_secs=0,  # the last mark tells when the last word was played
            serializer=serializer,
            allowed_origins=[],  # a carrier is no browser and sends no Origin
        )
        super().__init__(websocket, params)
        self.twilio_input = self._input = TwilioInput(self, line)
        self.twilio_output = self._output = TwilioOutput(self, line)
        self._register_event_handler("on_gone")
        line.tell_gone = self._tell_gone

    def renew(self, websocket: WebSocket, stream_sid: str) -> None:
        """Have both directions use another stream."""
        self._line.renew(websocket, stream_sid)
        self._client._websocket = websocket  # noqa: SLF001 - Pipecat has no word for it
        self._serializer._stream_sid = stream_sid  # noqa: SLF001 - nor for that

    async def _tell_gone(self, reason: str) -> None:
        # Pipecat runs handlers in tasks of the transport's own: what a handler does may end the
        # very task that noticed.
        await self._call_event_handler("on_gone", reason)
