"""Keeps audio that a lost line did not play, and replays it by whole words on the next line."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from pipecat.frames.frames import BotStoppedSpeakingFrame, Frame, TTSTextFrame
from pipecat.processors.frame_processor import FrameDirection

from transports.leg_output import LegOutput


@dataclass(frozen=True, slots=True)
class _Waiting:
    frame: Frame
    mark: str
    give_up_at: float


class Unheard:
    """Keeps words, and the frames after them, until the mark after their audio is echoed.

    Frames stay in order. If the far end does not echo a mark in time, frames are no longer kept,
    until it echoes one.

    Attributes:
        given_up: Whether the far end does not seem to echo marks.
    """

    def __init__(self) -> None:
        self.given_up = False
        self._waiting: deque[_Waiting] = deque()

    @property
    def last_mark(self) -> str | None:
        """The mark that the last frame waits for, or `None` if none waits."""
        return self._waiting[-1].mark if self._waiting else None

    def keep(self, frame: Frame, mark: str, give_up_at: float) -> None:
        """Keep a frame until its mark is echoed, or until `give_up_at`."""
        self._waiting.append(_Waiting(frame, mark, give_up_at))

    def heard(self, pending: Callable[[str], bool], now: float) -> list[Frame]:
        """Remove and return the frames that no longer wait, in order.

        If the first one has waited too long, all go on, and `given_up` is set.

        Args:
            pending: Returns whether a mark was not echoed yet.
            now: Monotonic, in seconds.
        """
        if self._waiting and self._waiting[0].give_up_at <= now and pending(self._waiting[0].mark):
            self.given_up = True
        found: list[Frame] = []
        while self._waiting and (self.given_up or not pending(self._waiting[0].mark)):
            found.append(self._waiting.popleft().frame)
        return found

    def postpone(self, give_up_at: float) -> None:
        """Extend the wait: the line was lost, and unplayed audio will be replayed."""
        self._waiting = deque(
            replace(item, give_up_at=max(item.give_up_at, give_up_at)) for item in self._waiting
        )

    def drop(self) -> None:
        """Drop interruptible frames: the caller barged in, so their audio will not be played."""
        self._waiting = deque(item for item in self._waiting if not item.frame.interruptible)

    def rest(self, *, words: bool) -> list[Frame]:
        """Remove and return all waiting frames; without `words`, leave the words out."""
        frames = [item.frame for item in self._waiting]
        self._waiting.clear()
        return [frame for frame in frames if words or not isinstance(frame, TTSTextFrame)]


MAX_WORD_S: Final = 1.5  # longer audio without the end of a word is not kept as part of a word
TOLERANCE_S: Final = 1e-6  # tolerance, because sums of lengths are inexact
MAX_KEPT_S: Final = (
    10.0  # of audio that is kept; the far end probably echoes no marks if it is more
)


@dataclass(slots=True, eq=False)
class Stretch:
    """A stretch of audio up to a mark."""

    sound: bytearray = field(default_factory=bytearray)  # 16-bit PCM
    mark: str | None = None  # `None` if no mark was sent yet
    played: bool = False
    ends_word: bool = False


class SentSound:
    """Keeps sent audio from the first word on that may not have been heard completely.

    sent = SentSound(rate_hz=8000)
    sent.add(pcm)
    sent.mark("h1")
    sent.end_word()
    sent.echoed("h1")      # dropped: the word was heard
    list(sent)             # the audio that another line must play first
    """

    def __init__(self, *, rate_hz: int) -> None:
        """Start with nothing sent."""
        self._bytes_per_s = rate_hz * 2
        self._stretches: deque[Stretch] = deque()

    def __iter__(self) -> Iterator[Stretch]:
        """Iterate over the kept audio in order, without audio that is dropped meanwhile."""
        for stretch in tuple(self._stretches):
            if stretch in self._stretches:
                yield stretch

    @property
    def length_s(self) -> float:
        """The length of the kept audio, in seconds."""
        return self._total_length_s(self._stretches)

    @property
    def again_s(self) -> float:
        """The length of the part that was already played: the beginning of a word."""
        return self._total_length_s(stretch for stretch in self._stretches if stretch.played)

    def add(self, sound: bytes) -> None:
        """Keep audio that is sent; above `MAX_KEPT_S`, the oldest stretches are dropped."""
        if not self._stretches or self._stretches[-1].mark is not None:
            self._stretches.append(Stretch())
        self._stretches[-1].sound += sound
        while self.length_s > MAX_KEPT_S and len(self._stretches) > 1:
            self._stretches.popleft()

    def mark(self, name: str) -> None:
        """Record a mark after the audio so far."""
        if self._stretches and self._stretches[-1].mark is None:
            self._stretches[-1].mark = name

    def end_word(self) -> None:
        """Record that a word or utterance ends here, and forget the words that were heard."""
        if self._stretches:
            self._stretches[-1].ends_word = True
            self._forget_heard_words()

    def echoed(self, name: str) -> None:
        """Record that a mark was echoed: the audio before it was played.

        An unknown mark is ignored.
        """
        if all(stretch.mark != name for stretch in self._stretches):
            return
        for stretch in self._stretches:
            stretch.played = True
            if stretch.mark == name:
                break
        self._forget_heard_words()

    def heard_all_but(self, left_s: float) -> None:
        """Record that everything but the last `left_s` was played, in whole stretches."""
        after_s = self.length_s
        for stretch in self._stretches:
            after_s -= len(stretch.sound) / self._bytes_per_s
            if after_s < left_s - TOLERANCE_S:
                break
            stretch.played = True
        self._forget_heard_words()

    def clear(self) -> None:
        """Forget all audio."""
        self._stretches.clear()

    def _forget_heard_words(self) -> None:
        """Forget the words that were played completely, and a rest too long to be part of one."""
        played = [stretch for stretch in self._stretches if stretch.played]
        count = max((i + 1 for i, stretch in enumerate(played) if stretch.ends_word), default=0)
        if self.again_s - self._total_length_s(played[:count]) > MAX_WORD_S:
            count = len(played)
        for _ in range(count):
            self._stretches.popleft()

    def _total_length_s(self, stretches: Iterable[Stretch]) -> float:
        return sum(len(stretch.sound) for stretch in stretches) / self._bytes_per_s


LOST_S: Final = 0.1  # audio sent this shortly before a line is lost counts as lost, too (chosen)


class OwedSound:
    """Writes an output's audio, and repeats audio that a lost line did not play.

    Attributes:
        sent: Written audio that may not have been heard, from the start of a word.
        lost: Whether the line was lost, and audio must be repeated.
        note_heard: Records which audio in `sent` was heard by now.
    """

    def __init__(
        self,
        *,
        rate_hz: int,
        write: Callable[[bytes, str], Awaitable[None]],
        back: Callable[[], Awaitable[object]],
        note_heard: Callable[[], None],
    ) -> None:
        """Start with nothing written.

        Args:
            rate_hz: The sample rate.
            write: Writes a piece of audio with its name.
            back: Waits until the line accepts audio again.
            note_heard: Records which audio in `sent` was heard by now.
        """
        self.sent = SentSound(rate_hz=rate_hz)
        self.lost = False
        self.note_heard = note_heard
        self._write, self._back = write, back
        self._writing = asyncio.Lock()  # held while a piece is written, or audio is repeated
        self._to_repeat: deque[Stretch] = deque()
        self._count = 0

    async def write(self, sound: bytes) -> None:
        """Write a piece, after repeating lost audio; while the line is lost, this waits."""
        await self.repeat()
        async with self._writing:
            await self._keep_and_write(sound)

    async def repeat(self) -> None:
        """Wait until the line is back, and repeat the lost audio; do nothing if none was lost.

        If the line is lost again meanwhile, this starts again.
        """
        while self.lost:
            await self._back()
            async with self._writing:
                if self.lost:
                    await self._put_again()

    def note_lost(self) -> None:
        """Record that the line is lost; if anything in `sent` may not have been heard, repeat it.

        Nothing is repeated before `repeat` or `write` is called.
        """
        self.lost = self.sent.length_s > 0

    def drop(self) -> None:
        """Forget all audio: the caller barged in."""
        self.sent.clear()
        self._to_repeat.clear()

    async def _put_again(self) -> None:
        """Write the lost audio again; if the line is lost meanwhile, keep the rest in `sent`."""
        self.lost = False
        self._to_repeat.extend(self.sent)
        self.sent.clear()
        while self._to_repeat:
            stretch = self._to_repeat.popleft()
            await self._keep_and_write(bytes(stretch.sound))
            if stretch.ends_word:
                self.sent.end_word()

    async def _keep_and_write(self, sound: bytes) -> None:
        """Keep a piece in `sent`; write it unless the line is lost. The caller holds the lock."""
        self._count += 1
        name = f"p{self._count}"
        self.sent.add(sound)  # first: the line may be lost during the write
        self.sent.mark(name)
        if not self.lost:
            await self._write(sound, name)


class RepeatingOutput(LegOutput):
    """An output whose far end echoes no marks, and whose line may be lost and restored.

    Attributes:
        owed: Writes the output's audio, and repeats lost audio.
    """

    owed: OwedSound

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame on; frames for words and the end of speech mark the end of a word."""
        if isinstance(frame, BotStoppedSpeakingFrame | TTSTextFrame):
            self.owed.sent.end_word()
        await super().push_frame(frame, direction)

    @property
    def unsure_words(self) -> int:
        """The number of words reported as heard that the far end may not have received yet."""
        if not self.owed.lost:
            self.owed.note_heard()
        return sum(stretch.ends_word for stretch in self.owed.sent)

    def repeat_owed(self) -> None:
        """Repeat lost audio in a task, even if no other audio follows."""
        if self.owed.lost:
            self.create_task(self.owed.repeat(), "repeat the sound of a lost line")
