"""Wakes whoever works when a dial has ended, and now and then besides."""

import asyncio
from contextlib import suppress
from typing import Final

from calls.campaign_events import DialEnded
from calls.entry import Tell
from calls.events import Event

REST_S: Final = 1.0  # between two looks, however many dials end


class DialNews:
    """One for each of those who wait."""

    def __init__(self) -> None:
        self._news = asyncio.Event()

    def heard_by(self, tell: Tell) -> Tell:
        """Return what tells the same, and wakes us when a dial has ended."""

        def tell_and_wake(event: Event) -> None:
            tell(event)
            if isinstance(event, DialEnded):
                self._news.set()

        return tell_and_wake

    async def wait(self, within_s: float) -> None:
        """Return when a dial has ended since the last time, or after this time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._news.wait()
        self._news.clear()
        await asyncio.sleep(REST_S)
