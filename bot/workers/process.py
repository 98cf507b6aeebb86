"""Opens all that a process needs to answer calls, and closes it after the last call."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bot.call.call import MakeCall, call_maker
from bot.call.last_resort import LastResort
from bot.call.models import VoiceModels, warm_up
from bot.call.shared import Shared
from bot.call.summary_post import SummaryPosts, open_summary_posts
from bot.call.switchboard import Switchboard
from bot.do_not_call import opt_outs
from bot.do_not_call.opt_outs import OptOuts, open_opt_outs
from bot.do_not_call.owed_numbers import OwedNumbers
from bot.do_not_call.question import OptOutQuestion
from bot.health.policies import build_policies
from bot.health.view import ProviderView, watch_providers
from bot.tools.owner import tool_schemas
from bot.workers.configuration import check_rungs, check_tools, configuration_of
from bot.workers.interpreter import (
    free_ended_calls,
    freeze_loaded_objects,
    limit_heaps,
    limit_read_size,
    shorten_switch_interval,
)
from bot.workers.lag import LagReporter, measure_lag
from bot.workers.listeners import OwnListeners, open_listeners, own_listeners
from calls.cost import PriceTable
from calls.entry import Emit
from campaigns.after_call import open_callbacks, purpose_of
from campaigns.order_gate import OrderGate, rules_in
from campaigns.store.contacts import Contacts
from campaigns.store.dials import Ledger
from configuration.prices import load_prices
from configuration.rungs import rung_of
from configuration.settings import Settings
from fallbacks.lag import Lag
from operations.after_call import work
from operations.after_call.asking import ResultPen
from operations.after_call.configured_work import make_pen, open_after_calls
from operations.crm.configured_crm import open_crm
from operations.database.database import Database
from operations.database.database_clock import DatabaseClock
from operations.database.schema import compile_tables
from operations.keep_running import at_work, keep_running
from operations.record import record_listener
from operations.retrying import Retries
from operations.telemetry.emitter import Emitter, Listener
from processors.turn.detector import TurnJudges
from providers.catalog import provider
from providers.provider import SharedService
from runtime import clock
from runtime.http import open_connections

OWED_NUMBERS: Final = "do_not_call"  # in `logs.dir`: numbers yet to be put on the do-not-call list
ANY_RATE_HZ: Final = 8000  # shared clients carry no audio


@asynccontextmanager
async def open_shared(
    settings: Settings,
    database: Database,
    own: OwnListeners,
    models: VoiceModels,
    measuring: LagReporter,
) -> AsyncIterator[Shared]:
    """Open the resources that calls share, and close them when the block ends."""
    policies = build_policies(settings, clock.monotonic(), lag=measuring.lag)
    retries = Retries(settings=settings.resilience.retry_settings(), emit=measuring.emit)
    judges = TurnJudges(clock=clock.monotonic)
    async with AsyncExitStack() as opened:  # closes every part, even if closing another one fails
        enter = opened.enter_async_context
        crm = await enter(open_crm(settings, database, own.crm, emit=measuring.emit))
        opened.callback(judges.close)
        last_resort = await asyncio.to_thread(LastResort.of, settings, database)
        opened.push_async_callback(last_resort.close)
        services = await asyncio.to_thread(share_providers, settings)
        for service in services.values():
            opened.push_async_callback(service.close)
        posts = SummaryPosts(settings.transfer.webhook_url, retries)
        await enter(open_summary_posts(posts))
        pen = make_pen(settings, policies["llm"], services, measuring.emit)
        opt_outs = await enter(_open_opt_outs(settings, database, measuring, pen))
        gate = await enter(_open_gate(settings, database, measuring.emit))
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
            carrier_words=own.carrier_words,
            crm=crm,
            do_not_call=opt_outs,
            gate=gate,
        )


@asynccontextmanager
async def _open_gate(
    settings: Settings, database: Database, emit: Emit
) -> AsyncIterator[OrderGate]:
    """Yield the gate of orders, whose leases are renewed during the block."""
    region = settings.server.region or ""
    now = DatabaseClock(database, utc_s=clock.utc_s, monotonic=clock.monotonic)
    gate = OrderGate(
        database, rules_in(settings), region=region, emit=emit, now_s=now.now_s, clock=now
    )
    async with at_work(orders=keep_running("the leases of orders", gate.run)):
        yield gate


@asynccontextmanager
async def _open_opt_outs(
    settings: Settings, database: Database, measuring: LagReporter, pen: ResultPen
) -> AsyncIterator[OptOuts | None]:
    """Yield the recorder of opt-outs, which runs during the block; `None` without campaigns."""
    if not settings.campaigns:
        yield None
        return
    contacts, kept = Contacts(database), OwedNumbers(settings.logs.dir / OWED_NUMBERS)
    question = OptOutQuestion(pen)
    recorder = OptOuts(contacts, kept, emit=measuring.emit, question=question)
    async with open_opt_outs(recorder):
        yield recorder


def load_providers(settings: Settings) -> None:
    """Import every rung's module, so that no call waits for it; blocks."""
    for stage, rung in settings.stages.rungs():
        provider(stage, rung.kind).load()


def share_providers(settings: Settings) -> dict[str, SharedService]:
    """Return by rung the service that its calls share, such as a client with open connections.

    Rungs whose calls share nothing are left out. The caller closes the services. Blocks.
    """
    found: dict[str, SharedService] = {}
    for stage, rung in settings.stages.rungs():
        spec = rung_of(rung, stage, agent=settings.agent, sample_rate_hz=ANY_RATE_HZ)
        shared = provider(stage, rung.kind).share(spec)
        if shared is not None:
            found[rung.name] = shared
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that answers calls.

    Opened by `async with open_process(settings, words=False) as process: ...`.
    """

    settings: Settings
    database: Database
    switchboard: Switchboard
    emitter: Emitter
    listeners: OwnListeners
    shared: Shared  # carriers that can dial a person register in `shared.people`
    call: MakeCall
    providers: ProviderView
    at_end: AsyncExitStack  # closes a route's resources after the last call
    measuring: LagReporter
    currency: str  # of the price table


# The order of opening: the listeners, the resources that calls share, the work on providers, and
# last the switchboard, which takes calls. Closing goes the other way round. So everything that a
# call uses stays open until the call ends, and the events of its end are still written.

LAST_WORDS_S: Final = 1.0  # for the after-call work to receive the last calls' events
CLOSE_PROCESS_S: Final = (  # for everything that closes after the calls, one by one
    LAST_WORDS_S
    + work.LAST_S
    + opt_outs.LIST_AT_END_S
    + 2 * record_listener.LAST_S  # for the batch that is being written, and for the waiting ones
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
    """Open a process for calls; when the block ends, end its calls and close everything.

    Args:
        settings: The configuration.
        words: Whether the live view may show what is said; the call journals always do.
        listeners: More listeners, which get all events.
        models: The loaded models; `None` to load them now.
        metrics_folder: The folder that all processes of a pool share; `None` for a single process.
        database: The open database of `storage.url`, which stays open; `None` to open it here.
        record: Whether to record the calls in the database; trials do not.

    Raises:
        UsageError: A tool or a rung does not work as configured.
        ConfigError: The price list is invalid.
    """
    models = await _prepare_and_load_models(settings, models)
    prices = await asyncio.to_thread(load_prices, settings.prices.file)
    async with AsyncExitStack() as opened:
        database = database or await opened.enter_async_context(Database(settings.storage.url))
        writes = record_listener.make_record_listener(settings, database) if record else None
        own = own_listeners(
            settings, words=words, metrics_folder=metrics_folder, record_listener=writes
        )
        emitter = own.emitter(settings, listeners)
        yield await _open_parts(opened, settings, database, own, emitter, models, prices)


def _probing_view(
    settings: Settings, shared: Shared, *, emit: Emit, lag: Lag
) -> AbstractAsyncContextManager[ProviderView]:
    """Return what probes the providers; a probe after a refusal gets the agents' tools."""
    return watch_providers(
        settings,
        shared.policies["llm"].availability,
        shared=shared.clients,
        emit=emit,
        lag=lag,
        tools=partial(tool_schemas, settings.all_agents),
    )


async def _open_parts(
    opened: AsyncExitStack,
    settings: Settings,
    database: Database,
    own: OwnListeners,
    emitter: Emitter,
    models: VoiceModels,
    prices: PriceTable,
) -> Process:
    """Open the parts of a process in the order above; `opened` closes them.

    Also emits the configuration, and exempts what is loaded by then from garbage collection.
    """
    enter, emit = opened.enter_async_context, emitter.emit_for("")
    await enter(open_connections())
    await enter(open_listeners(settings, own, emitter))
    measuring = await enter(measure_lag(Lag(), emit=emit, clock=clock.monotonic))
    shared = await enter(open_shared(settings, database, own, models, measuring))
    await enter(_open_after_call_work(shared, database, own, prices, emit=emit))
    emit(configuration_of(settings))
    call = call_maker(shared, emitter, prices)
    switchboard = Switchboard(seats=settings.server.max_calls, make_call=call, emit=emit)
    await asyncio.to_thread(freeze_loaded_objects)
    at_end = await enter(AsyncExitStack())
    await enter(free_ended_calls(lambda: switchboard.ended))
    providers = await enter(_probing_view(settings, shared, emit=emit, lag=measuring.lag))
    await enter(_end_calls_after(switchboard, emitter))
    return Process(
        settings=settings,
        database=database,
        switchboard=switchboard,
        emitter=emitter,
        call=call,
        providers=providers,
        at_end=at_end,
        measuring=measuring,
        listeners=own,
        shared=shared,
        currency=prices.currency,
    )


@asynccontextmanager
async def _open_after_call_work(
    shared: Shared, database: Database, own: OwnListeners, prices: PriceTable, *, emit: Emit
) -> AsyncIterator[None]:
    """Queue callbacks, and do the work that follows each call, while the block runs."""
    settings = shared.settings
    async with (
        open_callbacks(settings, database, emit=emit) as callbacks,
        open_after_calls(
            settings,
            database,
            own.after_calls,
            policy=shared.policies["llm"],
            clients=shared.clients,
            reporter=own.crm.reporter,
            take_callback=callbacks.take_wish if callbacks else None,
            purpose=partial(purpose_of, settings=settings, ledger=Ledger(database)),
            prices=prices,
            emit=emit,
        ),
    ):
        yield


async def _prepare_and_load_models(settings: Settings, models: VoiceModels | None) -> VoiceModels:
    """Do the slow part of the start: check tools and rungs, tune the interpreter, load modules.

    Returns the given models, or those that it loads, after a first use.
    """
    check_tools(settings)
    limit_heaps()
    limit_read_size()
    shorten_switch_interval()
    await asyncio.to_thread(load_providers, settings)
    await asyncio.to_thread(check_rungs, settings)
    models = models or await asyncio.to_thread(VoiceModels.load)
    await warm_up(models)
    await asyncio.to_thread(compile_tables, settings.storage.url)
    return models


@asynccontextmanager
async def _end_calls_after(switchboard: Switchboard, emitter: Emitter) -> AsyncIterator[None]:
    """End the calls after the block, while the after-call work still receives their events."""
    try:
        yield
    finally:
        await switchboard.close(drain_s=0.0, goodbye_s=0.0)
        await emitter.flush(within_s=LAST_WORDS_S)
