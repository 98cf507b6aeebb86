"""A call over Twilio Media Streams, as a leg."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fastapi import WebSocket

from calls.entry import Tell
from transports.media_stream.codec import MULAW
from transports.media_stream.leg import CarriedCall
from transports.media_stream.line import LinePatience
from transports.media_stream.redirected_leg import RedirectedLeg
from transports.media_stream.stream import Stream
from transports.media_stream.twilio import TWILIO
from transports.twilio_rest import TwilioRest


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioCall:
    """What the webhook and the stream's `start` said of a call."""

    call_sid: str
    stream_sid: str
    caller: str = ""
    called: str = ""
    direction: Literal["inbound", "outbound"] = "inbound"
    dial_id: str = ""  # our own, if we placed it


class TwilioLeg(RedirectedLeg):
    """The caller's audio connection through Twilio."""

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
        super().__init__(
            websocket,
            CarriedCall(
                call_ref=call.call_sid,
                caller=call.caller,
                called=call.called,
                direction=call.direction,
                dial_id=call.dial_id,
            ),
            Stream(dialect=TWILIO, stream_id=call.stream_sid, ours=MULAW, theirs=MULAW),
            tell=tell,
            clock=clock,
            control=rest,
            patience=patience,
            ring=rest.ring if rest is not None else None,
        )
