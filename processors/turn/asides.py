"""Resumes speech that was interrupted by something other than a turn of the caller.

The agent stops as soon as the VAD hears the caller, because an interruption must not wait for
words. If the caller only said "okay" or coughed, or the sound was our own echo, the agent continues
from the first word that the caller did not hear. After the second such interruption in a row, the
next sentence cannot be interrupted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipecat.frames.frames import DataFrame, TTSSpeakFrame
from pipecat.processors.aggregators.llm_context import LLMContext

from calls.events import CallerStarted
from calls.resume import CutSpeech, SpeechSinceInterruption, unheard
from processors.turn.backchannel_rules import Aside, aside_of, first_sentence
from processors.turn.floor import Floor, FloorEvent, TurnBegan

ECHO_LATE_S: Final = 0.6  # from the agent's last sample to the VAD's report of its echo
TRANSCRIPT_S: Final = 1.5  # from a sound to its transcript
PROTECTED_FROM: Final = (
    2  # from this resumption in a row on, the next sentence cannot be interrupted
)

GO_ON: Final = (
    "The caller made a sound while you were speaking, perhaps to show that they are listening. "
    "They heard your last message only as far as it is shown here. Go on from there, and repeat "
    "nothing."
)


@dataclass
class AsideFrame(DataFrame):
    """Words on the caller's line that are not a turn.

    Attributes:
        text: The words.
        kind: Backchannel or echo.
        finalized: The recogniser has transcribed everything that was said.
    """

    text: str
    kind: Aside
    finalized: bool


class Asides:
    """Tracks interrupted speech in one call, and finds the caller's words that are not a turn.

    Attributes:
        partial: Returns what the caller has heard of the agent's message in progress.
        words_heard: This turn has words, and all of them are asides.
    """

    def __init__(
        self,
        memory: LLMContext,
        speech: SpeechSinceInterruption,
        *,
        floor: Floor,
        clock: Callable[[], float],
        language: str = "",
        echoes: Callable[[], bool] = lambda: False,
        partial: Callable[[], str] = lambda: "",
    ) -> None:
        """Create the tracker of one call.

        Args:
            memory: The conversation as it was heard.
            speech: What the agent has to say.
            floor: The call's floor.
            clock: Monotonic, in seconds.
            language: The agent's language, as a tag.
            echoes: Returns whether the caller's line returns our own audio.
            partial: Returns what the caller has heard of the agent's message in progress.
        """
        self._language = language
        self.partial, self._echoes = partial, echoes
        self._memory = memory
        self._speech = speech
        self._floor = floor
        self._now = clock
        self._over_agent = False  # the caller's latest sound began while the agent was audible
        self.words_heard = False
        self._resumed = 0  # how often speech was resumed since the last turn with words
        floor.listeners.append(self._on_floor_event)

    def has_cut(self) -> bool:
        """Return whether the caller interrupted speech before its end was heard."""
        return self._speech.cut is not None and bool(self._unheard_rest(self._speech.cut))

    def aside(self, text: str) -> Aside | None:
        """Return why these words are not a turn, and remember that; `None` if they are one."""
        found = self._kind_of(text)
        self.words_heard = self.words_heard or found is not None
        return found

    def is_echo(self, text: str) -> bool:
        """Return whether words that are not final yet repeat the agent's words."""
        return self._kind_of(text) is Aside.ECHO

    def _kind_of(self, text: str) -> Aside | None:
        """Return why words are not a turn, by their sound and the agent's speech; else `None`."""
        now, floor = self._now(), self._floor
        recently_audible = floor.agent_sounds_until >= now - TRANSCRIPT_S
        # A transcript that comes late may belong to the previous turn.
        late = floor.quiet_at >= now - TRANSCRIPT_S
        spoken = floor.caller_speaking or floor.quiet_at > floor.turn_over_at or late
        current = self._speech.cut
        if floor.is_agent_audible(now) and self._speech.text:  # it was not interrupted
            current = CutSpeech(text=self._speech.text, since=self._speech.since, written=True)
        texts = _agent_texts(self._memory.messages)
        last_text = texts[-1] if texts else ""
        return aside_of(
            text,
            heard=f"{last_text} {self.partial()}",
            rest=self._unheard_rest(current) if current else "",
            over_agent=self._over_agent if spoken else recently_audible,
            spoken=spoken,
            echoes=self._echoes(),
            language=self._language,
        )

    def resume(self) -> list[TTSSpeakFrame] | None:
        """Return the rest of the interrupted speech; `None` if the model must write it.

        Called once for each cut: the cut is forgotten, and the resumption is counted.
        """
        cut, self._speech.cut = self._speech.cut, None
        rest = self._unheard_rest(cut) if cut else ""
        self.words_heard = False
        self._resumed += 1
        if cut is None or not cut.written:
            return None
        if self._resumed < PROTECTED_FROM:
            return [TTSSpeakFrame(rest)]
        first, others = first_sentence(rest, self._language)
        speech = TTSSpeakFrame(first)
        speech.interruptible = False
        return [speech, *([TTSSpeakFrame(others)] if others else [])]

    def turn_over(self, *, worded: bool) -> None:
        """Record the end of a turn after which nothing is resumed.

        With words (`worded`), the next interruption counts as the first in a row again.
        """
        self._speech.cut = None
        self.words_heard = False
        if worded:
            self._resumed = 0

    def _on_floor_event(self, event: FloorEvent) -> None:
        """Note whether the caller began over the agent's speech.

        Forget an echo at a turn's start.
        """
        if isinstance(event, CallerStarted):
            self._over_agent = self._floor.agent_sounds_until >= event.at_s - ECHO_LATE_S
        elif isinstance(event, TurnBegan):
            self.words_heard = False  # an echo before this turn is not part of it

    def _unheard_rest(self, cut: CutSpeech) -> str:
        """Return the part of interrupted speech that the caller did not hear.

        Empty if a summary has replaced the messages that tell what was heard.
        """
        if cut.since is None:
            return cut.text
        messages = self._memory.messages
        if len(messages) < cut.since:  # a summary has replaced them
            return ""
        return unheard(cut.text, " ".join([*_agent_texts(messages[cut.since :]), self.partial()]))


def _agent_texts(messages: Sequence[Any]) -> list[str]:
    """Return the texts of the agent's messages."""
    agent = [
        item for item in messages if isinstance(item, dict) and item.get("role") == "assistant"
    ]
    return [item["content"] for item in agent if isinstance(item.get("content"), str)]
