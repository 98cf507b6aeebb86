"""Opens what one process needs to answer calls, and closes it after the last call."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bot import clock
from bot.call.answerers import CarrierWords
from bot.call.briefs import Briefs
from bot.call.call_maker import CallMaker, load_prices
from bot.call.last_resort import LastResort
from bot.call.models import VoiceModels, warm_up
from bot.call.shared import Shared
from bot.call.summary_post import SummaryPosts, sending
from bot.call.switchboard import Switchboard
from bot.config.rungs import rung_of
from bot.config.settings import Settings
from bot.health.policies import build_policies
from bot.health.view import ProviderView, watch_providers
from bot.http import open_connections
from bot.tools import do_not_call as opt_outs
from bot.tools.do_not_call import OptOuts, listing
from bot.workers.configuration import check_rungs, check_tools, configuration_of
from bot.workers.interpreter import (
    read_in_small_pieces,
    serve_the_loop_first,
    share_heaps,
    spare_the_loaded,
)
from bot.workers.lag import LagReporter, measure_lag
from bot.workers.listeners import OwnListeners, open_listeners, own_listeners
from calls.cost import PriceTable
from calls.entry import Tell
from campaigns.after_call import open_callbacks, purpose_of
from campaigns.store.contacts import Contacts
from campaigns.store.dials import Ledger
from campaigns.store.owed_numbers import OwedNumbers
from fallbacks.ladder import StagePolicy
from fallbacks.lag import Lag
from operations.after_call import work
from operations.after_call.opening import AfterCallServices, open_after_calls
from operations.crm.opening import open_crm
from operations.crm.port import CrmLookup
from operations.database.database import Database
from operations.database.schema import compile_tables
from operations.keep_running import at_work, keep_running
from operations.record import record_keeper
from operations.retrying import Retries
from operations.telemetry.emitter import Emitter, Listener
from operations.telemetry.live import ConsoleSums, Live
from operations.telemetry.metrics import Exposition, Metrics
from processors.turn.detector import TurnJudges
from providers.catalog import provider
from providers.provider import SharedService, Stage
from transports.leg import People

OWED: Final = "do_not_call"  # in `logs.dir`: numbers that are not in the do-not-call list yet
PHONE_RATE_HZ: Final = 8000  # any rate will do: shared clients carry no audio


@asynccontextmanager
async def open_shared(
    settings: Settings,
    database: Database,
    models: VoiceModels,
    measuring: LagReporter,
    *,
    carrier_words: CarrierWords,
    crm: CrmLookup | None,
) -> AsyncIterator[Shared]:
    """Open what calls share, and close it when the block ends."""
    policies = build_policies(settings, clock.monotonic(), lag=measuring.lag)
    retries = Retries(settings=settings.resilience.retry_settings(), tell=measuring.tell)
    judges = TurnJudges(clock=clock.monotonic)
    async with AsyncExitStack() as opened:  # closes each part, also after another one failed
        opened.callback(judges.close)
        last_resort = await asyncio.to_thread(LastResort.of, settings, database)
        opened.push_async_callback(last_resort.close)
        services = await asyncio.to_thread(share_providers, settings)
        for service in services.values():
            opened.push_async_callback(service.close)
        posts = SummaryPosts(settings.transfer.webhook_url, retries)
        await opened.enter_async_context(sending(posts))
        opt_outs = await opened.enter_async_context(_listing(settings, database, measuring))
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
            carrier_words=carrier_words,
            crm=crm,
            do_not_call=opt_outs,
        )


@asynccontextmanager
async def _listing(
    settings: Settings, database: Database, measuring: LagReporter
) -> AsyncIterator[OptOuts | None]:
    """Record opt-outs while the block runs; yields `None` if this process places no calls."""
    if not settings.campaigns:
        yield None
        return
    contacts, kept = Contacts(database), OwedNumbers(settings.logs.dir / OWED)
    async with listing(OptOuts(contacts, kept, tell=measuring.tell)) as opt_outs:
        yield opt_outs


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


# Collects the garbage of ended calls soon after their end.
#
# The parts of a call reference each other in cycles, which only a full collection finds: 0.85 MB
# per call. Python by itself runs one only after eight calls or more, and the process keeps the size
# of the longest such wait.

EVERY_S: Final = 10.0  # chosen: no call is served during a collection (docs/decisions/0004)


@asynccontextmanager
async def free_ended_calls(ended: Callable[[], int]) -> AsyncIterator[None]:
    """Collect garbage at most two rounds after a call has ended, while the block runs.

    Args:
        ended: Returns how many calls have ended so far.
    """

    async def look() -> None:
        freed = seen = 0
        while True:
            await asyncio.sleep(EVERY_S)
            if seen > freed:  # they ended a round ago, so nothing references them any more
                gc.collect()
                freed = seen
            seen = ended()

    async with at_work(freeing=keep_running("freeing what calls held", look)):
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What answers calls: `async with open_process(settings, words=False) as process: ...`."""

    settings: Settings
    database: Database
    switchboard: Switchboard
    emitter: Emitter
    live: Live
    call: CallMaker
    providers: ProviderView
    last_resort: LastResort
    policies: Mapping[Stage, StagePolicy]
    metrics: Metrics
    exposition: Exposition
    sums: ConsoleSums
    people: People  # carriers that can dial a person register here
    at_end: AsyncExitStack  # closes a route's resources after the last call
    measuring: LagReporter
    briefs: Briefs
    carrier_words: CarrierWords
    recorded: Callable[[], bool]  # whether the database accepts the record, or none is wanted


# Opening and closing a process.
#
# The order is listeners, what calls share, work on providers, and last what takes calls; closing
# goes the other way round. So everything that a call uses is open until the call ends, and the
# events of its end are still written.

LAST_WORDS_S: Final = 1.0  # for the work after a call to learn of the last calls
CLOSE_S: Final = (  # for everything that closes after the calls, one by one
    LAST_WORDS_S
    + work.LAST_S
    + opt_outs.CLOSE_S
    + 2 * record_keeper.LAST_S  # for the batch being written, and for the waiting ones
)


@asynccontextmanager
async def open_process(
    settings: Settings,
    *,
    words: bool,
    listeners: Sequence[Listener] = (),
    models: VoiceModels | None = None,
    metrics_folder: Path | None = None,
    database: Database | None = None,
    record: bool = False,
) -> AsyncIterator[Process]:
    """Be ready for calls while the block runs.

    Args:
        settings: The configuration.
        words: Whether the live view may show what is said; the call journals always do.
        listeners: More listeners, which get all events.
        models: The loaded models; `None` to load them now.
        metrics_folder: Shared by all processes of a pool; `None` for a single process.
        database: Of `storage.url`, which the caller closes; `None` to open it here.
        record: Write the calls into the database; trials do not.
    """
    models = await _load(settings, models)
    prices = await asyncio.to_thread(load_prices, settings.prices.file)
    async with nullcontext(database) if database else Database(settings.storage.url) as storage:
        keeper = record_keeper.record_keeper(settings, storage) if record else None
        own = own_listeners(settings, words=words, metrics_folder=metrics_folder, keeper=keeper)
        emitter = own.emitter(settings, listeners)
        async with _listening(settings, storage, own, emitter, models, prices) as process:
            yield process


@asynccontextmanager
async def _listening(
    settings: Settings,
    database: Database,
    own: OwnListeners,
    emitter: Emitter,
    models: VoiceModels,
    prices: PriceTable,
) -> AsyncIterator[Process]:
    """Run the listeners, and all that calls share, around the process."""
    tell = emitter.tell_for("")
    async with (
        open_connections(),
        open_listeners(settings, own, emitter),
        measure_lag(Lag(), tell=tell, clock=clock.monotonic) as measuring,
        open_crm(settings, database, own.crm, tell=tell) as crm,
        open_shared(
            settings, database, models, measuring, carrier_words=own.carrier_words, crm=crm
        ) as shared,
        _working_after_calls(shared, database, own, prices, tell=tell),
    ):
        tell(configuration_of(settings))
        call = CallMaker(shared, emitter, prices)
        async with _taking_calls(call, shared, database, own, emitter, measuring) as process:
            yield process


@asynccontextmanager
async def _working_after_calls(
    shared: Shared, database: Database, own: OwnListeners, prices: PriceTable, *, tell: Tell
) -> AsyncIterator[None]:
    settings = shared.settings
    async with open_callbacks(settings, database, tell=tell) as callbacks:
        services = AfterCallServices(
            policy=shared.policies["llm"],
            clients=shared.clients,
            reporter=own.crm.reporter,
            take_callback=callbacks.take_wish if callbacks else None,
            purpose=partial(purpose_of, settings=settings, ledger=Ledger(database)),
            prices=prices,
        )
        async with open_after_calls(settings, database, own.after_calls, services, tell=tell):
            yield


async def _load(settings: Settings, models: VoiceModels | None) -> VoiceModels:
    """Load what takes long, and return the models; configuration errors come first."""
    check_tools(settings)
    share_heaps()
    read_in_small_pieces()
    serve_the_loop_first()
    await asyncio.to_thread(load_providers, settings)
    await asyncio.to_thread(check_rungs, settings)
    models = models or await asyncio.to_thread(VoiceModels.load)
    await warm_up(models)
    await asyncio.to_thread(compile_tables, settings.storage.url)
    return models


@asynccontextmanager
async def _taking_calls(
    call: CallMaker,
    shared: Shared,
    database: Database,
    own: OwnListeners,
    emitter: Emitter,
    measuring: LagReporter,
) -> AsyncIterator[Process]:
    """Answer calls and watch providers while the block runs; then end the calls."""
    settings, tell, lag = shared.settings, measuring.tell, measuring.lag
    availability = shared.policies["llm"].availability
    switchboard = Switchboard(seats=settings.server.max_calls, make_call=call, tell=tell)
    await asyncio.to_thread(spare_the_loaded)
    async with (
        AsyncExitStack() as at_end,
        free_ended_calls(lambda: switchboard.ended),
        watch_providers(settings, availability, shared=shared.clients, tell=tell, lag=lag) as found,
        _ending_calls(switchboard, emitter),
    ):
        yield Process(
            settings=settings,
            database=database,
            switchboard=switchboard,
            emitter=emitter,
            live=own.live,
            call=call,
            providers=found,
            last_resort=shared.last_resort,
            policies=shared.policies,
            metrics=own.metrics,
            exposition=own.exposition,
            sums=own.sums,
            people=shared.people,
            at_end=at_end,
            measuring=measuring,
            briefs=shared.briefs,
            carrier_words=own.carrier_words,
            recorded=lambda: own.recorded,
        )


@asynccontextmanager
async def _ending_calls(switchboard: Switchboard, emitter: Emitter) -> AsyncIterator[None]:
    """End the calls after the block, while the work after a call still receives their events."""
    try:
        yield
    finally:
        await switchboard.close(drain_s=0.0, goodbye_s=0.0)
        await emitter.flush(within_s=LAST_WORDS_S)
