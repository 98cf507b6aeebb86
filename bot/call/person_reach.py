"""Reaches a person for one caller, by whichever way there is; one attempt at a time."""

import asyncio
from typing import Final

from bot.call.handover_attempt import HandoverAttempt, begin_owned
from bot.call.handover_means import Means
from bot.config.agent import CALLBACK, PERSON, AgentSettings, DestinationSettings
from calls.handover import Destination, Handover
from processors.holding.utterance_rules import Situation
from processors.transfer.decision import Handing, How
from processors.transfer.transfer_rules import CallerGone
from processors.wiring import CallWiring

CLOSE_S: Final = 3.0  # for the person's leg to end with the call


class PersonReach:
    """Reaches a person for one caller. `close` it with the call."""

    def __init__(self, agent: AgentSettings, means: Means, wiring: CallWiring) -> None:
        self._agent = agent
        self._means = means
        self._wiring = wiring
        self._attempt: HandoverAttempt | None = None
        self._running: asyncio.Task[Handover | None] | None = None
        self._noting: asyncio.Task[None] | None = None
        means.waiting.on_key = self._pressed

    @property
    def names(self) -> tuple[str, ...]:
        """Whom the model may choose from."""
        return tuple(name for name, each in self._agent.destinations.items() if self._how(each))

    @property
    def busy(self) -> bool:
        """Whether the caller waits for a person, or is with one."""
        return self._running is not None and not self._running.done()

    def reach(self, name: str, reason: str, *, behind_words: bool = False) -> bool:
        """Begin to hand the caller over; False: that cannot be done, or is being done.

        Args:
            name: Of a destination.
            reason: Why a person is wanted.
            behind_words: The model is still writing words that are to be heard first.
        """
        wanted = self._agent.destinations.get(name)
        how = self._how(wanted) if wanted else None
        if self.busy:
            self._means.hold_line.note_answered()  # the model says nothing to it
            self._means.waiting.reassure()
        if wanted is None or how is None or self.busy:
            return False
        to = Destination(name=name, number=wanted.number)
        handing = Handing(how, ring_s=wanted.ring_s)
        if behind_words:
            self._means.waiting.expect_words()
        self._attempt = HandoverAttempt(handing, to, self._means, self._wiring, reason=reason)
        self._running = begin_owned(self._attempt.run(ring_s=wanted.ring_s), "hand over")
        return True

    async def connect(self, reason: str = "") -> bool:
        """Reach the first destination, and return once the caller is back, or not reached."""
        name = next(iter(self.names), "")
        if not self.reach(name, reason) or self._running is None or self._attempt is None:
            return False
        self._attempt.from_menu = True
        return await asyncio.shield(self._running) == "connected"

    async def close(self) -> None:
        """End it with the call: a person who was called is not left alone on the line."""
        if self._attempt and self._running:
            self._attempt.report(CallerGone())
            await asyncio.wait({self._running}, timeout=CLOSE_S)
        for task in filter(None, (self._running, self._noting)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _how(self, to: DestinationSettings) -> How | None:
        """Return by which way somebody is reached; None: this line has none."""
        calls, hands_on = self._means.calls_people is not None, self._means.leg.facts.transfers
        if to.warm and calls:
            return How.BRIEF
        if hands_on:
            return How.HAND_ON
        return How.CALL if calls else None

    def _pressed(self, key: str) -> None:
        wanted = self._agent.keys.get(key)
        if wanted is None or self.busy or self._means.hold_line.keeper.way_down.takes_keys:
            return
        reason = f"pressed {key}"
        if wanted == CALLBACK:
            self._noting = begin_owned(self._note_callback(reason), "note a callback")
        else:
            self.reach(next(iter(self.names), "") if wanted == PERSON else wanted, reason)

    async def _note_callback(self, reason: str) -> None:
        kept = await self._means.call_back(reason)
        await self._means.waiting.say(Situation.CALLBACK if kept else Situation.NO_CALLBACK)
