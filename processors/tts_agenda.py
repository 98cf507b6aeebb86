"""What the voices' stage has to do, in order: pieces of speech, and the frames between them."""

from collections import deque
from collections.abc import Callable
from typing import Any

from pipecat.frames.frames import (
    AggregatedTextFrame,
    EndFrame,
    Frame,
    InterimTranscriptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    StopFrame,
    TextFrame,
    TranscriptionFrame,
    TTSSpeakFrame,
    TTSTextFrame,
)

from fallbacks.ledger import sayable
from processors.sentences import Sentences, TakeBackFrame
from processors.utterance import Utterance


class Agenda:
    """Makes utterances of text, sentence by sentence; only the first one is under way."""

    def __init__(
        self, begin: Callable[[Utterance], None], *, clock: Callable[[], float], language: Any
    ) -> None:
        """Prepare.

        Args:
            begin: Brings an utterance under way.
            clock: Monotonic, in seconds.
            language: Whose sentences these are, as Pipecat's aggregators take it.
        """
        self._begin = begin
        self._now = clock
        self._sentences = Sentences(language=language)
        self._entries: deque[Frame | Utterance] = deque()
        self._passing: deque[Frame] = deque()
        self._open: Utterance | None = None  # takes the reply's next sentence
        self._in_reply = False

    @property
    def head(self) -> Utterance | None:
        """The utterance that is spoken now."""
        first = self._entries[0] if self._entries else None
        return first if isinstance(first, Utterance) else None

    @property
    def passing(self) -> deque[Frame]:
        """The frames that nothing to be said is in front of any more."""
        return self._passing

    async def take(self, frame: Frame) -> None:
        """Put a frame where it belongs."""
        match frame:
            case TTSSpeakFrame():
                self._close()
                self._say(frame.text, Utterance.of(frame, in_reply=self._in_reply))
                self._close()
            case TextFrame() if _spoken(frame):
                await self._speak(frame)
            case TakeBackFrame():
                self._sentences.take_back(frame.characters)
            case LLMFullResponseStartFrame():
                self._in_reply = True
                self._entries.append(frame)
            case LLMFullResponseEndFrame() | EndFrame() | StopFrame():
                await self._complete()
                self._entries.append(frame)
            case _:
                self._entries.append(frame)
        self.advance()

    def advance(self) -> None:
        """Bring what comes first under way."""
        while self._entries:
            first = self._entries[0]
            if isinstance(first, Utterance):
                if first.work is None:
                    self._begin(first)
                return
            self._passing.append(first)
            self._entries.popleft()

    def over(self) -> None:
        """Leave the utterance that was spoken, and go on."""
        if self._open is self._entries.popleft():
            self._open = None
        self.advance()

    async def interrupt(self) -> list[Utterance]:
        """Drop what an interruption drops; returns the speech among it."""
        await self._sentences.handle_interruption()
        self._in_reply, self._open = False, None
        dropped = [each for each in self._entries if each.interruptible]
        self._entries = deque(each for each in self._entries if not each.interruptible)
        self._passing = deque(each for each in self._passing if not each.interruptible)
        return [each for each in dropped if isinstance(each, Utterance)]

    async def _complete(self) -> None:
        self._in_reply = False
        left = await self._sentences.flush()
        if left:
            self._say(left.text)
        self._close()

    async def _speak(self, frame: TextFrame) -> None:
        if isinstance(frame, AggregatedTextFrame):
            self._say(frame.text)
            return
        async for sentence in self._sentences.aggregate(frame.text):
            self._say(sentence.text)

    def _say(self, text: str, utterance: Utterance | None = None) -> None:
        """Have text spoken, in the utterance that is open or in a new one."""
        if not sayable(text):
            return
        if self._open is None or not self._open.accepts:
            self._open = utterance or Utterance()
            self._entries.append(self._open)
        self._open.say(text, self._now())

    def _close(self) -> None:
        if self._open:
            self._open.close(self._now())
        self._open = None


def _spoken(frame: TextFrame) -> bool:
    heard = isinstance(frame, TranscriptionFrame | InterimTranscriptionFrame | TTSTextFrame)
    return not heard and not frame.skip_tts
