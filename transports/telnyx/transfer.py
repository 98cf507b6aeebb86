"""Transfers of Telnyx calls: rings a person for a caller, and waits for the result."""

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
MORE_S: Final = 5.0  # waited after the ringing time, because webhooks take a while
BRIDGED_S: Final = 2.0  # after an answer, wait for the webhook about the connection (chosen)
PICKED_UP: Final = "call.answered"
MARK: Final = "person "  # in the state of the person's leg, before the ring's id
MAX_CONNECTED: Final = 1000  # remembered callers (chosen: each is needed only for seconds)

# Causes of `call.hangup`, from developers.telnyx.com.
OUTCOMES: Final[Mapping[str, Handover]] = {
    "user_busy": "busy",
    "timeout": "no_answer",
    "no_answer": "no_answer",
    "originator_cancel": "no_answer",
    "call_rejected": "declined",
}


def handed_on(event: str, cause: str) -> Handover | None:
    """Return the transfer result in a webhook about the person's leg; `None` if it has none."""
    if event == "call.bridged":
        return "connected"
    return OUTCOMES.get(cause, "failed") if event == "call.hangup" else None


@dataclass(slots=True)
class _Ring:
    """A person who is rung, and the result.

    Attributes:
        outcome: The result, once known.
        picked_up: Whether the person has answered.
        patience: The time limit of the wait for the result.
    """

    outcome: asyncio.Future[Handover] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    picked_up: bool = False
    patience: asyncio.Timeout | None = None

    def pick_up(self) -> None:
        """Record the answer, and shorten the wait for the result to `BRIDGED_S`."""
        if not self.picked_up and self.patience is not None and not self.patience.expired():
            self.patience.reschedule(asyncio.get_running_loop().time() + BRIDGED_S)
        self.picked_up = True


class TelnyxTransfers:
    """Transfers callers; the webhook with a result may reach any process.

    Each attempt to ring a person has an id, because a repeated or late webhook may arrive during
    another attempt for the same caller.
    """

    def __init__(self, pool: CallPool, rest: TelnyxRest) -> None:
        """Start to take results that reached other processes."""
        self._pool, self._rest = pool, rest
        self._waiting: dict[str, _Ring] = {}
        self._connected: dict[str, None] = {}  # in order of connection
        pool.peers.answer(QUESTION, self._settle)

    async def transfer(self, leg: LegFacts, to: Destination, *, ring_s: float) -> Handover:
        """Ring a person for the caller and return the result; unless "connected", the caller stays.

        Meanwhile the call's state at Telnyx is marked, so that no process ends the call when its
        stream ends.
        """
        call_ref, once = leg.call_ref, secrets.token_hex(8)
        own_state = state_of_call(leg.dial_id)
        ring = f"{call_ref} {once}"
        waiting = self._waiting[ring] = _Ring()  # before a webhook about it can arrive
        names = {"once": once, "state": f"{MARK}{ring}", "own_state": f"{HANDED_ON}{own_state}"}
        try:
            status = await self._rest.hand_on(call_ref, to.number, ring_s=ring_s, **names)
            if status != HTTPStatus.OK:
                return "failed"
            outcome = await self._outcome(ring, waiting, within_s=ring_s + MORE_S)
        finally:
            del self._waiting[ring]
        if outcome != "connected":
            status = await self._rest.note(call_ref, own_state)
            if status != HTTPStatus.OK:
                logger.debug("could not clear a Telnyx call's transfer state: status {}", status)
        return outcome

    async def _outcome(self, ring: str, waiting: _Ring, *, within_s: float) -> Handover:
        """Wait for the result and return it.

        If none comes in time, it is "connected" if the person has answered, else "no_answer".
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
        """Return whether a caller was connected with a person lately, as this process remembers."""
        return call_ref in self._connected

    async def emit(self, ring: str, outcome: Handover | None) -> None:
        """Send a result to the process that waits for it; `None` if the person has answered."""
        await self._pool.peers.ask_all(QUESTION, ring=ring, outcome=outcome)

    async def _settle(self, sent: Mapping[str, Any]) -> None:
        if sent["outcome"] == "connected":
            self._connected[sent["ring"].partition(" ")[0]] = None
            if len(self._connected) > MAX_CONNECTED:
                del self._connected[next(iter(self._connected))]
        waiting = self._waiting.get(sent["ring"])
        if waiting is None:
            return
        if sent["outcome"] is None:
            waiting.pick_up()
        elif not waiting.outcome.done():
            waiting.outcome.set_result(sent["outcome"])
