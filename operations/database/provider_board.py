"""The board on which processes leave word of their providers' health: what every kind offers."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from fallbacks.breaker import State
from fallbacks.shared_health import Aspect, BoardWord

KEEP_S: Final = 3600.0  # chosen: a rung in trouble is spoken of at least every quarter of an hour


class ProviderBoard(Protocol):
    """One word an aspect of a rung, and one lease a rung, whose holder probes it for all.

    A process writes under a name of its own. All moments are those of the board's clock, which is
    the same for everybody, however wrong the clocks of the machines may be. Every method raises
    `StorageError` when the board does not answer; none waits for longer than a few seconds.
    """

    async def clock_s(self) -> float:
        """Return the board's time, in seconds since 1970."""
        ...

    async def write(self, words: Iterable[BoardWord]) -> None:
        """Leave words; the newer one on an aspect of a rung stands."""
        ...

    async def others(self, places: Iterable[str]) -> Sequence[BoardWord]:
        """Return what other processes say of these rungs."""
        ...

    async def lease(self, places: Iterable[str], *, for_s: float) -> frozenset[str]:
        """Lease or renew the probing of each rung that nobody else holds; return those held.

        A lease that ends later than one given now would is from before the clock was set back, and
        is nobody's: who held it may be long dead.
        """
        ...

    async def leave(self) -> None:
        """Give all leases back."""
        ...

    async def close(self) -> None:
        """Let the connections go."""
        ...


def word_of(said: Mapping[str, Any]) -> BoardWord | None:
    """Return what was read as a word; None: we do not understand it.

    Another version of Holdline may share the board, and a word of hers must not end our process.
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
    """Return a word as a board keeps it: what `word_of` reads, and who said it."""
    return {
        "place": word.place,
        "aspect": word.aspect.value,
        "holder": holder,
        "at_s": word.at_s,
        "value": word.value,
        "until_s": word.until_s,
        "retired": word.retired,
    }


def line_of(error: BaseException, *, hidden: str | None) -> str:
    """Return an error as one line without its statement, and without the board's password."""
    line = f"{type(error).__name__}: {error}".partition("\n")[0]
    return line.replace(hidden, "********") if hidden else line
