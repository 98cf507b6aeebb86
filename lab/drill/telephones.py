"""The interface of a drill caller's telephone, and a telephone without a carrier."""

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bot.workers.process import Process
from lab.drill.sound import RATE_HZ, join_spans, stretches
from runtime import clock
from transports.loopback.leg import LoopbackLeg

CONNECTED_S: Final = 10.0
PAUSE_S: Final = 0.3  # a shorter pause belongs to the speech around it, as in `CarrierEar`


class LoopbackTelephone:
    """A telephone on the leg of `replay`, without a server, a network or telephone coding."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._leg = LoopbackLeg(
            np.zeros(0, dtype=np.int16),
            sample_rate_hz=RATE_HZ,
            linger_s=float("inf"),
            clock=clock.monotonic,
        )
        self._call = process.call(self._leg)
        self._stack = AsyncExitStack()
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start the call.

        Raises:
            ExceptionGroup: With a `TimeoutError`: the call was not answered in time.
        """
        answered = self._process.switchboard.answer(self._leg, self._call)
        async with AsyncExitStack() as stack:
            group = await stack.enter_async_context(asyncio.TaskGroup())
            self._running = group.create_task(answered, name="a call on the loopback leg")
            async with asyncio.timeout(CONNECTED_S):
                while self._leg.line.started_at_s is None:  # noqa: ASYNC110 - the line has no event
                    await asyncio.sleep(0.005)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        """Hang up."""
        await self._call.cancel("caller_hung_up")
        await self._stack.__aexit__(*raised)
        await self._process.emitter.flush()  # the call's events are read next

    @property
    def started_at(self) -> float:
        """The start of the call, on the monotonic clock."""
        return self._leg.line.started_at_s or clock.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds since then."""
        return clock.monotonic() - self.started_at

    @property
    def over(self) -> bool:
        """Whether the agent's side has hung up."""
        return self._leg.line.closed or self._running is None or self._running.done()

    def heard(self) -> NDArray[np.int16]:
        """Return everything heard so far, with the silence up to now."""
        padded = np.zeros(round(self.now_s * RATE_HZ), dtype=np.int16)
        heard = self._leg.line.heard()[: padded.size]
        padded[: heard.size] = heard
        return padded

    def bursts(self) -> list[tuple[float, float]]:
        """Return the spans in which the agent was heard, in seconds of the call."""
        return join_spans(stretches(self.heard()), within_s=PAUSE_S)

    async def say(self, pcm: NDArray[np.int16]) -> float:
        """Send the caller's sound; return the time when its last sample has left."""
        await self._leg.say(pcm)
        return self.now_s


class Telephone(AbstractAsyncContextManager[Any], Protocol):
    """One call: `async with telephone:`; all times are in seconds of the call.

    Entering places the call, and returns when audio flows. Leaving hangs up unless the call is
    over. A call through the lab's carrier satisfies this protocol.
    """

    @property
    def started_at(self) -> float:
        """The start of the call, on the monotonic clock."""
        ...

    @property
    def now_s(self) -> float:
        """Seconds since then."""
        ...

    @property
    def over(self) -> bool:
        """Whether the agent's side has hung up."""
        ...

    def heard(self) -> NDArray[np.int16]:
        """Return everything heard since the start of the call, at 8000 Hz."""
        ...

    def bursts(self) -> list[tuple[float, float]]:
        """Return the spans in which the agent was heard; short pauses count as speech."""
        ...

    async def say(self, pcm: NDArray[np.int16], /) -> float:
        """Send the caller's sound, at 8000 Hz; return the time when its last sample has left."""
        ...
