"""The queue of the TTS stage: pieces of speech, and the frames between them, in order."""

import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pipecat.frames.frames import (
    AggregatedTextFrame,
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
from pipecat.utils.text.base_text_aggregator import TextType

from calls.resume import OwedWords
from fallbacks.ladder import ClauseRule
from fallbacks.word_times import CHARACTER_S, sayable
from processors.speaking.attempt_rules import (
    EndSpeech,
    PlaySound,
    PlayWord,
    SentenceAdded,
    SpeechAction,
    TextEnded,
)
from processors.speaking.decision import SpokenUtterance
from processors.speaking.sentences import Sentences, TakeBackFrame

AHEAD_S: Final = 10.0  # of speech that a voice may be ahead: more is often unheard
NEXT_S: Final = 3.0  # left on the line when a voice gets more: time for three failures (chosen)
RUNG: Final = "rung"
"""The key in an audio or word frame's metadata of the rung that spoke it."""


@dataclass(slots=True, kw_only=True, eq=False)
class SpokenPiece:
    """Sentences of a reply, or separate speech.

    Attributes:
        append_to_context: The words become part of the assistant's context.
        commits: The end of it closes the assistant's message: it is not part of a reply.
        interruptible: The caller can cut it short.
        sentences: What to say, before it is started.
        closed: No sentence follows.
        utterance: Its course on the ladder, once it is started.
        begun: Part of it went to the line.
        follows: It continues a reply, and begins when the line has little left to play.
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
        """Return whether a sentence fits in it: the first one always does.

        Args:
            sentence: The sentence.
            queued_s: What the line still has to play.
        """
        if self.utterance is None:
            before = sum(map(len, self.sentences))
            queued_s = NEXT_S if self.follows else queued_s
        else:
            before = self.utterance.characters_left
        return not before or queued_s + CHARACTER_S * (before + len(sentence)) <= AHEAD_S

    @property
    def starved(self) -> bool:
        """Whether part of it went to the line, and the voice has nothing left to say."""
        return self.begun and self.utterance is not None and self.utterance.idle

    def begin(self, utterance: SpokenUtterance, now: float) -> tuple[SpeechAction, ...]:
        """Start it with the sentences so far."""
        self.utterance = utterance
        actions = utterance.start(" ".join(self.sentences), now)
        return (*actions, *(utterance.handle(TextEnded(), now) if self.closed else ()))

    def add(self, news: SentenceAdded | TextEnded, now: float) -> tuple[SpeechAction, ...]:
        """Add a sentence, or the end of the text."""
        if self.utterance:
            return self.utterance.handle(news, now)
        if isinstance(news, SentenceAdded):
            self.sentences.append(news.sentence)
        else:
            self.closed = True
        return ()

    def frames_of(
        self, action: PlaySound | PlayWord | EndSpeech, *, rate_hz: int, rung: str | None
    ) -> list[Frame]:
        """Return the frames that carry an action to the line and the assistant's context."""
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
        if self.begun:
            return []
        started = TTSStartedFrame(context_id=self.context_id)
        started.append_to_context = self.append_to_context
        return [started]


Said: TypeAlias = tuple[SpokenPiece, SentenceAdded | TextEnded]
"""News for a piece of speech."""


class SpeechQueue:
    """Turns text into pieces of speech, sentence by sentence; only the first one is started.

    Attributes:
        in_reply: Whether a reply is being written.
        speech: The words of the reply, heard or not.
    """

    def __init__(
        self,
        *,
        language: Any,
        clock: Callable[[], float] = lambda: 0.0,
        clause_rule: Callable[[], ClauseRule | None] = lambda: None,
        queued_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Prepare.

        Args:
            language: Of the sentences, as Pipecat's aggregators take it.
            clock: Monotonic, in seconds.
            clause_rule: Returns how much of an unfinished sentence the next voice may get.
            queued_s: What the line still has to play.
        """
        self._sentences = Sentences(language=language, clock=clock)
        self._clause_rule = clause_rule
        self._queued_s = queued_s
        self._entries: deque[Frame | SpokenPiece] = deque()
        self._open: SpokenPiece | None = None  # gets the next sentence of the reply
        self.in_reply = False
        self.speech = OwedWords()

    @property
    def empty(self) -> bool:
        """Whether nothing is waiting."""
        return not self._entries

    @property
    def waiting(self) -> bool:
        """Whether the first entry continues a reply, and waits for the line."""
        return self.head is not None and self.head.utterance is None and self.head.follows

    @property
    def head(self) -> SpokenPiece | None:
        """The current piece of speech."""
        first = self._entries[0] if self._entries else None
        return first if isinstance(first, SpokenPiece) else None

    async def add(self, frame: Frame) -> list[Said]:
        """Queue a frame; return the news for pieces of speech."""
        match frame:
            case TTSSpeakFrame():
                piece = SpokenPiece(
                    append_to_context=frame.append_to_context,
                    commits=frame.append_to_context and not self.in_reply,
                    interruptible=frame.interruptible,
                )
                return [*self._close(), *self._say(frame.text, piece), *self._close()]
            case TextFrame() if _is_to_be_spoken(frame):
                return await self._add_text(frame)
            case TakeBackFrame():
                self._sentences.take_back(frame.characters)
                return []
            case LLMFullResponseEndFrame() | EndFrame() | StopFrame():
                said = await self._complete()
                self._entries.append(frame)
                return said
            case _:
                if isinstance(frame, LLMFullResponseStartFrame):
                    self.in_reply = True
                    self._sentences.begin_reply(self._clause_rule())
                self._entries.append(frame)
                return []

    @property
    def hurriable(self) -> bool:
        """Whether more of a sentence that has begun could be said now."""
        return self._sentences.hurriable

    def hurry(self) -> list[Said]:
        """Say what there is of a sentence that has begun."""
        words = self._sentences.hurry()
        return self._say(words.text) if words else []

    def next_entry(self) -> Frame | SpokenPiece | None:
        """Return the first entry, unless it is started: a frame is removed, speech stays."""
        while (head := self.head) is not None:
            if head.utterance is None:
                return head
            if not head.utterance.over:
                return None
            self._entries.popleft()
            self._open = None if head is self._open else self._open
        first = self._entries.popleft() if self._entries else None
        return first if isinstance(first, Frame) else None

    async def interrupt(self) -> list[SpokenPiece]:
        """Drop interruptible entries; return the speech among them."""
        await self._sentences.handle_interruption()
        dropped = [entry for entry in self._entries if entry.interruptible]
        self._entries = deque(entry for entry in self._entries if not entry.interruptible)
        pieces = [entry for entry in dropped if isinstance(entry, SpokenPiece)]
        unbegun = [piece for piece in pieces if piece.utterance is None and piece.append_to_context]
        self.speech.interrupted(
            written=not self.in_reply,
            kept=self.head is not None or self._queued_s() > 0.0,
            unbegun=" ".join(sentence for piece in unbegun for sentence in piece.sentences),
        )
        self.in_reply, self._open = False, None
        return pieces

    async def _complete(self) -> list[Said]:
        self.in_reply = False
        left = await self._sentences.flush()
        return [*(self._say(left.text) if left else ()), *self._close()]

    async def _add_text(self, frame: TextFrame) -> list[Said]:
        if isinstance(frame, AggregatedTextFrame):
            return self._say(frame.text)
        said: list[Said] = []
        async for sentence in self._sentences.aggregate(frame.text):
            said += self._say(sentence.text)
        return said

    def _say(self, sentence: str, piece: SpokenPiece | None = None) -> list[Said]:
        """Add a sentence to the open piece, or to a new one."""
        if not sayable(sentence):
            return []
        closed: list[Said] = []
        if self._open is None or not self._open.accepts:
            self._open = piece or SpokenPiece()
            self._entries.append(self._open)
        elif not self._open.has_room(sentence, self._queued_s()):
            closed = self._close()
            self._open = SpokenPiece(follows=True)
            self._entries.append(self._open)
        if self._open.append_to_context:
            self.speech.add(sentence)
        return [*closed, (self._open, SentenceAdded(sentence))]

    def _close(self) -> list[Said]:
        piece, self._open = self._open, None
        return [(piece, TextEnded())] if piece else []


def _is_to_be_spoken(frame: TextFrame) -> bool:
    heard = isinstance(frame, TranscriptionFrame | InterimTranscriptionFrame | TTSTextFrame)
    return not heard and not frame.skip_tts
