"""A call over Twilio Media Streams, as a leg."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import WebSocket

from calls.entry import Tell
from calls.events import ProviderFailed
from transports.leg import Gone, LegFacts, PlainLeg
from transports.media_stream.codec import MULAW
from transports.media_stream.input import StreamInput
from transports.media_stream.line import NORMAL, STALLED_S, StreamLine, close
from transports.media_stream.output import StreamOutput
from transports.media_stream.stream import Stream
from transports.media_stream.transport import StreamTransport
from transports.twilio_rest import TwilioRest
from transports.twilio_wire import RATE_HZ, TWILIO


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
        stalled_s: float = STALLED_S,
    ) -> None:
        """Continue with a socket whose `start` has been read.

        Args:
            websocket: Accepted; nothing else reads or writes it from here on.
            call: Whose it is.
            tell: Is told of what was refused. A key is a frame, told by who reads frames.
            clock: Monotonic seconds.
            rest: Where a hang-up is asked for; without it, closing the socket ends the call,
                since no TwiML follows the `<Connect>`.
            stalled_s: How long the line may bring nothing before it counts as dead.
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
        stream = Stream(dialect=TWILIO, stream_id=call.stream_sid, ours=MULAW, theirs=MULAW)
        self._line = StreamLine(websocket, stream, tell=tell, clock=clock, stalled_s=stalled_s)
        self._transport = StreamTransport(websocket, self._line)

    def input(self) -> StreamInput:
        """Return the processor that brings the caller's audio."""
        return self._transport.stream_input

    def output(self) -> StreamOutput:
        """Return the processor that plays to the caller."""
        return self._transport.stream_output

    def played_s(self) -> float:
        """Return the seconds of our audio that the carrier says it has played to the caller.

        It says so by marks, one behind every 0.2 s and behind the last of an utterance; audio
        that a `clear` threw away is not counted. Never more than was heard, and behind the ear by
        up to 0.2 s and a message's way back.
        """
        return self._line.marks.played_s

    def on_gone(self, gone: Gone) -> None:
        """Have `gone` called when the far end has gone; it must not wait for the call's end."""

        async def call(_: StreamTransport, reason: str) -> None:
            await gone(reason)

        self._transport.add_event_handler("on_gone", call)

    async def answered(self) -> None:
        """Return at once: Twilio opens a stream when the call is answered."""

    async def hang_up(self, reason: str = "") -> None:
        """End the call at Twilio, where we may, and close the socket, which ends it too."""
        if self._hung_up:
            return
        self._hung_up = True
        over = self._line.caller_hung_up
        self._line.leave()
        if self._rest is not None and not over:
            error = await self._rest.complete(self._call_sid)
            if error is not None:
                self._line.tell(ProviderFailed(stage="transport", provider="twilio", error=error))
        await close(self._websocket, NORMAL)
