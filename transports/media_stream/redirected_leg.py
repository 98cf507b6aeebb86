"""A leg whose carrier has a live call do something else when it is told to: ring somebody."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from fastapi import WebSocket

from calls.entry import Tell
from calls.events import ProviderFailed
from calls.handover import Destination, Handover, RingTrouble
from transports.media_stream.leg import CallControl, CarriedCall, StreamLeg
from transports.media_stream.line import LinePatience
from transports.media_stream.stream import Stream

LATE_S: Final = 5.0  # chosen: for an order without an answer to show; the caller waits meanwhile
BACK_S: Final = 15.0  # beyond the ringing: Twilio's 5 s, and the way back to us


class RingOrder(Protocol):
    """Has a carrier ring somebody for a live call."""

    async def __call__(
        self, call_ref: str, to: Destination, *, ring_s: float
    ) -> RingTrouble | None:
        """Return what went wrong, or None: it is under way. Raises nothing.

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
        self._unanswered = False  # nobody has said that the order is carried out

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
            self._unanswered = False
        return outcome

    async def _hand_on(
        self, ring: RingOrder, to: Destination, ring_s: float, came: asyncio.Future[Handover]
    ) -> Handover:
        before = self._line.socket
        trouble = await ring(self.facts.call_ref, to, ring_s=ring_s)
        if trouble is not None:
            told = ProviderFailed(
                stage="transport", provider=self.facts.transport, error=trouble.words
            )
            self._line.tell(told)
            if not trouble.may_ring or not await self._shows(came):
                return "failed"
        if self._line.stream.dialect.outlives_redirect and self._line.socket is before:
            self._line.socket.give_up()
        outcome = await came
        if outcome != "connected":
            await self._line.up.wait()
        return outcome

    async def _shows(self, came: asyncio.Future[Handover]) -> bool:
        """Return whether an order is carried out all the same that got no answer.

        The stream ends then, as with any order, or the carrier says what came of it.
        """
        self._unanswered, socket = True, self._line.socket
        async with asyncio.TaskGroup() as tasks:
            ended = tasks.create_task(socket.over.wait(), name="an order that shows")
            await asyncio.wait((ended, came), timeout=LATE_S, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
        return socket.over.is_set() or came.done()

    async def resume(self, websocket: WebSocket, stream_id: str) -> None:
        """Go on over another stream: the caller is here, whatever came of it."""
        self._untold = False
        if self._unanswered:  # of an order that was carried out something would have been said
            self.handed_on("failed")
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
