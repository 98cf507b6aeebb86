"""A call over Twilio Media Streams, as a leg."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from fastapi import WebSocket

from calls.entry import Tell
from calls.events import ProviderFailed
from calls.handover import Destination, Handover
from transports.media_stream.codec import MULAW
from transports.media_stream.leg import CarriedCall, StreamLeg
from transports.media_stream.line import LinePatience
from transports.media_stream.stream import Stream
from transports.media_stream.twilio import TWILIO
from transports.twilio_dial import dial_twiml
from transports.twilio_rest import TwilioRest

BACK_S: Final = 15.0  # beyond the ringing: Twilio's 5 s, and the way back to us


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioCall:
    """What the webhook and the stream's `start` said of a call."""

    call_sid: str
    stream_sid: str
    caller: str = ""
    called: str = ""
    direction: Literal["inbound", "outbound"] = "inbound"
    dial_id: str = ""  # our own, if we placed it


class TwilioLeg(StreamLeg):
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
        )
        self._rest = rest
        self._came_of_it: asyncio.Future[Handover] | None = None

    async def transfer(self, to: Destination, *, ring_s: float) -> Handover:
        """Have Twilio ring somebody, and return when they answered or the caller is back here.

        Meanwhile the caller hears it ring. Nothing that is played here then is heard by anybody.
        """
        rest = self._rest
        if rest is None or not rest.transfers or self._came_of_it is not None:
            return "not_offered"
        self._came_of_it = came = asyncio.get_running_loop().create_future()
        self._line.away_s = ring_s + BACK_S
        try:
            async with asyncio.timeout(ring_s + BACK_S):
                outcome = await self._hand_on(rest, to, ring_s, came)
        except TimeoutError:
            outcome = "failed"
        finally:
            self._came_of_it, self._line.away_s = None, 0.0
        return outcome

    async def _hand_on(
        self, rest: TwilioRest, to: Destination, ring_s: float, came: asyncio.Future[Handover]
    ) -> Handover:
        twiml = dial_twiml(to, ring_s=ring_s, public_url=rest.public_url)
        error = await rest.redirect(self.facts.call_ref, twiml)
        if error is not None:
            self._line.tell(ProviderFailed(stage="transport", provider="twilio", error=error))
            return "failed"
        outcome = await came
        if outcome != "connected":
            await self._line.up.wait()
        return outcome

    def handed_on(self, outcome: Handover) -> None:
        """Note the carrier's word on what came of handing the caller on."""
        if self._came_of_it is not None and not self._came_of_it.done():
            self._handed_on = outcome == "connected"
            self._came_of_it.set_result(outcome)

    async def carrier_ended(self) -> None:
        """Note that the call is over, by the carrier's word."""
        self.handed_on("failed")
        await super().carrier_ended()
