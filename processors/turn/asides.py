"""The caller's sounds and words that are no turn, and the rest of what they cut off.

The agent stops as soon as the caller is heard, because an interruption must not wait for words.
If it turns out that the caller only said "okay", coughed, or was our own echo, the agent goes on
with the first word that was not heard. After two such interruptions in a row the next sentence
cannot be interrupted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipecat.frames.frames import DataFrame, TTSSpeakFrame
from pipecat.processors.aggregators.llm_context import LLMContext

from calls.events import CallerStarted
from calls.resume import CutSpeech, OwedWords, unheard
from processors.turn.backchannel_rules import Aside, aside_of, first_sentence
from processors.turn.floor import Floor, FloorEvent, TurnBegan

REACH_S: Final = 0.6  # from the agent's last sample to the VAD's report of its echo
WRITTEN_S: Final = 1.5  # from a sound to the transcript of it
PATIENT: Final = 2  # interruptions without a word, after which a sentence cannot be interrupted

GO_ON: Final = (
    "The caller made a sound while you were speaking, perhaps to show that they are listening. "
    "They heard your last message as far as it stands here. Go on from there, and repeat nothing."
)


@dataclass
class AsideFrame(DataFrame):
    """Words of the caller's line that are no turn.

    Attributes:
        text: The words.
        kind: Why they are none.
        finalized: The recogniser has written all that was said.
    """

    text: str
    kind: Aside
    finalized: bool


class Asides:
    """Follows what is cut off in one call, and which words of the caller are no turn.

    Attributes:
        partial: Returns what the caller has heard of the message in progress.
        echoes: Returns whether the caller's line carries our own sound back.
        words_heard: There were words in this turn, all of them asides.
        goodbye: Returns the reason of an end of the call that was cut off with the speech.
    """

    def __init__(
        self, memory: LLMContext, speech: OwedWords, *, floor: Floor, clock: Callable[[], float]
    ) -> None:
        """Prepare.

        Args:
            memory: The conversation as it was heard.
            speech: What the agent has to say.
            floor: Of the call.
            clock: Monotonic, in seconds.
        """
        self.partial: Callable[[], str] = lambda: ""
        self.echoes: Callable[[], bool] = lambda: False
        self.goodbye: Callable[[], str | None] = lambda: None
        self._memory = memory
        self._speech = speech
        self._floor = floor
        self._now = clock
        self._over_agent = False  # the caller's latest sound began while the agent was heard
        self.words_heard = False
        self._times = 0  # that speech was resumed since the last turn with words
        floor.listeners.append(self._follow)

    def has_cut(self) -> bool:
        """Return whether the caller's sound has cut off speech, and part of it was not heard."""
        return self._speech.cut is not None and bool(self._rest(self._speech.cut))

    def aside(self, text: str) -> Aside | None:
        """Return what words of the caller are that are no turn; `None` for a turn."""
        found = self._judge(text)
        self.words_heard = self.words_heard or found is not None
        return found

    def is_echo(self, text: str) -> bool:
        """Return whether words that are not final yet repeat the agent's."""
        return self._judge(text) is Aside.ECHO

    def _judge(self, text: str) -> Aside | None:
        now, floor = self._now(), self._floor
        written = floor.agent_sounds_until >= now - WRITTEN_S
        late = floor.quiet_at >= now - WRITTEN_S  # perhaps the last words of the turn before
        spoken = floor.caller_speaking or floor.quiet_at > floor.turn_over_at or late
        current = self._speech.cut
        if floor.agent_sounds(now) and self._speech.text:  # it was not interrupted
            current = CutSpeech(text=self._speech.text, since=self._speech.since, written=True)
        *_, last = ["", *_said(self._memory.messages)]
        return aside_of(
            text,
            heard=f"{last} {self.partial()}",
            rest=self._rest(current) if current else "",
            over_agent=self._over_agent if spoken else written,
            spoken=spoken,
            echoes=self.echoes(),
        )

    def resume(self) -> list[TTSSpeakFrame] | None:
        """Return the rest of what was cut off, to be spoken; `None` if the model must write it."""
        cut, self._speech.cut = self._speech.cut, None
        rest = self._rest(cut) if cut else ""
        self.words_heard = False
        self._times += 1
        if cut is None or not cut.written:
            return None
        if self._times < PATIENT:
            return [TTSSpeakFrame(rest)]
        first, others = first_sentence(rest)
        speech = TTSSpeakFrame(first)
        speech.interruptible = False
        return [speech, *([TTSSpeakFrame(others)] if others else [])]

    def turn_over(self, *, worded: bool) -> None:
        """Record the end of a turn after which nothing is resumed."""
        self._speech.cut = None
        self.words_heard = False
        if worded:
            self._times = 0

    def _follow(self, event: FloorEvent) -> None:
        if isinstance(event, CallerStarted):
            self._over_agent = self._floor.agent_sounds_until >= event.at_s - REACH_S
        elif isinstance(event, TurnBegan):
            self.words_heard = False  # an echo outside of turns is not part of this one

    def _rest(self, cut: CutSpeech) -> str:
        """Return what was not heard of it."""
        if cut.since is None:
            return cut.text
        messages = self._memory.messages
        if len(messages) < cut.since:  # a summary has replaced them
            return ""
        return unheard(cut.text, " ".join([*_said(messages[cut.since :]), self.partial()]))


def _said(messages: Sequence[Any]) -> list[str]:
    """Return what the agent has said, as the messages have it."""
    told = [said for said in messages if isinstance(said, dict) and said.get("role") == "assistant"]
    return [said["content"] for said in told if isinstance(said.get("content"), str)]
