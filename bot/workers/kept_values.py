"""What one worker leaves and another takes: once, within its time, and never more than so much."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.workers.wire import Wire

MOST: Final = 1000  # of a kind: tickets between webhook and stream, conversations of lost lines


@dataclass(frozen=True, slots=True)
class _Kept:
    until_s: float
    value: Any


class Cloakroom:
    """Things by the token that fetches them; each token works once.

    What stands before a token's last space is its kind. Each kind has room for so many: how far
    every call of the last hours has come is kept here, too, and a call that goes on must not give
    way to that.
    """

    def __init__(self, *, clock: Callable[[], float], most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._kept: dict[str, dict[str, _Kept]] = {}  # by kind

    def keep(self, token: str, value: Any, *, for_s: float) -> None:
        """Keep a value; the oldest of its kind gives way when there are too many."""
        now, kind = self._clock(), _kind(token)
        kept = self._kept.get(kind, {})
        kept.pop(token, None)  # so that it is the latest again
        if kept and (len(kept) >= self._most or _first(kept).until_s <= now):
            kept = {key: each for key, each in kept.items() if each.until_s > now}
        while len(kept) >= self._most:
            del kept[next(iter(kept))]
        kept[token] = _Kept(now + for_s, value)
        self._kept[kind] = kept

    def take(self, token: str) -> Any:
        """Return the value of a token, once; None when there is none, or it is too old."""
        kept = self._kept.get(_kind(token), {}).pop(token, None)
        return kept.value if kept and kept.until_s > self._clock() else None

    def serve(self, wire: Wire) -> None:
        """Keep and give out what the other end of a line asks for."""

        async def keep(said: Mapping[str, Any]) -> None:
            self.keep(said["token"], said["value"], for_s=said["for_s"])

        async def take(said: Mapping[str, Any]) -> Any:
            return self.take(said["token"])

        wire.answer("keep", keep)
        wire.answer("take", take)


def _first(kept: Mapping[str, _Kept]) -> _Kept:
    return next(iter(kept.values()))


def _kind(token: str) -> str:
    return token.rpartition(" ")[0]
