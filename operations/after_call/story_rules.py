"""Collects a call's words and basic facts during the call, within bounds."""

from collections import deque
from typing import Final

from calls.caller import clean
from calls.campaign_events import OutboundCallBegan
from calls.events import AgentSaid, CallbackWanted, Event, TranscriptFinal
from calls.operations_events import DoNotCallOwed, DoNotCallWanted

HEAD_CHARACTERS: Final = 2_000  # of the beginning, where callers name themselves and their wishes
TAIL_CHARACTERS: Final = 6_000  # of the end, where agreements are made; both chosen: 2,000 tokens
LINE_CHARACTERS: Final = 600  # of one utterance
LEFT_OUT: Final = "[…]"


class CallStory:
    """Follows one call, event by event; its size is bounded."""

    def __init__(self) -> None:
        self._head: list[str] = []
        self._tail: deque[str] = deque()
        self._head_room = HEAD_CHARACTERS
        self._tail_room = TAIL_CHARACTERS
        self._cut = False
        self.dial_id = ""
        self.spoke = False  # the other party said something
        self.no_more_calls = False
        self.callback: CallbackWanted | None = None

    def add(self, event: Event) -> None:
        """Add one event."""
        match event:
            case TranscriptFinal():
                self._say("Person", event.text)
            case AgentSaid():
                self._say("Agent", event.text)
            case OutboundCallBegan():
                self.dial_id = event.dial_id
            case DoNotCallWanted() | DoNotCallOwed():
                self.no_more_calls = True
            case CallbackWanted():
                self.callback = event
            case _:
                pass

    @property
    def text(self) -> str:
        """The words of both sides, one utterance a line, with a gap in the middle if too long."""
        between = [LEFT_OUT] if self._cut else []
        return "\n".join((*self._head, *between, *self._tail))

    def _say(self, speaker: str, said: str) -> None:
        words = clean(said, LINE_CHARACTERS)
        if not words:
            return
        self.spoke = self.spoke or speaker == "Person"
        line = f"{speaker}: {words}"
        if not self._tail and len(line) <= self._head_room:
            self._head.append(line)
            self._head_room -= len(line)
            return
        self._tail.append(line)
        self._tail_room -= len(line)
        while self._tail_room < 0:
            self._tail_room += len(self._tail.popleft())
            self._cut = True
