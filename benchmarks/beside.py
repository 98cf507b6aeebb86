"""Compares our server with stock Pipecat, by what a caller hears: two servers, two calls, in turn.

Each server has its own simulated providers, so its requests are counted separately. The two callers
never ask at the same time: after one has asked, the other waits for `ALONE_S`.
"""

import asyncio
import contextlib
import functools
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.caller import HeldCall, Script, hold_call
from benchmarks.figures import TurnFigures, sum_up
from benchmarks.heard import JudgedCall, judge_all
from benchmarks.load import (
    Site,
    count_model_requests,
    open_site,
    questions_of,
    script_for,
)
from lab.drill.servers import OURS, STOCK
from lab.drill.sound import Pcm
from runtime import clock

TURNS_A_CALL: Final = 10  # short enough that no conversation outgrows its window
ALONE_S: Final = 4.5  # without other callers: the question, the wait, the answer's beginning
PAUSE_S: Final = (0.2, 0.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFigures:
    """Results of one side's turns.

    Attributes:
        figures: The statistics of what was heard.
        requests: How many requests for answers its models got.
    """

    figures: TurnFigures
    requests: int

    @property
    def extra_requests(self) -> float:
        """The share of requests beyond one for each turn."""
        return self.requests / self.figures.turns - 1 if self.figures.turns else 0.0


class OneAtATime:
    """Lets several callers ask in turn."""

    def __init__(self, alone_s: float = ALONE_S) -> None:
        self._free = asyncio.Lock()
        self._alone_s = alone_s
        self._dice = random.Random(1)  # noqa: S311 - pauses, not a secret

    async def __call__(self, index: int) -> None:
        """Return when it is this caller's turn; the next caller's turn follows later."""
        del index
        await asyncio.sleep(self._dice.uniform(*PAUSE_S))
        await self._free.acquire()
        asyncio.get_running_loop().call_later(self._alone_s, self._free.release)


async def compare_sides(
    turns: int, *, delays: str, folder: Path, workers: Sequence[str] = ()
) -> Mapping[str, SideFigures]:
    """Ask both servers `turns` questions each, in calls; return what was heard, by side.

    Args:
        turns: Questions to each side.
        delays: The simulators' delays, `usual` or `quick`.
        folder: For the servers' files.
        workers: Options of our server.
    """
    calls: dict[str, list[HeldCall]] = {OURS: [], STOCK: []}
    started_at = clock.monotonic()
    async with two_sites(delays=delays, folder=folder, workers=workers) as sites:
        before = {side: await count_model_requests(site.control) for side, site in sites.items()}
        for first in range(0, turns, TURNS_A_CALL):
            questions = questions_of(0, min(TURNS_A_CALL, turns - first))
            cue = OneAtATime()
            for side, held in (await _call_both(sites, questions, cue=cue)).items():
                calls[side].append(held)
        asked = {
            side: await count_model_requests(site.control) - before[side]
            for side, site in sites.items()
        }
    judge = functools.partial(judge_all, started_at=started_at)
    found = {side: await asyncio.to_thread(judge, held) for side, held in calls.items()}
    return {
        side: SideFigures(figures=_sum_up(judged, expected=turns), requests=asked[side])
        for side, judged in found.items()
    }


def _sum_up(judged: Sequence[JudgedCall], *, expected: int) -> TurnFigures:
    return sum_up([turn for judged_call in judged for turn in judged_call.turns], expected=expected)


@contextlib.asynccontextmanager
async def two_sites(
    *,
    delays: str,
    folder: Path,
    workers: Sequence[str] = (),
    phrases: Mapping[str, Pcm] | None = None,
) -> AsyncIterator[Mapping[str, Site]]:
    """Run both servers during the block, each with its own lab."""
    async with (
        open_site(
            OURS, folder=folder / OURS, delays=delays, options=workers, phrases=phrases
        ) as ours,
        open_site(STOCK, folder=folder / STOCK, delays=delays, phrases=phrases) as stock,
    ):
        yield {OURS: ours, STOCK: stock}


async def _call_both(
    sites: Mapping[str, Site], questions: Sequence[str], *, cue: OneAtATime
) -> dict[str, HeldCall]:
    held = {side: HeldCall(number=0, rang_at=clock.monotonic()) for side in sites}
    async with asyncio.TaskGroup() as group:
        for side, site in sites.items():
            group.create_task(
                hold_call(script_for(site.agent.url), held[side], questions=questions, cue=cue)
            )
    return held


async def call_once(script: Script, question: str) -> HeldCall:
    """Hold a call with one question."""
    held = HeldCall(number=0, rang_at=clock.monotonic())

    async def at_once(_index: int) -> None:
        pass

    await hold_call(script, held, questions=[question], cue=at_once)
    return held


async def asked_texts(site: Site, *, since: int) -> list[str]:
    """Return the caller's last words in each model request, from index `since` on."""
    found: list[Mapping[str, Any]] = []
    for name in site.control.names:
        if name.startswith("openai"):
            found += [
                request
                for request in await site.control.requests(name)
                if request["details"].get("stream") and request["details"].get("asked")
            ]
    found.sort(key=lambda request: request["at_s"])
    return [str(request["details"]["asked"]) for request in found[since:]]
