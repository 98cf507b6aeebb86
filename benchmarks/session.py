"""Measures pairs of calls that are asked in turn, and splits the times with the lab's record."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks import lab_times, phrases, sides
from benchmarks.accounting import Account, BusyPeriod, Moments, split_time
from benchmarks.ear import UnhealthyTurnError
from bot.workers.process import open_process
from calls.entry import Entry
from configuration.settings import LatencySettings
from fallbacks.events import EarlyAnswerDropped, EarlyAnswerTaken
from lab.process import RunningLab, lab_process, with_lab

TURNS_A_CALL: Final = 20  # short enough that no conversation outgrows its window
SPARE: Final = 0.2  # the share of turns that may be set aside and asked again
NEVER_S: Final = 3600.0
AGENT: Final = {
    "greeting": "Hello.",
    "silence": {"prompt_after_s": NEVER_S},  # each caller is silent while the other side is asked
    "max_call_s": NEVER_S,
}

NOT_EARLY: Final[Any] = {"answer_early": False, "speak_early": False}

Heard: TypeAlias = tuple[Moments, tuple[BusyPeriod, ...]]


@dataclass(slots=True)
class Results:
    """The results so far; both sides have the pairs in the same order."""

    ours: list[Account] = field(default_factory=list[Account])
    theirs: list[Account] = field(default_factory=list[Account])
    aside: Counter[str] = field(default_factory=Counter[str])
    early: Counter[str] = field(default_factory=Counter[str])  # what happened to early answers
    extra_share: float = 0.0  # discarded requests for each request of a decided turn

    async def hear(self, entry: Entry) -> None:
        """Count an early answer, taken or dropped."""
        match entry.event:
            case EarlyAnswerTaken():
                self.early["taken"] += 1
                self.extra_share = entry.event.extra_share
            case EarlyAnswerDropped():
                self.early[f"dropped: {entry.event.because}"] += 1
                self.extra_share = entry.event.extra_share
            case _:
                pass


async def measure(turns: int, *, folder: Path, beside_late: bool = False) -> Results:
    """Measure `turns` pairs of turns, or fewer if too many of them were not healthy.

    Args:
        turns: The turns of each side.
        folder: For the calls' journals.
        beside_late: Whether the other side is Holdline as well, without early answers and speech.
    """
    rendered = await asyncio.to_thread(phrases.render_phrases, sides.RATE_HZ)
    models = await asyncio.to_thread(sides.load)
    results = Results()
    attempts = round(turns * (1 + SPARE))
    async with lab_process() as lab:
        settings: Any = with_lab(lab, {"logs": {"dir": folder}, "agent": AGENT})
        late = settings.model_copy(update={"latency": LatencySettings(**NOT_EARLY)})
        async with (
            open_process(settings, words=False, models=models, listeners=[results]) as process,
            open_process(late, words=False, models=models) as other,
        ):
            while len(results.ours) < turns and attempts > 0:
                count = min(TURNS_A_CALL, turns - len(results.ours), attempts)
                theirs = (
                    sides.holdline(other, models)
                    if beside_late
                    else sides.bare(process.settings, models)
                )
                ours = sides.holdline(process, models)
                pairs = await _hold_calls(ours, theirs, rendered, count=count, aside=results.aside)
                await _split_times(lab, pairs, results)
                attempts -= count
    return results


async def _hold_calls(
    our_side: AbstractAsyncContextManager[sides.Side],
    their_side: AbstractAsyncContextManager[sides.Side],
    said: Sequence[NDArray[np.int16]],
    *,
    count: int,
    aside: Counter[str],
) -> list[tuple[Heard, Heard]]:
    """Hold two calls and ask both in turn, `count` times; return what both recorded, in pairs.

    A pair with an unhealthy turn is left out, and its reason counted in `aside`.
    """
    pairs: list[tuple[Heard, Heard]] = []
    async with our_side as ours, their_side as theirs:
        for number in range(count):
            phrase = said[number % len(said)]
            try:
                if number:
                    await ours.wait_until_quiet()
                mine = await ours.ask(phrase)
                if number:
                    await theirs.wait_until_quiet()
                pairs.append((mine, await theirs.ask(phrase)))
            except UnhealthyTurnError as unhealthy:
                aside[str(unhealthy)] += 1
    return pairs


async def _split_times(
    lab: RunningLab, pairs: Sequence[tuple[Heard, Heard]], results: Results
) -> None:
    """Split the times of all pairs with the lab's record; set unhealthy pairs aside."""
    requests = await lab_times.fetch(lab)

    def account_of(heard: Heard) -> Account:
        moments, busy = heard
        theirs = lab_times.busy_times(requests, moments, lab_started_at_s=lab.started_at_s)
        return split_time(moments, (*busy, *theirs))

    for mine, theirs in pairs:
        try:
            both = account_of(mine), account_of(theirs)
        except UnhealthyTurnError as unhealthy:
            results.aside[str(unhealthy)] += 1
            continue
        results.ours.append(both[0])
        results.theirs.append(both[1])
