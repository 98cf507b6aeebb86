"""The interface of the store in which processes share their providers' health."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from fallbacks.breaker import State
from fallbacks.shared_health import Aspect, BoardWord

KEEP_S: Final = 3600.0  # chosen: a failing rung is written at least every quarter of an hour


class ProviderBoard(Protocol):
    """One entry for each aspect of a rung, and one lease for each rung: its holder probes for all.

    A process writes under its own name. All moments are on the store's clock, which is the same for
    every process, even if the machines' clocks are wrong. Every method raises `StorageError` if the
    store does not answer; none waits for longer than a few seconds.
    """

    async def clock_s(self) -> float:
        """Return the store's time, in seconds since 1970."""
        ...

    async def write(self, words: Iterable[BoardWord]) -> None:
        """Write entries; the newer one about an aspect of a rung counts."""
        ...

    async def others(self, places: Iterable[str]) -> Sequence[BoardWord]:
        """Return other processes' entries about these rungs."""
        ...

    async def lease(self, places: Iterable[str], *, for_s: float) -> frozenset[str]:
        """Lease or renew the probing of each rung that is free; return the rungs held.

        A lease that ends later than a new one would is from before the clock was set back, and
        counts as free: its holder may be long dead.
        """
        ...

    async def leave(self) -> None:
        """Return all leases."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


def word_of(said: Mapping[str, Any]) -> BoardWord | None:
    """Return a stored entry; `None` if it is unreadable.

    Another version of Holdline may share the store, and its entries must not crash our process.
    """
    try:
        word = BoardWord(
            place=str(said["place"]),
            aspect=Aspect(said["aspect"]),
            at_s=float(said["at_s"]),
            value=str(said["value"]),
            until_s=float(said["until_s"]),
            retired=bool(said["retired"]),
        )
        if word.aspect is Aspect.BREAKER:
            State(word.value)
    except (KeyError, TypeError, ValueError):
        return None
    return word if math.isfinite(word.at_s) and math.isfinite(word.until_s) else None


def said_of(word: BoardWord, *, holder: str) -> dict[str, Any]:
    """Return an entry in stored form, as `word_of` reads it, with its author."""
    return {
        "place": word.place,
        "aspect": word.aspect.value,
        "holder": holder,
        "at_s": word.at_s,
        "value": word.value,
        "until_s": word.until_s,
        "retired": word.retired,
    }
