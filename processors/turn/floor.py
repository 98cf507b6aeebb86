"""The floor of a call: whether the caller speaks, since when, and what is pending.

Each call has one `Floor`. Each frame updates it in one place, and all other code reads it:

- `TurnOpener` reports the VAD's decisions, the pauses before them, the recogniser's words, and the
  beginning and end of each turn. It is directly above the VAD, so the floor is up to date
  before any other processor gets the frame.
- `Keypad` reports an entry, which is a turn without speech.
- `CallObserver` reports that the model was asked.
- All code that sends audio to the caller adds it to the call's `CallerLine`. The floor reads from
  it how long the agent will be heard.

Listeners get each change at once, after the floor is up to date. All times are monotonic, in
seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TypeAlias

from calls.events import CallerStarted, CallerStopped
from calls.line import CallerLine


@dataclass(frozen=True, slots=True)
class TurnEndPredicted:
    """The caller has paused, and the turn detector predicts that the turn is over."""


@dataclass(frozen=True, slots=True)
class CallerResumed:
    """The caller goes on after a pause that was too short for the VAD."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsCame:
    """A recogniser has transcribed words of the caller, or has found none."""

    text: str
    final: bool
    spaced: bool = False  # the text has its own spaces at both ends


@dataclass(frozen=True, slots=True)
class TurnBegan:
    """The caller's turn has begun: with speech, words too soft for the VAD, or keypad digits."""


@dataclass(frozen=True, slots=True)
class TurnClosed:
    """The caller's turn is over; its words are in the conversation."""


FloorEvent: TypeAlias = (
    CallerStarted
    | CallerStopped
    | TurnEndPredicted
    | CallerResumed
    | WordsCame
    | TurnBegan
    | TurnClosed
)
"""A change of the floor."""


class Floor:
    """The floor of one call.

        floor = Floor(CallerLine())
        floor.caller_started(100.0)
        floor.caller_speaking                  # True
        floor.words("Hello", final=False)
        floor.caller_stopped(101.0, now=101.2)
        floor.worded, floor.transcribed        # True, False

    Attributes:
        listeners: Called with each change.
        caller_since: When the VAD began to hear the caller speak; `None` if it does not.
        stopped_at: Time of the caller's last voiced sample or keypad digit; `None` before any.
        quiet_at: When the VAD last reported a stop, or when an entry outside a turn was keyed.
        turn_open: Whether the caller's turn has begun and is not over: words may be pending.
        turn_over_at: When the caller's last turn ended.
        worded: Whether the latest turn has words from a recogniser, or keypad digits.
        unanswered: Whether the caller has said something that no model was asked about yet.
        words_so_far: The recogniser's words since the last turn ended; the latest may still change.
    """

    def __init__(self, line: CallerLine) -> None:
        """Create the floor of a new call, on which nobody has spoken.

        Args:
            line: The caller's line, on which the agent is heard.
        """
        self.listeners: list[Callable[[FloorEvent], None]] = []
        self.caller_since: float | None = None
        self.stopped_at: float | None = None
        self.quiet_at = -inf
        self.turn_open = False
        self.turn_over_at = -inf
        self.worded = False
        self.unanswered = False
        self.words_so_far = ""
        self._final_words = ""  # the part of `words_so_far` that does not change
        self._line = line
        self._between_turns = False  # no speech, words or digits since the last turn
        self._interim = False  # the latest result is not final
        self._untranscribed = False  # there was speech since the last final transcript or VAD stop

    @property
    def caller_speaking(self) -> bool:
        """Whether the VAD hears the caller speak."""
        return self.caller_since is not None

    @property
    def transcribed(self) -> bool:
        """Whether no words of the caller are known to be pending."""
        return not (self._interim or self._untranscribed)

    @property
    def agent_sounds_until(self) -> float:
        """When the audio queued for the caller ends, or ended."""
        return self._line.dry_at

    def is_agent_audible(self, now: float) -> bool:
        """Return whether something is being played to the caller."""
        return now < self._line.dry_at

    def caller_started(self, now: float) -> None:
        """Record that the VAD hears the caller speak."""
        self._begin_words()
        self.caller_since, self._untranscribed = now, True
        self._emit(CallerStarted(at_s=now))

    def turn_end_predicted(self) -> None:
        """Record that the turn detector predicts the end of the turn in a pause."""
        self._emit(TurnEndPredicted())

    def caller_resumed(self) -> None:
        """Record that the caller goes on after a pause that was too short for the VAD."""
        self._untranscribed = True
        self._emit(CallerResumed())

    def caller_stopped(self, at: float, now: float) -> None:
        """Record that the VAD no longer hears speech.

        Args:
            at: When the last voiced sample came.
            now: When the VAD reported it.
        """
        self.caller_since, self._untranscribed = None, False  # the sound may contain no words
        self.stopped_at, self.quiet_at = at, now
        self.unanswered = True
        self._emit(CallerStopped(at_s=at, noticed_at_s=now))

    def words(self, text: str, *, final: bool, spaced: bool = False) -> None:
        """Record a result of the recogniser.

        Args:
            text: The words so far; blank if it found none.
            final: Whether the words are final; an interim result may still change.
            spaced: Whether the text has its own spaces at both ends.
        """
        if text.strip():
            self._begin_words()
            self.worded = True
        self._interim = not final
        self.words_so_far = f"{self._final_words}{'' if spaced else ' '}{text}".strip()
        if final:
            self._final_words = self.words_so_far
            self.unanswered, self._untranscribed = True, False
        self._emit(WordsCame(text=text, final=final, spaced=spaced))

    def keyed(self, now: float) -> None:
        """Record a keypad entry; outside a turn, the entry is a turn of its own."""
        self._begin_words()
        self.worded = self.unanswered = True
        if not self.turn_open:
            self.stopped_at = self.quiet_at = now
            self._emit(TurnBegan())
            self._emit(CallerStopped(at_s=now, noticed_at_s=now))

    def turn_began(self) -> None:
        """Record that the caller's turn has begun."""
        self.turn_open = True
        self._emit(TurnBegan())

    def turn_ended(self, now: float) -> None:
        """Record that the caller's turn is over."""
        self.turn_open, self.turn_over_at = False, now
        self._between_turns, self._interim = True, False
        self.words_so_far = self._final_words = ""
        self._emit(TurnClosed())

    def model_asked(self) -> None:
        """Record that the model was asked about what the caller has said."""
        self.unanswered = False

    def _begin_words(self) -> None:
        """Forget the last turn's words at the first speech, word or digit of a new turn."""
        if self._between_turns:
            self._between_turns = self.worded = False

    def _emit(self, event: FloorEvent) -> None:
        for listen in self.listeners:
            listen(event)
