"""Calls whose line was lost: for half a minute the caller may take them up again."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pipecat.processors.aggregators.llm_context import LLMContextMessage

PARKED_S: Final = 30.0  # a caller who comes back later has begun a new matter
PARKED_CALLS: Final = 100  # the oldest goes first


@dataclass(frozen=True, slots=True)
class _ParkedCall:
    until_s: float
    messages: tuple[LLMContextMessage, ...]


class Parked:
    """Conversations by the token that their page holds; each token works once."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._places: dict[str, _ParkedCall] = {}

    @staticmethod
    def token() -> str:
        """Return a new token for a page."""
        return secrets.token_urlsafe(24)

    def park(self, token: str, messages: Sequence[LLMContextMessage]) -> None:
        """Keep a lost call's conversation."""
        self._sweep()
        while len(self._places) >= PARKED_CALLS:
            del self._places[next(iter(self._places))]
        self._places[token] = _ParkedCall(self._clock() + PARKED_S, tuple(messages))

    def take(self, token: str) -> tuple[LLMContextMessage, ...]:
        """Return the conversation of a token, once; nothing when it is unknown or too old."""
        self._sweep()
        place = self._places.pop(token, None)
        return place.messages if place else ()

    def _sweep(self) -> None:
        now = self._clock()
        self._places = {key: each for key, each in self._places.items() if each.until_s > now}
