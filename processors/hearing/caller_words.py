"""The caller's words on their way to the conversation: language, turns without words, cleaning."""

from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Final, cast

from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    StartFrame,
    TranscriptionFrame,
    TTSUpdateSettingsFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContextMessage
from pipecat.processors.aggregators.llm_response_universal import (
    LLMUserAggregator,
    UserTurnStoppedMessage,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.settings import TTSSettings

from calls.caller import LIMIT, clean
from calls.entry import Emit
from calls.events import BargedIn, Event, InputRefused, TurnDecided
from processors.answering.context_window import Memory
from processors.holding.farewell import PartFrame
from processors.holding.hold_line import HoldLine
from processors.holding.silence_rules import SILENT
from processors.turn.asides import GO_ON, AsideFrame, Asides
from processors.turn.floor import Floor
from processors.turn.sound_path import SoundPath


class TurnLanguage:
    """Follows the caller's language from turn to turn.

    A recogniser reports the language of each result, and a turn may have several results. A short
    word that fits any language must not outweigh the sentence before it.

    Attributes:
        current: The language spoken with the caller.
    """

    def __init__(self, first: str) -> None:
        self.current = first
        self._words = Counter[str]()  # the number of words in this turn, by language

    def heard(self, text: str, language: str | None) -> bool:
        """Count the words of a result in a language.

        Return whether the turn's language has changed. The turn's language, `current`, is the one
        with the most words. Without a language nothing changes.
        """
        if not language:
            return False
        self._words[language] += len(text.split())
        before, most = self.current, max(self._words.values())
        if self._words[before] < most:
            self.current = next(name for name, n in self._words.items() if n == most)
        return self.current != before

    def turn_over(self) -> None:
        """Start to count another turn."""
        self._words.clear()


class CallerLanguage(SoundPath):
    """Switches the voices to the caller's language, before the model can answer.

    It is after the STT stage. The change is sent ahead of the words that caused it, because the
    model may begin to answer with these words, and later frames wait for the answer. An
    interruption does not drop the change.
    """

    def __init__(
        self,
        *,
        first: str,
        current: str = "",
        voices: Sequence[FrameProcessor],
        follow: Callable[[str], None],
    ) -> None:
        """Speak `first` until another language is heard.

        Args:
            first: The language at the beginning of a call.
            current: The language spoken in a call that is resumed; empty for a new call.
            voices: The services that must speak the caller's language.
            follow: Called with each new language, for the call's own speech.
        """
        super().__init__()
        self._language = TurnLanguage(current or first)
        self._is_first = self._language.current == first
        self._voices = tuple(voices)
        self._follow = follow

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass frames on, with a change of language right before the words that caused it."""
        await super().process_frame(frame, direction)
        match frame:
            case StartFrame() if not self._is_first:
                await self.push_frame(frame, direction)
                await self._switch_language(self._language.current)
                return
            case TranscriptionFrame():
                language = str(frame.language) if frame.language else None
                if self._language.heard(frame.text, language):
                    await self._switch_language(self._language.current)
            case UserStartedSpeakingFrame() | UserStoppedSpeakingFrame():
                self._language.turn_over()
            case _:
                pass
        await self.push_frame(frame, direction)

    async def _switch_language(self, language: str) -> None:
        """Set the language of the call's own speech and of each voice.

        No interruption drops the change.
        """
        self._follow(language)
        for voice in self._voices:
            change = TTSUpdateSettingsFrame(delta=TTSSettings(language=language), service=voice)
            change.interruptible = False
            await self.push_frame(change)


class AfterSound(StrEnum):
    """What to do after a turn without a transcript.

    After a laugh, a door or a neighbour's voice, the VAD detects speech and the agent is
    interrupted, but there is nothing to answer. An earlier question of the caller may still be
    pending.
    """

    RESUME = "resume"  # say the rest of the speech that the sound interrupted
    ANSWER = "answer"  # answer an earlier question
    ASK_AGAIN = "ask_again"  # ask the caller to repeat
    NOTHING = "nothing"


def after_sound(
    *,
    led: bool,
    has_rest: bool,
    unanswered: bool,
    interrupted: bool,
    awaits_answer: bool,
    asked: bool,
) -> AfterSound:
    """Return what to do after a turn without a transcript.

    Args:
        led: The outage menu or a person speaks with the caller.
        has_rest: The sound interrupted speech of which a part was not heard.
        unanswered: The model has not answered the last message of the conversation.
        interrupted: The sound interrupted the agent.
        awaits_answer: An answer is pending: a recogniser failed, and there may have been words.
        asked: The caller was asked to repeat, and has said no word since.
    """
    if led:
        return AfterSound.NOTHING
    if has_rest and not awaits_answer:
        return AfterSound.RESUME
    if unanswered:
        return AfterSound.ANSWER
    if (interrupted or awaits_answer) and not asked:
        return AfterSound.ASK_AGAIN
    return AfterSound.NOTHING


ASK_AGAIN: Final = (
    "There was a sound on the caller's line, perhaps words, and none could be made out. They have "
    "heard what you say in this conversation, and nothing after it. In one short sentence, ask "
    "them to say it again; repeat a question of yours that they may have missed."
)


class WordlessTurns:
    """Ends the caller's turns that produced no transcript, in place of Pipecat's own rule.

    Pipecat ends such a turn after a while, and asks no model unless the agent was interrupted. Then
    it makes the model ask the caller to repeat, although an earlier question of the caller may be
    unanswered. And `HoldLine` must not expect an answer after each end of a turn.
    """

    def __init__(
        self,
        user: LLMUserAggregator,
        memory: Memory,
        hold_line: HoldLine,
        asides: Asides,
        floor: Floor,
    ) -> None:
        """Follow the caller's turns.

        Args:
            user: The aggregator that ends turns and asks the model.
            memory: The conversation.
            hold_line: Is told that such a turn gets no answer.
            asides: Knows the rest of interrupted speech.
            floor: The call's floor.
        """
        self._asides, self._floor = asides, floor
        self._user = user
        self._memory = memory
        self._hold_line = hold_line
        self._interrupted = False  # the agent was interrupted since the last turn
        self._asked = False  # the caller was asked to repeat
        user.add_event_handler("on_user_turn_stopped", self._on_turn_stopped)

    def notice(self, event: Event) -> None:
        """Record whether the agent was interrupted since the last turn."""
        match event:
            case BargedIn():
                self._interrupted = True
            case TurnDecided():
                self._interrupted = False
            case _:
                pass

    async def _on_turn_stopped(
        self, _user: object, _strategy: Any, message: UserTurnStoppedMessage
    ) -> None:
        """End a turn without a transcript; after a turn with words, only reset the state.

        The cut speech is resumed, the model is asked, the caller is asked to repeat, or nothing
        happens. If the sound had cancelled the end of the call, the call is ended after the resumed
        speech.
        """
        if message.content:
            self._asked = False
            self._asides.turn_over(worded=True)
            return
        interrupted, self._interrupted = self._interrupted, False
        after = after_sound(
            led=self._hold_line.decision.led,
            has_rest=self._asides.has_cut(),
            unanswered=self._memory.unanswered,
            interrupted=interrupted,
            awaits_answer=self._hold_line.decision.awaits_answer and not self._asides.words_heard,
            asked=self._asked,
        )
        goodbye = self._floor.revoked
        if after is AfterSound.RESUME and goodbye != SILENT:
            await self._resume_cut_speech()
            if goodbye is not None:  # the end of the call was cancelled, too
                await self._user.push_frame(PartFrame(reason=goodbye))
            return
        self._asides.turn_over(worded=False)
        match after:
            case AfterSound.ANSWER:
                await self._user.push_context_frame()
            case AfterSound.ASK_AGAIN:
                self._asked = True
                await self._ask_with(ASK_AGAIN)
            case _:
                self._hold_line.note_nothing_said()

    async def _resume_cut_speech(self) -> None:
        """Push the rest of the interrupted speech, or let the model write it if it is not known."""
        rest = self._asides.resume()
        if rest is not None:
            self._hold_line.note_nothing_said()
            for speech in rest:
                await self._user.push_frame(speech)
        elif self._memory.unanswered:
            await self._user.push_context_frame()
        else:
            await self._ask_with(GO_ON)

    async def _ask_with(self, note: str) -> None:
        """Ask the model, with a note at the end of the conversation."""
        message = {"role": "developer", "content": note}
        self._memory.add_message(cast("LLMContextMessage", message))
        await self._user.push_context_frame()


class CallerWords(SoundPath):
    """Cleans and limits the caller's words, between the STT stage and the context aggregator.

    A turn may have several final transcripts; together they have at most `limit` characters. The
    rest is dropped, which is reported once per turn.
    """

    def __init__(self, *, emit: Emit, limit: int = LIMIT, asides: Asides | None = None) -> None:
        """Create it for one call.

        Args:
            emit: Publishes events.
            limit: The largest number of characters in a turn.
            asides: Decides which words are not a turn; `None` if all words are.
        """
        super().__init__()
        self._asides = asides
        self._emit = emit
        self._limit = limit
        self._left = limit

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on; transcripts are first cleaned in place.

        A final one whose words are not a turn becomes an `AsideFrame`, and an interim one of our
        own echo becomes empty. After a turn, the limit starts again.
        """
        await super().process_frame(frame, direction)
        match frame:
            case TranscriptionFrame():
                self._clean_and_limit(frame)
                frame = self._without_aside(frame)
            case InterimTranscriptionFrame():
                frame.text = clean(frame.text, self._limit)
                if self._asides and self._asides.is_echo(frame.text):
                    frame.text = ""
            case UserStoppedSpeakingFrame():
                self._left = self._limit
            case _:
                pass
        await self.push_frame(frame, direction)

    def _without_aside(self, frame: TranscriptionFrame) -> TranscriptionFrame | AsideFrame:
        """Return the frame, or an `AsideFrame` if its words are not a turn."""
        kind = self._asides.aside(frame.text) if self._asides and frame.text.strip() else None
        if kind is None:
            return frame
        self._left += len(frame.text)  # it does not count towards the turn's limit
        return AsideFrame(text=frame.text, kind=kind, finalized=frame.finalized)

    def _clean_and_limit(self, frame: TranscriptionFrame) -> None:
        """Clean a transcript in place, and cut it to the characters that are left in this turn.

        The first cut in a turn is reported as `InputRefused`.
        """
        had_room = self._left > 0
        too_long = len(frame.text.strip()) > self._left
        frame.text = clean(frame.text, self._left)
        self._left -= len(frame.text)
        if too_long and had_room:
            self._left = 0
            self._emit(InputRefused(transport="stt", reason="transcript_too_long"))
