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
from transports.telnyx.events import HANDED_ON, plain_state
from transports.telnyx.rest import TelnyxRest

QUESTION: Final = "telnyx transfer"
RESULT_MARGIN_S: Final = 5.0  # after the ringing time, because webhooks take a while
BRIDGED_S: Final = 2.0  # after an answer, wait for the webhook about the connection (chosen)
PICKED_UP: Final = "call.answered"
MARK: Final = "person "  # in the state of the person's leg, before the ring's id
MAX_CONNECTED: Final = 1000  # remembered callers (chosen: each is needed only for seconds)

# Causes of `call.hangup`, from developers.telnyx.com.
RESULT_BY_CAUSE: Final[Mapping[str, Handover]] = {
    "user_busy": "busy",
    "timeout": "no_answer",
    "no_answer": "no_answer",
    "originator_cancel": "no_answer",
    "call_rejected": "declined",
}


def transfer_result(event: str, cause: str) -> Handover | None:
    """Return the transfer result in a webhook about the person's leg; `None` if it has none."""
    if event == "call.bridged":
        return "connected"
    return RESULT_BY_CAUSE.get(cause, "failed") if event == "call.hangup" else None


@dataclass(slots=True)
class _RingAttempt:
    """An attempt to ring a person.

    Attributes:
        outcome: The result, once known.
        picked_up: Whether the person has answered.
        time_limit: Limits the wait for the result; `None` before that wait.
    """

    outcome: asyncio.Future[Handover] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    picked_up: bool = False
    time_limit: asyncio.Timeout | None = None

    def pick_up(self) -> None:
        """Record the answer, and shorten the wait for the result to `BRIDGED_S`."""
        if not self.picked_up and self.time_limit is not None and not self.time_limit.expired():
            self.time_limit.reschedule(asyncio.get_running_loop().time() + BRIDGED_S)
        self.picked_up = True


class TelnyxTransfers:
    """Transfers callers; the webhook with a result may reach any process.

    Each attempt to ring a person has an id, because a repeated or late webhook may arrive during
    another attempt for the same caller.
    """

    def __init__(self, pool: CallPool, rest: TelnyxRest) -> None:
        """Start to take results that reached other processes."""
        self._pool, self._rest = pool, rest
        self._attempts: dict[str, _RingAttempt] = {}  # of this process, by id
        self._connected: dict[str, None] = {}  # in order of connection
        pool.peers.answer(QUESTION, self._take_result)

    async def transfer(self, leg: LegFacts, to: Destination, *, ring_s: float) -> Handover:
        """Ring a person for the caller and return the result; unless "connected", the caller stays.

        Telnyx may report it to any process (`emit`).

        Meanwhile the call's state at Telnyx is marked, so that no process ends the call when its
        stream ends.
        """
        call_ref, command_id = leg.call_ref, secrets.token_hex(8)
        own_state = plain_state(leg.dial_id)
        attempt_id = f"{call_ref} {command_id}"
        attempt = self._attempts[attempt_id] = _RingAttempt()  # before a webhook can arrive
        try:
            status = await self._rest.hand_on(
                call_ref,
                to.number,
                ring_s=ring_s,
                command_id=command_id,
                state=f"{MARK}{attempt_id}",
                own_state=f"{HANDED_ON}{own_state}",
            )
            if status != HTTPStatus.OK:
                return "failed"
            outcome = await self._wait_for_result(
                attempt_id, attempt, within_s=ring_s + RESULT_MARGIN_S
            )
        finally:
            del self._attempts[attempt_id]
        if outcome != "connected":
            status = await self._rest.note(call_ref, own_state)
            if status != HTTPStatus.OK:
                logger.debug("could not clear a Telnyx call's transfer state: status {}", status)
        return outcome

    async def _wait_for_result(
        self, attempt_id: str, attempt: _RingAttempt, *, within_s: float
    ) -> Handover:
        """Wait for the result, up to `within_s`, or `BRIDGED_S` after the person's answer.

        If none comes in time, it is "connected" if the person has answered, else "no_answer".
        """
        # The person may have answered before Telnyx responded to the request.
        limit_s = BRIDGED_S if attempt.picked_up else within_s
        try:
            async with asyncio.timeout(limit_s) as attempt.time_limit:
                return await attempt.outcome
        except TimeoutError:
            if not attempt.picked_up:
                return "no_answer"
        await self.emit(attempt_id, "connected")  # so that every process knows (`is_connected`)
        return "connected"

    def is_connected(self, call_ref: str) -> bool:
        """Return whether a caller was connected with a person lately, as this process remembers."""
        return call_ref in self._connected

    async def emit(self, attempt_id: str, outcome: Handover | None) -> None:
        """Send a result to all processes; one waits for it.

        `None` says that the person has answered, which only shortens the wait.
        """
        await self._pool.peers.ask_all(QUESTION, ring=attempt_id, outcome=outcome)

    async def _take_result(self, sent: Mapping[str, Any]) -> None:
        """Take a result, and remember a connected caller; an attempt may be another process's."""
        if sent["outcome"] == "connected":
            self._connected[sent["ring"].partition(" ")[0]] = None
            if len(self._connected) > MAX_CONNECTED:
                del self._connected[next(iter(self._connected))]
        attempt = self._attempts.get(sent["ring"])
        if attempt is None:
            return
        if sent["outcome"] is None:
            attempt.pick_up()
        elif not attempt.outcome.done():
            attempt.outcome.set_result(sent["outcome"])
