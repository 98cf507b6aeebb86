"""What all calls of a process share: the rungs' health, warm connections, the last resort."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from bot import clock
from bot.call.answerers import CarrierWords
from bot.call.last_resort import LastResort
from bot.call.models import VoiceModels
from bot.call.services import Shared
from bot.call.summary_post import SummaryPosts, sending
from bot.config.rungs import rung_of
from bot.config.settings import Settings
from bot.health.policies import build_policies
from bot.tools.opt_outs import OptOuts, listing
from bot.workers.lag import LagTeller
from campaigns.store.contacts import ContactBook
from campaigns.store.owed_numbers import OwedNumbers
from operations.crm.asking import CrmDesk
from operations.retrying import Retries
from processors.turn.judges import TurnJudges
from providers.catalog import provider
from providers.provider import SharedService

OWED: Final = "do_not_call"  # in `logs.dir`: numbers that the list has not taken yet
PHONE_RATE_HZ: Final = 8000  # any rate will do: what is shared has no sound in it


@dataclass(frozen=True, slots=True)
class Guests:
    """What calls share that was opened before the rest."""

    carrier_words: CarrierWords
    crm: CrmDesk | None


@asynccontextmanager
async def open_shared(
    settings: Settings,
    models: VoiceModels,
    measuring: LagTeller,
    guests: Guests,
) -> AsyncIterator[Shared]:
    """Prepare what calls share, and let it go when the block ends.

    Args:
        settings: The configuration.
        models: Already loaded.
        measuring: Measures our own lag.
        guests: What was opened before.
    """
    policies = build_policies(settings, clock.monotonic(), lag=measuring.lag)
    services = await asyncio.to_thread(share_providers, settings)
    last_resort = await asyncio.to_thread(LastResort.of, settings)
    judges = TurnJudges(clock=clock.monotonic)
    retries = Retries(settings=settings.resilience.retry_settings(), tell=measuring.tell)
    async with (
        sending(SummaryPosts(settings.transfer.webhook_url, retries)) as posts,
        _listing(settings, measuring) as opt_outs,
    ):
        yield Shared(
            settings=settings,
            models=models,
            judges=judges,
            policies=policies,
            clients=services,
            clock=clock.monotonic,
            last_resort=last_resort,
            late_at_line=measuring.note_line,
            posts=posts,
            carrier_words=guests.carrier_words,
            crm=guests.crm,
            do_not_call=opt_outs,
        )
    for each in (*services.values(), last_resort):
        await each.close()
    judges.close()


@asynccontextmanager
async def _listing(settings: Settings, measuring: LagTeller) -> AsyncIterator[OptOuts | None]:
    """List numbers that want no calls while the block runs; None: nobody is called from here."""
    if not settings.campaigns:
        yield None
        return
    contacts, kept = ContactBook(settings.storage.url), OwedNumbers(settings.logs.dir / OWED)
    try:
        async with listing(OptOuts(contacts, kept, tell=measuring.tell)) as opt_outs:
            yield opt_outs
    finally:
        await contacts.close()


def load_providers(settings: Settings) -> None:
    """Import what every rung is built from, so that no caller waits for it."""
    for stage, rung in settings.stages.rungs():
        provider(stage, rung.kind).load()


def share_providers(settings: Settings) -> dict[str, SharedService]:
    """Return what calls share of each rung, such as a client with warm connections."""
    found: dict[str, SharedService] = {}
    for stage, settings_of in settings.stages.rungs():
        rung = rung_of(settings_of, stage, agent=settings.agent, sample_rate_hz=PHONE_RATE_HZ)
        shared = provider(stage, settings_of.kind).share(rung)
        if shared is not None:
            found[settings_of.name] = shared
    return found
