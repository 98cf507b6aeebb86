"""A leg whose carrier has a live call do something else when it is told to: ring somebody."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from fastapi import WebSocket

from calls.entry import Tell
from calls.events import ProviderFailed
from calls.handover import Destination, Handover
from transports.media_stream.leg import CallControl, CarriedCall, StreamLeg
from transports.media_stream.line import LinePatience
from transports.media_stream.stream import Stream

BACK_S: Final = 15.0  # beyond the ringing: Twilio's 5 s, and the way back to us


class RingOrder(Protocol):
    """Has a carrier ring somebody for a live call."""

    async def __call__(self, call_ref: str, to: Destination, *, ring_s: float) -> str | None:
        """Return what went wrong, with no secret in it, or None: it is under way. Raises nothing.

        Args:
            call_ref: The carrier's own id of the caller's call.
            to: From the configuration, never from a model's words.
            ring_s: How long it may ring there.
        """
        ...


class RedirectedLeg(StreamLeg):
    """The caller's audio connection through a carrier that a live call can be taken from.

    The stream ends with the order, and the call waits for its caller as for one whose line was
    lost. `handed_on` brings the carrier's word on what came of it.
    """

    def __init__(  # noqa: PLR0913 - as many as a line has
        self,
        websocket: WebSocket,
        call: CarriedCall,
        stream: Stream,
        *,
        tell: Tell,
        clock: Callable[[], float],
        control: CallControl | None = None,
        patience: LinePatience | None = None,
        ring: RingOrder | None = None,
    ) -> None:
        """Continue with a socket whose `start` has been read.

        Args:
            websocket: As `StreamLeg` has it, and so is the rest.
            call: Whose it is.
            stream: How its carrier speaks.
            tell: Is told of what was refused.
            clock: Monotonic seconds.
            control: Where a hang-up is asked for; says whether calls can be handed on.
            patience: How long the line is waited for.
            ring: Has somebody rung; None: nobody can be.
        """
        super().__init__(
            websocket, call, stream, tell=tell, clock=clock, control=control, patience=patience
        )
        self._ring = ring
        self._came_of_it: asyncio.Future[Handover] | None = None
        self._untold = False  # what came of it, and the caller has not come back

    async def transfer(self, to: Destination, *, ring_s: float) -> Handover:
        """Have the carrier ring somebody; return when they answered or the caller is back here.

        Meanwhile the caller hears it ring. Nothing that is played here then is heard by anybody.
        """
        ring = self._ring
        if ring is None or not self.facts.transfers or self._came_of_it is not None:
            return "not_offered"
        self._came_of_it = came = asyncio.get_running_loop().create_future()
        self._line.absence.hand_on(ring_s + BACK_S)
        try:
            async with asyncio.timeout(ring_s + BACK_S):
                outcome = await self._hand_on(ring, to, ring_s, came)
        except TimeoutError:
            outcome = "failed"
        finally:
            told = came.done() and not came.cancelled()
            self._untold = not told and (self._line.over or not self._line.up.is_set())
            self._came_of_it, self._line.absence.away_s = None, 0.0
        return outcome

    async def _hand_on(
        self, ring: RingOrder, to: Destination, ring_s: float, came: asyncio.Future[Handover]
    ) -> Handover:
        before = self._line.socket
        error = await ring(self.facts.call_ref, to, ring_s=ring_s)
        if error is not None:
            provider = self.facts.transport
            self._line.tell(ProviderFailed(stage="transport", provider=provider, error=error))
            return "failed"
        if self._line.stream.dialect.outlives_redirect and self._line.socket is before:
            self._line.socket.give_up()
        outcome = await came
        if outcome != "connected":
            await self._line.up.wait()
        return outcome

    async def resume(self, websocket: WebSocket, stream_id: str) -> None:
        """Go on over another stream: the caller is here, whatever came of it."""
        self._untold = False
        await super().resume(websocket, stream_id)

    async def hang_up(self, reason: str = "") -> None:
        """End the call, but no talk that its caller may have with somebody else.

        The word on it may have been lost. The carrier asks us what to do behind the talk, or ends
        the call by itself.
        """
        self._handed_on = self._handed_on or self._untold
        await super().hang_up(reason)

    def handed_on(self, outcome: Handover) -> None:
        """Note the carrier's word on what came of handing the caller on."""
        if self._came_of_it is not None and not self._came_of_it.done():
            self._handed_on = outcome == "connected"
            self._came_of_it.set_result(outcome)

    async def carrier_ended(self) -> None:
        """Note that the call is over, by the carrier's word."""
        self.handed_on("failed")
        await super().carrier_ended()
