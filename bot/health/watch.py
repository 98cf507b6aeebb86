"""Watches over the providers while the process is open: rests, probes, the operator's view."""

import functools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from bot import clock
from bot.config.rungs import rung_of
from bot.config.settings import Settings
from bot.health.policies import rest_breakers
from bot.health.probing import Prober, run_probers
from bot.health.sharing import Share, places, share_health
from bot.health.view import ProviderView
from calls.entry import Tell
from fallbacks.lag import Lag
from fallbacks.roster import Roster

PHONE_RATE_HZ: Final = 8000  # of what a probe has spoken; nobody listens to it


@asynccontextmanager
async def watch_providers(
    settings: Settings,
    roster: Roster,
    *,
    shared: Mapping[str, object],
    tell: Tell,
    lag: Lag | None = None,
) -> AsyncIterator[ProviderView]:
    """Watch while the block runs.

    Args:
        settings: The configuration.
        roster: What all calls know of the rungs.
        shared: By the rung's name, what its service shares with a probe.
        tell: Takes the facts.
        lag: How long we stalled ourselves; None: nobody measures it.
    """
    async with (
        rest_breakers(roster, tell=tell, clock=clock.monotonic),
        share_health(settings, roster, tell=tell) as share,
    ):
        probers = list(_probers(settings, roster, shared=shared, tell=tell, share=share))
        for each in probers:
            each.lag = lag or each.lag
        async with run_probers(probers):
            yield ProviderView(
                stages=settings.stages,
                roster=roster,
                probers=probers,
                tell=tell,
                clock=clock.monotonic,
            )


def _probers(
    settings: Settings,
    roster: Roster,
    *,
    shared: Mapping[str, object],
    tell: Tell,
    share: Share | None,
) -> Iterator[Prober]:
    for stage, rung in settings.stages.rungs():
        yield Prober(
            rung_of(
                rung,
                stage,
                agent=settings.agent,
                sample_rate_hz=PHONE_RATE_HZ,
                shared=shared.get(rung.name),
            ),
            roster=roster,
            settings=settings.resilience.probe_settings(),
            tell=tell,
            clock=clock.monotonic,
            leads=_leads(share, places(settings)[stage, rung.name]),
        )


def _leads(share: Share | None, place: str) -> Callable[[], bool]:
    return functools.partial(share.leads, place) if share else lambda: True
