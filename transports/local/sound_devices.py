"""Which microphone and which loudspeaker: the list, and the choice by name or number."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

Side: TypeAlias = Literal["input", "output"]

NAMES: Final[Mapping[Side, str]] = {"input": "microphone", "output": "loudspeaker"}
NAMED: Final = 6  # devices in a line that says what there is

NO_PACKAGE: Final = (
    "the microphone needs the Python package sounddevice: .venv/bin/pip install 'holdline[mic]'"
)
NO_PORTAUDIO: Final[Mapping[str, str]] = {  # by sys.platform; wheels for macOS and Windows bring it
    "linux": "install libportaudio2 (Debian, Ubuntu), portaudio (Fedora, Arch)",
    "darwin": "pip install --force-reinstall sounddevice, or brew install portaudio",
    "win32": "pip install --force-reinstall sounddevice, whose wheel brings it",
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
    """This machine cannot record or play; the text is one line that says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenDevices:
    """What a person asked for: a number of the list, or a part of a name; None: the default."""

    input: str | int | None = None
    output: str | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundDevice:
    """One device as PortAudio knows it."""

    number: int
    name: str
    inputs: int  # channels
    outputs: int
    default_for: tuple[Side, ...] = ()

    def has(self, direction: Side) -> bool:
        """Say whether it can record, or play."""
        return (self.inputs if direction == "input" else self.outputs) > 0


def describe_devices(
    found: Sequence[Mapping[str, Any]], defaults: Sequence[int]
) -> list[SoundDevice]:
    """Return PortAudio's list as ours.

    Args:
        found: As `sounddevice.query_devices()` gives it.
        defaults: The numbers of the default input and output; -1: there is none.
    """
    directions: tuple[Side, ...] = ("input", "output")
    return [
        SoundDevice(
            number=number,
            name=str(each["name"]),
            inputs=int(each["max_input_channels"]),
            outputs=int(each["max_output_channels"]),
            default_for=tuple(
                direction
                for direction, default in zip(directions, defaults, strict=False)
                if default == number
            ),
        )
        for number, each in enumerate(found)
    ]


def choose_device(
    devices: Sequence[SoundDevice], wanted: str | int | None, *, direction: Side
) -> int | None:
    """Return the number of the device that is meant; None: the default one.

    Raises:
        NoAudioError: There is none of that name or number, or several; the text lists them.
    """
    if wanted is None:
        return None
    able = [each for each in devices if each.has(direction)]
    text = str(wanted).strip()
    if text.isdecimal():
        fitting = [each for each in able if each.number == int(text)]
    else:
        named = [each for each in able if text.lower() in each.name.lower()]
        exact = [each for each in named if each.name.lower() == text.lower()]
        fitting = exact or named
    if len(fitting) == 1:
        return fitting[0].number
    there = ", ".join(f"{each.number} {each.name}" for each in (fitting or able)[:NAMED])
    what = f'--{direction} is "{text}"'
    if fitting:
        raise NoAudioError(f"{what}, which fits several; name one of {there}")
    raise NoAudioError(f"{what}; there is no such {NAMES[direction]}: {there or 'none at all'}")


def no_portaudio(platform: str = sys.platform) -> str:
    """Return what to do where PortAudio is missing."""
    return f"the microphone needs PortAudio: {_of(NO_PORTAUDIO, platform)}"


def no_device(direction: Side, platform: str = sys.platform) -> str:
    """Return what to do where a device is missing."""
    return f"this machine has no {NAMES[direction]} that can be used: {_of(NO_DEVICE, platform)}"


def _of(advice: Mapping[str, str], platform: str) -> str:
    return advice.get(platform, advice["linux"])
