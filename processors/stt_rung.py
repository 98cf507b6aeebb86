"""One recogniser of the ladder: what it was given of the caller's sound, and its connection."""

import asyncio
import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeAlias, runtime_checkable

from pipecat.frames.frames import (
    InputAudioRawFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameProcessor, FrameProcessorSetup
from pipecat.services.stt_service import STTService

from fallbacks.replay import HeardWord
from processors.rung_pipeline import STOP_S, RungPipeline
from processors.seat import Seat
from processors.stt_reading import Reading

Speech: TypeAlias = VADUserStartedSpeakingFrame | VADUserStoppedSpeakingFrame

WAITS_S: Final = (0.0, 1.0, 2.0, 5.0, 10.0)  # before each new connection (chosen)
BEAT_S: Final = 1.3  # Deepgram says something of every second of sound, also of a silent one
STEADY: Final = 3  # in a row, in the present silence: only then is the next one counted on
OPENING_S: Final = 1.5  # a handshake across an ocean takes a third of it (chosen)
STABLE_S: Final = 5.0  # a connection that lived for less is not the end of the waiting (chosen)
STALE_S: Final = 0.05  # a result that ends this soon after a feed began is of what came before


@runtime_checkable
class Candid(Protocol):
    """A service that, supervised, tells as frames without text when it heard no words."""

    supervised: bool


@runtime_checkable
class Supervised(Candid, Protocol):
    """A service that leaves its connection to its supervisor."""

    @property
    def connected(self) -> bool:
        """Whether it has a stream to speak into."""
        ...

    async def reconnect(self) -> bool:
        """Open a new stream; return whether it is open."""
        ...


class SttRung:
    """A recogniser, and the caller's sound in its own seconds.

    A feed begins at a moment of the caller's sound and goes on live from there. What the recogniser
    writes of an earlier feed is late, and is not taken.

    Attributes:
        attempt: The one that it is asked for, if any.
        waits: Whether that attempt still waits for the connection.
        fed: Whether it gets the caller's sound.
        fed_from_s: The caller's second at which the feed began.
        replayed: Whether it was given the utterance from its start, after others had heard it.
        held_s: The caller's second from which on it gets nothing, for it is behind; None: it does.
        set_up: Whether its setup was begun.
        seat: This call's place at it.
    """

    def __init__(
        self,
        pipe: RungPipeline,
        *,
        clock: Callable[[], float],
        up: Callable[["SttRung"], None],
        seat: Seat,
    ) -> None:
        """Take a rung.

        Args:
            pipe: The recogniser in its own pipeline.
            clock: Monotonic, in seconds.
            up: Told when it is connected anew.
            seat: This call's place at it.
        """
        self.seat = seat
        self.pipe = pipe
        self.name = pipe.name
        self.attempt: int | None = None
        self.waits = False
        self.fed = False
        self.fed_from_s = 0.0
        self.replayed = False
        self.held_s: float | None = None
        self.set_up = False
        self._set_up_at: float | None = None  # until it was told that this takes too long
        self._clock = clock
        self._lived_at = -math.inf
        self._steady = 0  # results without words in a row that came in time
        self._up = up
        self._up_at: float | None = None
        self._tries = 0
        self._bytes_a_second = 1
        self._sent_bytes = 0  # on this connection
        self._feed_at_s = 0.0  # the recogniser's second at which the feed began
        self._hurry = asyncio.Event()
        self._reviving: asyncio.Task[None] | None = None
        _taken_on(pipe.service)

    @property
    def connected(self) -> bool:
        """Whether it can be fed."""
        service = self.pipe.service
        if self._reviving is not None or not self.pipe.ready.is_set():
            return False
        return not isinstance(service, Supervised) or service.connected

    def setup(self, owner: FrameProcessor, setup: FrameProcessorSetup) -> bool:
        """Begin to set it up; returns at once, False if there is no place for this call."""
        if not self.seat.take():
            return False
        self._bytes_a_second = 2 * setup.audio_in_sample_rate
        self.set_up, self._set_up_at = True, self._clock()
        self.pipe.setup(owner, setup)
        return True

    @property
    def opening(self) -> bool:
        """Whether it is being set up: nobody knows yet how it is."""
        return self.set_up and not self.pipe.ready.is_set()

    def overdue(self) -> bool:
        """Say, once, that it is not set up although there was time enough."""
        if not self.opening or self._set_up_at is None:
            return False
        if self._clock() - self._set_up_at < OPENING_S:
            return False
        self._set_up_at = None
        return True

    async def begin(
        self,
        sound: Iterable[InputAudioRawFrame],
        *,
        from_s: float,
        said: VADUserStartedSpeakingFrame | None = None,
    ) -> None:
        """Begin a feed.

        Args:
            sound: What the caller said so far.
            from_s: Where it begins, in seconds of the caller's sound.
            said: That the caller speaks, if they do.
        """
        self._feed_at_s = self._sent_s
        self.fed_from_s, self.fed, self.replayed = from_s, True, said is not None
        self._lived_at, self.held_s = self._clock(), None
        if said:
            await self.speech(said)
        for frame in sound:
            await self.hear(frame)

    async def hear(self, frame: InputAudioRawFrame) -> None:
        """Go on with the feed."""
        if self.fed and self.held_s is None and await self.pipe.send(frame):
            self._sent_bytes += len(frame.audio)

    def hold(self, at_s: float) -> None:
        """Give it no more for now: it is behind, and what comes now is silence."""
        if self.fed and self.replayed:
            self.held_s = at_s

    async def go_on(self, sound: Iterable[InputAudioRawFrame]) -> None:
        """Give it what was held back, and the live sound after that."""
        self.held_s = None
        for frame in sound:
            await self.hear(frame)

    def done(self) -> None:
        """Note that it has written the utterance; what was held back is left out."""
        self.attempt = None
        self.fed, self.held_s = self.fed and self.held_s is None, None

    async def speech(self, frame: Speech) -> None:
        """Tell that the caller started or stopped speaking, as of the sound sent so far."""
        if self.fed:
            await self.pipe.send(frame)

    async def leave(self) -> None:
        """End the feed, and have the rest of it written now rather than into the next one."""
        self.attempt, self.waits = None, False
        if self.fed:
            await self.pipe.send(VADUserStoppedSpeakingFrame())
        self.fed = False

    def heard(self, reading: Reading) -> Reading | None:
        """Return a result in the caller's seconds; None: it is of an earlier feed."""
        if reading.end_s is not None and reading.end_s <= self._feed_at_s + STALE_S:
            return None
        ahead_s = self.fed_from_s - self._feed_at_s
        words = tuple(
            HeardWord(text=each.text, start_s=each.start_s + ahead_s, end_s=each.end_s + ahead_s)
            for each in reading.words
            if (each.start_s + each.end_s) / 2 >= self._feed_at_s
        )
        end_s = None if reading.end_s is None else reading.end_s + ahead_s
        return dataclasses.replace(reading, words=words, end_s=end_s)

    @property
    def mute_at(self) -> float | None:
        """When it is mute, unless it says something; None: that cannot be told by the clock."""
        return self._lived_at + BEAT_S if self.fed and self._steady >= STEADY else None

    @property
    def mute(self) -> bool:
        """Whether it is fed and was steady, and has been silent for too long."""
        return self.mute_at is not None and self._clock() >= self.mute_at

    def lives(self, *, words: bool) -> None:
        """Note that it said something, be it that nobody speaks."""
        now = self._clock()
        in_time = not words and now - self._lived_at <= BEAT_S
        self._steady = self._steady + 1 if in_time else 0
        self._lived_at = now

    def is_up(self) -> None:
        """Note that it is connected."""
        self._up_at = self._clock()

    def lost(self) -> None:
        """Note that the connection is gone: whatever was sent on it counts no more."""
        self.fed, self._sent_bytes, self._steady = False, 0, 0

    def hurry(self) -> None:
        """Cut the wait before the next connection short: somebody waits for it."""
        self._hurry.set()

    def revive(self, owner: FrameProcessor, *, allowed: Callable[[], bool]) -> None:
        """Connect anew in the background: at once, and then ever more seldom.

        Args:
            owner: Of the task.
            allowed: Whether the rung may be asked at the moment.
        """
        service = self.pipe.service
        if self._reviving is None and isinstance(service, Supervised):
            self.lost()
            self._reviving = owner.create_task(
                self._revive(service, allowed), f"{self.name}: reconnect"
            )

    async def close(self, owner: FrameProcessor, *, within_s: float = STOP_S) -> None:
        """Let everything go."""
        if self._reviving:
            await owner.cancel_task(self._reviving)
            self._reviving = None
        if self.set_up:
            await self.pipe.cleanup(within_s=within_s)
        self.seat.leave()

    async def _revive(self, service: Supervised, allowed: Callable[[], bool]) -> None:
        if self._up_at is None:
            self._tries = max(1, self._tries)  # it was never up: at once would be too soon
        elif self._clock() - self._up_at > STABLE_S:
            self._tries = 0
        while True:
            hurried = await self._wait(WAITS_S[min(self._tries, len(WAITS_S) - 1)])
            self._tries += not hurried  # a caller's own tries are few, and make nobody rarer
            if allowed() and await service.reconnect():
                break
        self._reviving = None
        self._up(self)

    async def _wait(self, wait_s: float) -> bool:
        """Wait so long, and return True if somebody was in a hurry."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._hurry.wait()
        hurried = self._hurry.is_set()
        self._hurry.clear()
        return hurried

    @property
    def _sent_s(self) -> float:
        return self._sent_bytes / self._bytes_a_second


def _taken_on(service: FrameProcessor) -> None:
    """Leave to the stage what it does for all rungs: reconnecting, and passing sound on."""
    if isinstance(service, Candid):
        service.supervised = True
    if isinstance(service, STTService):
        service._audio_passthrough = False  # noqa: SLF001 - Pipecat takes it at construction only
