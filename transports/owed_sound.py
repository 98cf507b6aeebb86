"""Keeps sound that a lost line did not play, and replays it by whole words on the next line."""

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
    """Keeps words, and the frames after them, until the mark after their sound is echoed.

    Frames stay in order. If a far end echoes no mark in time, nothing is kept until it echoes one.

    Attributes:
        given_up: The far end does not seem to echo marks.
    """

    def __init__(self) -> None:
        self.given_up = False
        self._waiting: deque[_Waiting] = deque()

    @property
    def last_mark(self) -> str | None:
        """The mark that the last frame waits for, or `None` if none waits."""
        return self._waiting[-1].mark if self._waiting else None

    def keep(self, frame: Frame, mark: str, give_up_at: float) -> None:
        """Keep a frame until its mark is echoed, or until a deadline."""
        self._waiting.append(_Waiting(frame, mark, give_up_at))

    def heard(self, pending: Callable[[str], bool], now: float) -> list[Frame]:
        """Return, once, the frames that need not wait any longer, in order."""
        if self._waiting and self._waiting[0].give_up_at <= now and pending(self._waiting[0].mark):
            self.given_up = True
        found: list[Frame] = []
        while self._waiting and (self.given_up or not pending(self._waiting[0].mark)):
            found.append(self._waiting.popleft().frame)
        return found

    def postpone(self, give_up_at: float) -> None:
        """Extend the wait: the line was lost, and unplayed sound will be replayed."""
        self._waiting = deque(
            replace(text, give_up_at=max(text.give_up_at, give_up_at)) for text in self._waiting
        )

    def drop(self) -> None:
        """Drop what a barge-in drops: that sound will not be played."""
        self._waiting = deque(text for text in self._waiting if not text.frame.interruptible)

    def rest(self, *, words: bool) -> list[Frame]:
        """Return, once, all waiting frames; without the words if the caller did not hear them."""
        frames = [text.frame for text in self._waiting]
        self._waiting.clear()
        return [frame for frame in frames if words or not isinstance(frame, TTSTextFrame)]


MAX_WORD_S: Final = 1.5  # a played stretch longer than this without an end is no word
HAIR_S: Final = 1e-6  # sums of pieces are inexact
MAX_S: Final = 10.0  # a line that accepts sound for this long without an echo is not trusted


@dataclass(slots=True, eq=False)
class Stretch:
    """Sound up to a mark."""

    sound: bytearray = field(default_factory=bytearray)  # 16-bit PCM
    mark: str | None = None  # `None`: not sent yet
    played: bool = False
    ends_word: bool = False


class SentSound:
    """Keeps sound from the first word that is not known to have been heard completely.

    sent = SentSound(rate_hz=8000)
    sent.add(pcm)
    sent.mark("h1")
    sent.end_word()
    sent.echoed("h1")      # dropped: the word was heard
    list(sent)             # what another line has to play first
    """

    def __init__(self, *, rate_hz: int) -> None:
        """Start with nothing sent."""
        self._bytes_per_s = rate_hz * 2
        self._stretches: deque[Stretch] = deque()

    def __iter__(self) -> Iterator[Stretch]:
        """Iterate over the pending sound in order, without sound that is dropped meanwhile."""
        for stretch in tuple(self._stretches):
            if stretch in self._stretches:
                yield stretch

    @property
    def length_s(self) -> float:
        """Its playing time."""
        return self._length(self._stretches)

    @property
    def again_s(self) -> float:
        """How much of it was already played: the beginning of a cut word."""
        return self._length(stretch for stretch in self._stretches if stretch.played)

    def add(self, sound: bytes) -> None:
        """Keep sound that is sent."""
        if not self._stretches or self._stretches[-1].mark is not None:
            self._stretches.append(Stretch())
        self._stretches[-1].sound += sound
        while self.length_s > MAX_S and len(self._stretches) > 1:
            self._stretches.popleft()

    def mark(self, name: str) -> None:
        """Record a mark after the sound so far."""
        if self._stretches and self._stretches[-1].mark is None:
            self._stretches[-1].mark = name

    def end_word(self) -> None:
        """Record that a word or utterance ends here."""
        if self._stretches:
            self._stretches[-1].ends_word = True
            self._forget_whole_words()

    def echoed(self, name: str) -> None:
        """Process an echo: everything up to the mark was played."""
        if all(stretch.mark != name for stretch in self._stretches):
            return
        for stretch in self._stretches:
            stretch.played = True
            if stretch.mark == name:
                break
        self._forget_whole_words()

    def heard_but(self, left_s: float) -> None:
        """Count everything as played but the last `left_s`, in whole stretches."""
        after_s = self.length_s
        for stretch in self._stretches:
            after_s -= len(stretch.sound) / self._bytes_per_s
            if after_s < left_s - HAIR_S:
                break
            stretch.played = True
        self._forget_whole_words()

    def clear(self) -> None:
        """Drop everything."""
        self._stretches.clear()

    def _forget_whole_words(self) -> None:
        played = [stretch for stretch in self._stretches if stretch.played]
        whole = max((i + 1 for i, stretch in enumerate(played) if stretch.ends_word), default=0)
        if self.again_s - self._length(played[:whole]) > MAX_WORD_S:
            whole = len(played)
        for _ in range(whole):
            self._stretches.popleft()

    def _length(self, stretches: Iterable[Stretch]) -> float:
        return sum(len(stretch.sound) for stretch in stretches) / self._bytes_per_s


LOST_S: Final = 0.1  # sound sent this shortly before a loss is lost, too (chosen)


class OwedSound:
    """Writes an output's pieces, and repeats those that a lost line did not play.

    Attributes:
        sent: Written sound that is not known to have been heard, from the start of a word.
        lost: Whether the line was lost, and sound must be repeated.
        note_heard: Marks the sound in `sent` that was heard by now.
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
            rate_hz: Of the sound.
            write: Writes a piece; gets its name, too.
            back: Returns when the line accepts sound again.
            note_heard: Marks the sound in `sent` that was heard by now.
        """
        self.sent = SentSound(rate_hz=rate_hz)
        self.lost = False
        self.note_heard = note_heard
        self._write, self._back = write, back
        self._writing = asyncio.Lock()  # a piece, or a replay
        self._owed: deque[Stretch] = deque()
        self._count = 0

    async def write(self, sound: bytes) -> None:
        """Write a piece, after all pending repeats."""
        await self.repeat()
        async with self._writing:
            await self._put(sound)

    async def repeat(self) -> None:
        """Repeat the lost sound, once, when the line is back."""
        while self.lost:
            await self._back()
            async with self._writing:
                if self.lost:
                    await self._put_owed()

    def note_lost(self) -> None:
        """Record that the line is lost; `sent` will be repeated."""
        self.lost = self.sent.length_s > 0

    def drop(self) -> None:
        """Drop everything: the caller barged in."""
        self.sent.clear()
        self._owed.clear()

    async def _put_owed(self) -> None:
        self.lost = False
        self._owed.extend(self.sent)
        self.sent.clear()
        while self._owed:
            stretch = self._owed.popleft()
            await self._put(bytes(stretch.sound))
            if stretch.ends_word:
                self.sent.end_word()

    async def _put(self, sound: bytes) -> None:
        self._count += 1
        name = f"p{self._count}"
        self.sent.add(sound)  # first: the line may be lost during the write
        self.sent.mark(name)
        if not self.lost:
            await self._write(sound, name)


class RepeatingOutput(LegOutput):
    """An output whose far end echoes no marks, and whose line may be lost and restored.

    Attributes:
        owed: Writes the output's pieces.
    """

    owed: OwedSound

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame on; one after its sound ends a word or utterance."""
        if isinstance(frame, BotStoppedSpeakingFrame | TTSTextFrame):
            self.owed.sent.end_word()
        await super().push_frame(frame, direction)

    @property
    def unsure_words(self) -> int:
        """How many of the reported words the far end may not have received yet."""
        if not self.owed.lost:
            self.owed.note_heard()
        return sum(stretch.ends_word for stretch in self.owed.sent)

    def repeat_owed(self) -> None:
        """Repeat the sound that the lost line did not play; no other sound may follow."""
        if self.owed.lost:
            self.create_task(self.owed.repeat(), "repeat the sound of a lost line")
