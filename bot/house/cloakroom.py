"""What one worker leaves and another takes: once, within its time, and never more than so much."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.house.wire import Wire

MOST: Final = 1000  # tickets of calls between webhook and stream, conversations of lost lines


@dataclass(frozen=True, slots=True)
class _Kept:
    until_s: float
    value: Any


class Cloakroom:
    """Things by the token that fetches them; each token works once."""

    def __init__(self, *, clock: Callable[[], float], most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._kept: dict[str, _Kept] = {}

    def keep(self, token: str, value: Any, *, for_s: float) -> None:
        """Keep a value; the oldest gives way when there are too many."""
        now = self._clock()
        if len(self._kept) >= self._most:
            self._kept = {key: each for key, each in self._kept.items() if each.until_s > now}
        while len(self._kept) >= self._most:
            del self._kept[next(iter(self._kept))]
        self._kept[token] = _Kept(now + for_s, value)

    def take(self, token: str) -> Any:
        """Return the value of a token, once; None when there is none, or it is too old."""
        kept = self._kept.pop(token, None)
        return kept.value if kept and kept.until_s > self._clock() else None

    def serve(self, wire: Wire) -> None:
        """Keep and give out what the other end of a line asks for."""

        async def keep(said: Mapping[str, Any]) -> None:
            self.keep(said["token"], said["value"], for_s=said["for_s"])

        async def take(said: Mapping[str, Any]) -> Any:
            return self.take(said["token"])

        wire.answer("keep", keep)
        wire.answer("take", take)
