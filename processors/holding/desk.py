"""What a caller chose from the menu: asked of the desk, which needs no provider, and told."""

from typing import Final, Protocol

from calls.entry import Tell
from calls.events import CallbackWanted, MessageLeft, PersonWanted
from calls.turn import Turn
from processors.holding.line_rules import AskDesk, ChoiceDone, HangUp, KeepMessage
from processors.holding.menu_word_rules import Choice
from processors.holding.message_rules import CallerMessage

REASON: Final = "outage"
"""Why a call ended, as in `CallEnded`, that could not be answered any more."""


class Desk(Protocol):
    """Does what a caller chose from the menu."""

    async def call_back(self, reason: str) -> bool:
        """Note that this caller is to be called back; False: nobody knows the number."""
        ...

    async def connect(self) -> bool:
        """Connect the caller with a person; False: this telephone cannot."""
        ...

    def record(self, pcm: bytes, rate_hz: int) -> None:
        """Record the next piece of a message that is being left: 16-bit mono. Never waits."""
        ...

    async def keep_message(self) -> bool:
        """Keep what was recorded; False: it could not be kept."""
        ...

    async def drop_message(self) -> None:
        """Forget what was recorded: nobody has spoken."""
        ...

    async def hang_up(self, reason: str) -> None:
        """End the call, whatever hangs in it."""
        ...


class DeskClerk:
    """Asks the desk for what was decided, tells what came of it, and reports it."""

    def __init__(self, desk: Desk, *, tell: Tell, turn: Turn) -> None:
        self._desk = desk
        self._tell = tell
        self._turn = turn

    def record(self, message: CallerMessage, piece: bytes) -> None:
        """Hand a piece of a message on as it comes: it outlives the process from then on."""
        if piece:
            self._desk.record(piece, message.rate_hz)

    async def ask(self, action: AskDesk | KeepMessage | HangUp) -> ChoiceDone | None:
        """Have it done; return what came of a choice."""
        match action:
            case AskDesk():
                reason = f"{action.stage} is down"
                return ChoiceDone(
                    choice=action.choice, done=await self._choose(action.choice, reason)
                )
            case KeepMessage():
                done = await self._keep(action.message)
                lost = action.message.spoken and not done
                return ChoiceDone(choice=Choice.MESSAGE, done=done, lost=lost)
            case HangUp():
                await self._desk.hang_up(REASON)
                return None

    async def _choose(self, choice: Choice, reason: str) -> bool:
        if choice is Choice.PERSON:
            self._tell(PersonWanted(turn=self._turn.number, reason=reason))
            return await self._desk.connect()
        if not await self._desk.call_back(reason):
            return False
        self._tell(CallbackWanted(turn=self._turn.number, when="", reason=reason))
        return True

    async def _keep(self, message: CallerMessage) -> bool:
        if not message.spoken:
            await self._desk.drop_message()
            return False
        kept = await self._desk.keep_message()
        if kept:
            self._tell(MessageLeft(length_s=message.length_s))
        return kept
