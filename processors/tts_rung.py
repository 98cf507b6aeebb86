"""One rung of the voices' ladder: whether it can be used now, what it is asked, and its revival.

A rung that is known to be unreachable fails at once; one whose connection is being made is given a
moment. A dead one is connected anew in the background, again and again, and never in a turn. A cold
standby is set up when it is asked for the first time.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol, cast

from pipecat.frames.frames import (
    AggregatedTextFrame,
    Frame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    StartFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup
from pipecat.utils.text.base_text_aggregator import TextType

from calls.voice import ATTEMPT, Voice
from fallbacks.failure import Failure, Kind, failed
from processors.rung_pipeline import RungPipeline
from processors.seat import Seat

CONNECT_S: Final = 0.3  # a turn waits no longer for a handshake: a failed rung may cost 0.4 s
COLD_S: Final = 1.0  # for a cold one's first: name, TCP, TLS and upgrade across an ocean (chosen)
REVIVE_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # Pipecat reconnects once, at once
SETTINGS: Final = 8  # that wait for a rung to be set up; the oldest is forgotten
SLOW: Final = len(REVIVE_S) - 1  # where a permanent failure begins


class Told(Protocol):
    """Takes what the rungs tell: the stage."""

    async def on_sound(self, attempt: int, pcm: bytes) -> None:
        """Take sound."""
        ...

    async def on_word(
        self, attempt: int, text: str, *, start_s: float, end_s: float | None
    ) -> None:
        """Take a word's time."""
        ...

    async def on_begun(self, attempt: int) -> None:
        """Take that an attempt has begun that waited for a cold rung."""
        ...

    async def on_spoken(self, attempt: int) -> None:
        """Take the end of an attempt."""
        ...

    async def on_failed(self, attempt: int, failure: Failure) -> None:
        """Take the failure of an attempt."""
        ...

    async def on_pushed(self, rung: "TtsRung", frame: Frame, direction: FrameDirection) -> None:
        """Take what else a rung's service pushed."""
        ...


class TtsRung:
    """A rung, and the ear at its voice."""

    def __init__(
        self,
        name: str,
        service: FrameProcessor,
        *,
        stage: Told,
        clock: Callable[[], float],
        seat: Seat,
    ) -> None:
        self.name = name
        self.opened = False
        self.opening = False  # cold, and its first connection is being made
        self.child = RungPipeline(name, service, output=self._pushed, on_ready=self._ready)
        self.attempt: int | None = None
        self._service = service
        self._voice = cast("Voice", service)
        self._voice.listen(self)
        self._stage = stage
        self._now = clock
        self._seat = seat
        self._given: tuple[FrameProcessor, FrameProcessorSetup] | None = None
        self._started: StartFrame | None = None
        self._up = False
        self._connecting_at: float | None = None
        self._failure: Failure | None = None
        self._told = False  # of that failure
        self._waiting: list[Frame] = []
        self._due_at: float | None = None
        self._reviving: asyncio.Task[None] | None = None
        self._settling = False  # new settings may make it connect anew
        self._unsettled = deque[TTSUpdateSettingsFrame](maxlen=SETTINGS)

    @property
    def due_at(self) -> float | None:
        """When the moment is over that an attempt waits for a connection."""
        return self._due_at

    @property
    def offered(self) -> bool:
        """Whether this call may ask it: it has a place there, or can have one."""
        return self._seat.offered

    def setup(self, owner: FrameProcessor, setup: FrameProcessorSetup, *, cold: bool) -> None:
        """Begin to connect, if there is a place for this call; a cold one waits until asked."""
        self._given = (owner, setup)
        if not cold:
            self.open()
            self.opening = False

    def start(self, frame: StartFrame) -> None:
        """Start the service as soon as it is set up."""
        self._started = frame
        if self.opened:
            self.child.start(frame)

    def open(self) -> bool:
        """Begin to connect if that was not begun; False: there is no place for this call."""
        if self.opened:
            return True
        if self._given is None or not self._seat.take():
            return False
        self.opened = self.opening = True
        self.child.setup(*self._given)
        if self._started:
            self.child.start(self._started)
        return True

    async def ask(self, attempt: int, text: str, *, closed: bool) -> Failure | None:
        """Begin to speak; returns the failure of a rung that is known to be dead.

        It is told once, so that another can speak at once. Who asks again has nobody else, and one
        failure is not counted twice: then a new connection is tried, and waited for.
        """
        self.attempt, self._waiting, self._due_at = attempt, [], None
        start = LLMFullResponseStartFrame()
        start.metadata[ATTEMPT] = attempt
        frames = [start, _sentence(text), *([LLMFullResponseEndFrame()] if closed else [])]
        if self._usable:
            self.opening = self._settling = False
            await self._send(frames)
            return None
        dead = self._dead
        if dead and not (dead is self._failure and self._told):
            self._told = True
            self._quit()
            return dead
        begun_at = self._connecting_at or self._now()
        self._waiting, self._due_at = frames, begun_at + self._connect_s
        if self._connecting_at is None and not self.opening:
            self._revive(at_once=True)
        return None

    async def settle(self, frame: TTSUpdateSettingsFrame) -> None:
        """Have the service take new settings, now or when it is set up."""
        if frame.service not in (None, self._service):
            return
        self._settling = await self.child.send(frame)
        if not self._settling:
            self._unsettled.append(frame)

    async def more(self, text: str) -> None:
        """Speak on."""
        await self._go_on(_sentence(text))

    async def close(self) -> None:
        """Speak to the end: nothing follows."""
        await self._go_on(LLMFullResponseEndFrame())

    async def mute(self) -> None:
        """Fall silent."""
        asked = self.attempt is not None and not self._waiting
        self._quit()
        if asked:
            await self.child.mute()

    async def tick(self, now: float) -> None:
        """Give up an attempt that waits in vain for a connection."""
        if self._due_at is not None and self._due_at <= now and self.attempt is not None:
            attempt = self.attempt
            self._quit()
            await self._stage.on_failed(attempt, self._hangs)

    async def cleanup(self) -> None:
        """Let go of everything."""
        self._quit()
        task, self._reviving = self._reviving, None
        if task:
            await self._service.cancel_task(task)
        if self.opened:
            await self.child.cleanup()
        self._seat.leave()

    async def sound(self, attempt: int, pcm: bytes) -> None:
        """Take sound from the voice."""
        await self._stage.on_sound(attempt, pcm)

    async def word(
        self, attempt: int, text: str, *, start_s: float, end_s: float | None = None
    ) -> None:
        """Take a word's time from the voice."""
        await self._stage.on_word(attempt, text, start_s=start_s, end_s=end_s)

    async def spoken(self, attempt: int) -> None:
        """Take from the voice that it has sent all."""
        if attempt == self.attempt:
            self._quit()
        await self._stage.on_spoken(attempt)

    async def failed(self, attempt: int, failure: Failure) -> None:
        """Take the voice's error."""
        self._seat.learn(failure)
        await self._stage.on_failed(attempt, failure)

    async def connecting(self) -> None:
        """Note that a connection is being made."""
        self._connecting_at, self._up = self._now(), False
        if self._settling:  # at our wish: it is waited for like a cold one, and not doubted
            self.opening, self._settling = True, False

    async def connected(self) -> None:
        """Begin with what waited for the connection."""
        self._connecting_at, self._up, self._failure = None, True, None
        self.opening = self.opening and bool(self._waiting)
        await self._begin()

    async def unreachable(self, failure: Failure) -> None:
        """Note why there is no connection; an attempt that waited for it has failed."""
        self._connecting_at, self._up, self._failure = None, False, failure
        self.opening = self._told = False
        self._seat.learn(failure)
        self._revive()
        if self._waiting and self.attempt is not None:
            attempt = self.attempt
            self._quit()
            await self._stage.on_failed(attempt, failure)

    async def lost(self, failure: Failure | None) -> None:
        """Note that the connection is gone; what was asked over it will not come."""
        self._connecting_at, self._up, self._failure = None, False, None
        if failure:
            self._seat.learn(failure)
        self._revive()
        if self.attempt is not None and not self._waiting:
            attempt = self.attempt
            idle = failed(Kind.NETWORK, "tts", provider=self.name, reason="closed while idle")
            await self._stage.on_failed(attempt, failure or idle)

    @property
    def _usable(self) -> bool:
        return self._up and self.child.ready.is_set()

    @property
    def _dead(self) -> Failure | None:
        """Why nothing can come of asking it now."""
        if self._connecting_at is None:
            return self._failure
        return self._hangs if self._connecting_at + self._connect_s <= self._now() else None

    @property
    def _connect_s(self) -> float:
        return COLD_S if self.opening else CONNECT_S

    @property
    def _hangs(self) -> Failure:
        return failed(Kind.TIMEOUT, "tts", provider=self.name, reason="no connection in time")

    async def _ready(self, _child: RungPipeline) -> None:
        await self._send(self._unsettled)
        self._unsettled.clear()
        await self._begin()

    async def _begin(self) -> None:
        if self._usable and self._waiting:
            frames, self._waiting, self._due_at = self._waiting, [], None
            await self._send(frames)
            if self.opening and self.attempt is not None:
                self.opening = False
                await self._stage.on_begun(self.attempt)

    async def _go_on(self, frame: Frame) -> None:
        if self._waiting:
            self._waiting.append(frame)
        else:
            await self._send([frame])

    async def _send(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            await self.child.send(frame)

    async def _pushed(self, _child: RungPipeline, frame: Frame, direction: FrameDirection) -> None:
        await self._stage.on_pushed(self, frame, direction)

    def _quit(self) -> None:
        self.attempt, self._waiting, self._due_at = None, [], None

    def _revive(self, *, at_once: bool = False) -> None:
        if self._reviving is None or (self._reviving.done() or at_once):
            before, name = self._reviving, f"revive {self.name}"
            if before and not before.done():
                before.cancel()
            self._reviving = self._service.create_task(self._revival(at_once=at_once), name)

    async def _revival(self, *, at_once: bool) -> None:
        """Connect anew until it succeeds, slower and slower."""
        tries = 0
        while not self._up:
            permanent = self._failure is not None and self._failure.permanent
            step = SLOW if permanent else min(tries, SLOW)
            await asyncio.sleep(0.0 if at_once and tries == 0 else REVIVE_S[step])
            if not self._up and self._connecting_at is None:
                await self._voice.revive()
            tries += 1


def _sentence(text: str) -> AggregatedTextFrame:
    return AggregatedTextFrame(text, TextType.SENTENCE, raw_text=text)
