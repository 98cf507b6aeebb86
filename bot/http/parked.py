"""Calls whose line was lost: for half a minute the caller may take them up, in any process."""

import secrets
from collections.abc import Sequence
from typing import Final, cast

from pipecat.processors.aggregators.llm_context import LLMContextMessage

from bot.house.house import House

PARKED_S: Final = 30.0  # a caller who comes back later has begun a new matter


class Parked:
    """Conversations by the token that their page holds; each is taken once."""

    def __init__(self, house: House) -> None:
        self._house = house

    @staticmethod
    def token() -> str:
        """Return a new token for a page."""
        return secrets.token_urlsafe(24)

    async def park(self, token: str, messages: Sequence[LLMContextMessage]) -> None:
        """Keep a lost call's conversation."""
        await self._house.shelf.keep(_place(token), list(map(_ended, messages)), for_s=PARKED_S)

    async def take(self, token: str) -> tuple[LLMContextMessage, ...]:
        """Return the conversation of a token, once; nothing when it is unknown or too old."""
        return tuple(await self._house.shelf.take(_place(token)) or ())


def _ended(message: LLMContextMessage) -> LLMContextMessage:
    """Return a message as the call's end leaves it: a tool that was at work was stopped with it."""
    match message:
        case {"role": "tool", "content": "IN_PROGRESS"}:  # as Pipecat writes it
            return cast("LLMContextMessage", {**message, "content": "CANCELLED"})
        case _:
            return message


def _place(token: str) -> str:
    return f"parked {token}"
