"""The interface of a drill caller's telephone, and one that calls through a carrier."""

from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lab.callers import Carrier
from lab.drill.places import RATE_HZ
from lab.drill.servers import AUTH_TOKEN


class Telephone(Protocol):
    """One call in progress: `async with telephone:`; all seconds are the call's."""

    async def __aenter__(self) -> Self:
        """Ring, and return when the sound flows."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up unless the call is over."""
        ...

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
        """Return what was heard so far, 8000 Hz, from the start of the call."""
        ...

    def bursts(self) -> list[tuple[float, float]]:
        """Return when the agent was heard; short pauses count as speech."""
        ...

    async def say(self, samples: NDArray[np.int16]) -> float:
        """Say 8000 Hz sound; return when its last sample has left."""
        ...


class CarrierTelephone:
    """A telephone whose carrier streams the call to the agent's server."""

    def __init__(
        self, url: str, *, token: str = AUTH_TOKEN, carrier: Carrier | None = None
    ) -> None:
        self._carrier = carrier or Carrier(url, token)

    async def __aenter__(self) -> Self:
        """Ring, and return when the media flows."""
        await self._carrier.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up."""
        await self._carrier.__aexit__(kind, error, trace)

    @property
    def started_at(self) -> float:
        """The start of the call."""
        return self._carrier.started_at

    @property
    def now_s(self) -> float:
        """Seconds since then."""
        return self._carrier.now_s

    @property
    def over(self) -> bool:
        """Whether the agent's side has hung up."""
        return self._carrier.ended.is_set()

    def heard(self) -> NDArray[np.int16]:
        """Return what was heard so far."""
        return self._carrier.heard()

    def bursts(self) -> list[tuple[float, float]]:
        """Return when the agent was heard."""
        return [(burst.start / RATE_HZ, burst.end / RATE_HZ) for burst in self._carrier.ear.bursts]

    async def say(self, samples: NDArray[np.int16]) -> float:
        """Say sound; return when its last sample has left."""
        return await self._carrier.say(samples)
