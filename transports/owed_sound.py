"""Sound that a lost line did not take, written again by whole words when the line is back."""

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
    """Keeps words, and what follows them in order, until the mark behind their sound is echoed.

    Nothing overtakes anything. A far end that echoes no marks is waited for once; from then on
    nothing is kept until it echoes one.

    Attributes:
        given_up: The far end does not seem to echo marks.
    """

    def __init__(self) -> None:
        self.given_up = False
        self._waiting: deque[_Waiting] = deque()

    @property
    def last_mark(self) -> str | None:
        """The mark that the last of it waits for, or None when nothing waits."""
        return self._waiting[-1].mark if self._waiting else None

    def keep(self, frame: Frame, mark: str, give_up_at: float) -> None:
        """Keep a frame until its mark is echoed, or until a moment."""
        self._waiting.append(_Waiting(frame, mark, give_up_at))

    def heard(self, pending: Callable[[str], bool], now: float) -> list[Frame]:
        """Return, once, what need not wait any longer, in order."""
        if self._waiting and self._waiting[0].give_up_at <= now and pending(self._waiting[0].mark):
            self.given_up = True
        found: list[Frame] = []
        while self._waiting and (self.given_up or not pending(self._waiting[0].mark)):
            found.append(self._waiting.popleft().frame)
        return found

    def postpone(self, give_up_at: float) -> None:
        """Wait longer for what waits: the line was lost, and plays again what it owes."""
        self._waiting = deque(
            replace(text, give_up_at=max(text.give_up_at, give_up_at)) for text in self._waiting
        )

    def drop(self) -> None:
        """Forget what a barge-in drops: that sound will not be played."""
        self._waiting = deque(text for text in self._waiting if not text.frame.interruptible)

    def rest(self, *, words: bool) -> list[Frame]:
        """Return, once, all that still waits; without the words when nobody heard them."""
        frames = [text.frame for text in self._waiting]
        self._waiting.clear()
        return [frame for frame in frames if words or not isinstance(frame, TTSTextFrame)]


LONGEST_WORD_S: Final = 1.5  # a played stretch longer than this without an end is no word
HAIR_S: Final = 1e-6  # sums of pieces are not exact
MOST_S: Final = 10.0  # a line that takes sound for so long and echoes nothing is not believed


@dataclass(slots=True, eq=False)
class Stretch:
    """Sound up to a mark."""

    sound: bytearray = field(default_factory=bytearray)  # 16-bit PCM
    mark: str | None = None  # None: none was sent behind it yet
    played: bool = False
    ends_word: bool = False


class SentSound:
    """Keeps sound from the first word on that is not known to have been heard to its end.

    sent = SentSound(rate_hz=8000)
    sent.add(pcm)
    sent.mark("h1")
    sent.end_word()
    sent.echoed("h1")      # forgotten: the word was heard
    list(sent)             # what another line has to play first
    """

    def __init__(self, *, rate_hz: int) -> None:
        """Begin with nothing sent."""
        self._bytes_per_s = rate_hz * 2
        self._stretches: deque[Stretch] = deque()

    def __iter__(self) -> Iterator[Stretch]:
        """Go through what is owed, in order; what is thrown away meanwhile does not come."""
        for stretch in tuple(self._stretches):
            if stretch in self._stretches:
                yield stretch

    @property
    def length_s(self) -> float:
        """How long it takes to play."""
        return self._length(self._stretches)

    @property
    def again_s(self) -> float:
        """How much of it was played already: the beginning of a word that was cut."""
        return self._length(stretch for stretch in self._stretches if stretch.played)

    def add(self, sound: bytes) -> None:
        """Keep what is sent."""
        if not self._stretches or self._stretches[-1].mark is not None:
            self._stretches.append(Stretch())
        self._stretches[-1].sound += sound
        while self.length_s > MOST_S and len(self._stretches) > 1:
            self._stretches.popleft()

    def mark(self, name: str) -> None:
        """Note the mark that follows what was sent."""
        if self._stretches and self._stretches[-1].mark is None:
            self._stretches[-1].mark = name

    def end_word(self) -> None:
        """Note that a word, or all that is said, ends with what was sent."""
        if self._stretches:
            self._stretches[-1].ends_word = True
            self._forget_whole_words()

    def echoed(self, name: str) -> None:
        """Note that everything up to a mark was played."""
        if all(stretch.mark != name for stretch in self._stretches):
            return
        for stretch in self._stretches:
            stretch.played = True
            if stretch.mark == name:
                break
        self._forget_whole_words()

    def heard_but(self, left_s: float) -> None:
        """Mark everything as played but the last `left_s`, in whole stretches."""
        after_s = self.length_s
        for stretch in self._stretches:
            after_s -= len(stretch.sound) / self._bytes_per_s
            if after_s < left_s - HAIR_S:
                break
            stretch.played = True
        self._forget_whole_words()

    def clear(self) -> None:
        """Owe nothing any more."""
        self._stretches.clear()

    def _forget_whole_words(self) -> None:
        played = [stretch for stretch in self._stretches if stretch.played]
        whole = max((i + 1 for i, stretch in enumerate(played) if stretch.ends_word), default=0)
        if self.again_s - self._length(played[:whole]) > LONGEST_WORD_S:
            whole = len(played)
        for _ in range(whole):
            self._stretches.popleft()

    def _length(self, stretches: Iterable[Stretch]) -> float:
        return sum(len(stretch.sound) for stretch in stretches) / self._bytes_per_s


LOST_S: Final = 0.1  # what was sent so shortly before a loss is lost, too (chosen)


class OwedSound:
    """Everything that an output writes goes through here, a piece at a time.

    Attributes:
        sent: Written sound that is not known to have been heard, from the start of a word.
        lost: Whether the line was lost, and some of that must be written again.
        note_heard: Marks in `sent` what was heard by now.
    """

    def __init__(
        self,
        *,
        rate_hz: int,
        write: Callable[[bytes, str], Awaitable[None]],
        back: Callable[[], Awaitable[object]],
        note_heard: Callable[[], None],
    ) -> None:
        """Begin with nothing written.

        Args:
            rate_hz: Of the sound.
            write: Writes a piece; gets its name, too.
            back: Returns when the line can be written to.
            note_heard: Marks in `sent` what was heard by now.
        """
        self.sent = SentSound(rate_hz=rate_hz)
        self.lost = False
        self.note_heard = note_heard
        self._write, self._back = write, back
        self._writing = asyncio.Lock()  # a piece, or all that is still to be repeated
        self._owed: deque[Stretch] = deque()
        self._count = 0

    async def write(self, sound: bytes) -> None:
        """Write a piece, after all that is still to be repeated."""
        await self.repeat()
        async with self._writing:
            await self._put(sound)

    async def repeat(self) -> None:
        """Write the lost sound again, once, when the line is back."""
        while self.lost:
            await self._back()
            async with self._writing:
                if self.lost:
                    await self._put_owed()

    def note_lost(self) -> None:
        """Keep what is in `sent` to be repeated: the line takes nothing now."""
        self.lost = self.sent.length_s > 0

    def drop(self) -> None:
        """Drop all of it: the caller barged in."""
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
        self.sent.add(sound)  # first: the line may be lost while it is written
        self.sent.mark(name)
        if not self.lost:
            await self._write(sound, name)


class RepeatingOutput(LegOutput):
    """An output whose far end echoes no marks, and whose line may be lost and come back.

    Attributes:
        owed: What it writes goes through here.
    """

    owed: OwedSound

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame on; one that follows its sound ends a word, or all that is said."""
        if isinstance(frame, BotStoppedSpeakingFrame | TTSTextFrame):
            self.owed.sent.end_word()
        await super().push_frame(frame, direction)

    @property
    def unsure_words(self) -> int:
        """How many of the words that were passed on the far end has perhaps not got yet."""
        if not self.owed.lost:
            self.owed.note_heard()
        return sum(stretch.ends_word for stretch in self.owed.sent)

    def repeat_owed(self) -> None:
        """Write again what the lost line did not take; there may be nothing else to write."""
        if self.owed.lost:
            self.create_task(self.owed.repeat(), "sound that a lost line did not take")
