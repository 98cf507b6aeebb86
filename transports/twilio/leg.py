"""A call over Twilio Media Streams, as a leg."""

from collections.abc import Callable

from fastapi import WebSocket

from calls.entry import Tell
from transports.media_stream.leg import CarriedCall
from transports.media_stream.line import LinePatience
from transports.media_stream.messages import MULAW
from transports.media_stream.redirected_leg import RedirectedLeg
from transports.media_stream.stream import Stream
from transports.twilio.calls import TwilioRest
from transports.twilio.dialect import TWILIO


class TwilioLeg(RedirectedLeg):
    """The caller's audio connection through Twilio."""

    def __init__(
        self,
        websocket: WebSocket,
        call: CarriedCall,
        stream_id: str,
        *,
        tell: Tell,
        clock: Callable[[], float],
        rest: TwilioRest | None = None,
        patience: LinePatience | None = None,
    ) -> None:
        """Continue with a socket whose `start` has been read.

        Args:
            websocket: Accepted; this leg is its only user from here on.
            call: The carrier's information about the call.
            stream_id: The stream's id.
            tell: Takes events about refused messages. A key is a frame, reported by its reader.
            clock: Monotonic seconds.
            rest: For a hang-up; without it, closing the socket ends the call, since no TwiML
                follows the `<Connect>`.
            patience: How long to wait for the line.
        """
        super().__init__(
            websocket,
            call,
            Stream(dialect=TWILIO, stream_id=stream_id, ours=MULAW, theirs=MULAW),
            tell=tell,
            clock=clock,
            control=rest,
            patience=patience,
            ring=rest.ring if rest is not None else None,
        )
