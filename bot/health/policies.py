"""Shared by all calls of a process: the health of the providers, and each stage's policy."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from bot import clock
from bot.config.settings import Settings
from bot.config.stages import STAGES, RungSettings
from calls.entry import Emit
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.ladder import Allowance, ClauseRule, EarlyBudget, Pace, StagePolicy
from fallbacks.lag import Lag
from fallbacks.limits import Limits
from operations.keep_running import at_work, keep_running
from processors.ladder.gate import RungGate
from providers.catalog import provider
from providers.provider import Stage

PACES: Final[Mapping[Stage, Pace]] = {
    # A recogniser that heard a cough ends without a word, which is no failure. Deepgram sends a
    # message for every second of audio, so one that was silent for less than that is not late.
    "stt": Pace(late_min_s=1.2, late_max_s=1.4, gap_s=1.2, silent_end_ok=True),
    "llm": Pace(late_min_s=0.35, late_max_s=0.6, gap_s=0.4),
    "tts": Pace(late_min_s=0.35, late_max_s=0.6, gap_s=0.4),
}
"""How patient each stage is. Chosen so that the successor of a late rung still meets the budget."""

PRIORS_S: Final[Mapping[str, float]] = {"stt": 0.4, "llm": 0.42, "tts": 0.3}
"""Assumed time to a rung's first useful output, before it was measured."""

THEN_S: Final[Mapping[Stage, float]] = {
    "stt": PRIORS_S["llm"] + PRIORS_S["tts"],
    "llm": PRIORS_S["tts"],
    "tts": 0.0,
}
"""The time that the stages after this one take until the caller hears something."""

LOOK_S: Final = 0.5  # calls open breakers at any time; a rest is much longer than this


def build_policies(
    settings: Settings, now: float, *, lag: Lag | None = None
) -> dict[Stage, StagePolicy]:
    """Return each stage's policy, all on one table of availability.

    Args:
        settings: The configuration.
        now: Monotonic, in seconds.
        lag: The lag of this process; `None` if it is not measured.
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
            clauses=clause_rules(settings) if stage == "tts" else {},
            then_s=THEN_S[stage],
            chance=random.random,
        )
        for stage in STAGES
    }


def build_availability(settings: Settings, now: float) -> AvailabilityTable:
    """Return what all calls know of the rungs."""
    return AvailabilityTable(
        [
            Place(
                stage=stage,
                provider=rung.name,
                credential=credential(rung),
                account=f"{rung.kind}:{rung.account}" if rung.account else "",
            )
            for stage, rung in settings.stages.rungs()
        ],
        now=now,
        settings=settings.resilience.breaker_settings(),
        priors_s=PRIORS_S,
    )


def build_hedges(settings: Settings) -> Allowance | None:
    """Return the allowance for early requests to a second model; `None` if disabled.

    The allowance counts hedges among the attempts; the configuration gives a share of the answers.
    """
    hedge = settings.resilience.hedge
    of_attempts = hedge.share / (1 + hedge.share)
    return Allowance(share=of_attempts, floor=0) if hedge.enabled else None


def untimed_voices(settings: Settings) -> frozenset[str]:
    """Return the voices that do not report word times."""
    voices = settings.stages.tts
    return frozenset(voice.name for voice in voices if not provider("tts", voice.kind).word_times)


def clause_rules(settings: Settings) -> dict[str, ClauseRule]:
    """Return what voices may be given of an unfinished sentence, by name."""
    if not settings.latency.speak_early:
        return {}
    rules = {item.name: provider("tts", item.kind).clause for item in settings.stages.tts}
    return {name: rule for name, rule in rules.items() if rule is not None}


def build_gates(settings: Settings, stage: Stage) -> dict[str, RungGate]:
    """Return the gates of a stage's rungs by name, also for rungs without configured limits."""
    return {
        rung.name: RungGate(
            Limits(
                concurrent=rung.limits.concurrent,
                per_minute=getattr(rung.limits, "per_minute", None),
            ),
            clock=clock.monotonic,
        )
        for of, rung in settings.stages.rungs()
        if of == stage
    }


def credential(rung: RungSettings) -> str:
    """Return a hash of a rung's key, which is the same for rungs that share the key."""
    if rung.api_key is None:
        return ""
    secret = rung.api_key.get_secret_value().encode()
    return f"{rung.kind}:{hashlib.sha256(secret).hexdigest()[:16]}"


@asynccontextmanager
async def rest_breakers(
    availability: AvailabilityTable, *, emit: Emit, clock: Callable[[], float]
) -> AsyncIterator[None]:
    """Advance the breakers with time while the block runs."""
    resting = partial(_tick, availability, emit=emit, clock=clock)
    async with at_work(breakers=keep_running("resting the breakers", resting)):
        yield


async def _tick(availability: AvailabilityTable, *, emit: Emit, clock: Callable[[], float]) -> None:
    while True:
        for fact in availability.tick(clock()):
            emit(fact)
        await asyncio.sleep(LOOK_S)
