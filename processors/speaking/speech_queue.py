"""The queue of the TTS stage: pieces of speech, and the frames between them, in order.

The model's words are collected into sentences. An incomplete word can be taken back.
"""

import re
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pipecat.frames.frames import (
    AggregatedTextFrame,
    DataFrame,
    EndFrame,
    Frame,
    InterimTranscriptionFrame,
    LLMAssistantPushAggregationFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    StopFrame,
    TextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.utils.string import (
    SENTENCE_ENDING_PUNCTUATION,
    UNAMBIGUOUS_SENTENCE_ENDING_PUNCTUATION,
    match_endofsentence,
)
from pipecat.utils.text.base_text_aggregator import Aggregation, TextType
from pipecat.utils.text.simple_text_aggregator import SimpleTextAggregator

from calls.languages.sentence_rules import known_end, stop_ends
from calls.resume import SpeechSinceInterruption
from fallbacks.ladder import ClauseRule
from fallbacks.word_times import CHARACTER_S, sayable
from processors.speaking.clause_rules import FirstClause, hurried_end
from processors.speaking.decision import SpokenUtterance
from processors.speaking.ledger_rules import PlaySound, PlayWord
from processors.speaking.speech_actions import EndSpeech, SpeechAction
from processors.turn.floor import Floor, ReplyState

AHEAD_S: Final = 10.0  # speech that a voice may be ahead; more is often interrupted unheard
NEXT_S: Final = 3.0  # left on the line when the next piece begins: time for three failures (chosen)
RUNG: Final = "rung"
"""The metadata key for the rung that spoke an audio or word frame."""

WITHDRAWN: Final = "withdrawn"
"""The metadata key of an interruption that takes back a reply; no caller interrupted it."""

CORRECTIONS: Final = "corrections"
"""The metadata key of an interruption for how many corrections of the heard words will follow."""


@dataclass(slots=True, kw_only=True, eq=False)
class SpokenPiece:
    """Sentences of a reply, or separate speech.

    Attributes:
        append_to_context: Whether the words become part of the assistant's context.
        commits: Whether its end closes the assistant's message, because it is not part of a reply.
        interruptible: Whether the caller can interrupt it.
        sentences: The sentences, until it is started.
        closed: Whether no sentence follows.
        utterance: The utterance on the ladder, once it is started.
        begun: Whether part of it went to the line.
        follows: Whether it continues a reply; then it begins when the line has little left to play.
        context_id: Identifies its frames to Pipecat.
    """

    append_to_context: bool = True
    commits: bool = False
    interruptible: bool = True
    sentences: list[str] = field(default_factory=list[str])
    closed: bool = False
    utterance: SpokenUtterance | None = None
    begun: bool = False
    follows: bool = False
    context_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def accepts(self) -> bool:
        """Whether it takes more sentences."""
        return self.utterance.accepts if self.utterance else not self.closed

    def has_room(self, sentence: str, queued_s: float) -> bool:
        """Return whether a sentence fits in it; the first one always does.

        Args:
            sentence: The sentence.
            queued_s: The seconds of audio that the line still has to play.
        """
        if self.utterance is None:
            waiting = sum(map(len, self.sentences))
            queued_s = NEXT_S if self.follows else queued_s
        else:
            waiting = self.utterance.characters_left
        return not waiting or queued_s + CHARACTER_S * (waiting + len(sentence)) <= AHEAD_S

    @property
    def starved(self) -> bool:
        """Whether part of it went to the line, and the voice is waiting for text."""
        return self.begun and self.utterance is not None and self.utterance.idle

    def start_with(self, utterance: SpokenUtterance, now: float) -> tuple[SpeechAction, ...]:
        """Start it with the sentences so far, and end its text if it is closed."""
        self.utterance = utterance
        actions = utterance.start(" ".join(self.sentences), now)
        return (*actions, *(utterance.end_text(now) if self.closed else ()))

    def add(self, sentence: str | None, now: float) -> tuple[SpeechAction, ...]:
        """Add a sentence, or end the text if it is `None`; return the utterance's actions.

        Before `start_with`, the text is only kept, and there are none.
        """
        if self.utterance and sentence is not None:
            return self.utterance.add(sentence, now)
        if self.utterance:
            return self.utterance.end_text(now)
        if sentence is not None:
            self.sentences.append(sentence)
        else:
            self.closed = True
        return ()

    def frames_of(
        self, action: PlaySound | PlayWord | EndSpeech, *, rate_hz: int, rung: str | None
    ) -> list[Frame]:
        """Return the frames that carry an action to the line and the assistant's context.

        The first ones begin with a start frame, and set `begun`. Without any audio or word, an end
        has no frames, because there is no start that it could belong to.
        """
        frames: list[Frame] = self._start_frames()
        match action:
            case PlaySound():
                frames.append(TTSAudioRawFrame(action.pcm, rate_hz, 1, context_id=self.context_id))
            case PlayWord():
                word = TTSTextFrame(action.word, TextType.WORD, context_id=self.context_id)
                word.append_to_context = self.append_to_context
                word.includes_inter_frame_spaces = action.spaced
                frames.append(word)
            case EndSpeech():
                stopped = TTSStoppedFrame(context_id=self.context_id)
                commit = [LLMAssistantPushAggregationFrame()] if self.commits else []
                frames = [stopped, *commit] if self.begun else list[Frame]()
        self.begun = self.begun or bool(frames)
        for frame in frames:
            frame.interruptible = self.interruptible
            frame.metadata[RUNG] = rung
        return frames

    def _start_frames(self) -> list[Frame]:
        """Return the frame that begins the speech; none if it was begun."""
        if self.begun:
            return []
        started = TTSStartedFrame(context_id=self.context_id)
        started.append_to_context = self.append_to_context
        return [started]


# A word and a sign: not a number that may get decimals, an initial or an address.
_ENDING: Final = re.compile(r"(?:^|\s)[¿¡]?[^\W\d_]+(?:['\u2019-][^\W\d_]+)*[^\W\d_]{2}[.!?]$")
# Quotes and brackets: with one of these, more may follow after the sign.
_OPEN: Final = frozenset('"\u201c\u201d\u201e\u00ab\u00bb()[]\u300c\u300d\u300e\u300f\uff08\uff09')
_DECIDES: Final = 40  # characters after a stop that decide whether it ends a sentence; a long word
_QUOTES: Final = ("\u201c\u201d", "\u300c\u300d", "\u300e\u300f", "\uff08\uff09")
_LIKELIER_PART: Final = " a"  # a lower-case letter, which follows an abbreviation, not a sentence


def _is_quoting(text: str, end: int) -> bool:
    """Return whether a sign of Chinese or Japanese before `end` belongs to a quotation."""
    sentence, closes = text[:end], "".join(_QUOTES)[1::2]
    if sentence.rstrip(closes)[-1:] not in UNAMBIGUOUS_SENTENCE_ENDING_PUNCTUATION:
        return False
    is_open = any(sentence.count(mark[0]) > sentence.count(mark[1]) for mark in _QUOTES)
    return is_open or (sentence[-1] in closes and text[end : end + 1].isalpha())


def _is_complete(text: str, language: str) -> bool:
    """Return whether a text is a complete sentence, whatever follows."""
    if not _OPEN.isdisjoint(text):
        return False
    if text[-1:] in UNAMBIGUOUS_SENTENCE_ENDING_PUNCTUATION:
        return bool(text)
    if not _ENDING.search(text) or not stop_ends(text, "", language):
        return False
    return _first_end(text + _LIKELIER_PART, 0, language)[0] == len(text)


def without_half_sentence(text: str, language: str) -> str:
    """Return a text without an unfinished sentence at its end."""
    end = 0
    while found := _first_end(text[end:], 0, language)[0]:
        end += found
    return text if _is_complete(text[end:].rstrip(), language) else text[:end]


def _first_end(text: str, begin: int, language: str) -> tuple[int, int]:
    """Return the end of the first sentence: the library's, corrected; 0 if none is certain.

    The second value is where the next search may begin, because no sentence ends before it.
    """
    examined = begin
    known = begin + found if (found := known_end(text[begin:], language)) else 0
    while found := match_endofsentence(text[begin:], language=language):
        end = begin + found
        if known and known <= end:
            break
        if stop_ends(text[:end], text[end:], language) and not _is_quoting(text, end):
            return end, 0
        begin = end
        examined = end if len(text) - end > _DECIDES else examined
    return known, examined


@dataclass
class TakeBackFrame(DataFrame):
    """The last characters of the answer must not be spoken.

    The LLM stage passes words on as they arrive, because the end of a sentence may only show in the
    first character of the next one. An incomplete word never ends a sentence, so it is still in
    `Sentences` when it is taken back. Thoughts show only at their end that they are no speech; then
    the reply so far is withdrawn (`TtsStage`).

    Attributes:
        characters: The number of characters.
        unfinished: Whether the unfinished sentence, as far as no voice has it, is taken back
            instead: no model will finish it, and the caller has heard other speech since.
    """

    characters: int = 0
    unfinished: bool = False


class Sentences(SimpleTextAggregator):
    """Pipecat's rules for the end of a sentence, with text that can be taken back.

    Pipecat waits for the first character after a sentence. If no character could change the result,
    the sentence is released without the wait, one of the model's words sooner. If the voice
    accepts partial text, the first clause of a reply is released before its sentence ends.
    """

    def __init__(self, *, language: Any = None, clock: Callable[[], float] = lambda: 0.0) -> None:
        """Create an aggregator without text.

        Args:
            language: The language, as for Pipecat's aggregators.
            clock: Monotonic, in seconds.
        """
        super().__init__(language=language)
        self._now = clock
        self._first: FirstClause | None = None  # set until part of the reply is released
        self._begun = False  # the beginning of a sentence was released, but not its end
        self._examined = 0  # no sentence ends before this character of the text

    @property
    def hurriable(self) -> bool:
        """Whether `hurry` would release something."""
        return self._begun and hurried_end(self._text) > 0

    def begin_reply(self, rule: ClauseRule | None) -> None:
        """Expect another reply; its first clause is released early if the rule allows that."""
        self._first = FirstClause(rule)

    async def aggregate(self, text: str) -> AsyncIterator[Aggregation]:
        """Add a piece of the model's text; yield the sentences or the clause that it completes."""
        async for sentence in super().aggregate(text):
            self._first, self._begun = None, False
            yield sentence
        if _is_complete(self._text, self.language) and (sentence := await self.flush()):
            yield sentence
        elif self._first and (
            clause := self._release_clause(self._first.end(self._text, self._now()))
        ):
            yield clause

    def hurry(self) -> Aggregation | None:
        """Release the complete words of a sentence whose beginning was released, or `None`."""
        return self._release_clause(hurried_end(self._text)) if self._begun else None

    async def flush(self) -> Aggregation | None:
        """Release all of the collected text; `None` if there is none."""
        self._first, self._begun, self._examined = None, False, 0
        return await super().flush()

    async def handle_interruption(self) -> None:
        """Discard the collected text."""
        self._first, self._begun, self._examined = None, False, 0
        await super().handle_interruption()

    def _release_clause(self, end: int) -> Aggregation | None:
        """Return the first `end` characters as a clause, and keep the rest; `None` for 0."""
        if end == 0:
            return None
        clause, rest = self._text[:end].strip(), self._text[end:]
        self._replace_collected(rest)
        self._first, self._begun = None, True
        return Aggregation(text=clause, type=TextType.SENTENCE)

    async def _check_sentence_with_lookahead(
        self, char: str, *, protected_end: int = 0
    ) -> Aggregation | None:
        """Return the sentence that is certainly over with this character, as Pipecat's method.

        `None` if none is certainly over yet.
        """
        is_sign = char in SENTENCE_ENDING_PUNCTUATION
        end = 0
        if self._advance_lookahead(char, is_punctuation=is_sign):
            text = self._text[:-1] if is_sign else self._text
            end, self._examined = _first_end(text, self._examined, self.language)
        if not end:
            state = type(self._lookahead_state)
            self._lookahead_state = state.AWAITING_CHARACTER if is_sign else self._lookahead_state
            return None
        sentence, rest = self._text[:end].strip(" "), self._text[end:]
        self._replace_collected(rest)
        return Aggregation(text=sentence, type=TextType.SENTENCE)

    def holds(self, characters: int) -> bool:
        """Return whether no part of the last characters was released as a sentence or clause."""
        return self._first is not None or characters <= len(self._text)

    def take_back(self, characters: int | None) -> None:
        """Discard the last characters, `None` for all, unless they are part of a sentence."""
        kept = 0 if characters is None else max(0, len(self._text) - characters)
        self._replace_collected(self._text[:kept])

    def _replace_collected(self, text: str) -> None:
        """Replace the collected text; if it ends with a sign, a sentence may end there."""
        self._text, self._examined = text, 0
        pending = text.rstrip()[-1:] in SENTENCE_ENDING_PUNCTUATION and bool(text)
        state = type(self._lookahead_state)
        self._lookahead_state = state.AWAITING_CHARACTER if pending else state.IDLE


Said: TypeAlias = tuple[SpokenPiece, str | None]
"""A piece of speech, and a sentence to add to it; `None` if no sentence follows."""


class SpeechQueue:
    """Turns text into pieces of speech, sentence by sentence; only the first one is started.

    Attributes:
        speech: The agent's words since the last interruption, whether they were heard or not.
    """

    def __init__(
        self,
        *,
        language: Any,
        floor: Floor,
        clock: Callable[[], float] = lambda: 0.0,
        clause_rule: Callable[[], ClauseRule | None] = lambda: None,
        queued_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Create an empty queue.

        Args:
            language: The language of the sentences, as for Pipecat's aggregators.
            floor: The call's floor; this queue reports which reply enters it.
            clock: Monotonic, in seconds.
            clause_rule: Returns how much of an unfinished sentence the next voice may get.
            queued_s: Returns the seconds of audio that the line still has to play.
        """
        self._sentences = Sentences(language=language, clock=clock)
        self._clause_rule = clause_rule
        self._queued_s = queued_s
        self._floor = floor
        self._entries: deque[Frame | SpokenPiece] = deque()
        self._open: SpokenPiece | None = None  # gets the next sentence of the reply
        self.speech = SpeechSinceInterruption()
        self._before_reply = 0  # characters of `speech` that are not of the latest reply

    @property
    def empty(self) -> bool:
        """Whether nothing is waiting."""
        return not self._entries

    @property
    def waiting(self) -> bool:
        """Whether the first entry continues a reply, and is not started yet."""
        return self.head is not None and self.head.utterance is None and self.head.follows

    @property
    def head(self) -> SpokenPiece | None:
        """The first entry, if it is a piece of speech."""
        first = self._entries[0] if self._entries else None
        return first if isinstance(first, SpokenPiece) else None

    async def add(self, frame: Frame) -> list[Said]:
        """Queue a frame; return the sentences that it adds to pieces of speech.

        A frame without text may add none, or complete the sentences that wait.
        """
        match frame:
            case TTSSpeakFrame():
                piece = SpokenPiece(
                    append_to_context=frame.append_to_context,
                    commits=frame.append_to_context and ReplyState.QUEUING not in self._floor.reply,
                    interruptible=frame.interruptible,
                )
                return [
                    *self._close_open_piece(),
                    *self._add_sentence(frame.text, piece),
                    *self._close_open_piece(),
                ]
            case TextFrame() if _is_to_be_spoken(frame):
                return await self._add_text(frame)
            case TakeBackFrame():
                self._sentences.take_back(None if frame.unfinished else frame.characters)
                return []
            case LLMFullResponseEndFrame() | EndFrame() | StopFrame():
                completed = await self._end_reply_text()
                self._entries.append(frame)
                return completed
            case _:
                if isinstance(frame, LLMFullResponseStartFrame):
                    self._before_reply = len(self.speech.text)
                    self._begin_reply()
                self._entries.append(frame)
                return []

    @property
    def hurriable(self) -> bool:
        """Whether `hurry` would return something."""
        return self._sentences.hurriable

    def hurry(self) -> list[Said]:
        """Take the complete words of a sentence whose beginning was released; return what they add.

        Called when the line is about to fall silent. Empty without such words.
        """
        words = self._sentences.hurry()
        return self._add_sentence(words.text) if words else []

    def next_entry(self) -> Frame | SpokenPiece | None:
        """Return the first entry, unless it is speech in progress; remove it if it is a frame.

        Speech that is over is removed first.
        """
        while (head := self.head) is not None:
            if head.utterance is None:
                return head
            if not head.utterance.over:
                return None
            self._entries.popleft()
            self._open = None if head is self._open else self._open
        first = self._entries.popleft() if self._entries else None
        return first if isinstance(first, Frame) else None

    def withdraws(self, frame: TakeBackFrame) -> bool:
        """Return whether a frame takes back words that are already part of a piece."""
        return not (frame.unfinished or self._sentences.holds(frame.characters))

    @property
    def reply(self) -> str:
        """The words of the latest reply so far."""
        return self.speech.text[self._before_reply :]

    def begin_again(self) -> None:
        """After `interrupt`, go on with a reply that was withdrawn; nothing of it is resumed."""
        self.speech.cut, self._before_reply = None, 0
        self._begin_reply()

    async def interrupt(self) -> list[SpokenPiece]:
        """Drop collected text and interruptible entries; return the pieces of speech among them.

        The floor is told that no more speech of the reply is queued.
        """
        await self._sentences.handle_interruption()
        dropped = [entry for entry in self._entries if entry.interruptible]
        self._entries = deque(entry for entry in self._entries if not entry.interruptible)
        # The line was flushed before this, so audio left on it cannot be interrupted.
        protected = self.head is not None or self._queued_s() > 0.0
        written = ReplyState.QUEUING not in self._floor.reply
        self.speech.interrupted(written=written, protected=protected)
        self._floor.set_reply(ReplyState.QUEUING, more=False)
        self._open = None
        return [entry for entry in dropped if isinstance(entry, SpokenPiece)]

    def _begin_reply(self) -> None:
        """Record that a reply is being queued, and find out how soon a voice may begin it."""
        self._floor.set_reply(ReplyState.QUEUING, more=True)
        self._sentences.begin_reply(self._clause_rule())

    async def _end_reply_text(self) -> list[Said]:
        """End the text of a reply; return what that adds, and the end of the open piece."""
        self._floor.set_reply(ReplyState.QUEUING, more=False)
        last = await self._sentences.flush()
        return [*(self._add_sentence(last.text) if last else ()), *self._close_open_piece()]

    async def _add_text(self, frame: TextFrame) -> list[Said]:
        """Add text to the open piece; return the sentences that it completes."""
        if isinstance(frame, AggregatedTextFrame):
            return self._add_sentence(frame.text)
        said: list[Said] = []
        async for sentence in self._sentences.aggregate(frame.text):
            said += self._add_sentence(sentence.text)
        return said

    def _add_sentence(self, sentence: str, piece: SpokenPiece | None = None) -> list[Said]:
        """Add a sentence to the open piece, or to `piece` or a new one.

        Returns what was added, and the end of a piece that had no room. A text that is not to be
        spoken adds nothing.
        """
        if not sayable(sentence):
            return []  # only marks, which no voice speaks
        closed: list[Said] = []
        if self._open is None or not self._open.accepts:
            self._open = piece or SpokenPiece()
            self._entries.append(self._open)
        elif not self._open.has_room(sentence, self._queued_s()):
            closed = self._close_open_piece()
            self._open = SpokenPiece(follows=True)
            self._entries.append(self._open)
        words = sentence if self._open.append_to_context else ""
        self.speech.add(words, protected=not self._open.interruptible)
        return [*closed, (self._open, sentence)]

    def _close_open_piece(self) -> list[Said]:
        """End the open piece, if any; return its end, an entry without a sentence."""
        piece, self._open = self._open, None
        return [(piece, None)] if piece else []


def _is_to_be_spoken(frame: TextFrame) -> bool:
    """Return whether a frame's text is for a voice; transcripts and spoken words are not."""
    other = isinstance(frame, TranscriptionFrame | InterimTranscriptionFrame | TTSTextFrame)
    return not other and not frame.skip_tts
