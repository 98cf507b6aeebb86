"""This machine's microphone and loudspeaker, through PortAudio.

`sounddevice` is an optional extra and loads PortAudio on import, so it is imported only where it is
used. Streams use callbacks: a blocking write to a stream that was closed has crashed the process in
native code, and a callback stream has not. PortAudio opens and closes only one stream at a time,
and both are slow, so they happen in a thread and under one lock.
"""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, Literal, Protocol, Self, TypeAlias

from runtime.exits import install_command
from runtime.pcm import SAMPLE_BYTES

Side: TypeAlias = Literal["input", "output"]

NAMES: Final[Mapping[Side, str]] = {"input": "microphone", "output": "loudspeaker"}
MAX_NAMED: Final = 6  # how many devices an error message lists

NO_PACKAGE: Final = (
    f"the microphone needs the Python package sounddevice: {install_command('holdline[mic]')}"
)
NO_PORTAUDIO: Final[Mapping[str, str]] = {  # by sys.platform; macOS and Windows wheels include it
    "linux": "install libportaudio2 (Debian, Ubuntu), portaudio (Fedora, Arch)",
    "darwin": f"{install_command('--force-reinstall', 'sounddevice')}, or brew install portaudio",
    "win32": f"{install_command('--force-reinstall', 'sounddevice')}, whose wheel brings it",
}
NO_DEVICE: Final[Mapping[str, str]] = {
    "linux": (
        "connect one, or, with PulseAudio or PipeWire, install libasound2-plugins"
        " (Debian, Ubuntu), alsa-plugins-pulseaudio (Fedora)"
    ),
    "darwin": (
        "connect one, or allow the terminal to use it in System Settings, Privacy & Security"
    ),
    "win32": "connect one, or allow desktop apps to use it in Settings, Privacy & security",
}


class NoAudioError(Exception):
    """This machine cannot record or play; the text is one line for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenDevices:
    """The devices that a person chose, by number or part of a name; `None` for the default."""

    input: str | int | None = None
    output: str | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundDevice:
    """One device, as PortAudio lists it."""

    number: int
    name: str
    inputs: int  # channels
    outputs: int
    default_for: tuple[Side, ...] = ()

    def has(self, direction: Side) -> bool:
        """Return whether the device has channels in this direction."""
        return (self.inputs if direction == "input" else self.outputs) > 0


def describe_devices(
    found: Sequence[Mapping[str, Any]], defaults: Sequence[int]
) -> list[SoundDevice]:
    """Return PortAudio's devices as ours.

    Args:
        found: The result of `sounddevice.query_devices()`.
        defaults: The numbers of the default input and output; -1 if there is none.
    """
    directions: tuple[Side, ...] = ("input", "output")
    return [
        SoundDevice(
            number=number,
            name=str(device["name"]),
            inputs=int(device["max_input_channels"]),
            outputs=int(device["max_output_channels"]),
            default_for=tuple(
                direction
                for direction, default in zip(directions, defaults, strict=False)
                if default == number
            ),
        )
        for number, device in enumerate(found)
    ]


def choose_device(
    devices: Sequence[SoundDevice], wanted: str | int | None, *, direction: Side
) -> int | None:
    """Return the chosen device's number; `None` for the default one.

    Raises:
        NoAudioError: No device or several devices fit; the text lists the possible ones.
    """
    if wanted is None:
        return None
    able = [device for device in devices if device.has(direction)]
    text = str(wanted).strip()
    if text.isdecimal():
        fitting = [device for device in able if device.number == int(text)]
    else:
        named = [device for device in able if text.lower() in device.name.lower()]
        exact = [device for device in named if device.name.lower() == text.lower()]
        fitting = exact or named
    if len(fitting) == 1:
        return fitting[0].number
    there = ", ".join(f"{item.number} {item.name}" for item in (fitting or able)[:MAX_NAMED])
    what = f'--{direction} is "{text}"'
    if fitting:
        raise NoAudioError(f"{what}, which fits several; name one of {there}")
    raise NoAudioError(f"{what}; there is no such {NAMES[direction]}: {there or 'none at all'}")


def no_portaudio(platform: str = sys.platform) -> str:
    """Return the error text for a missing PortAudio, with what to do."""
    return f"the microphone needs PortAudio: {_advice_for(NO_PORTAUDIO, platform)}"


def no_device(direction: Side, platform: str = sys.platform) -> str:
    """Return the error text for a missing device, with what to do."""
    advice = _advice_for(NO_DEVICE, platform)
    return f"this machine has no {NAMES[direction]} that can be used: {advice}"


def _advice_for(problem: Mapping[str, str], platform: str) -> str:
    return problem.get(platform, problem["linux"])


RATE_HZ: Final = 16_000  # the rate of VAD, turn detection and recognisers
BLOCK_S: Final = 0.02
BLOCK_FRAMES: Final = round(BLOCK_S * RATE_HZ)
FORMAT: Final[dict[str, Any]] = {"samplerate": RATE_HZ, "channels": 1, "dtype": "int16"}
# The device's own buffer. On two busy cores with PulseAudio, PortAudio's "low" gave 0.04 s, and up
# to nine tenths of a word were lost. This value gave 0.12 s, and nothing was lost.
LATENCY_S: Final = 0.1

STDERR: Final = 2

Lost: TypeAlias = Callable[[], None]
"""Called in another thread when a stream did not open, or ended unexpectedly."""


class CardStream(Protocol):
    """The part of a PortAudio stream that we use."""

    latency: float  # seconds, between the callback and the device

    def start(self) -> None:
        """Start the callbacks."""
        ...

    def abort(self) -> None:
        """Stop at once; pending sound is dropped."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


class Playback:
    """The sound that waits to be played: written by the call, taken by PortAudio's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = bytearray()

    @property
    def waiting_s(self) -> float:
        """Seconds of pending sound."""
        return len(self._waiting) / (RATE_HZ * SAMPLE_BYTES)

    def write(self, audio: bytes) -> None:
        """Add 16-bit mono sound at `RATE_HZ`."""
        with self._lock:
            self._waiting += audio

    def clear(self) -> None:
        """Drop pending sound."""
        with self._lock:
            self._waiting.clear()

    def take(self, size_bytes: int) -> bytes:
        """Return exactly this many bytes: pending sound, then silence."""
        with self._lock:
            taken = bytes(self._waiting[:size_bytes])
            del self._waiting[:size_bytes]
        return taken.ljust(size_bytes, b"\0")


class Direction:
    """One stream of the sound card, which is opened once and closed once.

    After `close`, `open` has no effect.
    """

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
        """Seconds of sound that the open device holds; 0 when it is closed."""
        return self._stream.latency if self._stream else 0.0

    async def open(self) -> None:
        """Open the device and start the stream, unless it was closed before.

        Raises:
            NoAudioError: The device does not open.
        """
        await asyncio.to_thread(self._open_device)

    async def close(self) -> None:
        """Stop the stream at once and release the device; no effect if that was done."""
        await asyncio.to_thread(self._close_device)

    def _open_device(self) -> None:
        """Open the device, in a thread; a failure also counts as the loss of the device."""
        with self._lock:
            if self._closed:
                return
            try:
                self._stream = self._make(self._report_end_of_stream)
                self._stream.start()
            except Exception as error:  # PortAudio's error class exists only with the library
                self._lost()  # ends the call, which needs both devices
                raise NoAudioError(f"the sound card does not open: {error}") from error

    def _close_device(self) -> None:
        """Close the device for good; sound that is not played is dropped."""
        with self._lock:
            self._closed = True
            stream, self._stream = self._stream, None
            if stream:
                stream.abort()
                stream.close()

    def _report_end_of_stream(self) -> None:
        """Report a stream that ended by itself; PortAudio calls this also after our own `close`."""
        if not self._closed:
            self._lost()


class SoundCard:
    """A microphone and a loudspeaker, by their numbers; `None` for the default ones."""

    def __init__(self, *, microphone: int | None = None, loudspeaker: int | None = None) -> None:
        self._lock = threading.Lock()
        self._numbers = (microphone, loudspeaker)

    @classmethod
    def of(cls, chosen: ChosenDevices) -> Self:
        """Return the chosen devices.

        Raises:
            NoAudioError: One of them does not exist.
        """
        devices = list_devices()
        return cls(
            microphone=choose_device(devices, chosen.input, direction="input"),
            loudspeaker=choose_device(devices, chosen.output, direction="output"),
        )

    def microphone(self, heard: Callable[[bytes], None], lost: Lost) -> Direction:
        """Return the microphone, not yet open; `heard` gets each block, in PortAudio's thread."""

        def block(recorded: Any, *_: Any) -> None:
            heard(bytes(recorded))

        def make(ended: Lost) -> CardStream:
            return _import_sounddevice().RawInputStream(
                device=self._numbers[0],
                callback=block,
                finished_callback=ended,
                blocksize=BLOCK_FRAMES,
                latency=LATENCY_S,
                **FORMAT,
            )

        return Direction(make, lost=lost, lock=self._lock)

    def loudspeaker(self, playback: Playback, lost: Lost) -> Direction:
        """Return the loudspeaker, not yet open; it takes each block from `playback`."""

        def block(played: Any, *_: Any) -> None:
            played[:] = playback.take(len(played))

        def make(ended: Lost) -> CardStream:
            return _import_sounddevice().RawOutputStream(
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
        NoAudioError: PortAudio or its package is missing, or it does not list the devices.
    """
    with _standard_error_dropped():
        sounddevice = _import_sounddevice()
        try:
            return describe_devices(sounddevice.query_devices(), sounddevice.default.device)
        except sounddevice.PortAudioError as error:
            raise NoAudioError(
                f"PortAudio does not list this machine's devices: {error}"
            ) from error


def check_devices(chosen: ChosenDevices | None = None) -> None:
    """Check that this machine can record and play on these devices.

    Raises:
        NoAudioError: Something is missing, or a device does not work.
    """
    chosen, devices = chosen or ChosenDevices(), list_devices()
    with _standard_error_dropped():
        sounddevice = _import_sounddevice()
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


def _import_sounddevice() -> ModuleType:
    """Return the module; raise `NoAudioError` if it or PortAudio is not installed."""
    try:
        import sounddevice  # noqa: PLC0415 - an optional extra that loads PortAudio
    except ModuleNotFoundError as error:
        raise NoAudioError(NO_PACKAGE) from error
    except OSError as error:  # raised by sounddevice without the shared library
        raise NoAudioError(no_portaudio()) from error
    return sounddevice


@contextlib.contextmanager
def _standard_error_dropped() -> Iterator[None]:
    """During the block, drop what the whole process writes to its standard error.

    ALSA writes there about missing cards, and our own error text is enough. Our log may go there,
    too, so the block must be short.
    """
    kept = os.dup(STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, STDERR)
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(nowhere)
        os.close(kept)
