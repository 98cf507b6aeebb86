"""What every telephone offers a call: input, output, what was played, and hanging up."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from pipecat.frames.frames import OutputAudioRawFrame
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport


@dataclass(frozen=True, slots=True, kw_only=True)
class LegFacts:
    """What is known of a leg when it is answered."""

    transport: str  # webrtc, twilio, local, loopback
    sample_rate_hz: int  # of the pipeline on this leg, in and out
    caller: str = ""  # unmasked: goes into the call's own record only
    called: str = ""
    keys: bool = True  # the far end has a keypad that we are told of


Clock: TypeAlias = Callable[[], float]
"""Seconds on the monotonic clock."""

Gone: TypeAlias = Callable[[str], Awaitable[None]]
"""Called once with the reason's name when the far end has gone."""


class Leg(Protocol):
    """One party's audio connection to a call."""

    facts: LegFacts

    def input(self) -> BaseInputTransport:
        """Return the processor that brings the caller's audio."""
        ...

    def output(self) -> BaseOutputTransport:
        """Return the processor that plays to the caller."""
        ...

    def on_gone(self, gone: Gone) -> None:
        """Have `gone` called when the far end has gone, whatever the way."""
        ...

    async def answered(self) -> None:
        """Return once the caller can hear us."""
        ...

    def show(self, message: dict[str, Any]) -> None:
        """Show a JSON message on the caller's own screen; a telephone without one shows nothing."""
        ...

    async def hang_up(self) -> None:
        """End the connection from our side; harmless when it has ended already."""
        ...


AUDIBLE: Final = 164  # of 32768, about -46 dBFS: above a codec's comfort noise, below any syllable


def listen(
    output: BaseOutputTransport,
    heard: Callable[[float], None],
    clock: Clock,
    *,
    but: type[OutputAudioRawFrame] | tuple[()] = (),
) -> None:
    """Have `heard` called with the moment of each audible chunk written to the line.

    Chunks of the kind `but` do not count: they are no answer.

    The moment is taken just before the write, on the monotonic clock of `clock`: a write may block
    for the chunk's own length.
    """
    write = output.write_audio_frame

    async def write_and_tell(frame: OutputAudioRawFrame) -> bool:
        if not isinstance(frame, but) and audible(frame.audio):
            heard(clock())
        return await write(frame)

    # Every transport writes through this one method, and only this instance is watched.
    output.write_audio_frame = write_and_tell  # type: ignore[method-assign]


def audible(pcm: bytes) -> bool:
    """Say whether 16-bit little-endian PCM holds a sample that a person could hear."""
    samples = np.frombuffer(pcm, dtype="<i2")
    return bool(samples.size) and int(np.abs(samples.astype(np.int32)).max()) > AUDIBLE
