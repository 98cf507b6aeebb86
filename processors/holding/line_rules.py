"""A caller's message, and the events and actions of a caller's line."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from calls.events import CallerStarted, CallerStopped, TurnDecided
from fallbacks.events import (
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
from processors.holding.hold_rhythm_rules import HoldSound
from processors.holding.menu_rules import Choice, DeskChoice
from processors.holding.silence_rules import Goodbye, Prompt
from processors.holding.utterance_rules import Situation
from processors.turn.floor import AwayChanged, Floor, KeyGiven, TurnBegan, WordsCame
from runtime.pcm import SAMPLE_BYTES

LIMIT_S: Final = 120.0  # the longest message; people leave far shorter ones (chosen)
MESSAGE_END_S: Final = 3.5  # silence that ends a message; a call may be silent for 4 s at most
OVER_TONE_S: Final = 0.5  # speech that began during the tone counts if it lasts this long after it


class CallerMessage:
    """Records the caller's audio from `begins_at` until the message is over.

    Moments are monotonic, in seconds.
    """

    def __init__(
        self, floor: Floor, *, begins_at: float, rate_hz: int, limit_s: float = LIMIT_S
    ) -> None:
        self.rate_hz = rate_hz
        self.spoken = False
        """Whether it contains speech."""
        self._floor = floor
        self._begins_at = begins_at
        self._ends_at = begins_at + limit_s
        self._max_bytes = round(limit_s * rate_hz) * SAMPLE_BYTES
        self._pcm = bytearray()

    @property
    def pcm(self) -> bytes:
        """The recording: 16-bit mono."""
        return bytes(self._pcm)

    @property
    def length_s(self) -> float:
        """The length of the recording."""
        return len(self._pcm) / SAMPLE_BYTES / self.rate_hz

    @property
    def over_at(self) -> float:
        """When the message will be over, if nothing changes."""
        if self._floor.caller_speaking:
            return self._ends_at
        return min(self._ends_at, max(self._floor.quiet_at, self._begins_at) + MESSAGE_END_S)

    def over(self, now: float) -> bool:
        """Return whether the message is over."""
        return now >= self.over_at

    def sound(self, pcm: bytes, now: float) -> bytes:
        """Record a piece of the caller's audio; return the part that belongs to the message.

        Empty before the message begins and after it is over. Speech during it sets `spoken`.
        """
        if now < self._begins_at or self.over(now):
            return b""
        if (since := self._floor.caller_since) is not None:
            # Speech that began during the tone counts if it continues.
            over_tone = now >= self._begins_at + OVER_TONE_S
            self.spoken = self.spoken or over_tone or since >= self._begins_at
        taken = pcm[: self._max_bytes - len(self._pcm)]
        self._pcm += taken
        return taken

    def key(self, now: float) -> None:
        """End the message, because the caller pressed a key; before it has begun, do nothing."""
        if now >= self._begins_at:
            self._ends_at = min(self._ends_at, now)


def earliest(*moments: float | None) -> float | None:
    """Return the earliest of the moments that are not `None`."""
    return min((moment for moment in moments if moment is not None), default=None)


class Then(StrEnum):
    """What happens after an utterance."""

    HOLD = "hold"  # it was said because the answer is late, and the answer is still pending
    WAIT = "wait"  # the outage menu waits for the caller's reply, or for its next step
    HANG_UP = "hang_up"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakFor:
    """Say a text for the first situation that has an unused one; report it with `Spoken`."""

    situations: tuple[Situation, ...]
    then: Then
    protected: bool = False  # it cannot be interrupted


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMenuChoice:
    """Carry out the caller's choice, and report with `ChoiceDone`."""

    choice: DeskChoice
    stage: str  # the stage that is down


@dataclass(frozen=True, slots=True)
class RecordMessage:
    """Play the tone, and start a message at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepMessage:
    """Store the caller's message, and report with `ChoiceDone`."""

    message: CallerMessage


@dataclass(frozen=True, slots=True)
class CutLine:
    """Discard the audio on the line: the caller has reacted to it, or begun to speak."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call, even if a part of it hangs."""


@dataclass(frozen=True, slots=True)
class DeliverResults:
    """Give the model the late results of tools: nobody speaks, or is about to."""


LineAction: TypeAlias = (
    SpeakFor
    | Prompt
    | Goodbye
    | HoldSound
    | DeliverResults
    | RunMenuChoice
    | RecordMessage
    | KeepMessage
    | CutLine
    | HangUp
    | StepTaken
    | StageRecovered
)
"""The actions on a line. The events among them are published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """An utterance was put on the line as requested, or could not be."""

    action: SpeakFor
    # The end of the audio on the line; infinity if the caller spoke first, `None` if no text was
    # left.
    dry_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceDone:
    """The caller's choice was carried out, or could not be."""

    choice: Choice
    done: bool
    lost: bool = False  # the caller's message could not be stored


LineEvent: TypeAlias = (
    CallerStarted
    | CallerStopped
    | TurnBegan
    | WordsCame
    | AwayChanged
    | KeyGiven
    | PauseJudged
    | TurnDecided
    | Spoken
    | ChoiceDone
    | StageExhausted
    | AttemptFailed
    | AttemptStarted
    | AttemptWon
    | EarlyAnswerTaken
    | AnswerEmpty
)
"""The events of a line, and events about the answer that other parts of the call publish."""
