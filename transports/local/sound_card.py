"""This machine's microphone and loudspeaker, through PortAudio; knows nothing of calls.

`sounddevice` is an optional extra and loads PortAudio when it is imported, so it is imported where
it is used. Streams run by callback: a blocking write that is closed under its writer was seen to
crash the process in native code, a callback stream was not. PortAudio opens and closes one stream
at a time; both take a while, so they happen in a thread and under one lock.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final, Protocol, Self, TypeAlias

from transports.local.sound_devices import (
    NAMES,
    NO_PACKAGE,
    ChosenDevices,
    NoAudioError,
    Side,
    SoundDevice,
    choose_device,
    describe_devices,
    no_device,
    no_portaudio,
)

RATE_HZ: Final = 16_000  # what the VAD, turn detection and recognisers are made for
BLOCK_S: Final = 0.02
BLOCK_FRAMES: Final = round(BLOCK_S * RATE_HZ)
SAMPLE_BYTES: Final = 2  # 16-bit mono
FORMAT: Final[dict[str, Any]] = {"samplerate": RATE_HZ, "channels": 1, "dtype": "int16"}
# Of the device's own buffer. PortAudio's "low" came to 0.04 s through PulseAudio on two busy cores
# and lost up to nine tenths of a word there; with this, which comes to 0.12 s, nothing was lost.
LATENCY_S: Final = 0.1

STDERR: Final = 2

Lost: TypeAlias = Callable[[], None]
"""Called in another thread when a stream did not open, or ended and nobody had closed it."""


class CardStream(Protocol):
    """What we use of a PortAudio stream."""

    latency: float  # seconds, of what is between the callback and the device

    def start(self) -> None:
        """Begin to call back."""
        ...

    def abort(self) -> None:
        """Stop at once; what was not played is dropped."""
        ...

    def close(self) -> None:
        """Give the device back."""
        ...


class Playback:
    """Sound on its way to the loudspeaker: written by the call, taken by PortAudio's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = bytearray()

    @property
    def waiting_s(self) -> float:
        """Seconds that were written and not yet taken."""
        return len(self._waiting) / (RATE_HZ * SAMPLE_BYTES)

    def write(self, audio: bytes) -> None:
        """Add 16-bit mono sound at `RATE_HZ`."""
        with self._lock:
            self._waiting += audio

    def clear(self) -> None:
        """Forget what was not taken."""
        with self._lock:
            self._waiting.clear()

    def take(self, size_bytes: int) -> bytes:
        """Return exactly this much: what waits, and silence after it."""
        with self._lock:
            taken = bytes(self._waiting[:size_bytes])
            del self._waiting[:size_bytes]
        return taken.ljust(size_bytes, b"\0")


class Direction:
    """One stream of the sound card, opened once and closed once, in whatever order."""

    def __init__(
        self, make: Callable[[Lost], CardStream], *, lost: Lost, lock: threading.Lock
    ) -> None:
        self._make = make
        self._lost = lost
        self._lock = lock
        self._stream: CardStream | None = None
        self._closed = False

    @property
    def latency_s(self) -> float:
        """Seconds of sound that the open device holds; none when it is closed."""
        return self._stream.latency if self._stream else 0.0

    async def open(self) -> None:
        """Open the device and start the stream, unless it was closed before.

        Raises:
            NoAudioError: The device does not open.
        """
        await asyncio.to_thread(self._open)

    async def close(self) -> None:
        """Stop the stream at once and give the device back; harmless when done already."""
        await asyncio.to_thread(self._close)

    def _open(self) -> None:
        with self._lock:
            if self._closed:
                return
            try:
                self._stream = self._make(self._ended)
                self._stream.start()
            except Exception as error:  # PortAudio's own; without the library it has no name
                self._lost()  # a call without ears or without a voice is over
                raise NoAudioError(f"the sound card does not open: {error}") from error

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            stream, self._stream = self._stream, None
            if stream:
                stream.abort()
                stream.close()

    def _ended(self) -> None:
        if not self._closed:
            self._lost()


class SoundCard:
    """A microphone and a loudspeaker; by their numbers, None: the default ones."""

    def __init__(self, *, microphone: int | None = None, loudspeaker: int | None = None) -> None:
        self._lock = threading.Lock()
        self._numbers = (microphone, loudspeaker)

    @classmethod
    def of(cls, chosen: ChosenDevices) -> Self:
        """Return the devices that are meant.

        Raises:
            NoAudioError: One of them is not there.
        """
        devices = list_devices()
        return cls(
            microphone=choose_device(devices, chosen.input, direction="input"),
            loudspeaker=choose_device(devices, chosen.output, direction="output"),
        )

    def microphone(self, heard: Callable[[bytes], None], lost: Lost) -> Direction:
        """Return the microphone, closed; `heard` gets each block, in PortAudio's thread."""

        def block(recorded: Any, *_: Any) -> None:
            heard(bytes(recorded))

        def make(ended: Lost) -> CardStream:
            return _sounddevice().RawInputStream(
                device=self._numbers[0],
                callback=block,
                finished_callback=ended,
                blocksize=BLOCK_FRAMES,
                latency=LATENCY_S,
                **FORMAT,
            )

        return Direction(make, lost=lost, lock=self._lock)

    def loudspeaker(self, playback: Playback, lost: Lost) -> Direction:
        """Return the loudspeaker, closed; it takes each block from `playback`."""

        def block(played: Any, *_: Any) -> None:
            played[:] = playback.take(len(played))

        def make(ended: Lost) -> CardStream:
            return _sounddevice().RawOutputStream(
                device=self._numbers[1],
                callback=block,
                finished_callback=ended,
                blocksize=BLOCK_FRAMES,
                latency=LATENCY_S,
                **FORMAT,
            )

        return Direction(make, lost=lost, lock=self._lock)


def list_devices() -> list[SoundDevice]:
    """Return every device of this machine.

    Raises:
        NoAudioError: PortAudio is missing; the text names the package that brings it.
    """
    with _native_lines_dropped():
        sounddevice = _sounddevice()
        try:
            return describe_devices(sounddevice.query_devices(), sounddevice.default.device)
        except sounddevice.PortAudioError as error:
            raise NoAudioError(
                f"PortAudio does not list this machine's devices: {error}"
            ) from error


def check_devices(chosen: ChosenDevices | None = None) -> None:
    """Return if this machine can record and play on these devices.

    Raises:
        NoAudioError: Something is missing; the text names the package that brings it.
    """
    chosen, devices = chosen or ChosenDevices(), list_devices()
    with _native_lines_dropped():
        sounddevice = _sounddevice()
        checks: tuple[tuple[Side, Any, str | int | None], ...] = (
            ("input", sounddevice.check_input_settings, chosen.input),
            ("output", sounddevice.check_output_settings, chosen.output),
        )
        for side, check, wanted in checks:
            number = choose_device(devices, wanted, direction=side)
            try:
                sounddevice.query_devices(number, kind=side)
            except (sounddevice.PortAudioError, ValueError) as error:
                raise NoAudioError(no_device(side)) from error
            try:
                check(device=number, **FORMAT)
            except (sounddevice.PortAudioError, ValueError) as error:
                raise NoAudioError(
                    f"the {NAMES[side]} does not work at {RATE_HZ} Hz: {error}"
                ) from error


def _sounddevice() -> ModuleType:
    try:
        import sounddevice  # noqa: PLC0415 - an optional extra that loads PortAudio
    except ModuleNotFoundError as error:
        raise NoAudioError(NO_PACKAGE) from error
    except OSError as error:  # what sounddevice raises when the shared library is not there
        raise NoAudioError(no_portaudio()) from error
    return sounddevice


@contextlib.contextmanager
def _native_lines_dropped() -> Iterator[None]:
    """Keep ALSA from writing of cards that are not there: our own line says what is wrong."""
    kept = os.dup(STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, STDERR)
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(nowhere)
        os.close(kept)
