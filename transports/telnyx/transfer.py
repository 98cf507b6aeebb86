"""Transfers of Telnyx calls: rings people for callers, and waits for the results."""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from loguru import logger

from calls.handover import Destination, Handover
from transports.leg import LegFacts
from transports.pool import CallPool
from transports.telnyx.events import HANDED_ON, state_of_call
from transports.telnyx.rest import TelnyxRest

QUESTION: Final = "telnyx transfer"
MORE_S: Final = 5.0  # after the ringing, for the webhook to arrive
BRIDGED_S: Final = 2.0  # chosen: for the webhook about the connection, which may be lost
PICKED_UP: Final = "call.answered"
MARK: Final = "person "  # before the ring's id, in the state of the rung leg
MAX_CONNECTED: Final = 1000  # chosen: our part ends within seconds

# Causes of `call.hangup`, from developers.telnyx.com.
OUTCOMES: Final[Mapping[str, Handover]] = {
    "user_busy": "busy",
    "timeout": "no_answer",
    "no_answer": "no_answer",
    "originator_cancel": "no_answer",
    "call_rejected": "declined",
}


def handed_on(event: str, cause: str) -> Handover | None:
    """Return the transfer result in a webhook about the rung leg; `None` if it is still open."""
    if event == "call.bridged":
        return "connected"
    return OUTCOMES.get(cause, "failed") if event == "call.hangup" else None


@dataclass(slots=True)
class _Ring:
    """A person who is rung, and the result."""

    outcome: asyncio.Future[Handover] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    picked_up: bool = False
    patience: asyncio.Timeout | None = None

    def pick_up(self) -> None:
        """Limit the wait to the time that Telnyx takes to connect the two."""
        if not self.picked_up and self.patience is not None and not self.patience.expired():
            self.patience.reschedule(asyncio.get_running_loop().time() + BRIDGED_S)
        self.picked_up = True


class TelnyxTransfers:
    """Transfers callers; the webhook with a result may reach any process.

    Each ring has an id of its own, because a repeated or late webhook may arrive while another ring
    is in progress for the same caller.
    """

    def __init__(self, pool: CallPool, rest: TelnyxRest) -> None:
        """Register the answer for other processes."""
        self._pool, self._rest = pool, rest
        self._waiting: dict[str, _Ring] = {}
        self._connected: dict[str, None] = {}  # in order of connection
        pool.peers.answer(QUESTION, self._settle)

    async def transfer(self, leg: LegFacts, to: Destination, *, ring_s: float) -> Handover:
        """Ring a person and connect the caller; if that fails, the caller stays with us.

        Meanwhile the call's state says that the call must not be ended with its stream.
        """
        call_ref, own, once = leg.call_ref, state_of_call(leg.dial_id), secrets.token_hex(8)
        ring = f"{call_ref} {once}"
        waiting = self._waiting[ring] = _Ring()  # before there can be a webhook about it
        asked = {"once": once, "state": f"{MARK}{ring}", "own_state": f"{HANDED_ON}{own}"}
        try:
            status = await self._rest.hand_on(call_ref, to.number, ring_s=ring_s, **asked)
            if status != HTTPStatus.OK:
                return "failed"
            outcome = await self._outcome(ring, waiting, within_s=ring_s + MORE_S)
        finally:
            del self._waiting[ring]
        if outcome != "connected":
            status = await self._rest.note(call_ref, own)
            if status != HTTPStatus.OK:
                logger.debug("could not clear a Telnyx call's transfer state: status {}", status)
        return outcome

    async def _outcome(self, ring: str, waiting: _Ring, *, within_s: float) -> Handover:
        """Wait for the result.

        Without a webhook in time it is "no_answer", or "connected" if the person has answered.
        """
        try:
            async with asyncio.timeout(BRIDGED_S if waiting.picked_up else within_s) as patience:
                waiting.patience = patience
                return await waiting.outcome
        except TimeoutError:
            if not waiting.picked_up:
                return "no_answer"
        await self.emit(ring, "connected")
        return "connected"

    def is_connected(self, call_ref: str) -> bool:
        """Return whether a caller was connected with a person, as far as this process remembers."""
        return call_ref in self._connected

    async def emit(self, ring: str, outcome: Handover | None) -> None:
        """Pass the result on to the task that waits for it; `None` for an answer only."""
        await self._pool.peers.ask_all(QUESTION, ring=ring, outcome=outcome)

    async def _settle(self, asked: Mapping[str, Any]) -> None:
        if asked["outcome"] == "connected":
            self._connected[asked["ring"].partition(" ")[0]] = None
            if len(self._connected) > MAX_CONNECTED:
                del self._connected[next(iter(self._connected))]
        waiting = self._waiting.get(asked["ring"])
        if waiting is None:
            return
        if asked["outcome"] is None:
            waiting.pick_up()
        elif not waiting.outcome.done():
            waiting.outcome.set_result(asked["outcome"])
