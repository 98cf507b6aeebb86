"""Watches over the providers while the house is open: rests, probes, the operator's view."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from bot.clock import Clock
from bot.config import Settings
from bot.policies import resting
from bot.probing import Prober, probe_settings, probing
from bot.provider_view import ProviderView
from bot.rungs import rung_of
from calls.entry import Tell
from fallbacks.roster import Roster

PHONE_RATE_HZ: Final = 8000  # of what a probe has spoken; nobody listens to it


@asynccontextmanager
async def watched(
    settings: Settings, roster: Roster, *, shared: Mapping[str, object], tell: Tell, clock: Clock
) -> AsyncIterator[ProviderView]:
    """Watch while the block runs.

    Args:
        settings: The configuration.
        roster: What all calls know of the rungs.
        shared: By the rung's name, what its service shares with a probe.
        tell: Takes the facts.
        clock: Monotonic.
    """
    every = probe_settings(settings.resilience.probe)
    probers = [
        Prober(
            rung_of(
                rung,
                stage,
                agent=settings.agent,
                sample_rate_hz=PHONE_RATE_HZ,
                shared=shared.get(rung.name),
            ),
            roster=roster,
            settings=every,
            tell=tell,
            clock=clock,
        )
        for stage, rung in settings.stages.rungs()
    ]
    view = ProviderView(
        stages=settings.stages, roster=roster, probers=probers, tell=tell, clock=clock
    )
    async with resting(roster, tell=tell, clock=clock), probing(probers):
        yield view
