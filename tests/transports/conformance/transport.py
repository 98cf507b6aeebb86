"""The interface of a transport for the suite: how to call it, and its far end.

A new transport is one file in `transports/` with a `TRANSPORT`. Behaviours that it lacks are in
`cannot`, and the suite checks that they are refused; those without a meaning for it are in `void`.
"""

import asyncio
import importlib
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from calls.handover import Destination
from tests.transports.conformance.server import TIMEOUT_S, WorkerPool, become

Sound: TypeAlias = NDArray[np.int16]
"""Mono, at `RATE_HZ`."""

RATE_HZ: Final = 16_000
ELSEWHERE: Final = Destination(name="billing", number="+15005550199")
LOUD: Final = 300  # of 32768: more than a codec makes of silence
LOOK_S: Final = 0.02

BEHAVIOURS: Final[Mapping[str, str]] = {
    "answer": "call is answered",
    "greet": "greeting",
    "turn": "turn",
    "barge_in": "barge-in",
    "keys_in": "DTMF from the far end",
    "keys_out": "DTMF to the far end",
    "transfer": "transfer",
    "they_hang_up": "far end hangs up",
    "we_hang_up": "we hang up",
    "vanish": "far end vanishes",
    "gap": "no audio for 3 s",
    "reconnect": "line lost and restored",
}


class FarEnd(Protocol):
    """The person at the other end of one call, by any means that the transport has."""

    async def say(self, sound: Sound) -> None:
        """Speak, and return when the last sample was sent."""
        ...

    def heard_s(self) -> float:
        """Return how many seconds of audible sound have come so far."""
        ...

    async def press(self, key: str) -> None:
        """Press a key."""
        ...

    def keys_heard(self) -> str:
        """Return the keys that our side has pressed."""
        ...

    async def hang_up(self) -> None:
        """Hang up."""
        ...

    async def vanish(self) -> None:
        """Vanish like a cut cable, without a message."""
        ...

    async def keep_still(self, length_s: float) -> None:
        """Send no sound at all for this long, not even silence."""
        ...

    async def reset_line(self) -> None:
        """Lose the line of the call; a far end that is able to reconnects by itself."""
        ...

    @property
    def ended(self) -> bool:
        """Whether our side has ended the call, as far as this end can tell."""
        ...


class Transport(Protocol):
    """A transport, and the far end of its calls."""

    name: str
    peer: str  # the far end, for the table
    cannot: Mapping[str, str]  # behaviour: why; refused, and the suite checks that
    void: Mapping[str, str]  # behaviour: why it has no meaning here
    unproven: Mapping[
        str, str
    ]  # behaviour: why this far end cannot show it, though the transport may have it
    elsewhere: (
        Destination  # the destination of transfers; a person is there if there can be transfers
    )

    def prepare(self, folder: Path) -> AbstractAsyncContextManager[dict[str, Any]]:
        """Run the far end's servers; yield the transport's part of the configuration.

        Skips if the far end is missing on this machine.
        """
        ...

    def call(self, pool: WorkerPool) -> AbstractAsyncContextManager[FarEnd]:
        """Place a call; yield when it is answered, and leave nothing afterwards."""
        ...


def find_transports() -> list[Transport]:
    """Return the `TRANSPORT` of every file in `transports/`."""
    folder = Path(__file__).parent / "transports"
    package = "tests.transports.conformance.transports"
    names = sorted(path.stem for path in folder.glob("*.py"))
    return [importlib.import_module(f"{package}.{name}").TRANSPORT for name in names]


def audible_s(sound: NDArray[np.int16], rate_hz: int) -> float:
    """Return how much of a recording is loud, in pieces of 20 ms."""
    block = rate_hz // 50
    pieces = np.abs(sound[: sound.size // block * block].astype(np.int32)).reshape(-1, block)
    return int((pieces.max(axis=1, initial=0) > LOUD).sum()) / 50 if pieces.size else 0.0


async def hear_out(far: FarEnd, *, since_s: float = 0.0, quiet_s: float = 1.0) -> float:
    """Return how much was heard beyond `since_s`, after it began and was quiet for a while."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(TIMEOUT_S):
        heard, changed_at = far.heard_s(), loop.time()
        while heard <= since_s or loop.time() - changed_at < quiet_s:
            await asyncio.sleep(LOOK_S)
            if far.heard_s() > heard:
                heard, changed_at = far.heard_s(), loop.time()
    return heard - since_s


async def hear_something(far: FarEnd, *, since_s: float, length_s: float = 0.3) -> None:
    """Wait until this much more was heard."""
    await become(lambda: far.heard_s() >= since_s + length_s)
