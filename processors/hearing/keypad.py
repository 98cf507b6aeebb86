"""Decides who gets a key that the caller presses; gives the model entries, as the caller's turn."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputDTMFFrame,
    LLMMessagesAppendFrame,
    StartFrame,
    UserStartedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContextMessage
from pipecat.processors.frame_processor import FrameDirection

from calls.keyed_entry import KEYS_SAID, DigitsAsked, KeyedEntry
from calls.plain_values import from_plain
from calls.turn import Turn
from processors.ladder.stage import Alarm
from processors.turn.floor import Floor, KeyOwner
from processors.turn.sound_path import SoundPath

KEYPAD: Final = "keypad"  # the provider of such a turn, in place of a recogniser


@dataclass
class KeyedFrame(LLMMessagesAppendFrame):
    """A keypad entry, as a message for the model."""

    recorded: str = ""  # the text for the record, in which digits may be masked
    interruptible: bool = field(default=False, init=False)


class Keypad(SoundPath):
    """Decides who gets each key, and collects digits into entries. It delays no frame.

    It is above the user context aggregator. All other code gets keys from the floor.

    The first digit of an entry interrupts the agent, as speech does.
    """

    def __init__(
        self,
        *,
        own_keys: Collection[str],
        is_taken: Callable[[], bool],
        floor: Floor,
        turn: Turn,
        clock: Callable[[], float],
        asked: Callable[[], Sequence[DigitsAsked]] = tuple,
    ) -> None:
        """Create it for one call.

        Args:
            own_keys: Keys that have a meaning of their own outside an entry.
            is_taken: Returns whether keys belong to something else now, such as the outage menu.
            floor: The call's floor.
            turn: The turn in progress.
            clock: Monotonic, in seconds.
            asked: Returns the parameters of tools that wait for keys now.
        """
        super().__init__()
        self._entry = KeyedEntry()
        self._asked = asked
        self._own_keys = own_keys
        self._is_taken = is_taken
        self._floor = floor
        self._turn = turn
        self._now = clock
        self._alarm = Alarm(clock)

    @property
    def kept(self) -> str:
        """The keys of an entry that is not over, for the call's resume state."""
        return self._entry.keys

    def restore(self, keys: str) -> None:
        """Go on with the keys of an entry; its pause counts from now."""
        for key in from_plain(str, keys):
            self._entry.press(key, self._now())

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Collect digits, and pass frames on.

        When the caller's turn begins with speech, the entry so far is added to the conversation.
        """
        await super().process_frame(frame, direction)
        if isinstance(frame, EndFrame | CancelFrame):
            await self._alarm.stop()
        if isinstance(frame, InputDTMFFrame):
            await self._give_key_to_owner(frame.button.value)
        await self.push_frame(frame, direction)
        match frame:
            case StartFrame():
                self._alarm.start(self, lambda: self._entry.wake_at, self._end_due_entry)
            case UserStartedSpeakingFrame():
                await self._add_entry(self._entry.end())
            case _:
                pass

    async def cleanup(self) -> None:
        """Stop the timer."""
        await super().cleanup()
        await self._alarm.stop()

    def _owner_of(self, key: str) -> KeyOwner:
        """Return who gets a key; within an entry, no key has a meaning of its own."""
        if self._is_taken():
            return "menu"
        is_entry = key not in self._own_keys or self._entry.wake_at is not None
        return "entry" if is_entry else "agent"

    async def _give_key_to_owner(self, key: str) -> None:
        """Add a key to the entry if it belongs there, and report key and owner to the floor.

        A key for the menu discards an entry in progress.
        """
        owner = self._owner_of(key)
        if owner == "menu":
            self._entry.end()
        elif owner == "entry":
            await self._add_key(key)
        self._floor.key_pressed(key, owner)

    async def _add_key(self, key: str) -> None:
        """Add a key to the entry, which it may complete; the first key interrupts the agent."""
        if self._entry.wake_at is None:
            await self.broadcast_interruption()
        asked = self._asked()
        lengths = {item.length for item in asked}
        hidden = {item.length for item in asked if item.sensitive}
        self._entry.expect(lengths, lengths - hidden)
        await self._add_entry(self._entry.press(key, self._now()))
        self._alarm.ring()

    async def _end_due_entry(self, now: float) -> None:
        """Add the entry to the conversation if it is complete by now, because no digit followed."""
        await self._add_entry(self._entry.tick(now))

    async def _add_entry(self, entry: str | None) -> None:
        """Add a complete entry to the conversation, as the caller's words.

        `None` or "" does nothing. Outside a caller's turn, it interrupts the agent, and the model
        is asked.
        """
        if not entry:
            return
        if not self._floor.turn_open:
            await self.broadcast_interruption()  # an answer in progress does not consider the entry
        # Checked again: a turn may have begun during the interruption.
        alone, now = not self._floor.turn_open, self._now()
        if alone:
            self._turn.caller_stopped(now)
        self._floor.keyed(now)
        message = {"role": "user", "content": f"{KEYS_SAID}{entry}"}
        await self.push_frame(
            KeyedFrame(
                messages=[cast("LLMContextMessage", message)],
                run_llm=alone,
                recorded=f"{KEYS_SAID}{self._entry.recorded(entry)}",
            )
        )
