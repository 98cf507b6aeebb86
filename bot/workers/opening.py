"""Opens what all calls of a process share, and closes it behind the last of them.

From the outside in, and the other way round at the end: those who hear of calls, what calls share,
what works behind them, and at last whoever takes them. So a call ends while all that it used is
open, and whatever is told at its end is still heard and written.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from bot import clock
from bot.call.call_maker import MakeCall, call_maker
from bot.call.models import VoiceModels
from bot.call.prices import load_prices
from bot.call.services import Shared
from bot.call.switchboard import Switchboard
from bot.call.warming import warm_up
from bot.config.settings import Settings
from bot.health.watch import watch_providers
from bot.tools import opt_outs
from bot.workers.configuration import check_rungs, check_tools, configuration_of
from bot.workers.freeing import free_ended_calls
from bot.workers.interpreter import (
    read_in_small_pieces,
    serve_the_loop_first,
    share_heaps,
    spare_the_loaded,
)
from bot.workers.lag import LagTeller, measure_lag
from bot.workers.listeners import OwnListeners, open_listeners, own_listeners
from bot.workers.process import Process
from bot.workers.shared import Guests, load_providers, open_shared
from calls.cost import PriceTable
from fallbacks.lag import Lag
from operations.after_call import work
from operations.after_call.opening import AfterCallMeans, open_after_calls
from operations.crm.opening import open_crm
from operations.database.schema import compile_tables
from operations.record import record_keeper
from operations.record.record_keeper import RecordKeeper
from operations.telemetry.emitter import Emitter, Listener
from transports.http_requests import open_connections

LAST_WORDS_S: Final = 1.0  # for those who work behind a call's end, to hear of the last ones
CLOSE_S: Final = (  # for all that is closed behind the calls, one after the other
    LAST_WORDS_S
    + work.LAST_S
    + opt_outs.CLOSE_S
    + 2 * record_keeper.LAST_S  # for the batch that is being written, and for those that wait
)


@asynccontextmanager
async def open_process(
    settings: Settings,
    *,
    words: bool,
    listeners: Sequence[Listener] = (),
    models: VoiceModels | None = None,
    metrics_folder: Path | None = None,
    keeper: RecordKeeper | None = None,
) -> AsyncIterator[Process]:
    """Be ready for calls while the block runs.

    Args:
        settings: The configuration.
        words: Whether the live view may show what is said; the calls' own records always do.
        listeners: More of them, told everything.
        models: Already loaded; None: they are loaded now.
        metrics_folder: Where all processes of a house count; None: this one is alone.
        keeper: Keeps the record of the calls; None: nobody does, as of calls that are a trial.
    """
    models = await _load(settings, models)
    prices = await asyncio.to_thread(load_prices, settings.prices.file)
    own = own_listeners(settings, words=words, metrics_folder=metrics_folder, keeper=keeper)
    emitter = own.emitter(settings, listeners)
    tell = emitter.tell_for("")
    async with (
        open_connections(),
        open_listeners(settings, own, emitter),
        measure_lag(Lag(), tell=tell, clock=clock.monotonic) as measuring,
        open_crm(settings, own.crm, tell=tell) as crm,
        open_shared(settings, models, measuring, Guests(own.carrier_words, crm)) as shared,
        open_after_calls(settings, own.after_calls, _means(shared, own, prices), tell=tell),
    ):
        tell(configuration_of(settings))
        call = call_maker(shared, emitter, prices)
        async with _taking_calls(call, shared, own, emitter, measuring) as process:
            yield process


async def _load(settings: Settings, models: VoiceModels | None) -> VoiceModels:
    """Load what takes long, and return the models; what must be refused is refused before."""
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


def _means(shared: Shared, own: OwnListeners, prices: PriceTable) -> AfterCallMeans:
    return AfterCallMeans(
        policy=shared.policies["llm"],
        clients=shared.clients,
        reporter=own.crm.reporter,
        prices=prices,
    )


@asynccontextmanager
async def _taking_calls(
    call: MakeCall, shared: Shared, own: OwnListeners, emitter: Emitter, measuring: LagTeller
) -> AsyncIterator[Process]:
    """Answer calls and watch providers while the block runs; behind it the calls are ended."""
    settings, tell = shared.settings, measuring.tell
    switchboard = Switchboard(seats=settings.server.max_calls, make_call=call, tell=tell)
    await asyncio.to_thread(spare_the_loaded)
    roster = shared.policies["llm"].roster
    async with (
        AsyncExitStack() as at_end,
        free_ended_calls(lambda: switchboard.ended),
        watch_providers(
            settings, roster, shared=shared.clients, tell=tell, lag=measuring.lag
        ) as providers,
    ):
        yield Process(
            settings=settings,
            switchboard=switchboard,
            emitter=emitter,
            live=own.live,
            call=call,
            providers=providers,
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
        await _close_calls(switchboard, emitter)


async def _close_calls(switchboard: Switchboard, emitter: Emitter) -> None:
    """End the calls, while those who work behind their end still hear of it."""
    await switchboard.close(drain_s=0.0, goodbye_s=0.0)
    await emitter.flush(within_s=LAST_WORDS_S)
