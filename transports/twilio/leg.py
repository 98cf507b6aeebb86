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

    def __init__(  # noqa: PLR0913 - as many as a line has
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
            websocket: Accepted; nothing else reads or writes it from here on.
            call: Whose it is.
            stream_id: Names the stream.
            tell: Is told of what was refused. A key is a frame, told by who reads frames.
            clock: Monotonic seconds.
            rest: Where a hang-up is asked for; without it, closing the socket ends the call,
                since no TwiML follows the `<Connect>`.
            patience: How long the line is waited for.
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
