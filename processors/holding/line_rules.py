"""What happens on a caller's line, and what is to be done about it, as values."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from fallbacks.facts import (
    AnswerEmpty,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    EarlyAnswerTaken,
    PauseJudged,
    StageExhausted,
    StageRecovered,
    StepTaken,
)
from processors.holding.descent_rules import Choice, Meaning
from processors.holding.utterance_rules import Situation

SAMPLE_BYTES: Final = 2
LIMIT_S: Final = 120.0  # chosen: what people say to a machine is far shorter
QUIET_S: Final = 3.5  # of silence that ends a message; 4 s are the longest silence of a call
OVER_TONE_S: Final = 0.5  # so long into a message, a voice is no end of what came before it


class CallerMessage:
    """Keeps the caller's sound from a moment on, until it is over.

    Moments are monotonic, in seconds.
    """

    def __init__(self, *, begins_at: float, rate_hz: int, limit_s: float = LIMIT_S) -> None:
        self.rate_hz = rate_hz
        self.spoken = False
        """Whether a voice was heard in it."""
        self._begins_at = begins_at
        self._ends_at = begins_at + limit_s
        self._room = round(limit_s * rate_hz) * SAMPLE_BYTES
        self._quiet_since: float | None = begins_at
        self._pcm = bytearray()
        self._finished = False

    @property
    def pcm(self) -> bytes:
        """What was recorded: 16-bit mono."""
        return bytes(self._pcm)

    @property
    def length_s(self) -> float:
        """How long it is."""
        return len(self._pcm) / SAMPLE_BYTES / self.rate_hz

    @property
    def over_at(self) -> float:
        """When it will be over, as things stand."""
        quiet_at = self._ends_at if self._quiet_since is None else self._quiet_since + QUIET_S
        return min(self._ends_at, quiet_at)

    def over(self, now: float) -> bool:
        """Say whether it is complete."""
        return self._finished or now >= self.over_at

    def sound(self, pcm: bytes, now: float) -> bytes:
        """Record a piece of the caller's sound; return as much of it as is in the message."""
        if now < self._begins_at or self.over(now):
            return b""
        # Who spoke into the tone and speaks on leaves a message all the same: it began but once.
        over_tone = self._quiet_since is None and now >= self._begins_at + OVER_TONE_S
        self.spoken = self.spoken or over_tone
        taken = pcm[: self._room - len(self._pcm)]
        self._pcm += taken
        return taken

    def voice(self, now: float, *, speaking: bool) -> None:
        """Note that the caller began or ceased to speak."""
        self.spoken = self.spoken or (speaking and now >= self._begins_at)
        self._quiet_since = None if speaking else max(now, self._begins_at)

    def key(self, now: float) -> None:
        """Finish: the caller pressed a key."""
        self._finished = self._finished or now >= self._begins_at


class Then(StrEnum):
    """What follows something that was said."""

    HOLD = "hold"  # the line was held with it
    WAIT = "wait"  # for the caller, or the next silence
    HANG_UP = "hang_up"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakFor:
    """Say something for the first situation that has a text left; report it with `Spoken`."""

    situations: tuple[Situation, ...]
    then: Then
    must: bool = False  # the caller may not cut it short


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMenuChoice:
    """Have done what the caller chose, and report it with `ChoiceDone`."""

    choice: Choice
    stage: str  # that is down


@dataclass(frozen=True, slots=True)
class RecordMessage:
    """Sound the tone, record from its end on, and report it with `MessageBegan`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepMessage:
    """Keep what the caller left, and report it with `ChoiceDone`."""

    message: CallerMessage


@dataclass(frozen=True, slots=True)
class CutLine:
    """Throw away what is on the line: the caller has answered it."""


@dataclass(frozen=True, slots=True)
class HearWords:
    """Have the ear for the menu's words ready."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call, whatever hangs in it."""


LineAction: TypeAlias = (
    SpeakFor
    | RunMenuChoice
    | RecordMessage
    | KeepMessage
    | CutLine
    | HearWords
    | HangUp
    | StepTaken
    | StageRecovered
)
"""What to do next. The facts among them are told."""


@dataclass(frozen=True, slots=True)
class CallerBegan:
    """The caller speaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerFellSilent:
    """The caller is silent; perhaps it was a cough, and no turn comes of it."""

    stopped_at: float  # the last voiced sample
    worded: bool = False  # a word of this turn was written down by then


@dataclass(frozen=True, slots=True)
class WordsCame:
    """A recogniser wrote down words of the caller's."""


@dataclass(frozen=True, slots=True)
class AnswerDue:
    """The caller's turn is over, and the model is asked; it is ours to speak."""


@dataclass(frozen=True, slots=True)
class NothingSaid:
    """The caller's turn is over, no word was written down of it, and nobody is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSounded:
    """Sound of the answer went to the line."""

    dry_at: float  # when the last of it that a person can hear is played
    audible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerOpen:
    """A model begins to write an answer, or all of its sound has gone to the line."""

    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolBegan:
    """The model waits for a tool."""

    call: str  # its id
    dry_at: float  # when what was said before it ends


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEnded:
    """A tool has its result."""

    call: str  # its id
    asks: bool  # the model is asked about it


@dataclass(frozen=True, slots=True)
class AgentCutOff:
    """Whatever the agent was saying or doing was cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerAway:
    """The caller waits for a person, or is with one; or is the agent's again."""

    away: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RestTaken:
    """The local voice takes over what no voice could say."""

    dry_at: float | None = None  # when all on the line is said, with it; None: it is to be made yet


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWords:
    """A goodbye was asked for behind which the call ends, whatever the caller says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuKeyPressed:
    """The caller pressed a key."""

    digit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuWordSaid:
    """The caller said one of the menu's words."""

    meaning: Meaning


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuWordOwed:
    """What the caller just said may be one of the menu's words: wait for it until then."""

    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EarChecked:
    """Whether the menu's words can be heard here now: in this language, by this machine."""

    usable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """Something was said as asked, or could not be."""

    action: SpeakFor
    dry_at: float | None  # infinity: the caller spoke first; None: there was no text left


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceDone:
    """What the caller chose was done, or could not be."""

    choice: Choice
    done: bool
    lost: bool = False  # the caller left a message, and it is gone


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageBegan:
    """What the caller says is being recorded."""

    message: CallerMessage


DebtEvent: TypeAlias = (
    CallerBegan
    | CallerFellSilent
    | WordsCame
    | PauseJudged
    | AnswerDue
    | NothingSaid
    | AnswerSounded
    | AnswerOpen
    | RestTaken
    | ToolBegan
    | ToolEnded
    | AgentCutOff
)
"""What says whether an answer is owed."""

LineEvent: TypeAlias = (
    DebtEvent
    | CallerAway
    | LastWords
    | MenuKeyPressed
    | MenuWordSaid
    | MenuWordOwed
    | EarChecked
    | Spoken
    | ChoiceDone
    | MessageBegan
    | StageExhausted
    | AttemptFailed
    | AttemptStarted
    | AttemptWon
    | EarlyAnswerTaken
    | AnswerEmpty
)
