"""Ends turns of the caller's of which no word was written down."""

from typing import Any, Final, cast

from pipecat.processors.aggregators.llm_context import LLMContextMessage
from pipecat.processors.aggregators.llm_response_universal import (
    LLMUserAggregator,
    UserTurnStoppedMessage,
)

from calls.events import BargedIn, Event, TurnDecided
from processors.answering.memory import Memory
from processors.hearing.wordless_rules import AfterSound, after_sound
from processors.holding.hold_line import HoldLine
from processors.holding.line_rules import NothingSaid
from processors.wiring import CallWiring

ASK_AGAIN: Final = (
    "There was a sound on the caller's line, perhaps words, and none could be made out. They have "
    "heard of you what this conversation holds, and nothing after it. In one short sentence, ask "
    "them to say it again; repeat a question of yours that they may have missed."
)


class WordlessTurns:
    """Of one call; Pipecat's own rule for it is switched off.

    Pipecat ends such a turn when nothing was written down for a while, and asks no model, unless
    the agent was cut off: then the model is told to have the caller repeat, although it may be the
    caller's question that has no answer yet. And what holds the line took any end of a turn for
    one that is answered.
    """

    def __init__(
        self, user: LLMUserAggregator, memory: Memory, hold_line: HoldLine, wiring: CallWiring
    ) -> None:
        """Follow the caller's turns.

        Args:
            user: Ends them, and asks the model.
            memory: The conversation.
            hold_line: Learns that nothing is owed for such a turn.
            wiring: Tells whether the agent was cut off.
        """
        self._user = user
        self._memory = memory
        self._hold_line = hold_line
        self._cut = False
        self._asked = False
        user.add_event_handler("on_user_turn_stopped", self._end)
        wiring.listeners.append(self._notice)

    def _notice(self, event: Event) -> None:
        match event:
            case BargedIn():
                self._cut = True
            case TurnDecided():
                self._cut = False
            case _:
                pass

    async def _end(self, _user: object, _strategy: Any, message: UserTurnStoppedMessage) -> None:
        if message.content:
            self._asked = False
            return
        cut, self._cut = self._cut, False
        match after_sound(
            led=self._hold_line.keeper.led,
            unanswered=self._memory.unanswered,
            cut=cut,
            owed=self._hold_line.keeper.owes,
            asked=self._asked,
        ):
            case AfterSound.ANSWER:
                await self._user.push_context_frame()
            case AfterSound.ASK_AGAIN:
                self._asked = True
                note = {"role": "developer", "content": ASK_AGAIN}
                self._memory.add_message(cast("LLMContextMessage", note))
                await self._user.push_context_frame()
            case AfterSound.NOTHING:
                self._hold_line.note(NothingSaid())
