"""A leg whose carrier can redirect a live call, to ring a person."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from fastapi import WebSocket

from calls.entry import Tell
from calls.events import ProviderFailed
from calls.handover import RESULT_S, Destination, Handover, RingTrouble
from transports.media_stream.leg import CallControl, CarriedCall, StreamLeg
from transports.media_stream.line import LinePatience
from transports.media_stream.stream import Stream

LATE_S: Final = 5.0  # chosen: for an unanswered order to take effect; the caller waits meanwhile


class RingOrder(Protocol):
    """Asks a carrier to ring a person for a live call."""

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


class RedirectedLeg(StreamLeg):
    """The caller's audio connection through a carrier that can redirect a live call.

    The order ends the stream, and the call waits for its caller as after a lost line. `handed_on`
    brings the carrier's result.
    """

    def __init__(
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
            websocket: As in `StreamLeg`, like the rest.
            call: The carrier's information about the call.
            stream: The stream and its carrier's dialect.
            tell: Takes events about refused messages.
            clock: Monotonic seconds.
            control: For a hang-up; tells whether calls can be transferred.
            patience: How long to wait for the line.
            ring: Rings a person; `None` if that is impossible.
        """
        super().__init__(
            websocket, call, stream, tell=tell, clock=clock, control=control, patience=patience
        )
        self._ring = ring
        self._transfer_result: asyncio.Future[Handover] | None = None
        self._result_unknown = False  # the result is unknown, and the caller has not returned
        self._unanswered = False  # the order has not been confirmed

    async def transfer(self, to: Destination, *, ring_s: float) -> Handover:
        """Ring a person through the carrier; return when they answered or the caller is back.

        Meanwhile the caller hears the ringing, and nothing that is played here.
        """
        ring = self._ring
        if ring is None or not self.facts.transfers or self._transfer_result is not None:
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
        """Return whether an unanswered order takes effect anyway.

        If so, the stream ends, as with any order, or the carrier reports the result.
        """
        self._unanswered, socket = True, self._line.socket
        async with asyncio.TaskGroup() as tasks:
            ended = tasks.create_task(socket.over.wait(), name="an order that shows")
            await asyncio.wait((ended, came), timeout=LATE_S, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
        return socket.over.is_set() or came.done()

    async def resume(self, websocket: WebSocket, stream_id: str) -> None:
        """Continue on another stream: the caller is here, whatever the result."""
        self._result_unknown = False
        if self._unanswered:  # an order that took effect would have been reported
            self.handed_on("failed")
        await super().resume(websocket, stream_id)

    async def hang_up(self, reason: str = "") -> None:
        """End the call, but no conversation that its caller may have with another person.

        The carrier's report of that conversation may be lost. The carrier asks us for instructions
        after it, or ends the call by itself.
        """
        self._handed_on = self._handed_on or self._result_unknown
        await super().hang_up(reason)

    def handed_on(self, outcome: Handover) -> None:
        """Process the carrier's result of a transfer."""
        if self._transfer_result is not None and not self._transfer_result.done():
            self._handed_on = outcome == "connected"
            self._transfer_result.set_result(outcome)

    async def carrier_ended(self) -> None:
        """Record that the carrier has ended the call."""
        self.handed_on("failed")
        await super().carrier_ended()
