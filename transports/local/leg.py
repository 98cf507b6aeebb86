"""A call at this machine's microphone and loudspeaker, as a leg.

There is no echo cancellation: if the microphone hears the loudspeaker, the agent interrupts itself.
So either the person wears headphones, or an echo guard replaces the microphone's sound with silence
while the agent speaks.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams

from transports.leg import Gone, LegFacts, PlainLeg
from transports.leg_output import LegOutput, audible, peak
from transports.local.echo_guard_rules import EchoGuard
from transports.local.sound_card import BLOCK_S, RATE_HZ, Playback, SoundCard

CUSHION_S: Final = 0.06  # how far the call may write ahead of the loudspeaker
HELD_BLOCKS: Final = 50  # one second of the caller's audio; above this the oldest is dropped
OPEN_S: Final = 10.0  # how long the devices may take to open
FULL_SCALE: Final = 32768
LAST_WORDS_S: Final = 0.5  # how long the pending sound may play before the device is closed


@dataclass(frozen=True, slots=True)
class MicLevel:
    """The level of the microphone.

    Attributes:
        peak: The loudest sample, from 0 to 1.
        resting: Whether the microphone is ignored.
    """

    peak: float
    resting: bool


class LocalLeg(PlainLeg):
    """The audio connection of a caller who sits at this machine."""

    def __init__(self, card: SoundCard | None = None, *, guard: EchoGuard | None = None) -> None:
        """Create the leg; the devices are opened when the call starts.

        Args:
            card: The devices; `None` for the default ones.
            guard: Keeps the agent from hearing itself; `None` with headphones.
        """
        self.facts = LegFacts(transport="local", sample_rate_hz=RATE_HZ, keys=False)
        self._gone: Gone | None = None
        params = TransportParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            audio_out_10ms_chunks=round(BLOCK_S * 100),
            audio_out_end_silence_secs=0,
        )
        card, self._lost = card or SoundCard(), asyncio.Event()
        self._input = _Microphone(params, card, self._lost, self._emit_gone)
        self._output = _Loudspeaker(params, card, self._lost)
        self._input.guard = self._output.guard = guard

    @property
    def playing(self) -> bool:
        """Whether the agent can be heard."""
        return self._output.playing.is_set()

    def take_level(self) -> MicLevel:
        """Return the microphone's level since the last call, and start to measure again."""
        return self._input.take_level()

    def input(self) -> BaseInputTransport:
        """Return the processor that reads the microphone."""
        return self._input

    def output(self) -> LegOutput:
        """Return the processor that plays on the loudspeaker."""
        return self._output

    def on_gone(self, gone: Gone) -> None:
        """Call `gone` when the person hangs up or a device disappears."""
        self._gone = gone

    async def answered(self) -> None:
        """Wait until the loudspeaker plays.

        Raises:
            TimeoutError: It did not within `OPEN_S`.
        """
        async with asyncio.timeout(OPEN_S):
            await self._output.playing.wait()

    async def put_down(self) -> None:
        """End the call because the person hangs up."""
        await self._emit_gone("caller_hung_up")

    async def hang_up(self, reason: str = "") -> None:
        """Release the devices; `on_gone` is not called any more."""
        self._gone = None
        await self._input.close()
        await self._output.close()

    async def _emit_gone(self, reason: str) -> None:
        """Call the listener of `on_gone`, at most once."""
        gone, self._gone = self._gone, None
        if gone:
            await gone(reason)


class _Microphone(BaseInputTransport):
    def __init__(
        self, params: TransportParams, card: SoundCard, lost: asyncio.Event, gone: Gone
    ) -> None:
        super().__init__(params)
        self._loop = asyncio.get_running_loop()
        self._device = card.microphone(self._heard, _threadsafe_setter(self._loop, lost))
        self._device_lost = lost
        self._emit_gone = gone
        self.guard: EchoGuard | None = None
        self._peak = 0
        self._watching: asyncio.Task[None] | None = None

    async def start(self, frame: StartFrame) -> None:
        """Open the microphone, and watch for the loss of a device, which ends the call."""
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._watching = self.create_task(self._end_when_device_lost(), "watch the devices")
        await self._device.open()

    async def stop(self, frame: EndFrame) -> None:
        """Stop reading."""
        await self.close()
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop reading at once."""
        await self.close()
        await super().cancel(frame)

    async def cleanup(self) -> None:
        """Release the device and stop the task."""
        await self.close()
        await super().cleanup()

    async def close(self) -> None:
        """Stop the watch for a lost device, and release the microphone."""
        watching, self._watching = self._watching, None
        if watching and watching is not asyncio.current_task():
            await self.cancel_task(watching)
        await self._device.close()

    def _heard(self, audio: bytes) -> None:
        """Pass a block from PortAudio's thread to the event loop."""
        self._loop.call_soon_threadsafe(self._take_audio, audio)

    def _take_audio(self, audio: bytes) -> None:
        """Queue a block, as silence while the agent may be heard; a full queue drops its oldest.

        It is dropped before the call begins, and after it.
        """
        if self._paused or self._audio_task is None:
            return
        self._peak = max(self._peak, peak(audio))
        if self._is_guard_closed:
            audio = bytes(len(audio))  # silence, because pauses are measured by the sound
        queue = self._audio_in_queue
        while queue.qsize() >= HELD_BLOCKS:
            queue.get_nowait()
        queue.put_nowait(InputAudioRawFrame(audio=audio, sample_rate=RATE_HZ, num_channels=1))

    def take_level(self) -> MicLevel:
        """Return the loudest sample since the last call."""
        loudest, self._peak = self._peak, 0
        return MicLevel(peak=loudest / FULL_SCALE, resting=self._is_guard_closed)

    @property
    def _is_guard_closed(self) -> bool:
        return self.guard is not None and self.guard.is_closed(self._loop.time())

    async def _end_when_device_lost(self) -> None:
        """End the call if the microphone or the loudspeaker disappears."""
        await self._device_lost.wait()
        await self._emit_gone("device_lost")


class _Loudspeaker(LegOutput):
    def __init__(self, params: TransportParams, card: SoundCard, lost: asyncio.Event) -> None:
        super().__init__(params)
        self.playing = asyncio.Event()
        self._playback = Playback()
        self._device = card.loudspeaker(
            self._playback, _threadsafe_setter(asyncio.get_running_loop(), lost)
        )
        self.guard: EchoGuard | None = None
        self._loop = asyncio.get_running_loop()
        self._interruptible = True  # whether a barge-in may drop the last written frame

    async def start(self, frame: StartFrame) -> None:
        """Open the loudspeaker, and set `playing`, which ends the wait in `LocalLeg.answered`."""
        await super().start(frame)
        await self._device.open()
        await self.set_transport_ready(frame)
        self.playing.set()

    async def stop(self, frame: EndFrame) -> None:
        """Play pending sound, for a limited time, then stop."""
        await super().stop(frame)
        await self._wait_until_played(LAST_WORDS_S)
        await self.close()

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop playing at once."""
        self._playback.clear()
        await self.close()
        await super().cancel(frame)

    async def cleanup(self) -> None:
        """Release the device."""
        await self.close()
        await super().cleanup()

    async def close(self) -> None:
        """Release the loudspeaker."""
        await self._device.close()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Drop pending sound when the caller interrupts, unless it must be heard."""
        if isinstance(frame, InterruptionFrame) and self._interruptible:
            self._playback.clear()
            if self.guard:
                self.guard.drop(until=self._loop.time() + self._device.latency_s)
        await super().process_frame(frame, direction)

    async def play_piece(self, frame: OutputAudioRawFrame) -> bool:
        """Pass one chunk to the loudspeaker; wait while too much is pending.

        If it is audible, the microphone is muted until it was played. Always returns True.
        """
        self._interruptible = frame.interruptible
        self._playback.write(frame.audio)
        if self.guard and audible(frame.audio):
            now = self._loop.time()
            until = now + self._playback.waiting_s + self._device.latency_s
            self.guard.play(now, until=until)
        while (ahead_s := self._playback.waiting_s - CUSHION_S) > 0:  # noqa: ASYNC110 - no event
            await asyncio.sleep(max(ahead_s, BLOCK_S / 2))
        return True

    async def _wait_until_played(self, wait_s: float) -> None:
        """Wait up to `wait_s` for the pending sound, and then for the device's own buffer."""
        blocks_left = round(wait_s / BLOCK_S)
        while blocks_left > 0 and self._playback.waiting_s > 0:
            await asyncio.sleep(BLOCK_S)
            blocks_left -= 1
        await asyncio.sleep(self._device.latency_s)


def _threadsafe_setter(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> Any:
    """Return a function that sets an event from another thread."""
    return lambda: loop.call_soon_threadsafe(event.set)
