"""The floor of a call: who speaks, since when, what is pending, and what the agent does.

Each call has one `Floor`. Each frame updates it in one place, and all other code reads it:

- `TurnOpener` reports the VAD's decisions, the pauses before them, the recogniser's words, and the
  beginning and end of each turn. It is directly above the VAD, so the floor is up to date
  before any other processor gets the frame.
- `Keypad` reports who gets each pressed key, and an entry, which is a turn without speech.
- `CallObserver` reports that the model was asked.
- `Farewell`, below the model, reports what the model writes, and that the call ends. The TTS stage
  reports whether a reply is entering its queue. `HoldLine`, above the output, reports the reply on
  the line, and the tool calls, which get there after the words before them.
- `Transfer` and `AnswererWatch` report that the caller does not talk with the agent.
- All code that sends audio to the caller adds it to the call's `CallerLine`. The floor reads from
  it how long the agent will be heard.

Listeners get each change at once, after the floor is up to date. All times are monotonic, in
seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Literal, TypeAlias

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


@dataclass(frozen=True, slots=True)
class WorkChanged:
    """A model or a tool has begun or ended its work."""


class ReplyState(StrEnum):
    """The states of a reply, from the model to the line.

    A reply's beginning and end pass each place in the pipeline at another moment, and the next
    reply may be written while the words of this one wait for a voice. So several may apply at once.
    """

    WRITING = "writing"  # the model writes it
    QUEUING = "queuing"  # its words enter the queue of the TTS stage; then all of them are there
    ON_LINE = "on_line"  # its audio goes to the line


class Away(StrEnum):
    """Why the caller does not talk with the agent."""

    PERSON = "person"  # the caller waits for a person, or talks to one
    ANSWERER = "answerer"  # it is not known whether a person has picked up


@dataclass(frozen=True, slots=True)
class AwayChanged:
    """The caller has left the agent or is back."""

    why: Away


KeyOwner: TypeAlias = Literal["menu", "entry", "agent"]
"""The receiver of a key: the outage menu (none while the caller is with a person), the model as
part of an entry, or the agent, whose `keys` define what it starts."""


@dataclass(frozen=True, slots=True)
class KeyGiven:
    """The caller has pressed a key, and it is decided who gets it."""

    key: str
    owner: KeyOwner


FloorEvent: TypeAlias = (
    CallerStarted
    | CallerStopped
    | TurnEndPredicted
    | CallerResumed
    | WordsCame
    | TurnBegan
    | TurnClosed
    | WorkChanged
    | AwayChanged
    | KeyGiven
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
        reply: The states of the replies in progress; each lasts from the beginning of a reply to
            its end, or until the caller interrupts it.
        reply_audible: Whether an answer was audible since the caller last stopped or barged in.
        tools: The ids of the tool calls whose results the model waits for.
        worked_at: When a model or a tool last began or ended its work.
        away: Why the caller does not talk with the agent now; empty if they do.
        ending: Why the call ends after its goodbye, as in `CallEnded`; `None` if it does not end.
        revoked: The same for the end that the latest interruption cancelled, until the next reply.
        parting: Whether a goodbye was sent that ends the call, whatever the caller says.
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
        self.reply: set[ReplyState] = set()
        self.reply_audible = False
        self.tools: set[str] = set()
        self.worked_at = -inf
        self.away: set[Away] = set()
        self.ending: str | None = None
        self.revoked: str | None = None
        self.parting = False
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

    @property
    def quiet_since(self) -> float:
        """When the current silence began, or will begin if nothing changes.

        Infinity while the caller speaks.
        """
        return inf if self.caller_speaking else max(self.quiet_at, self._line.dry_at)

    def is_agent_audible(self, now: float) -> bool:
        """Return whether something is being played to the caller."""
        return now < self._line.dry_at

    def caller_started(self, now: float) -> None:
        """Record that the VAD hears the caller speak; the model waits for no tool any more."""
        self._begin_words()
        self.tools.clear()
        self.caller_since, self._untranscribed = now, True
        self._tell_listeners(CallerStarted(at_s=now))

    def turn_end_predicted(self) -> None:
        """Tell the listeners that the turn detector predicts the end of the turn in a pause."""
        self._tell_listeners(TurnEndPredicted())

    def caller_resumed(self) -> None:
        """Record that the caller goes on after a pause that was too short for the VAD."""
        self._untranscribed = True
        self._tell_listeners(CallerResumed())

    def caller_stopped(self, at: float, now: float) -> None:
        """Record that the VAD no longer hears speech; an answer is pending from now on.

        Args:
            at: When the last voiced sample came.
            now: When the VAD reported it.
        """
        self.caller_since, self._untranscribed = None, False  # the sound may contain no words
        self.stopped_at, self.quiet_at = at, now
        self.unanswered, self.reply_audible = True, False
        self._tell_listeners(CallerStopped(at_s=at, noticed_at_s=now))

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
        self._tell_listeners(WordsCame(text=text, final=final, spaced=spaced))

    def key_pressed(self, key: str, owner: KeyOwner) -> None:
        """Tell the listeners that a key was pressed, and who gets it; nothing is stored."""
        self._tell_listeners(KeyGiven(key, owner))

    def keyed(self, now: float) -> None:
        """Record a keypad entry; outside a turn, the entry is a turn of its own."""
        self._begin_words()
        self.worded = self.unanswered = True
        if not self.turn_open:
            self.stopped_at = self.quiet_at = now
            self.reply_audible = False
            self._tell_listeners(TurnBegan())
            self._tell_listeners(CallerStopped(at_s=now, noticed_at_s=now))

    def turn_began(self) -> None:
        """Record that the caller's turn has begun."""
        self.turn_open = True
        self._tell_listeners(TurnBegan())

    def turn_ended(self, now: float) -> None:
        """Record that the caller's turn is over, and forget its words (`words_so_far`)."""
        self.turn_open, self.turn_over_at = False, now
        self._between_turns, self._interim = True, False
        self.words_so_far = self._final_words = ""
        self._tell_listeners(TurnClosed())

    def model_asked(self) -> None:
        """Record that the model was asked about what the caller has said."""
        self.unanswered = False

    def model_writes(self, now: float, *, more: bool) -> None:
        """Record that the model begins to write a reply (`more`), or has written all of it."""
        self.set_reply(ReplyState.WRITING, more=more)
        self._note_work(now)

    def set_reply(self, state: ReplyState, *, more: bool) -> None:
        """Record that a state begins (`more`) or ends; `WRITING` is set by `model_writes`.

        No listener is told.
        """
        (self.reply.add if more else self.reply.discard)(state)

    def reply_dropped(self) -> None:
        """Record that the caller interrupted the model, which writes no reply any more."""
        self.set_reply(ReplyState.WRITING, more=False)
        self._tell_listeners(WorkChanged())

    def tool_runs(self, call: str, now: float, *, runs: bool) -> None:
        """Record that the model waits for a tool, or has its result."""
        (self.tools.add if runs else self.tools.discard)(call)
        self._note_work(now)

    def set_away(self, why: Away, *, away: bool) -> None:
        """Record that the caller leaves the agent or is back."""
        (self.away.add if away else self.away.discard)(why)
        self._tell_listeners(AwayChanged(why))

    def _note_work(self, now: float) -> None:
        """Record when a model or a tool began or ended its work, and tell the listeners."""
        self.worked_at = now
        self._tell_listeners(WorkChanged())

    def _begin_words(self) -> None:
        """Reset `worded` at the first speech, word or digit after a turn."""
        if self._between_turns:
            self._between_turns = self.worded = False

    def _tell_listeners(self, event: FloorEvent) -> None:
        """Call each listener with the event, at once and in order."""
        for listen in self.listeners:
            listen(event)
