"""The calls in progress in the whole house, and how long their callers waited for answers."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from bot import clock
from bot.workers.pool import House
from operations.telemetry.live_calls import LiveCalls
from operations.telemetry.recent_work import RecentWork, merge_turns

LOOK_S: Final = 0.5  # between two looks for a watcher: a page need not change oftener


class HouseCalls:
    """Asks every process; all who watch share one look."""

    def __init__(self, calls: LiveCalls, recent: RecentWork, house: House) -> None:
        """Answer what other processes ask of this one."""
        self._calls = calls
        self._recent = recent
        self._house = house
        self._last: Sequence[Mapping[str, Any]] = ()
        self._looked_at = -LOOK_S
        self._looking = asyncio.Lock()
        house.peers.answer("calls", self._own_calls)
        house.peers.answer("turns", self._own_turns)
        house.peers.answer("touched", self._own_touched)

    async def live(self) -> list[Mapping[str, Any]]:
        """Return the calls in progress, the oldest one first."""
        views = await self._house.peers.ask_all("calls")
        return sorted((each for view in views for each in view), key=_begin)

    async def turns(self) -> list[list[Any]]:
        """Return the last answers: when, how long the caller waited, whose call."""
        return merge_turns(await self._house.peers.ask_all("turns"))

    async def touched(self) -> dict[str, int]:
        """Return the failovers of the last 15 minutes, and how many callers met a failure."""
        views = await self._house.peers.ask_all("touched")
        return {name: sum(each[name] for each in views) for name in ("failovers", "callers")}

    async def watch(self) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
        """Yield the calls in progress, and again whenever they have changed."""
        shown: Sequence[Mapping[str, Any]] | None = None
        while True:
            now = await self._look()
            if now != shown:
                shown = now
                yield now
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> Sequence[Mapping[str, Any]]:
        async with self._looking:
            if clock.monotonic() >= self._looked_at + LOOK_S / 2:
                self._last = await self.live()
                self._looked_at = clock.monotonic()
        return self._last

    async def _own_calls(self, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self._calls.as_json()

    async def _own_turns(self, _: Mapping[str, Any]) -> list[tuple[float, float, str]]:
        return self._recent.turns(clock.utc_now().timestamp())

    async def _own_touched(self, _: Mapping[str, Any]) -> dict[str, int]:
        return self._recent.touched(clock.utc_now().timestamp())


def _begin(call: Mapping[str, Any]) -> str:
    return call["started_at"]
