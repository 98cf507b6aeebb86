"""Builds what all calls of a process share: each stage's policy and the rungs' availability."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from calls.entry import Emit
from configuration.rungs import facts_of, vendor_id
from configuration.settings import Settings
from configuration.stages import STAGES, RungSettings
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.ladder import Allowance, ClauseRule, EarlyBudget, StagePolicy
from fallbacks.lag import Lag
from fallbacks.limits import Limits
from fallbacks.paces import PACES, PRIORS_S, THEN_S
from operations.keep_running import at_work, keep_running
from processors.ladder.gate import RungGate
from providers.provider import Stage
from runtime import clock

BREAKER_TICK_S: Final = 0.5  # for an expired breaker timer; `open_s` is much longer


def build_policies(
    settings: Settings, now: float, *, lag: Lag | None = None
) -> dict[Stage, StagePolicy]:
    """Return each stage's policy; all share one availability table.

    Args:
        settings: The configuration.
        now: Monotonic, in seconds.
        lag: The event loop's lag monitor; `None` if lag is not measured.
    """
    lag = lag or Lag()
    availability, hedges = build_availability(settings, now), build_hedges(settings)
    return {
        stage: StagePolicy(
            stage=stage,
            availability=availability,
            pace=PACES[stage],
            hedges=hedges if stage == "llm" else None,
            lag=lag,
            early=EarlyBudget() if stage == "llm" and settings.latency.answer_early else None,
            gates=build_gates(settings, stage),
            cold=settings.stages.cold(stage),
            untimed=untimed_voices(settings) if stage == "tts" else frozenset(),
            quiet=quiet_recognisers(settings) if stage == "stt" else frozenset(),
            clauses=clause_rules(settings) if stage == "tts" else {},
            then_s=THEN_S[stage],
            chance=random.random,
        )
        for stage in STAGES
    }


def build_availability(settings: Settings, now: float) -> AvailabilityTable:
    """Return a table with the availability of every configured rung, all breakers closed."""
    return AvailabilityTable(
        [
            Place(
                stage=stage,
                provider=rung.name,
                credential=credential(rung, stage),
                account=f"{vendor_id(rung, stage)}:{rung.account}" if rung.account else "",
            )
            for stage, rung in settings.stages.rungs()
        ],
        now=now,
        settings=settings.resilience.breaker_settings(),
        priors_s=PRIORS_S,
    )


def build_hedges(settings: Settings) -> Allowance | None:
    """Return the allowance for early requests to a second model; `None` if disabled.

    `hedge.share` is hedges per answer. `Allowance` counts hedges among all attempts, so the share
    is converted.
    """
    hedge = settings.resilience.hedge
    share_of_attempts = hedge.share / (1 + hedge.share)
    return Allowance(share=share_of_attempts, floor=0) if hedge.enabled else None


def untimed_voices(settings: Settings) -> frozenset[str]:
    """Return the voices that do not report word times."""
    voices = settings.stages.tts
    return frozenset(voice.name for voice in voices if not facts_of(voice, "tts").word_times)


def quiet_recognisers(settings: Settings) -> frozenset[str]:
    """Return the recognisers that send nothing while the caller speaks."""
    recognisers = settings.stages.stt
    return frozenset(item.name for item in recognisers if not facts_of(item, "stt").interim)


def clause_rules(settings: Settings) -> dict[str, ClauseRule]:
    """Return by voice how much of an unfinished sentence it may be sent; empty if disabled."""
    if not settings.latency.speak_early:
        return {}
    rules = {item.name: facts_of(item, "tts").clause for item in settings.stages.tts}
    return {name: rule for name, rule in rules.items() if rule is not None}


def build_gates(settings: Settings, stage: Stage) -> dict[str, RungGate]:
    """Return the gate of each rung of a stage, by name, even of rungs without limits."""
    return {
        rung.name: RungGate(
            Limits(
                concurrent=rung.limits.concurrent,
                per_minute=getattr(rung.limits, "per_minute", None),
            ),
            clock=clock.monotonic,
        )
        for rung_stage, rung in settings.stages.rungs()
        if rung_stage == stage
    }


def credential(rung: RungSettings, stage: Stage) -> str:
    """Return a rung's vendor and a hash of its key, equal if rungs share it; empty if keyless."""
    if rung.api_key is None:
        return ""
    secret = rung.api_key.get_secret_value().encode()
    return f"{vendor_id(rung, stage)}:{hashlib.sha256(secret).hexdigest()[:16]}"


@asynccontextmanager
async def run_breaker_timers(
    availability: AvailabilityTable, *, emit: Emit, clock: Callable[[], float]
) -> AsyncIterator[None]:
    """Let open breakers become half-open on time while the block runs; emit their transitions."""
    ticking = partial(_tick_breakers, availability, emit=emit, clock=clock)
    async with at_work(breakers=keep_running("the breakers' timers", ticking)):
        yield


async def _tick_breakers(
    availability: AvailabilityTable, *, emit: Emit, clock: Callable[[], float]
) -> None:
    """Let breakers change with time, every `BREAKER_TICK_S` until cancelled; emit their moves."""
    while True:
        for event in availability.tick(clock()):
            emit(event)
        await asyncio.sleep(BREAKER_TICK_S)
